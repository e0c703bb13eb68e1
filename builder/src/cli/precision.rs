//! The flags that choose the arithmetic.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::build::BuildError;
use crate::calibration::Calibration;
use crate::passes::Half;

/// Arithmetic carried by the graph.
#[derive(Clone, Debug, Default, Args)]
pub struct PrecisionArgs {
    /// Type that the graph computes in
    #[arg(long, value_enum, default_value_t)]
    pub dtype: DtypeArg,
    /// Leave the graph's inputs and outputs f32
    #[arg(long)]
    pub keep_io_types: bool,
    /// Nodes to keep in f32, by their names in the graph
    #[arg(long, value_name = "NODE", value_delimiter = ',')]
    pub keep_f32: Vec<String>,
    /// Ranges of values that `resnext-run calibrate` measured: what would overflow f16 is refused
    #[arg(long, value_name = "FILE")]
    pub calibration: Option<PathBuf>,
}

/// `--dtype`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum DtypeArg {
    /// IEEE 754 binary32
    #[default]
    F32,
    /// IEEE 754 binary16: half the bytes, each weight rounded once
    F16,
    /// Not there yet: hidden until it is
    #[value(hide = true)]
    Int8,
}

impl PrecisionArgs {
    /// What to turn to f16, if anything, and the ranges to check against its limit.
    ///
    /// # Errors
    /// [`BuildError::Request`] and [`BuildError::Calibration`].
    pub fn choose(&self) -> Result<(Option<Half>, Option<Calibration>), BuildError> {
        let refuse = |text: &str| Err(BuildError::Request(text.into()));
        match self.dtype {
            DtypeArg::F16 => {
                let mut keep_f32: Vec<String> = Vec::new();
                for name in &self.keep_f32 {
                    if !keep_f32.contains(name) {
                        keep_f32.push(name.clone());
                    }
                }
                let calibration = self.calibration.as_deref().map(Calibration::read).transpose()?;
                Ok((Some(Half { keep_io_types: self.keep_io_types, keep_f32 }), calibration))
            }
            DtypeArg::Int8 => refuse("--dtype int8 is not built yet: use f32 or f16"),
            DtypeArg::F32 if self.keep_io_types || !self.keep_f32.is_empty() || self.calibration.is_some() => {
                refuse("--keep-io-types, --keep-f32 and --calibration go with --dtype f16; f32 needs none of them")
            }
            DtypeArg::F32 => Ok((None, None)),
        }
    }
}
