//! A model on a provider that has yet to be opened: what every measuring verb is given, in the order asked for.

use std::path::Path;

use onnx_file::digest;

use super::coverage::Coverage;
use super::demand::Demand;
use super::file::{ImageInput, MetadataError, ModelFile};
use super::opened::{Model, ModelError};
use super::precision::Precision;

/// Opens a model file on the candidate's provider: loads it, probes it, and says why not where it cannot.
///
/// The path is a parameter because a search for a diverging layer opens variants of the candidate's own file.
pub type Open<'a> = Box<dyn FnMut(&Path) -> Result<Box<dyn Model + 'a>, ModelError> + 'a>;

/// One model on one provider.
pub struct Candidate<'a> {
    /// What results call the model: the path of its file, or the name that a server has for it.
    pub model: String,
    /// Its file, where it lies here.
    pub file: Option<&'a ModelFile>,
    /// Provider, as asked for: `cpu`, `openvino`, ...
    pub provider: String,
    /// Opens it.
    pub open: Open<'a>,
}

impl<'a> Candidate<'a> {
    /// A model whose file lies here.
    pub fn of_file(file: &'a ModelFile, provider: impl Into<String>, open: Open<'a>) -> Candidate<'a> {
        Candidate { model: file.shown().display().to_string(), file: Some(file), provider: provider.into(), open }
    }

    /// Opens the candidate's own model.
    ///
    /// # Errors
    /// [`ModelError`], as the opener says.
    pub fn open(&mut self) -> Result<Box<dyn Model + 'a>, ModelError> {
        let own = self.file.map_or(Path::new(&self.model), |file| &file.path);
        (self.open)(own)
    }

    /// Which multiplications run in integers; `None` where its file is not quantized or the runtime does not tell.
    ///
    /// # Errors
    /// [`ModelError`], as the opener says.
    pub fn coverage(&mut self) -> Result<Option<Coverage>, ModelError> {
        match self.file {
            Some(file) if file.precision == Precision::Int8 => self.open()?.coverage(),
            _ => Ok(None),
        }
    }

    /// Provider and model, for people.
    pub fn name(&self) -> String {
        format!("{} {}", self.provider, self.file.map_or_else(|| self.model.clone(), ModelFile::name))
    }

    /// SHA-256 of its file.
    pub fn sha256(&self) -> Option<String> {
        self.file.and_then(|file| digest::file(&file.path).ok())
    }

    /// Its file, for what reads more than a run can tell: the graph, labels, how images are prepared.
    ///
    /// # Errors
    /// [`MetadataError::NoFile`] where it does not lie here.
    pub fn needed_file(&self) -> Result<&'a ModelFile, MetadataError> {
        self.file.ok_or_else(|| MetadataError::NoFile { model: self.model.clone() })
    }

    /// The input that takes images: as the opened model declares it, or, where it declares none, as its file does.
    ///
    /// # Errors
    /// [`ModelError::BadModel`] where there is none, or the model needs other inputs besides.
    pub fn image_input(&self, model: &dyn Model) -> Result<ImageInput, ModelError> {
        let bad = |error: String| ModelError::BadModel(error);
        match self.file {
            Some(file) if model.inputs().is_empty() => file.image_input().map_err(|error| bad(error.to_string())),
            _ => ImageInput::among(model.inputs()).map_err(|reason| bad(format!("{}: {reason}", self.model))),
        }
    }
}

/// Makes candidates of model files, on the provider to tune for.
pub trait Candidates {
    /// One for each file, to run on inputs of the given shapes.
    fn of<'a>(&'a self, files: &'a [ModelFile], demands: &[Demand]) -> Vec<Candidate<'a>>;
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
