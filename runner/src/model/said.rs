//! What is said of a model besides its own properties: by the user, and by other programs, in the file or beside it.

use std::path::{Path, PathBuf};

use onnx_file::metadata::{Labels, Preprocess, Recipe, foreign};
use onnx_file::proto::ModelProto;
use onnx_file::{beside, open};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What the user says; it comes before all else.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Asked {
    /// The output that holds the classes.
    pub output: Option<String>,
    /// Whether a softmax makes probabilities of its numbers.
    pub softmax: Option<bool>,
    /// What the classes are called.
    pub labels: Option<Labels>,
    /// How images are prepared.
    pub preprocess: Option<AskedPreprocess>,
    /// The files that this was read from.
    pub files: Vec<PathBuf>,
}

/// How images are to be prepared.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum AskedPreprocess {
    /// By a recipe, for images as large as the model takes.
    Recipe(Recipe),
    /// Like this.
    Exactly(Preprocess),
}

/// Who says what the model's own properties do not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "by", content = "file")]
pub enum Source {
    /// Ultralytics' exporter, in the file.
    Ultralytics,
    /// A file beside the model.
    Beside(String),
}

/// What other programs say.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Foreign {
    /// Names of the classes.
    pub labels: Option<(Labels, Source)>,
    /// How images are prepared.
    pub preprocess: Option<(Preprocess, Source)>,
}

/// The files that timm, transformers and optimum put beside a model; the first that says something counts.
const BESIDE: [&str; 2] = ["preprocessor_config.json", "config.json"];

impl Foreign {
    /// What stands in the properties of `model`, and in the files beside `path`. What is not there, not understood or
    /// lies outside the model's folder is left out.
    pub fn read(path: &Path, model: &ModelProto) -> Foreign {
        let property = |key: &str| {
            let mut entries = model.metadata_props.iter().rev();
            entries.find(|entry| entry.key == key).map(|entry| entry.value.as_str())
        };
        let mut found = Foreign {
            labels: property("names").and_then(foreign::python_labels).map(|labels| (labels, Source::Ultralytics)),
            preprocess: property("task")
                .zip(property("imgsz"))
                .and_then(|(task, size)| foreign::ultralytics_preprocess(task, size))
                .map(|preprocess| (preprocess, Source::Ultralytics)),
        };
        for name in BESIDE {
            let Some(json) = read_json(path, name) else { continue };
            let source = || Source::Beside(name.to_owned());
            if found.preprocess.is_none() {
                found.preprocess = foreign::preprocess(&json).map(|preprocess| (preprocess, source()));
            }
            if found.labels.is_none() {
                found.labels = foreign::config_labels(&json).map(|labels| (labels, source()));
            }
        }
        found
    }
}

/// Where the files beside the model at `path` lie, be they there or not.
pub(crate) fn beside_model(path: &Path) -> impl Iterator<Item = PathBuf> {
    BESIDE.iter().map(move |name| path.with_file_name(name))
}

fn read_json(model: &Path, name: &str) -> Option<Value> {
    let file = beside::open(model, name).ok()?;
    serde_json::from_slice(&open::read_all(file, open::SMALL).ok()?).ok()
}
