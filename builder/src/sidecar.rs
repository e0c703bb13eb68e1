//! The JSON files that lie beside weights: how to prepare images, and what the classes are called. timm's and transformers'
//! `config.json`, `preprocessor_config.json`, `imagenet_class_index.json`, and plain lists.

use std::path::{Path, PathBuf};

use onnx_file::metadata::{Crop, Interpolation, Labels, Preprocess};
use onnx_file::open;
use serde_json::Value;

/// What lies beside a checkpoint.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sidecar {
    /// Preprocessing, and the file that says it.
    pub preprocess: Option<(Preprocess, PathBuf)>,
    /// Labels, and the file that says them.
    pub labels: Option<(Labels, PathBuf)>,
    /// Whether the stride sits in the first 1x1 (transformers' `downsample_in_bottleneck`).
    pub stride_in_1x1: bool,
}

/// Names of weights that stand for a whole folder.
const WHOLE: [&str; 4] =
    ["model.safetensors", "pytorch_model.bin", "model.safetensors.index.json", "pytorch_model.bin.index.json"];

impl Sidecar {
    /// Reads what lies beside the weights `path`: a folder, or a file that hubs give to one. What is not there or not
    /// understood is left out.
    pub fn beside(path: &Path) -> Self {
        let named = path.file_name().is_some_and(|name| WHOLE.iter().any(|whole| name == *whole));
        let folder = match (path.is_dir(), named) {
            (true, _) => path,
            (false, true) => path.parent().unwrap_or(Path::new("")),
            (false, false) => return Self::default(),
        };
        let read = |name: &str| {
            let file = folder.join(name);
            let value = serde_json::from_str(&open::read_text(&file, open::SMALL).ok()?).ok()?;
            Some((file, value))
        };
        let mut found = Self::default();
        for (file, value) in ["preprocessor_config.json", "config.json"].into_iter().filter_map(read) {
            let value: Value = value;
            if found.preprocess.is_none() {
                found.preprocess = preprocess(&value).map(|preprocess| (preprocess, file.clone()));
            }
            if found.labels.is_none() {
                found.labels = labels(&value).map(|labels| (labels, file));
            }
            found.stride_in_1x1 |= value["downsample_in_bottleneck"].as_bool().unwrap_or(false);
        }
        found
    }
}

/// Preprocessing in timm's or transformers' words.
pub fn preprocess(json: &Value) -> Option<Preprocess> {
    let found = timm(json.get("pretrained_cfg").unwrap_or(json)).or_else(|| transformers(json))?;
    found.check().ok().map(|()| found)
}

fn timm(config: &Value) -> Option<Preprocess> {
    let input = config.get("input_size")?.as_array()?;
    let crop = size(input.last()?)?;
    let share = config.get("crop_pct").and_then(Value::as_f64).filter(|share| *share > 0.0 && *share <= 1.0)?;
    let interpolation = match config.get("interpolation").and_then(Value::as_str).unwrap_or("bilinear") {
        "bicubic" => Interpolation::Bicubic,
        "bilinear" => Interpolation::Bilinear,
        _ => return None,
    };
    let resize = (f64::from(crop) / share).floor() as u32;
    let crop = Crop::Square(crop);
    Some(Preprocess { resize, crop, interpolation, mean: three(&config["mean"])?, std: three(&config["std"])? })
}

fn transformers(config: &Value) -> Option<Preprocess> {
    let mean = three(config.get("image_mean")?)?;
    let std = three(config.get("image_std")?)?;
    let interpolation = match config.get("resample").and_then(Value::as_u64) {
        Some(2) => Interpolation::Bilinear,
        Some(3) => Interpolation::Bicubic,
        _ => return None,
    };
    let given = config.get("size")?;
    let side = |value: &Value| {
        let of = |key: &str| value.get(key).and_then(size);
        size(value)
            .or_else(|| of("shortest_edge"))
            .or_else(|| of("height").filter(|height| of("width") == Some(*height)))
    };
    let shorter = side(given)?;
    let centre =
        config.get("crop_size").filter(|_| config.get("do_center_crop").and_then(Value::as_bool) != Some(false));
    let (resize, crop) = match (centre.and_then(side), config.get("crop_pct").and_then(Value::as_f64)) {
        (Some(crop), _) => (shorter, crop),
        // Of sizes below 384 transformers resizes to more and crops the rest away.
        (None, Some(share)) if share > 0.0 && shorter < 384 => ((f64::from(shorter) / share) as u32, shorter),
        _ => (shorter, shorter),
    };
    Some(Preprocess { resize, crop: Crop::Square(crop), interpolation, mean, std })
}

fn size(value: &Value) -> Option<u32> {
    value.as_u64().and_then(|size| u32::try_from(size).ok())
}

fn three(value: &Value) -> Option<[f64; 3]> {
    let numbers: Vec<f64> = value.as_array()?.iter().map(Value::as_f64).collect::<Option<_>>()?;
    numbers.try_into().ok()
}

/// Labels in any of the usual forms: a list; `id2label` or `label_names` of a configuration; a map from class to name, to
/// `[WordNet id, name]`, or from name to class.
pub fn labels(json: &Value) -> Option<Labels> {
    if json.is_array() {
        return texts(json).map(named);
    }
    let config = json.get("pretrained_cfg").unwrap_or(json);
    for config in [config, json] {
        if let Some(names) = config.get("label_names").and_then(texts) {
            let described = |name: &String| match config["label_descriptions"][name].as_str() {
                Some(text) => text.to_owned(),
                None => name.clone(),
            };
            let is_id = |name: &String| {
                name.len() == 9 && name.starts_with('n') && name[1..].bytes().all(|b| b.is_ascii_digit())
            };
            let ids = if names.iter().all(is_id) { names.clone() } else { Vec::new() };
            return Some(Labels { names: names.iter().map(described).collect(), ids });
        }
    }
    let map = json.get("id2label").or_else(|| json.get("label2id")).unwrap_or(json).as_object()?;
    let mut classes: Vec<(usize, String, Option<String>)> = Vec::new();
    for (key, value) in map {
        classes.push(match (key.parse(), value) {
            (Ok(class), Value::String(name)) => (class, name.clone(), None),
            (Ok(class), Value::Array(pair)) => match &pair[..] {
                [Value::String(id), Value::String(name)] => (class, name.clone(), Some(id.clone())),
                _ => return None,
            },
            (_, Value::Number(class)) => (usize::try_from(class.as_u64()?).ok()?, key.clone(), None),
            _ => return None,
        });
    }
    classes.sort();
    let counted = classes.iter().enumerate().all(|(index, (class, ..))| index == *class);
    if classes.is_empty() || !counted {
        return None;
    }
    let ids = classes.iter().map(|(_, _, id)| id.clone()).collect::<Option<_>>().unwrap_or_default();
    Some(Labels { names: classes.into_iter().map(|(_, name, _)| name).collect(), ids })
}

fn named(names: Vec<String>) -> Labels {
    Labels { names, ids: Vec::new() }
}

fn texts(value: &Value) -> Option<Vec<String>> {
    let texts: Option<Vec<String>> = value.as_array()?.iter().map(|text| text.as_str().map(str::to_owned)).collect();
    texts.filter(|texts| !texts.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn preprocessing_is_read_in_each_librarys_words() {
        let timm = json!({"pretrained_cfg": {"input_size": [3, 224, 224], "crop_pct": 0.95, "interpolation": "bicubic",
            "mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]}});
        let found = preprocess(&timm).unwrap();
        assert_eq!((found.resize, found.crop, found.interpolation), (235, Crop::Square(224), Interpolation::Bicubic));
        let convnext = json!({"crop_pct": 0.875, "size": 224, "resample": 3, "image_mean": [0.1, 0.2, 0.3], "image_std": [1.0, 1.0, 1.0]});
        let found = preprocess(&convnext).unwrap();
        assert_eq!((found.resize, found.crop, found.mean), (256, Crop::Square(224), [0.1, 0.2, 0.3]));
        let bit = json!({"size": {"shortest_edge": 256}, "crop_size": {"height": 224, "width": 224}, "resample": 2,
            "image_mean": [0.1, 0.2, 0.3], "image_std": [1.0, 1.0, 1.0]});
        assert_eq!(preprocess(&bit).map(|found| (found.resize, found.crop)), Some((256, Crop::Square(224))));
        for other in [json!({}), json!([1]), json!({"size": 224}), json!({"input_size": [3, 0, 0], "crop_pct": 1.0})] {
            assert_eq!(preprocess(&other), None, "{other}");
        }
    }

    #[test]
    fn labels_are_read_in_each_form() {
        let two = |json: Value| labels(&json).map(|labels| labels.names);
        let expected = Some(vec!["cat".to_owned(), "dog".to_owned()]);
        assert_eq!(two(json!(["cat", "dog"])), expected);
        assert_eq!(two(json!({"id2label": {"1": "dog", "0": "cat"}})), expected);
        assert_eq!(two(json!({"1": "dog", "0": "cat"})), expected);
        assert_eq!(two(json!({"dog": 1, "cat": 0})), expected);
        assert_eq!(two(json!({"pretrained_cfg": {"label_names": ["cat", "dog"]}})), expected);
        assert_eq!(two(json!({"0": "cat", "2": "dog"})), None);
        let index = labels(&json!({"0": ["n01440764", "tench"]})).unwrap();
        assert_eq!((index.names, index.ids), (vec!["tench".to_owned()], vec!["n01440764".to_owned()]));
    }
}
