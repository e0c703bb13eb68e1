//! The flags of `bundle`.

use std::path::PathBuf;

use clap::Args;

use super::DescriptionArgs;
use crate::build::BuildError;
use crate::bundle::{Format, Plan};

/// `bundle`.
#[derive(Debug, Args)]
pub struct BundleArgs {
    /// ONNX model, of these programs or of others
    pub model: PathBuf,
    /// Folder to write
    #[arg(help_heading = "Output", short, long, value_name = "DIR")]
    pub output: PathBuf,
    /// Stacks that must be able to take it [default: all that can]
    #[arg(id = "for", help_heading = "Output", long, value_enum, value_name = "LIST", value_delimiter = ',')]
    pub formats: Vec<Format>,
    /// Name of the model [default: the network's, or the file's]
    #[arg(help_heading = "Output", long, value_name = "NAME")]
    pub name: Option<String>,
    /// The same model in f16
    #[arg(help_heading = "Input", long, value_name = "FILE")]
    pub f16: Option<PathBuf>,
    /// The same model in int8
    #[arg(help_heading = "Input", long, value_name = "FILE")]
    pub int8: Option<PathBuf>,
    /// Evaluations to tell of in the card: the JSON of `resnext-run eval`
    #[arg(help_heading = "Input", long, value_name = "FILE", num_args = 1..)]
    pub results: Vec<PathBuf>,
    /// Labels and preprocessing, where the file says none, or others.
    #[command(flatten)]
    pub description: DescriptionArgs,
    /// Replace a bundle that is there
    #[arg(help_heading = "Output", long)]
    pub force: bool,
    /// What was written, as JSON on standard output
    #[arg(help_heading = "Display", long)]
    pub json: bool,
    /// No summary
    #[arg(help_heading = "Display", short, long)]
    pub quiet: bool,
}

impl BundleArgs {
    /// What to write.
    ///
    /// # Errors
    /// [`BuildError`] for labels and preprocessing that cannot be read.
    pub fn plan(&self) -> Result<Plan, BuildError> {
        Ok(Plan {
            model: self.model.clone(),
            output: self.output.clone(),
            name: self.name.clone(),
            formats: self.formats.clone(),
            f16: self.f16.clone(),
            int8: self.int8.clone(),
            results: self.results.clone(),
            labels: self.description.labels()?,
            preprocess: self.description.preprocess()?,
            force: self.force,
            files: self.description.files().collect(),
        })
    }
}
