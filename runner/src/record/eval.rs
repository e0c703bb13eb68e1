//! An evaluation that was kept: what of it is needed to look at it again. Version 1 says pictures for images.

use serde::Deserialize;

use crate::model::opened::Loaded;

/// An evaluation.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Evaluation {
    /// Folder of the images.
    pub folder: String,
    /// Images in it.
    #[serde(alias = "pictures")]
    pub images: usize,
    /// One for each candidate.
    pub candidates: Vec<Candidate>,
    /// Every further candidate against the first.
    pub pairs: Vec<Pair>,
}

/// Accuracy of one model on one provider.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Candidate {
    /// Model file.
    pub model: String,
    /// Provider.
    pub provider: String,
    /// Absent where it could not be opened.
    pub loaded: Option<Loaded>,
    /// Images evaluated.
    #[serde(alias = "pictures")]
    pub images: usize,
    /// Images whose scores are NaN or infinite.
    pub not_finite: Vec<String>,
    /// Share whose best class is right.
    pub top1: Option<Rate>,
    /// Share whose right class is among the best five.
    pub top5: Option<Rate>,
    /// Every class that occurs.
    pub classes: Vec<Class>,
    /// Confusion matrix without its zeros.
    pub confusion: Vec<Cell>,
    /// What ended it.
    pub error: Option<serde_json::Value>,
}

/// A share with its interval.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
pub struct Rate {
    /// The share.
    pub proportion: f64,
    /// Its 95% interval.
    pub interval: [f64; 2],
}

/// A class.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Class {
    /// Its number.
    pub index: usize,
    /// Its name.
    pub label: Option<String>,
}

/// Images of one class that were taken for another, or the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub struct Cell {
    /// Their class.
    pub actual: usize,
    /// The class they were taken for.
    pub predicted: usize,
    /// How many.
    #[serde(alias = "pictures")]
    pub images: usize,
}

/// Two candidates on the same images.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Pair {
    /// Position of the candidate compared with the first.
    pub candidate: usize,
    /// Images that both evaluated.
    #[serde(alias = "pictures")]
    pub images: usize,
    /// Who is right where one is.
    pub mcnemar: McNemar,
}

/// Who is right where exactly one of two is.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
pub struct McNemar {
    /// The first.
    pub only_first: usize,
    /// The second.
    pub only_second: usize,
    /// How often equally good models differ this much.
    pub p_value: f64,
    /// Whether a difference is shown.
    pub difference_shown: bool,
}
