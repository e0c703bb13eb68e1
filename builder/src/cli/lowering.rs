//! The flags that choose passes, and those of `optimize`.

use std::path::PathBuf;

use clap::builder::PossibleValue;
use clap::{Args, ValueEnum};

use super::{DescriptionArgs, EndsArgs};
use crate::build::{BuildError, External};
use crate::optimize;
use crate::output::DataName;
use crate::passes::{Lowering, Pass, Width};
use crate::precision::Dtype;
use crate::target::{Rationale, Target};
use crate::tuning::Tuning;

use super::precision::PrecisionArgs;

/// Which passes to run.
#[derive(Clone, Debug, Default, Args)]
pub struct LoweringArgs {
    /// Keep BatchNormalization nodes
    #[arg(help_heading = "Lowering", long)]
    pub no_fold_bn: bool,
    /// Compile for a provider; 'cpu' is the processor of this machine
    #[arg(help_heading = "Lowering", long, value_enum, default_value_t)]
    pub target: TargetChoice,
    /// Widen grouped convolutions to at least N channels a group, with exact zero blocks; a list gives each stage its own
    #[arg(help_heading = "Lowering", long, value_name = "N|LIST", value_delimiter = ',', conflicts_with = "target")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=65536))]
    pub group_width: Vec<u32>,
    /// Replace each strided 1x1 Conv by a strided 1x1 MaxPool and a stride-1 Conv (same result)
    #[arg(help_heading = "Lowering", long, conflicts_with = "target")]
    pub subsample: bool,
    /// Use what `resnext-run tune` found
    #[arg(help_heading = "Lowering", long, value_name = "FILE", conflicts_with_all = ["target", "group_width", "subsample"])]
    pub tuning: Option<PathBuf>,
    /// Run no pass after this one: to find the pass that a fault comes from
    #[arg(help_heading = "Lowering", long, value_name = "PASS", value_enum)]
    pub stop_after: Option<Pass>,
}

/// `--target`: one of the library's targets, or that of this machine's processor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TargetChoice {
    /// `cpu`.
    ThisProcessor,
    /// By its name.
    Named(Target),
}

impl Default for TargetChoice {
    fn default() -> Self {
        Self::Named(Target::default())
    }
}

impl ValueEnum for TargetChoice {
    fn value_variants<'a>() -> &'a [Self] {
        const CHOICES: [TargetChoice; 1 + Target::ALL.len()] = {
            let mut choices = [TargetChoice::ThisProcessor; 1 + Target::ALL.len()];
            let mut index = 0;
            while index < Target::ALL.len() {
                choices[index + 1] = TargetChoice::Named(Target::ALL[index]);
                index += 1;
            }
            choices
        };
        &CHOICES
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        match self {
            Self::ThisProcessor => {
                Some(PossibleValue::new("cpu").help("onnxruntime's CPU provider on this machine's processor"))
            }
            Self::Named(target) => target.to_possible_value(),
        }
    }
}

impl From<TargetChoice> for Target {
    fn from(choice: TargetChoice) -> Self {
        match choice {
            TargetChoice::ThisProcessor => Self::of_this_processor(),
            TargetChoice::Named(target) => target,
        }
    }
}

impl LoweringArgs {
    /// The passes, and what they were chosen for.
    ///
    /// # Errors
    /// [`BuildError::Tuning`].
    pub fn choose(&self, dtype: Dtype) -> Result<(Lowering, Rationale), BuildError> {
        let target = Target::from(self.target);
        let (lowering, rationale) = match &self.tuning {
            Some(path) => {
                let tuning = Tuning::read(path)?;
                (tuning.lowering(), tuning.rationale())
            }
            None if !self.group_width.is_empty() || self.subsample => {
                let group_widths = self.group_width.iter().map(|&n| Width::at_least(n as usize)).collect();
                (Lowering { group_widths, subsample: self.subsample, ..Lowering::default() }, Rationale::default())
            }
            None => (target.lowering(dtype), Rationale::of(target, dtype)),
        };
        Ok((Lowering { fold_bn: !self.no_fold_bn, stop_after: self.stop_after, ..lowering }, rationale))
    }
}

/// `optimize`.
#[derive(Debug, Args)]
pub struct OptimizeArgs {
    /// ONNX model; '-' is standard input
    pub input: PathBuf,
    /// Where to write the rewritten model; '-' is standard output
    #[arg(help_heading = "Output", short, long, value_name = "FILE")]
    pub output: PathBuf,
    /// Which passes to run.
    #[command(flatten)]
    pub lowering: LoweringArgs,
    /// Arithmetic carried by the graph.
    #[command(flatten)]
    pub precision: PrecisionArgs,
    /// What to store of labels and preprocessing.
    #[command(flatten)]
    pub description: DescriptionArgs,
    /// Names, layout and type of what goes in and comes out.
    #[command(flatten)]
    pub ends: EndsArgs,
    /// Weights in a file of their own: auto where protobuf's 2 GiB limit needs it
    #[arg(help_heading = "Output", long, value_enum, default_value_t)]
    pub external_data: External,
    /// Name of the file for weights, in the model's folder (a kill while an old one is replaced may leave it with the old model) [default: the model's, with a digest]
    #[arg(help_heading = "Output", long, value_name = "NAME")]
    pub external_data_name: Option<String>,
    /// Take initializers that are also inputs of the model for constants: nobody feeds them (below IR 4 they are)
    #[arg(help_heading = "Input", long)]
    pub constant_initializers: bool,
    /// Replace an existing output
    #[arg(help_heading = "Output", long)]
    pub force: bool,
    /// No summary
    #[arg(help_heading = "Display", short, long)]
    pub quiet: bool,
    /// What was rewritten and declined, as JSON on standard output
    #[arg(help_heading = "Display", long)]
    pub json: bool,
}

impl OptimizeArgs {
    /// What to do.
    ///
    /// # Errors
    /// [`BuildError::Tuning`].
    pub fn plan(&self) -> Result<optimize::Plan, BuildError> {
        let (mut lowering, rationale) = self.lowering.choose(self.precision.dtype)?;
        let calibration;
        (lowering.precision, calibration) = self.precision.choose(self.lowering.target.into())?;
        let named = self.lowering.tuning.iter().chain(&self.precision.calibration).cloned();
        Ok(optimize::Plan {
            input: self.input.clone(),
            output: self.output.clone(),
            force: self.force,
            lowering,
            rationale,
            external: self.external_data,
            data_name: self.external_data_name.as_deref().map(DataName::parse).transpose()?,
            ends: self.ends.ends(),
            constant_initializers: self.constant_initializers,
            calibration,
            labels: self.description.labels()?,
            preprocess: self.description.preprocess()?,
            files: named.chain(self.description.files()).collect(),
        })
    }
}
