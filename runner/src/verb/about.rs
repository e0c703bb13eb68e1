//! Flags that say of a model what its file does not: outputs, labels, preprocessing.

use std::path::{Path, PathBuf};

use clap::Args;
use onnx_file::exit::Exit;
use onnx_file::metadata::{Labels, Preprocess, Recipe, foreign};
use onnx_file::open;

use crate::exit::Failure;
use crate::model::file::ModelFile;
use crate::model::output::ClassOutput;
use crate::model::said::{Asked, AskedPreprocess};

/// Stands for ImageNet's names of classes, where a file of them could be given.
const IMAGENET: &str = "imagenet";

/// How images are prepared.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct Preparation {
    /// How images are prepared, instead of what the model says: `v1` or `v2` (torchvision's recipes), or a JSON file
    #[arg(long, value_name = "v1|v2|FILE", help_heading = "Model")]
    preprocess: Option<PathBuf>,
}

/// Which output holds the classes, and what they are called.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct About {
    /// Output that holds the classes, where a model has several
    #[arg(long, value_name = "NAME", help_heading = "Model")]
    use_output: Option<String>,
    /// Take its numbers for logits: a softmax makes probabilities of them (read from the graph unless given)
    #[arg(long, conflicts_with = "no_softmax", help_heading = "Model")]
    softmax: bool,
    /// Take its numbers as they are: no softmax
    #[arg(long, help_heading = "Model")]
    no_softmax: bool,
    /// Names of the classes, one a line or JSON, or `imagenet`, instead of those in the model
    #[arg(long, value_name = "FILE", help_heading = "Model")]
    pub(crate) labels: Option<PathBuf>,
    #[command(flatten)]
    preparation: Preparation,
}

impl Preparation {
    /// What was asked for.
    pub(crate) fn asked(&self) -> Result<Asked, Failure> {
        let Some(path) = &self.preprocess else { return Ok(Asked::default()) };
        let recipe = |recipe| Asked { preprocess: Some(AskedPreprocess::Recipe(recipe)), ..Asked::default() };
        match path.to_str() {
            Some("v1") => return Ok(recipe(Recipe::V1)),
            Some("v2") => return Ok(recipe(Recipe::V2)),
            _ => {}
        }
        let text = read(path)?;
        let known = serde_json::from_str(&text).ok().as_ref().and_then(foreign::preprocess);
        let parsed = known.map_or_else(|| Preprocess::parse(&text), Ok).map_err(|error| {
            let shape = r#"{"resize":232,"crop":224,"interpolation":"bilinear","mean":[0.485,0.456,0.406],"std":[0.229,0.224,0.225]}"#;
            bad(path, &format!("{error}; it should look like {shape}"))
        })?;
        let preprocess = Some(AskedPreprocess::Exactly(parsed));
        Ok(Asked { preprocess, files: vec![path.clone()], ..Asked::default() })
    }
}

impl About {
    /// What was asked for.
    pub(crate) fn asked(&self) -> Result<Asked, Failure> {
        let softmax = match (self.softmax, self.no_softmax) {
            (true, _) => Some(true),
            (_, true) => Some(false),
            _ => None,
        };
        let labels = self.labels.as_deref().map(labels).transpose()?;
        let mut asked = self.preparation.asked()?;
        asked.files.extend(self.labels.clone().filter(|path| path != Path::new(IMAGENET)));
        Ok(Asked { output: self.use_output.clone(), softmax, labels, ..asked })
    }
}

/// Tells the models what was asked for, and lets each choose the output that holds its classes.
pub(crate) fn tell(files: &mut [ModelFile], asked: &Asked) -> Result<(), Failure> {
    for file in files {
        file.asked = asked.clone();
        // From now on no other output is fetched.
        file.fetched = Some(ClassOutput::of(file)?.fetched());
    }
    Ok(())
}

/// Names of classes, by index: `imagenet`, JSON in any usual form, or one a line.
pub(crate) fn labels(path: &Path) -> Result<Labels, Failure> {
    if path == Path::new(IMAGENET) {
        return Ok(Labels::imagenet());
    }
    let text = read(path)?;
    let json: Option<serde_json::Value> = serde_json::from_str(&text).ok();
    let labels = match json.filter(|json| json.is_object() || json.is_array()) {
        Some(json) => foreign::labels(&json).ok_or_else(|| {
            bad(path, "this JSON holds no labels as known here: a list, id2label, label_names, or a map of classes")
        })?,
        None => foreign::python_labels(&text).unwrap_or_else(|| Labels::parse(&text)),
    };
    if labels.names.is_empty() {
        return Err(bad(path, "it names no classes; write one a line"));
    }
    Ok(labels)
}

fn read(path: &Path) -> Result<String, Failure> {
    open::read_text(path, open::SMALL)
        .map_err(|error| Failure::new(Exit::BadInput, format!("cannot read {}: {error}", path.display())))
}

fn bad(path: &Path, reason: &str) -> Failure {
    Failure::new(Exit::BadInput, format!("{}: {reason}", path.display()))
}
