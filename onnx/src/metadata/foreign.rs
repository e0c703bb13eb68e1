//! What other programs say of a model, in their words: timm's and transformers' `config.json` and
//! `preprocessor_config.json`, `imagenet_class_index.json`, plain lists, and what Ultralytics writes into its exports.

use serde_json::Value;

use super::{Crop, Interpolation, Labels, Preprocess};

/// Preprocessing in timm's or transformers' words.
pub fn preprocess(json: &Value) -> Option<Preprocess> {
    let found = timm(json.get("pretrained_cfg").unwrap_or(json)).or_else(|| transformers(json))?;
    found.check().ok().map(|()| found)
}

fn timm(config: &Value) -> Option<Preprocess> {
    let input = config.get("input_size")?.as_array()?;
    let crop = size(input.last()?).filter(|side| input.get(1).and_then(size) == Some(*side))?;
    let share = config.get("crop_pct").and_then(Value::as_f64).filter(|share| *share > 0.0 && *share <= 1.0)?;
    let interpolation = match config.get("interpolation").and_then(Value::as_str).unwrap_or("bilinear") {
        "bicubic" => Interpolation::Bicubic,
        "bilinear" => Interpolation::Bilinear,
        _ => return None,
    };
    let squash = match config.get("crop_mode").and_then(Value::as_str) {
        None | Some("center") => false,
        Some("squash") => true,
        Some(_) => return None,
    };
    let resize = (f64::from(crop) / share).floor() as u32;
    let crop = Crop::Square(crop);
    Some(Preprocess { resize, crop, interpolation, mean: three(&config["mean"])?, std: three(&config["std"])?, squash })
}

/// Sizes from which on a ConvNeXt's whole image is squeezed into the input.
const CONVNEXT_WHOLE: u32 = 384;

/// As the image processors of transformers do it: <https://huggingface.co/docs/transformers/main_classes/image_processor>.
fn transformers(config: &Value) -> Option<Preprocess> {
    let is_off = |key: &str| config.get(key).and_then(Value::as_bool) == Some(false);
    let kind = config.get("image_processor_type").or_else(|| config.get("feature_extractor_type"));
    // These resize by rules of their own.
    let own_rules = |kind: &str| ["Levit", "PoolFormer", "EfficientNet"].iter().any(|name| kind.starts_with(name));
    let factor = config.get("rescale_factor").and_then(Value::as_f64).unwrap_or(1.0 / 255.0);
    if kind.and_then(Value::as_str).is_some_and(own_rules)
        || is_off("do_rescale")
        || is_off("do_resize")
        || (factor * 255.0 - 1.0).abs() > 1e-6
    {
        return None;
    }
    let (mean, std) = match is_off("do_normalize") {
        true => ([0.0; 3], [1.0; 3]),
        false => (three(config.get("image_mean")?)?, three(config.get("image_std")?)?),
    };
    let interpolation = match config.get("resample").and_then(Value::as_u64) {
        Some(2) => Interpolation::Bilinear,
        Some(3) => Interpolation::Bicubic,
        _ => return None,
    };
    let square = |value: &Value| {
        let height = value.get("height").and_then(size)?;
        (value.get("width").and_then(size) == Some(height)).then_some(height)
    };
    let given = config.get("size")?;
    let side = size(given).or_else(|| given.get("shortest_edge").and_then(size)).or_else(|| square(given))?;
    let centre = config.get("crop_size").filter(|_| !is_off("do_center_crop"));
    let centre = centre.and_then(|crop| size(crop).or_else(|| square(crop)));
    let share = config.get("crop_pct").and_then(Value::as_f64).filter(|share| *share > 0.0 && *share <= 1.0);
    let exact = given.get("height").is_some();
    let (resize, crop, squash) = match (centre, share) {
        (Some(crop), _) => (side, crop, exact),
        (None, Some(share)) if side < CONVNEXT_WHOLE => ((f64::from(side) / share) as u32, side, false),
        (None, Some(_)) => (side, side, true),
        // A shorter side without a crop leaves images of any shape, which fit no classifier's input but a square's.
        (None, None) => (side, side, exact || given.is_number()),
    };
    Some(Preprocess { resize, crop: Crop::Square(crop), interpolation, mean, std, squash })
}

fn size(value: &Value) -> Option<u32> {
    value.as_u64().and_then(|size| u32::try_from(size).ok())
}

fn three(value: &Value) -> Option<[f64; 3]> {
    let numbers: Vec<f64> = value.as_array()?.iter().map(Value::as_f64).collect::<Option<_>>()?;
    numbers.try_into().ok()
}

/// Labels of a model's `config.json`: only where it calls them so, and not where it numbers them for want of names.
pub fn config_labels(json: &Value) -> Option<Labels> {
    let config = json.get("pretrained_cfg").unwrap_or(json);
    let says = |key: &str| config.get(key).is_some() || json.get(key).is_some();
    let found = labels(json).filter(|_| ["label_names", "id2label", "label2id"].into_iter().any(says))?;
    let placeholder = |(at, name): (usize, &String)| *name == format!("LABEL_{at}");
    (!found.names.iter().enumerate().all(placeholder)).then_some(found)
}

/// Preprocessing of a classifier that Ultralytics exported: the shorter side to the input's, its centre, from 0 to 1.
pub fn ultralytics_preprocess(task: &str, image_size: &str) -> Option<Preprocess> {
    let sides: Vec<u32> = serde_json::from_str(image_size).ok()?;
    let [height, width] = sides[..] else { return None };
    let crop = Crop::of(height, width);
    let found = Preprocess {
        resize: crop.shorter(),
        crop,
        interpolation: Interpolation::Bilinear,
        mean: [0.0; 3],
        std: [1.0; 3],
        squash: false,
    };
    found.check().ok().filter(|()| task == "classify").map(|()| found)
}

/// Labels in Python's words, as Ultralytics writes them: `{0: 'tench', 1: "jack-o'-lantern"}` or `['cat', 'dog']`.
pub fn python_labels(text: &str) -> Option<Labels> {
    let mut rest = text.trim();
    let closing = match rest.chars().next()? {
        '{' => '}',
        '[' => ']',
        _ => return None,
    };
    rest = rest[1..].strip_suffix(closing)?.trim();
    let mut names: Vec<String> = Vec::new();
    while !rest.is_empty() {
        if closing == '}' {
            let (key, after) = rest.split_once(':')?;
            let key = key.trim().trim_matches(['\'', '"']);
            if key.parse() != Ok(names.len()) {
                return None;
            }
            rest = after.trim_start();
        }
        let (name, after) = python_text(rest)?;
        names.push(name);
        rest = after.trim_start();
        rest = match rest.strip_prefix(',') {
            Some(more) => more.trim_start(),
            None if rest.is_empty() => rest,
            None => return None,
        };
    }
    (!names.is_empty()).then_some(named(names))
}

/// The literal that `text` begins with, and what comes after it.
fn python_text(text: &str) -> Option<(String, &str)> {
    let quote = text.chars().next().filter(|c| matches!(c, '\'' | '"'))?;
    let mut name = String::new();
    let mut characters = text.char_indices().skip(1);
    while let Some((at, character)) = characters.next() {
        match character {
            '\\' => match characters.next()?.1 {
                'n' => name.push('\n'),
                't' => name.push('\t'),
                other @ ('\\' | '\'' | '"') => name.push(other),
                // \x, \u and the like: better no label than a wrong one.
                _ => return None,
            },
            _ if character == quote => return Some((name, &text[at + 1..])),
            _ => name.push(character),
        }
    }
    None
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
    fn what_resizes_by_other_rules_is_told_from_what_keeps_the_shape() {
        let vit = json!({"size": {"height": 224, "width": 224}, "resample": 2, "image_mean": [0.5, 0.5, 0.5],
            "image_std": [0.5, 0.5, 0.5], "rescale_factor": 0.00392156862745098, "image_processor_type": "ViTImageProcessor"});
        assert_eq!(preprocess(&vit).map(|found| (found.resize, found.squash)), Some((224, true)));
        let with = |key: &str, value: Value| {
            let mut other = vit.clone();
            other[key] = value;
            preprocess(&other)
        };
        assert_eq!(with("size", json!({"shortest_edge": 224})).map(|found| found.squash), Some(false));
        assert_eq!(with("crop_pct", json!(0.875)).map(|found| (found.resize, found.squash)), Some((256, false)));
        assert_eq!(with("do_normalize", json!(false)).map(|found| found.mean), Some([0.0; 3]));
        for (key, value) in [
            ("rescale_factor", json!(1.0)),
            ("do_rescale", json!(false)),
            ("resample", json!(0)),
            ("image_processor_type", json!("LevitImageProcessor")),
        ] {
            assert_eq!(with(key, value.clone()), None, "{key} {value}");
        }
        let timm = |mode: &str| json!({"input_size": [3, 384, 384], "crop_pct": 1.0, "crop_mode": mode, "mean": [0, 0, 0], "std": [1, 1, 1]});
        assert_eq!(preprocess(&timm("squash")).map(|found| found.squash), Some(true));
        assert_eq!(preprocess(&timm("border")), None);
    }

    #[test]
    fn the_words_of_ultralytics_are_read() {
        let names = |text: &str| python_labels(text).map(|labels| labels.names);
        let expected = Some(vec!["tench".to_owned(), "jack-o'-lantern".to_owned(), "a, b: c".to_owned()]);
        assert_eq!(names(r#"{0: 'tench', 1: "jack-o'-lantern", 2: 'a, b: c'}"#), expected);
        assert_eq!(names(r#"['tench', 'jack-o\'-lantern', 'a, b: c']"#), expected);
        for wrong in ["", "{}", "{1: 'a'}", "{0: 'a' 1: 'b'}", "{0: 'a", "{0: a}", "{0: '\\x41'}", "tench"] {
            assert_eq!(names(wrong), None, "{wrong}");
        }
        assert_eq!(ultralytics_preprocess("classify", "[224, 224]").map(|found| found.resize), Some(224));
        assert_eq!(ultralytics_preprocess("detect", "[640, 640]"), None);
    }

    #[test]
    fn a_configuration_names_classes_only_where_it_says_so() {
        assert_eq!(config_labels(&json!({"seed": 0})), None);
        assert_eq!(config_labels(&json!({"id2label": {"0": "LABEL_0", "1": "LABEL_1"}})), None);
        let found = config_labels(&json!({"id2label": {"0": "cat"}, "seed": 0}));
        assert_eq!(found.map(|labels| labels.names), Some(vec!["cat".to_owned()]));
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
