//! The flags that choose passes, and those of `optimize`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::ExternalArg;
use crate::build::BuildError;
use crate::optimize;
use crate::passes::{Lowering, Width};
use crate::target::{Rationale, Target};
use crate::tuning::Tuning;

/// Which passes to run.
#[derive(Clone, Debug, Default, Args)]
pub struct LoweringArgs {
    /// Keep BatchNormalization nodes
    #[arg(long)]
    pub no_fold_bn: bool,
    /// Compile for a provider; 'cpu' is the processor of this machine
    #[arg(long, value_enum, default_value_t)]
    pub target: TargetArg,
    /// Widen grouped convolutions to at least N channels a group, with exact zero blocks; a list gives each stage its own
    #[arg(long, value_name = "N|LIST", value_delimiter = ',', conflicts_with = "target")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=65536))]
    pub group_width: Vec<u32>,
    /// Replace each strided 1x1 Conv by a strided 1x1 MaxPool and a stride-1 Conv (same result)
    #[arg(long, conflicts_with = "target")]
    pub subsample: bool,
    /// Use what `resnext-run tune` found
    #[arg(long, value_name = "FILE", conflicts_with_all = ["target", "group_width", "subsample"])]
    pub tuning: Option<PathBuf>,
}

/// `--target`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum TargetArg {
    /// Any runtime
    #[default]
    Portable,
    /// onnxruntime's CPU provider on this machine's processor
    Cpu,
    /// onnxruntime's CPU provider with AVX-512
    CpuAvx512,
    /// onnxruntime's CPU provider with AVX2
    CpuAvx2,
    /// OpenVINO on a CPU
    #[value(name = "openvino")]
    OpenVino,
    /// onnxruntime's CUDA provider
    Cuda,
    /// TensorRT
    #[value(name = "tensorrt")]
    TensorRt,
}

impl From<TargetArg> for Target {
    fn from(argument: TargetArg) -> Self {
        match argument {
            TargetArg::Portable => Self::Portable,
            TargetArg::Cpu => Self::of_this_processor(),
            TargetArg::CpuAvx512 => Self::CpuAvx512,
            TargetArg::CpuAvx2 => Self::CpuAvx2,
            TargetArg::OpenVino => Self::OpenVino,
            TargetArg::Cuda => Self::Cuda,
            TargetArg::TensorRt => Self::TensorRt,
        }
    }
}

impl LoweringArgs {
    /// The passes, and what they were chosen for.
    ///
    /// # Errors
    /// [`BuildError::Tuning`].
    pub fn choose(&self) -> Result<(Lowering, Rationale), BuildError> {
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
            None => (target.lowering(), target.into()),
        };
        Ok((Lowering { fold_bn: !self.no_fold_bn, ..lowering }, rationale))
    }
}

/// `optimize`.
#[derive(Debug, Args)]
pub struct OptimizeArgs {
    /// ONNX model
    pub input: PathBuf,
    /// Where to write the rewritten model
    #[arg(short, long, value_name = "FILE")]
    pub output: PathBuf,
    /// Which passes to run.
    #[command(flatten)]
    pub lowering: LoweringArgs,
    /// Weights in a file of their own: auto where protobuf's 2 GiB limit needs it
    #[arg(long, value_enum, default_value_t)]
    pub external_data: ExternalArg,
    /// Replace an existing output
    #[arg(long)]
    pub force: bool,
    /// No summary
    #[arg(short, long)]
    pub quiet: bool,
    /// What was rewritten and declined, as JSON on standard output
    #[arg(long)]
    pub json: bool,
}

impl OptimizeArgs {
    /// What to do.
    ///
    /// # Errors
    /// [`BuildError::Tuning`].
    pub fn plan(&self) -> Result<optimize::Plan, BuildError> {
        let (lowering, rationale) = self.lowering.choose()?;
        Ok(optimize::Plan {
            input: self.input.clone(),
            output: self.output.clone(),
            force: self.force,
            lowering,
            rationale,
            external: self.external_data.into(),
            files: self.lowering.tuning.iter().cloned().collect(),
        })
    }
}
