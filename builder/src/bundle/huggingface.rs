//! The layout that Hugging Face's stacks read: `config.json`, `preprocessor_config.json`, `onnx/model.onnx`.
//!
//! They feed `pixel_values` in f32, normalised and with the channels first, and read `logits`.

use onnx_file::meaning::Meaning;
use onnx_file::metadata::{Interpolation, Preprocess};
use onnx_file::port::Layout;
use onnx_file::proto::ModelProto;
use serde_json::{Value, json};

use super::subject::Subject;
use crate::ends::{Ends, EndsError, Pixels};

/// The model as these stacks take it, or why they cannot.
pub(super) fn model(subject: &Subject) -> Result<ModelProto, String> {
    let image = subject.image.as_ref().ok_or("it does not take images, or takes other inputs besides")?;
    let (_, _, meaning) = subject.classes().ok_or("no output is one number for each class of each image")?;
    match meaning {
        Meaning::Logits => {}
        Meaning::Scores => {}
        _ => return Err("its output is no logits, and pipelines take a softmax themselves".into()),
    }
    if subject.outputs.len() > 1 {
        return Err("it has outputs besides the logits".into());
    }
    if image.channels != 3 {
        return Err(format!("it takes images of {} channels", image.channels));
    }
    let mut model = subject.model.clone();
    let ends = Ends {
        input_name: Some("pixel_values".into()),
        output_names: vec!["logits".into()],
        layout: Some(Layout::Nchw),
        pixels: Some(Pixels::F32),
        wide_outputs: true,
        ..Ends::default()
    };
    match ends.apply(&mut model, None) {
        Ok(_) => Ok(model),
        Err(EndsError::Pixels | EndsError::AlreadyPixels) => Err("it normalises images itself, and image processors do so before it; bundle the file built without --input-type u8".into()),
        Err(EndsError::NoImage(reason)) => Err(reason),
        Err(error) => Err(error.to_string()),
    }
}

/// `config.json`.
pub(super) fn config(subject: &Subject, apart: bool) -> Value {
    let count = subject.classes().map_or(0, |(_, classes, _)| classes);
    let name = |at: usize| subject.labels.names.get(at).cloned().unwrap_or_else(|| format!("LABEL_{at}"));
    let names: Vec<String> = (0..count).map(name).collect();
    let by_index: serde_json::Map<String, Value> =
        names.iter().enumerate().map(|(at, name)| (at.to_string(), json!(name))).collect();
    let mut by_name = serde_json::Map::new();
    for (at, name) in names.iter().enumerate() {
        // Of two classes of one name the first keeps it.
        by_name.entry(name.clone()).or_insert(json!(at));
    }
    let mut config = json!({
        "architectures": ["ResNetForImageClassification"],
        "model_type": "resnet",
        "num_labels": count,
        "id2label": by_index,
        "label2id": by_name,
    });
    if apart {
        config["transformers.js_config"] = json!({ "use_external_data_format": true });
    }
    config
}

/// `preprocessor_config.json`.
pub(super) fn preprocessor(preprocess: &Preprocess) -> Value {
    let (height, width) = preprocess.crop.height_width();
    let exact = json!({ "height": height, "width": width });
    let resample = match preprocess.interpolation {
        Interpolation::Bilinear => 2,
        Interpolation::Bicubic => 3,
    };
    json!({
        "image_processor_type": "BitImageProcessor",
        "do_convert_rgb": true,
        "do_resize": true,
        "size": if preprocess.squash { exact.clone() } else { json!({ "shortest_edge": preprocess.resize }) },
        "resample": resample,
        "do_center_crop": !preprocess.squash,
        "crop_size": exact,
        "do_rescale": true,
        "rescale_factor": 1.0 / 255.0,
        "do_normalize": true,
        "image_mean": preprocess.mean,
        "image_std": preprocess.std,
    })
}
