//! Streams an exported model to its destination, a weight at a time, while the checkpoint's digest is computed.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::thread::{Scope, ScopedJoinHandle};

use onnx_file::budget;
use onnx_file::digest;
use onnx_file::element::ElementType;
use onnx_file::proto::{StringStringEntryProto, TensorProto};
use onnx_file::raw::TensorError;
use onnx_file::write::{self as file, MESSAGE_LIMIT, WriteError};

use super::describe::{describe, origin, preprocess};
use super::error::BuildError;
use super::plan::{Destination, Plan};
use super::resolve::Resolved;
use super::summary::Progress;
use crate::architecture::CHANNELS;
use crate::calibration::Activations;
use crate::checkpoint::{Checkpoint, CheckpointError};
use crate::ends::Change;
use crate::export::Exported;
use crate::graph::{Dim, ValueId};
use crate::note::Note;
use crate::output::{External, Output};
use crate::passes::{self, PassRun};
use crate::precision::half::Safety;
use crate::precision::{Effect, Precision};
use crate::published;
use crate::validate::Valid;
use crate::verify::{Meaning, Verdict, compare};
use crate::weight::{BytesError, Rounding, WeightBytes, largest_pair, materialize};
use crate::weights::{Source, WeightsError};

/// What is to be written, and why it is what it is.
#[derive(Clone, Copy)]
pub(crate) struct Job<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) resolved: &'a Resolved,
    pub(crate) valid: Valid<'a>,
    pub(crate) runs: &'a [PassRun],
}

/// What was written.
pub(crate) struct Written {
    pub(crate) files: Vec<PathBuf>,
    pub(crate) bytes: u64,
    pub(crate) sha256: Option<String>,
    pub(crate) notes: Vec<Note>,
    pub(crate) effect: Effect,
    pub(crate) verified: Option<Verdict>,
    pub(crate) metadata: BTreeMap<String, String>,
    pub(crate) ends: Vec<Change>,
}

/// Writes what `job` says, with weights from `source`.
pub(crate) fn write(
    job: Job<'_>,
    mut exported: Exported,
    source: Source<'_>,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<Written, BuildError> {
    std::thread::scope(|scope| {
        let mut digest = Digest::start(scope, job.resolved.checkpoint.as_ref());
        let around = enter(job, &mut exported, &mut digest)?;
        let activations = check_ranges(job, &mut digest)?;
        let external = is_external(job, &exported)?;
        let weights = Weights::new(job, &exported, source, progress);
        let (notes, effect, verified, metadata) = (Vec::new(), Effect::default(), None, BTreeMap::new());
        let ends = around.changes;
        let mut writer =
            Writer { job, weights, around: around.constants, digest, activations, notes, effect, verified, metadata };
        let (files, bytes) = match &job.plan.destination {
            Destination::Stdout => {
                // What has gone down a pipe cannot be taken back, so the promise of the name is checked first.
                writer.digest.finish()?;
                let stdout = io::stdout().lock();
                (Vec::new(), writer.stream(&exported, stdout, Path::new("standard output"))?)
            }
            Destination::File(path) => writer.write_files(exported, path, external)?,
        };
        let Writer { digest, notes, effect, verified, metadata, .. } = writer;
        Ok(Written { files, bytes, sha256: digest.sha256, notes, effect, verified, metadata, ends })
    })
}

/// What was put around the network.
#[derive(Default)]
struct Around {
    /// Bytes of the constants behind the network's own weights.
    constants: Vec<Vec<u8>>,
    changes: Vec<Change>,
}

/// Gives the model the ends that were asked for.
fn enter<'a: 's, 's>(job: Job<'a>, exported: &mut Exported, digest: &mut Digest<'a, 's>) -> Result<Around, BuildError> {
    let Job { plan, resolved, .. } = job;
    if plan.ends.is_empty() {
        return Ok(Around::default());
    }
    // How images are normalised may follow from the checkpoint's digest.
    let known = if plan.ends.pixels.is_some() { digest.finish()?.and_then(published::by_sha256) } else { None };
    // Nobody knows how images of other channels are normalised.
    let colour = resolved.options.channels == CHANNELS;
    let preprocess = colour.then(|| preprocess(plan, resolved, known, &mut Vec::new()));
    let changes = plan.ends.apply(&mut exported.model, preprocess.as_ref());
    let changes = changes.map_err(|error| BuildError::Request(error.to_string()))?;
    let added = exported.model.graph.iter_mut().flat_map(|graph| &mut graph.initializer).skip(exported.weights.len());
    let constants = added.map(|tensor| std::mem::take(&mut tensor.raw_data).to_vec()).collect();
    Ok(Around { constants, changes })
}

/// Checks the calibration, if any, against the graph, and by the checkpoint's digest that it is of this network.
fn check_ranges<'a: 's, 's>(job: Job<'a>, digest: &mut Digest<'a, 's>) -> Result<Option<Activations>, BuildError> {
    let Some(calibration) = &job.plan.calibration else { return Ok(None) };
    calibration.check_origin(&origin(job.resolved, digest.finish()?))?;
    if job.plan.lowering.precision.int8().is_some() {
        return Ok(None);
    }
    Ok(Some(calibration.check(job.valid.graph())?))
}

/// Whether weights go into a file of their own.
fn is_external(job: Job<'_>, exported: &Exported) -> Result<bool, BuildError> {
    let bytes = file::encoded_len(&exported.model).map_err(|e| declared(&e))?;
    // Metadata comes on top; labels and names stay far below this reserve.
    let too_large = bytes + (1 << 20) > MESSAGE_LIMIT;
    let external = match job.plan.external {
        External::Never if too_large => {
            return Err(BuildError::TooLarge { variant: job.resolved.variant.to_string(), bytes });
        }
        External::Never => false,
        External::Auto => too_large,
        External::Always => true,
    };
    if external && job.plan.destination == Destination::Stdout {
        let reason = "the model needs a file for its weights beside it; write to a file instead of standard output";
        return Err(BuildError::Request(reason.into()));
    }
    Ok(external)
}

/// The checkpoint's digest, computed in a thread of its own while weights are written.
struct Digest<'a, 's> {
    checkpoint: Option<&'a Checkpoint>,
    thread: Option<ScopedJoinHandle<'s, Result<[u8; 32], CheckpointError>>>,
    sha256: Option<String>,
}

impl<'a: 's, 's> Digest<'a, 's> {
    fn start(scope: &'s Scope<'s, '_>, checkpoint: Option<&'a Checkpoint>) -> Self {
        let thread = checkpoint.map(|checkpoint| scope.spawn(|| checkpoint.sha256()));
        Self { checkpoint, thread, sha256: None }
    }

    /// Waits for the digest, in hex, and checks it against what the file's name promises; none without a checkpoint.
    fn finish(&mut self) -> Result<Option<&str>, BuildError> {
        let (Some(thread), Some(checkpoint)) = (self.thread.take(), self.checkpoint) else {
            return Ok(self.sha256.as_deref());
        };
        let failed = |_| BuildError::Internal("the digest thread failed".into());
        let sha256 = digest::hex(&thread.join().map_err(failed)?.map_err(WeightsError::from)?);
        let name = checkpoint.path().file_name().unwrap_or_default().to_string_lossy();
        if let Some(promised) = published::promised_sha256(&name)
            && !sha256.starts_with(promised)
        {
            let path = checkpoint.path().display().to_string();
            let expected = promised.into();
            return Err(BuildError::Digest { path, expected, found: sha256 });
        }
        Ok(Some(self.sha256.insert(sha256)))
    }
}

/// Weights on their way from recipes to bytes.
struct Weights<'a> {
    job: Job<'a>,
    source: Source<'a>,
    progress: &'a mut dyn FnMut(Progress<'_>),
    done: u64,
    total: u64,
    rounding: Rounding,
    largest_pair: i32,
}

impl<'a> Weights<'a> {
    fn new(job: Job<'a>, exported: &Exported, source: Source<'a>, progress: &'a mut dyn FnMut(Progress<'_>)) -> Self {
        let sizes = exported.weights.iter().map(|&id| {
            let value = job.valid.graph().value(id);
            value.shape.iter().filter_map(Dim::fixed).product::<usize>() as u64 * value.element.size() as u64
        });
        Self { job, source, progress, done: 0, total: sizes.sum(), rounding: Rounding::default(), largest_pair: 0 }
    }

    fn next(&mut self, id: ValueId, tensor: &TensorProto) -> Result<WeightBytes, BuildError> {
        let value = self.job.valid.graph().value(id);
        let Some(weight) = &value.weight else {
            return Err(BuildError::Internal(format!("'{}' is no constant", tensor.name)));
        };
        // Its numbers in f64, and their bytes.
        let elements = weight.shape().iter().fold(1u64, |n, &extent| n.saturating_mul(extent as u64));
        budget::check(&format!("the weight '{}'", tensor.name), elements.saturating_mul(8 + 4))?;
        let bytes = materialize(&tensor.name, weight, value.element, &mut self.source, &mut self.rounding);
        let bytes = bytes.map_err(|error| self.error(error, id, &tensor.name))?;
        if value.element == ElementType::I8 {
            let pair = largest_pair(bytemuck::cast_slice(bytes.as_ref()), &weight.shape());
            self.largest_pair = self.largest_pair.max(pair);
        }
        self.done += bytes.as_ref().len() as u64;
        (self.progress)(Progress::Writing { done: self.done, total: self.total });
        Ok(bytes)
    }

    fn error(&self, error: BytesError<WeightsError>, id: ValueId, name: &str) -> BuildError {
        let name = name.to_owned();
        match error {
            BytesError::Read(error) => error.into(),
            BytesError::NotFinite { index } => {
                BuildError::NotFinite { name, index, passes: passes::names(self.job.runs) }
            }
            BytesError::Overflow { index, value } => {
                let node = self.job.valid.graph().nodes.iter().find(|node| node.inputs.contains(&id));
                let node = node.map(|node| node.name.clone()).unwrap_or_default();
                BuildError::Overflow { name, index, value, node }
            }
        }
    }
}

struct Writer<'a, 's> {
    job: Job<'a>,
    weights: Weights<'a>,
    around: Vec<Vec<u8>>,
    digest: Digest<'a, 's>,
    activations: Option<Activations>,
    notes: Vec<Note>,
    effect: Effect,
    verified: Option<Verdict>,
    metadata: BTreeMap<String, String>,
}

impl<'a: 's, 's> Writer<'a, 's> {
    /// Writes the model with all weights that it keeps inside.
    fn stream(&mut self, exported: &Exported, out: impl Write, path: &Path) -> Result<u64, BuildError> {
        // Larger than most tensors' heads, smaller than most weights, which then go straight through.
        let mut out = io::BufWriter::with_capacity(1 << 16, out);
        // The file asks for weights and then for metadata, which tell what rounding the weights did.
        let writer = RefCell::new(self);
        let written = file::write(
            &exported.model,
            &mut out,
            |index, tensor| {
                let writer = &mut *writer.borrow_mut();
                supply(&mut writer.weights, &exported.weights, &writer.around, index, tensor)
            },
            || writer.borrow_mut().metadata(),
        );
        written.and_then(|n| Ok(out.flush().map(|()| n)?)).map_err(|error| write_error(error, path))
    }

    /// Writes the model, and its data file where it has one.
    fn write_files(
        &mut self,
        mut exported: Exported,
        path: &Path,
        external: bool,
    ) -> Result<(Vec<PathBuf>, u64), BuildError> {
        let failed = |source| BuildError::Output { path: path.display().to_string(), source };
        let mut output = Output::create(path).map_err(failed)?;
        if external {
            let Exported { model, weights } = &mut exported;
            let Self { weights: source, around, job, .. } = self;
            let supply = |index: usize, tensor: &TensorProto| supply(source, weights, around, index, tensor);
            output.write_data(model, job.plan.data_name.as_ref(), supply).map_err(|error| write_error(error, path))?;
        }
        let bytes = self.stream(&exported, output.model(), path)?;
        self.verify(&mut output, path)?;
        let (files, apart) = output.commit().map_err(failed)?;
        Ok((files, bytes + apart))
    }

    /// Compares what was written with the checkpoint, where that is asked for.
    fn verify(&mut self, output: &mut Output, path: &Path) -> Result<(), BuildError> {
        let Job { plan, resolved, .. } = self.job;
        let Some(checkpoint) = resolved.checkpoint.as_ref().filter(|_| plan.verify) else { return Ok(()) };
        let progress = &mut self.weights.progress;
        progress(Progress::Comparing { done: 0, total: 1 });
        let model = output.read_back().map_err(|error| Box::new(error.into()))?;
        let meaning = Meaning { checkpoint, stride_in: plan.stride_in };
        let mut progress = |done, total| progress(Progress::Comparing { done, total });
        let verdict = compare(model, &path.display().to_string(), meaning, 0, &mut progress).map_err(Box::new)?;
        if !verdict.equal {
            return Err(BuildError::Different(Box::new(verdict)));
        }
        self.verified = Some(verdict);
        Ok(())
    }

    /// All that there is to say, once every weight is written.
    fn metadata(&mut self) -> Result<Vec<StringStringEntryProto>, BuildError> {
        let Job { plan, resolved, runs, .. } = self.job;
        self.effect = match &plan.lowering.precision {
            Precision::F32 => Effect::F32,
            Precision::F16(half) => {
                let (weights, activations) = (std::mem::take(&mut self.weights.rounding), self.activations.take());
                Effect::F16(Safety { kept: half.keep_f32.clone(), weights, activations })
            }
            Precision::Int8(int8) => Effect::Int8(int8.outcome(self.weights.largest_pair)),
        };
        let description = describe(plan, resolved, runs, self.digest.finish()?, &self.effect);
        self.notes = description.notes;
        let entries: Vec<StringStringEntryProto> = description.metadata.entries().collect();
        self.metadata = entries.iter().map(|entry| (entry.key.clone(), entry.value.clone())).collect();
        Ok(entries)
    }
}

/// The bytes of the initializer `tensor` at `index`: a weight of the network, or one of the constants around it.
fn supply(
    source: &mut Weights<'_>,
    weights: &[ValueId],
    around: &[Vec<u8>],
    index: usize,
    tensor: &TensorProto,
) -> Result<WeightBytes, BuildError> {
    match weights.get(index) {
        Some(&id) => source.next(id, tensor),
        None => Ok(WeightBytes::Bytes(around.get(index - weights.len()).cloned().unwrap_or_default())),
    }
}

/// A weight whose declaration the graph's own shapes make impossible: a bug.
fn declared(error: &TensorError) -> BuildError {
    BuildError::Internal(error.to_string())
}

fn write_error(error: WriteError<BuildError>, path: &Path) -> BuildError {
    match error {
        WriteError::Weights(error) => error,
        WriteError::Tensor(error) => declared(&error),
        WriteError::Io(source) => BuildError::Output { path: path.display().to_string(), source },
        other => BuildError::Output { path: path.display().to_string(), source: io::Error::other(other.to_string()) },
    }
}
