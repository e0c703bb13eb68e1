//! The lowering passes on an existing model, whoever exported it.
//!
//! The convolutions and normalisations that can be proven are extracted into a [`Graph`] whose inputs
//! are whatever the rest of the model feeds them; the passes run there; what changed is spliced in. Every
//! other node passes through as it is.

mod extract;
mod splice;
mod write;

use std::io;
use std::path::{Path, PathBuf};
use std::time::Instant;

use onnx_file::exit::Exit;
use onnx_file::proto::{ModelProto, StringStringEntryProto};
use onnx_file::raw::TensorError;
use onnx_file::read::{ReadError, Whole};
use serde::Serialize;

use crate::build::External;
use crate::graph::{Graph, ValueId};
use crate::output::{overwritten, refusal};
use crate::passes::{self, Lowering, PassRun, Stage};
use crate::target::Rationale;
use crate::validate::{GraphError, validate};

/// Version of [`Optimized`] as JSON.
pub const SCHEMA_VERSION: u32 = 1;

/// What to do.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The model.
    pub input: PathBuf,
    /// Where the rewritten model goes.
    pub output: PathBuf,
    /// Replace an existing output.
    pub force: bool,
    /// Passes to run.
    pub lowering: Lowering,
    /// What they were chosen for.
    pub rationale: Rationale,
    /// When weights go into a file of their own.
    pub external: External,
    /// Other files that were read for this plan: the output can be none of them.
    pub files: Vec<PathBuf>,
}

/// What was done.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Optimized {
    /// [`SCHEMA_VERSION`].
    pub schema_version: u32,
    /// The model.
    pub input: String,
    /// What the passes were chosen for.
    pub target: String,
    /// Why they were chosen.
    pub reasons: Vec<String>,
    /// Passes that ran.
    pub passes: Vec<PassRun>,
    /// Nodes of the model.
    pub nodes: usize,
    /// Nodes that passed through as they were.
    pub untouched: usize,
    /// Nodes that changed.
    pub rewritten: Vec<Rewrite>,
    /// Grouped convolutions and normalisations that did not, and why.
    pub declined: Vec<Declined>,
    /// Files written, the model last.
    pub files: Vec<PathBuf>,
    /// Bytes of all files.
    pub bytes: u64,
    /// Seconds from file to file.
    pub seconds: f64,
}

/// A node that changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Rewrite {
    /// Its name.
    pub node: String,
    /// What it was.
    pub from: String,
    /// What it is.
    pub to: String,
}

/// A node that a pass was meant for and that stayed as it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Declined {
    /// Its name.
    pub node: String,
    /// Its operator.
    pub op: String,
    /// Why.
    pub reason: String,
}

/// Why a model was not rewritten.
#[derive(Debug, thiserror::Error)]
pub enum OptimizeError {
    /// The request.
    #[error("{0}")]
    Request(String),
    /// The model could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// One of its tensors is damaged.
    #[error("{path}: {source}")]
    Tensor {
        /// The model.
        path: String,
        /// Which.
        source: TensorError,
    },
    /// A weight that came out infinite or not a number.
    #[error(
        "{path}: the weight of '{node}' is not finite after folding; its normalisation is broken, or try --no-fold-bn"
    )]
    NotFinite {
        /// The model.
        path: String,
        /// The convolution.
        node: String,
    },
    /// Two gibibytes or more with external data forbidden.
    #[error(
        "the model takes {bytes} bytes, more than the 2,147,483,647 a protobuf file can hold; use --external-data auto"
    )]
    TooLarge {
        /// Bytes of the model.
        bytes: u64,
    },
    /// A bug in a pass.
    #[error("internal error: a pass left an invalid graph: {0}")]
    Graph(#[from] GraphError),
    /// The output could not be written.
    #[error("cannot write {path}: {source}; the old file, if any, is as it was")]
    Output {
        /// The file.
        path: String,
        /// What the system said.
        source: io::Error,
    },
}

impl OptimizeError {
    /// How the program ends with this error.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Request(_) | Self::TooLarge { .. } => Exit::Usage,
            Self::Read(_) | Self::Tensor { .. } | Self::NotFinite { .. } => Exit::BadInput,
            Self::Output { .. } => Exit::Output,
            Self::Graph(_) => Exit::Internal,
        }
    }
}

/// A model in memory, external data included.
#[derive(Clone, Debug)]
pub struct Model {
    path: PathBuf,
    proto: ModelProto,
    data_files: Vec<PathBuf>,
}

impl Model {
    /// Reads the file at `path`, and the data files it names.
    ///
    /// # Errors
    /// [`OptimizeError::Read`].
    pub fn read(path: &Path) -> Result<Self, OptimizeError> {
        let Whole { model, data_files } = onnx_file::read::read_whole(path)?;
        Ok(Self { path: path.to_owned(), proto: model, data_files })
    }

    /// The stages of its grouped convolutions.
    pub fn stages(&self) -> Vec<Stage> {
        self.proto.graph.as_ref().map(|graph| passes::stages(&extract::extract(graph).graph)).unwrap_or_default()
    }

    /// How many places of it a pass of `lowering` would rewrite.
    ///
    /// # Errors
    /// [`OptimizeError::Request`] where `lowering` asks for what this model has not.
    pub fn rewrites(&self, lowering: &Lowering, pass: &str) -> Result<usize, OptimizeError> {
        let Some(graph) = &self.proto.graph else { return Ok(0) };
        let applied = run(&mut extract::extract(graph).graph, lowering)?;
        Ok(applied.iter().filter(|applied| applied.pass == pass).map(|applied| applied.rewrites).sum())
    }

    /// Runs the passes of `lowering` on it and writes it to `output`, replacing what is there.
    ///
    /// # Errors
    /// [`OptimizeError`]; no output is left behind, and an old one stays as it was.
    pub fn lower(
        mut self,
        lowering: &Lowering,
        rationale: &Rationale,
        output: &Path,
        external: External,
    ) -> Result<Optimized, OptimizeError> {
        let start = Instant::now();
        let path = self.path.display().to_string();
        let mut graph = self.proto.graph.take().unwrap_or_default();
        let nodes = graph.node.len();
        let mut extracted = extract::extract(&graph);
        rationale.check(&passes::stages(&extracted.graph)).map_err(OptimizeError::Request)?;
        let mut lowered = extracted.graph.clone();
        let applied = run(&mut lowered, lowering)?;
        if !lowered.outputs.is_empty() {
            number(&mut lowered);
            validate(&lowered)?;
        }
        extracted.explain(&lowered, lowering);
        let changes = splice::splice(&mut graph, &mut extracted, &lowered, &path)?;
        self.proto.graph = Some(graph);
        describe(&mut self.proto, rationale, &applied);
        let (files, bytes) = write::write(self.proto, &path, output, external)?;
        Ok(Optimized {
            schema_version: SCHEMA_VERSION,
            input: path,
            target: rationale.target.clone(),
            reasons: rationale.reasons.clone(),
            passes: applied,
            nodes,
            untouched: nodes - changes.touched,
            rewritten: changes.rewritten,
            declined: extracted.declined,
            files,
            bytes,
            seconds: start.elapsed().as_secs_f64(),
        })
    }
}

/// Rewrites the model that `plan` names.
///
/// # Errors
/// [`OptimizeError`]; no output is left behind, and an old one stays as it was.
pub fn optimize(plan: &Plan) -> Result<Optimized, OptimizeError> {
    let held = |files: &[PathBuf], what: &str| match overwritten(&plan.output, files) {
        Some(_) => Err(OptimizeError::Request(format!("the output is {what} itself; give another -o"))),
        None => Ok(()),
    };
    held(std::slice::from_ref(&plan.input), "the input")?;
    held(&plan.files, "another file that is read")?;
    if let Some(reason) = refusal(&plan.output, plan.force, false) {
        return Err(OptimizeError::Request(reason));
    }
    let start = Instant::now();
    let model = Model::read(&plan.input)?;
    held(&model.data_files, "the input's data file")?;
    let mut done = model.lower(&plan.lowering, &plan.rationale, &plan.output, plan.external)?;
    done.seconds = start.elapsed().as_secs_f64();
    Ok(done)
}

/// Runs the passes on the extracted part. Without a convolution nothing is extracted, and a graph without an output is no graph.
fn run(graph: &mut Graph, lowering: &Lowering) -> Result<Vec<PassRun>, OptimizeError> {
    if graph.outputs.is_empty() {
        return Ok(Vec::new());
    }
    passes::run(graph, lowering).map_err(|error| OptimizeError::Request(error.to_string()))
}

/// Names every value by its number: a pass's names are none of the model's, and could be like them.
fn number(graph: &mut Graph) {
    for id in 0..graph.value_count() as u32 {
        graph.value_mut(ValueId(id)).name = id.to_string();
    }
}

/// Says in the metadata what was done; what other passes left there stays.
fn describe(model: &mut ModelProto, rationale: &Rationale, applied: &[PassRun]) {
    let mut set = |key: &str, value: String| {
        let key = format!("resnext.{key}");
        match model.metadata_props.iter_mut().find(|entry| entry.key == key) {
            Some(entry) => entry.value = value,
            None => model.metadata_props.push(StringStringEntryProto { key, value }),
        }
    };
    set("target", rationale.target.clone());
    if !rationale.reasons.is_empty() {
        set("lowering", rationale.reasons.join("; "));
    }
    let passes: Vec<String> = applied.iter().map(|a| format!("{} x{}", a.pass, a.rewrites)).collect();
    set("optimized", passes.join(", "));
}
