//! Flags of what judges times: `bench` and `gate`.

use clap::Args;

use super::limits::{Aspect, Limits};

/// How much slower a run may be unless told.
pub(crate) const MAX_REGRESS: f64 = 0.05;

/// What is allowed.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct LimitArgs {
    /// By how much a run may take longer (5%, 0.05); a regression that is shown to be larger is exit code 1 [default: 5%]
    #[arg(long, value_name = "PERCENT", value_parser = fraction, help_heading = "Measuring")]
    pub(crate) max_regress: Option<f64>,
    /// Exit with 1 where no verdict can be given, too
    #[arg(long, help_heading = "Measuring")]
    pub(crate) strict: bool,
    /// Compare times although the measurements differ in this
    #[arg(long, value_enum, value_name = "WHAT,...", value_delimiter = ',', help_heading = "Measuring")]
    pub(crate) allow_different: Vec<Aspect>,
}

impl LimitArgs {
    /// What was asked for.
    pub(crate) fn limits(&self) -> Limits {
        let mut allowed = self.allow_different.clone();
        allowed.sort_unstable();
        allowed.dedup();
        Limits { max_regress: self.max_regress.unwrap_or(MAX_REGRESS), strict: self.strict, allowed }
    }
}

/// A share, as `5%` or `0.05`.
pub(crate) fn fraction(text: &str) -> Result<f64, String> {
    let number = |text: &str| text.trim().parse::<f64>().ok().filter(|number| number.is_finite() && *number >= 0.0);
    let parsed = match text.strip_suffix('%') {
        Some(percent) => number(percent).map(|percent| percent / 100.0),
        // 5 could mean 5% or 500%.
        None => number(text).filter(|number| *number < 1.0),
    };
    parsed.ok_or_else(|| "it must be a share from 0 on, such as 5% or 0.05".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_says_whether_it_is_percent() {
        assert_eq!((fraction("5%"), fraction("0.05"), fraction("0")), (Ok(0.05), Ok(0.05), Ok(0.0)));
        assert_eq!(fraction("150%"), Ok(1.5));
        for wrong in ["5", "1", "-1%", "", "%", "NaN%", "inf", "five"] {
            assert!(fraction(wrong).is_err(), "{wrong}");
        }
    }
}
