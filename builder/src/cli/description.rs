//! Flags that say what a model's file tells of its images and classes.

use std::path::{Path, PathBuf};

use clap::Args;
use onnx_file::metadata::{Labels, Preprocess, Recipe};
use onnx_file::open;

use crate::build::{BuildError, LabelsChoice, PreprocessChoice};
use crate::sidecar;

/// What to store of labels and preprocessing.
#[derive(Clone, Debug, Default, Args)]
pub struct DescriptionArgs {
    /// Labels to store, one a line by class index; 'imagenet' for ImageNet-1k's
    #[arg(help_heading = "Output", long, value_name = "FILE|imagenet")]
    pub labels: Option<PathBuf>,
    /// Preprocessing to store: v1 (resize 256), v2 (resize 232), or a JSON file
    #[arg(help_heading = "Output", long, value_name = "v1|v2|FILE")]
    pub preprocess: Option<PathBuf>,
}

impl DescriptionArgs {
    /// The labels asked for.
    ///
    /// # Errors
    /// [`BuildError`] for a file that cannot be read, or holds no labels.
    pub fn labels(&self) -> Result<LabelsChoice, BuildError> {
        match &self.labels {
            None => Ok(LabelsChoice::Known),
            Some(path) if path == Path::new("imagenet") => Ok(LabelsChoice::ImageNet),
            Some(path) => {
                let text = read_text(path)?;
                let json = serde_json::from_str(&text).ok();
                let known = json.as_ref().and_then(sidecar::labels);
                if known.is_none() && json.is_some_and(|json: serde_json::Value| json.is_object() || json.is_array()) {
                    let text = format!(
                        "{}: this JSON holds no labels as known here: a list, id2label, label_names, or a map of classes",
                        path.display()
                    );
                    return Err(BuildError::Request(text));
                }
                Ok(LabelsChoice::Given(known.unwrap_or_else(|| Labels::parse(&text))))
            }
        }
    }

    /// The preprocessing asked for.
    ///
    /// # Errors
    /// [`BuildError`] for a file that cannot be read, or holds no preprocessing.
    pub fn preprocess(&self) -> Result<PreprocessChoice, BuildError> {
        let Some(path) = &self.preprocess else { return Ok(PreprocessChoice::Known) };
        match path.to_str() {
            Some("v1") => return Ok(PreprocessChoice::Recipe(Recipe::V1)),
            Some("v2") => return Ok(PreprocessChoice::Recipe(Recipe::V2)),
            _ => {}
        }
        let wrong = |reason: String| {
            let shape = r#"{"resize":232,"crop":224,"interpolation":"bilinear","mean":[0.485,0.456,0.406],"std":[0.229,0.224,0.225]}"#;
            BuildError::Request(format!("{}: {reason}; it should look like {shape}", path.display()))
        };
        let text = read_text(path)?;
        let known = serde_json::from_str(&text).ok().as_ref().and_then(sidecar::preprocess);
        let parsed = known.map_or_else(|| Preprocess::parse(&text), Ok);
        let given = parsed.map_err(|error| wrong(error.to_string()))?;
        Ok(PreprocessChoice::Given(given))
    }

    /// The files among them: some values are words for what is built in, and a file of that name is nobody's input.
    pub fn files(&self) -> impl Iterator<Item = PathBuf> {
        let word = |path: &&PathBuf| path.to_str().is_some_and(|path| ["imagenet", "v1", "v2"].contains(&path));
        self.labels.iter().chain(&self.preprocess).filter(move |path| !word(path)).cloned()
    }
}

fn read_text(path: &Path) -> Result<String, BuildError> {
    open::read_text(path, open::SMALL).map_err(|source| BuildError::Read { path: path.display().to_string(), source })
}
