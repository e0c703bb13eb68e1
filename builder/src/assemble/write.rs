//! Streams an exported model to its destination, a weight at a time, while the checkpoint's digest is computed.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::thread::ScopedJoinHandle;

use onnx_file::proto::{StringStringEntryProto, TensorProto};
use onnx_file::raw::TensorError;
use onnx_file::write::{self as file, MESSAGE_LIMIT, WriteError};

use super::describe::{describe, origin};
use super::materialize::WeightBytes;
use super::resolve::Resolved;
use crate::build::{BuildError, Destination, External, Plan, Progress, Safety};
use crate::checkpoint::CheckpointError;
use crate::export::Exported;
use crate::graph::{Dim, ValueId};
use crate::output::Output;
use crate::passes::PassRun;
use crate::published;
use crate::validate::Valid;
use crate::weight::Weight;
use crate::weights::{Source, WeightsError};
use onnx_file::digest;

/// What was written.
pub(crate) struct Written {
    pub(crate) files: Vec<PathBuf>,
    pub(crate) bytes: u64,
    pub(crate) sha256: Option<String>,
    pub(crate) notes: Vec<String>,
    pub(crate) safety: Option<Safety>,
}

pub(crate) fn write(
    plan: &Plan,
    resolved: &Resolved,
    exported: Exported,
    valid: Valid<'_>,
    source: Source<'_>,
    applied: &[PassRun],
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<Written, BuildError> {
    std::thread::scope(|scope| {
        let digest = resolved.checkpoint.as_ref().map(|checkpoint| scope.spawn(|| checkpoint.sha256()));
        let sizes = exported.weights.iter().map(|&id| {
            let value = valid.graph().value(id);
            value.shape.iter().filter_map(Dim::fixed).product::<usize>() as u64 * value.element.size() as u64
        });
        let (done, total, sha256, notes) = (0, sizes.sum(), None, Vec::new());
        let half = plan.lowering.half.as_ref();
        let safety = half.map(|half| Safety { kept: half.keep_f32.clone(), ..Safety::default() });
        let writer =
            Writer { plan, resolved, valid, source, applied, progress, done, total, digest, sha256, notes, safety };
        writer.write(exported)
    })
}

struct Writer<'a, 's> {
    plan: &'a Plan,
    resolved: &'a Resolved,
    valid: Valid<'a>,
    source: Source<'a>,
    applied: &'a [PassRun],
    progress: &'a mut dyn FnMut(Progress<'_>),
    done: u64,
    total: u64,
    digest: Option<ScopedJoinHandle<'s, Result<[u8; 32], CheckpointError>>>,
    sha256: Option<String>,
    notes: Vec<String>,
    safety: Option<Safety>,
}

impl Writer<'_, '_> {
    fn write(mut self, exported: Exported) -> Result<Written, BuildError> {
        self.check_ranges()?;
        let bytes = file::encoded_len(&exported.model).map_err(|e| declared(&e))?;
        // Metadata comes on top; labels and names stay far below this reserve.
        let too_large = bytes + (1 << 20) > MESSAGE_LIMIT;
        let external = match self.plan.external {
            External::Never if too_large => {
                return Err(BuildError::TooLarge { variant: self.resolved.variant.to_string(), bytes });
            }
            External::Never => false,
            External::Auto => too_large,
            External::Always => true,
        };
        let (files, bytes) = match &self.plan.destination {
            Destination::Stdout if external => {
                return Err(BuildError::Request(
                    "the model needs a file for its weights beside it; write to a file instead of standard output"
                        .into(),
                ));
            }
            Destination::Stdout => {
                // What has gone down a pipe cannot be taken back, so the promise of the name is checked first.
                self.finish_digest()?;
                let stdout = io::stdout().lock();
                (Vec::new(), self.stream(&exported, stdout, Path::new("standard output"))?)
            }
            Destination::File(path) => self.write_files(exported, path, external)?,
        };
        Ok(Written { files, bytes, sha256: self.sha256, notes: self.notes, safety: self.safety })
    }

    /// Checks the calibration, if any, against the graph, and by the checkpoint's digest that it is of this network.
    fn check_ranges(&mut self) -> Result<(), BuildError> {
        let Some(calibration) = &self.plan.calibration else { return Ok(()) };
        self.finish_digest()?;
        calibration.check_origin(&origin(self.resolved, self.sha256.as_deref()))?;
        self.safety.get_or_insert_default().activations = Some(calibration.check(self.valid.graph())?);
        Ok(())
    }

    /// Writes the model with all weights that it keeps inside.
    fn stream(&mut self, exported: &Exported, out: impl Write, path: &Path) -> Result<u64, BuildError> {
        // Larger than most tensors' heads, smaller than most weights, which then go straight through.
        let mut out = io::BufWriter::with_capacity(1 << 16, out);
        let cell = std::cell::RefCell::new(self);
        let written = file::write(
            &exported.model,
            &mut out,
            |index, tensor| cell.borrow_mut().weight(exported.weights[index], tensor),
            || cell.borrow_mut().metadata(),
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
            let supply = |index: usize, tensor: &TensorProto| self.weight(weights[index], tensor);
            output.write_data(model, supply).map_err(|error| write_error(error, path))?;
        }
        let bytes = self.stream(&exported, output.model(), path)?;
        let (files, apart) = output.commit().map_err(failed)?;
        Ok((files, bytes + apart))
    }

    /// Materializes one weight.
    fn weight(&mut self, id: ValueId, tensor: &TensorProto) -> Result<WeightBytes, BuildError> {
        let value = self.valid.graph().value(id);
        let materialized = match &value.weight {
            Some(Weight::Half { of }) => {
                let exact = of.eval_f64(&mut self.source)?;
                self.check_finite(tensor, exact.iter().position(|v| !v.is_finite()))?;
                let rounded = self.safety.get_or_insert_default().weights.round(&tensor.name, &exact);
                rounded.map_err(|index| self.overflow(tensor, id, index, exact[index]))?
            }
            Some(weight) => {
                let data = weight.eval_f32(&mut self.source)?;
                self.check_finite(tensor, data.iter().position(|v| !v.is_finite()))?;
                WeightBytes::new(data, value.element)
            }
            None => WeightBytes::new(Vec::new(), value.element),
        };
        self.done += materialized.as_ref().len() as u64;
        (self.progress)(Progress::Writing { done: self.done, total: self.total });
        Ok(materialized)
    }

    fn check_finite(&self, tensor: &TensorProto, broken: Option<usize>) -> Result<(), BuildError> {
        let Some(index) = broken else { return Ok(()) };
        let passes: Vec<&str> = self.applied.iter().map(|a| a.pass).collect();
        Err(BuildError::NotFinite { name: tensor.name.clone(), index, passes: passes.join(", ") })
    }

    /// The error for a number that f16 cannot hold, in the weight `id`.
    fn overflow(&self, tensor: &TensorProto, id: ValueId, index: usize, value: f64) -> BuildError {
        let node = self.valid.graph().nodes.iter().find(|node| node.inputs.contains(&id));
        let node = node.map(|node| node.name.clone()).unwrap_or_default();
        BuildError::Overflow { name: tensor.name.clone(), index, value, node }
    }

    /// Waits for the digest and says all there is to say.
    fn metadata(&mut self) -> Result<Vec<StringStringEntryProto>, BuildError> {
        self.finish_digest()?;
        let digest = self.sha256.as_deref();
        let description = describe(self.plan, self.resolved, self.applied, digest, self.safety.as_ref());
        self.notes.extend(description.notes);
        Ok(description.metadata.entries().collect())
    }

    /// The checkpoint's digest, checked against what its file name promises.
    fn finish_digest(&mut self) -> Result<(), BuildError> {
        let (Some(digest), Some(checkpoint)) = (self.digest.take(), &self.resolved.checkpoint) else { return Ok(()) };
        let path = || checkpoint.path().display().to_string();
        let failed = |_| BuildError::Internal("the digest thread failed".into());
        let sha256 = digest::hex(&digest.join().map_err(failed)?.map_err(WeightsError::from)?);
        let name = checkpoint.path().file_name().unwrap_or_default().to_string_lossy();
        if let Some(promised) = published::promised_sha256(&name)
            && !sha256.starts_with(promised)
        {
            let expected = promised.into();
            return Err(BuildError::Digest { path: path(), expected, found: sha256 });
        }
        self.sha256 = Some(sha256);
        Ok(())
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
