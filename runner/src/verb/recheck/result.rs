//! What is said of kept results.

use onnx_file::exit::Exit;
use serde::Serialize;
use serde_json::Value;

use crate::exit::exit_of;
use crate::model::opened::ModelError;
use crate::record::{Kind, typed_value};
use crate::verb::regression::Gated;
use crate::verb::regression::limits::Aspect;

/// Results that were judged.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Rechecked {
    /// The limits that were given.
    pub limits: Asked,
    /// One for each result, in the order given.
    pub results: Vec<Judged>,
}

/// The limits that were given; all else is as it was.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Asked {
    /// Absolute tolerance.
    pub atol: Option<f64>,
    /// Relative tolerance.
    pub rtol: Option<f64>,
    /// Points of accuracy that may be lost.
    pub max_loss: Option<f64>,
    /// By which fraction a run may take longer.
    pub max_regress: Option<f64>,
    /// What two measurements may differ in, besides what was allowed before.
    pub allow_different: Vec<Aspect>,
    /// Whether what cannot be told fails.
    pub strict: bool,
}

/// What is said; of several the last in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// There is nothing in it to judge by these limits.
    None,
    /// It holds the limits.
    Passes,
    /// What was kept proves neither.
    CannotTell,
    /// There is no result, or an incomplete one.
    NoResult,
    /// Two measurements differ in what must be the same, or have no row in common.
    Refused,
    /// It does not hold them.
    Fails,
}

/// Something that was judged.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Item {
    /// What it is.
    pub name: String,
    /// What is said of it.
    pub verdict: Verdict,
    /// The number that was judged, where there is one.
    pub measured: Option<f64>,
    /// Its limit.
    pub limit: Option<f64>,
    /// What is allowed besides, relative to each element.
    pub relative_limit: Option<f64>,
    /// What the verdict calls for where nothing fails.
    #[serde(skip)]
    pub exit: Option<Exit>,
}

impl Item {
    /// A verdict without a number.
    pub fn new(name: impl Into<String>, verdict: Verdict) -> Item {
        Item { name: name.into(), verdict, measured: None, limit: None, relative_limit: None, exit: None }
    }

    /// What gave no result, or an incomplete one, with its error as it was kept.
    pub fn no_result(name: String, error: &Value) -> Item {
        // Version 1 may have the sentence alone.
        let exit = typed_value::<ModelError>(error).map_or(Exit::Unavailable, |error| exit_of(&error));
        Item { exit: Some(exit), ..Item::new(name, Verdict::NoResult) }
    }
}

/// A result that was judged.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Judged {
    /// Its file.
    pub file: String,
    /// Which verb it is of.
    #[serde(rename = "of")]
    pub kind: Kind,
    /// What is said of it: the worst of its items.
    pub verdict: Verdict,
    /// What was said of it by the limits that it was judged by.
    pub kept_verdict: Verdict,
    /// Whether that is a failure.
    pub fails: bool,
    /// What was judged.
    pub items: Vec<Item>,
    /// Where it is a comparison of times: all of it, as `gate` writes it.
    pub gate: Option<Gated>,
}
