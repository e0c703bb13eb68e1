//! A model on a provider that has yet to be opened: what every measuring verb is given, in the order asked for.

use std::path::Path;

use super::file::ModelFile;
use super::opened::{Model, ModelError};

/// Opens a model file on the candidate's provider: loads it, probes it, and says why not where it cannot.
///
/// The path is a parameter because a search for a diverging layer opens variants of the candidate's own file.
pub type Open<'a> = Box<dyn FnMut(&Path) -> Result<Box<dyn Model + 'a>, ModelError> + 'a>;

/// One model on one provider.
pub struct Candidate<'a> {
    /// The model file.
    pub file: &'a ModelFile,
    /// Provider, as asked for: `cpu`, `openvino`, ...
    pub provider: String,
    /// Opens it.
    pub open: Open<'a>,
}

impl<'a> Candidate<'a> {
    /// Opens the candidate's own file.
    ///
    /// # Errors
    /// [`ModelError`], as the opener says.
    pub fn open(&mut self) -> Result<Box<dyn Model + 'a>, ModelError> {
        (self.open)(&self.file.path)
    }

    /// Provider and file name, for people.
    pub fn name(&self) -> String {
        format!("{} {}", self.provider, self.file.name())
    }
}

/// Makes candidates of model files, on the provider to tune for.
pub trait Candidates {
    /// One for each file, to run the given numbers of images at once.
    fn of<'a>(&'a self, files: &'a [ModelFile], batches: &[usize]) -> Vec<Candidate<'a>>;
}

/// What a long-running verb is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Opening a candidate.
    Loading,
    /// Runs that do not count.
    WarmingUp,
    /// Timed runs.
    Measuring,
    /// Running a candidate to compare its outputs.
    Comparing,
    /// Classifying images.
    Classifying,
    /// Classifying labelled images.
    Evaluating,
    /// Collecting ranges.
    Calibrating,
}

/// How far a long-running verb has come.
#[derive(Clone, Debug, PartialEq)]
pub struct Progress {
    /// What is being done.
    pub phase: Phase,
    /// To what: a candidate, an image, block outputs; empty where the phase says all.
    pub subject: String,
    /// Round of a search that this is part of.
    pub round: Option<String>,
    /// Steps done.
    pub done: usize,
    /// Steps in all, as far as known.
    pub total: usize,
}

impl Progress {
    /// Progress outside a search.
    pub fn new(phase: Phase, subject: impl Into<String>, done: usize, total: usize) -> Progress {
        Progress { phase, subject: subject.into(), round: None, done, total }
    }
}
