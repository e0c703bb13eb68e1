//! Flags of `recheck`.

use std::path::PathBuf;

use clap::Args;

use super::result::Asked;
use crate::verb::flags::Exports;
use crate::verb::regression::flags::fraction;
use crate::verb::regression::limits::Aspect;

/// `recheck`.
#[derive(Debug, Args)]
pub struct Recheck {
    /// Results of any verb, as `--export-json` wrote them, or report pages
    #[arg(required = true, value_name = "RESULTS.json")]
    pub(crate) results: Vec<PathBuf>,
    /// Absolute tolerance of outputs, instead of the one they were judged by
    #[arg(long, value_name = "X", value_parser = from_zero, help_heading = "Measuring")]
    pub(crate) atol: Option<f64>,
    /// Relative tolerance of outputs, likewise
    #[arg(long, value_name = "X", value_parser = from_zero, help_heading = "Measuring")]
    pub(crate) rtol: Option<f64>,
    /// Points of accuracy that may be lost against the first candidate, or the file that an int8 file was made of
    #[arg(long, value_name = "POINTS", value_parser = from_zero, help_heading = "Measuring")]
    pub(crate) max_loss: Option<f64>,
    /// By how much a run may take longer (5%, 0.05); judges a measurement that was judged by nothing, too
    #[arg(long, value_name = "PERCENT", value_parser = fraction, help_heading = "Measuring")]
    pub(crate) max_regress: Option<f64>,
    /// Compare times although the measurements differ in this
    #[arg(long, value_enum, value_name = "WHAT,...", value_delimiter = ',', help_heading = "Measuring")]
    pub(crate) allow_different: Vec<Aspect>,
    /// Exit with 1 where no verdict can be given, too
    #[arg(long, help_heading = "Measuring")]
    pub(crate) strict: bool,
    #[command(flatten)]
    pub(crate) exports: Exports,
}

impl Recheck {
    /// The limits that were given.
    pub(crate) fn asked(&self) -> Asked {
        Asked {
            atol: self.atol,
            rtol: self.rtol,
            max_loss: self.max_loss,
            max_regress: self.max_regress,
            allow_different: self.allow_different.clone(),
            strict: self.strict,
        }
    }
}

fn from_zero(text: &str) -> Result<f64, String> {
    let parsed = text.parse::<f64>().ok().filter(|number| number.is_finite() && *number >= 0.0);
    parsed.ok_or_else(|| "it must be a number from 0 on".to_owned())
}
