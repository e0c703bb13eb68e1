//! A model loaded into this process by onnxruntime. Together with `runtime` and `native` the only code that names `ort`.
//!
//! Loading proves before it returns: every node where it was asked to be, and one run that works. What accelerators do
//! by default, leaving to the CPU whatever they cannot run, is an error here unless the caller allows it.

pub mod bound;
pub mod build;
pub mod convert;
pub mod engine;
pub(crate) mod error;
pub(crate) mod kernels;
pub mod probe;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use onnx_file::open;
use ort::session::Session;

use super::native::PlacedNode;
use super::provider::{Kind, Provider};
use super::runtime;
use super::runtime::Runtime;
use super::spec::{Source, Spec};
use crate::model::coverage::Coverage;
use crate::model::opened::{Block, Loaded, Memory, Model, ModelError, OutputRange, Part, Ports, Scope};
use crate::model::tensor::Tensor;

use super::session::bound::BoundRuns;
use super::session::build::{commit, options_in_force, register_plugin};
use super::session::error::{probe_failed, run_failed};

/// A model loaded into this process.
pub struct LocalModel {
    session: Session,
    loaded: Loaded,
    ports: Ports,
    bound: BoundRuns,
    /// What a run gives.
    outputs: Vec<String>,
    /// Whether runs are recorded and replayed on the device, which needs inputs and outputs at fixed addresses.
    graph: bool,
    /// What it was made from, for a session that is looked into.
    made_from: (Runtime, Spec, Provider),
}

impl LocalModel {
    /// Loads the library, then the model, checks the placement and runs once.
    ///
    /// # Errors
    /// [`ModelError::Unavailable`] without library or provider, [`ModelError::BadModel`] for a file that onnxruntime
    /// refuses, [`ModelError::Fallback`] for nodes placed elsewhere, [`ModelError::Failed`] when the probe run fails,
    /// [`ModelError::BadModel`] where it fails on the CPU provider.
    pub fn load(spec: &Spec) -> Result<LocalModel, ModelError> {
        let runtime = runtime::load(&spec.library.path, spec.verbose)
            .map_err(|error| ModelError::Unavailable(error.to_string()))?;
        LocalModel::load_with(&runtime, spec)
    }

    /// As [`LocalModel::load`], with the library that this process has loaded already.
    ///
    /// # Errors
    /// As [`LocalModel::load`].
    pub fn load_with(runtime: &Runtime, spec: &Spec) -> Result<LocalModel, ModelError> {
        let kind = spec.provider.kind();
        let mut provider = spec.provider.clone();
        if let Provider::OpenVino(openvino) = &mut provider {
            openvino.threads.get_or_insert(spec.session.intra_op_threads);
            if let Some(plugin) = spec.library.openvino_plugin() {
                register_plugin(runtime, &plugin)?;
            }
        }
        if let Provider::TensorRt(tensorrt) = &mut provider
            && let Some(root) = tensorrt.cache.take()
        {
            let options = Provider::TensorRt(tensorrt.clone()).settings();
            tensorrt.cache = Some(engine::folder(&root, &spec.model, &runtime.version, &options)?);
        }
        let started = Instant::now();
        let strict = kind != Kind::Cpu && !spec.allow_fallback;
        let (session, placed) = match commit(runtime, spec, &provider, strict) {
            // A refusal may be about the placement: without it, the placement tells which nodes and how many.
            Err(error @ ModelError::Failed(_)) if strict => match commit(runtime, spec, &provider, false) {
                Ok((_, placed)) if elsewhere(&placed, kind) > 0 => return Err(fallback(&placed, kind)),
                _ => return Err(error),
            },
            other => other?,
        };
        let load_seconds = started.elapsed().as_secs_f64();
        if elsewhere(&placed, kind) > 0 && !spec.allow_fallback {
            return Err(fallback(&placed, kind));
        }
        let settings = provider.settings();
        let on = |key: &str| settings.get(key).is_some_and(|value| value == "1");
        let graph = on("enable_cuda_graph") || on("trt_cuda_graph_enable");
        let outputs = convert::wanted_outputs(&session, spec.outputs.as_deref())?;
        let bound = BoundRuns::new(kind, &settings, graph, &outputs);
        let mut placement = BTreeMap::new();
        placed.iter().for_each(|node| *placement.entry(node.provider.clone()).or_insert(0) += 1);
        let loaded = Loaded {
            model: match &spec.model {
                Source::File(path) => path.display().to_string(),
                Source::Probe => "probe".to_owned(),
                Source::Known => "known answers".to_owned(),
            },
            provider: kind.name().to_owned(),
            library_version: runtime.version.clone(),
            options: options_in_force(spec, &provider),
            placement,
            load_seconds,
            first_run_seconds: 0.0,
        };
        let ports = convert::ports(&session);
        let made_from = (runtime.clone(), spec.clone(), provider);
        let mut model = LocalModel { session, loaded, ports, bound, outputs, graph, made_from };
        let inputs = probe::inputs(&model.session, &spec.shapes)?;
        let started = Instant::now();
        model.first_run(&inputs).map_err(|error| probe_failed(&error, kind, &model.ports))?;
        model.loaded.first_run_seconds = started.elapsed().as_secs_f64();
        Ok(model)
    }

    /// One run, of which nothing is kept: with every inner value as an output they would be held twice.
    fn first_run(&mut self, inputs: &[Tensor]) -> Result<(), ModelError> {
        if self.graph {
            return self.run(inputs).map(drop);
        }
        let values = convert::session_inputs(&self.session, inputs)?;
        let options = convert::run_options(&self.outputs)?;
        self.session.run_with_options(values.as_slice(), &options).map(drop).map_err(|error| run_failed(&error))
    }

    fn time_end_to_end(&mut self, inputs: &[Tensor], block: Block) -> Result<Vec<f64>, ModelError> {
        if self.graph {
            let bound = self.bound.get(&mut self.session, inputs)?;
            return timed(block, || bound.run_through(&mut self.session, inputs).map(drop));
        }
        let values = convert::session_inputs(&self.session, inputs)?;
        let (session, options) = (&mut self.session, convert::run_options(&self.outputs)?);
        let mut run = || session.run_with_options(values.as_slice(), &options).map(drop);
        timed(block, || run().map_err(|error| run_failed(&error)))
    }

    fn time_on_device(&mut self, inputs: &[Tensor], block: Block) -> Result<Vec<f64>, ModelError> {
        let bound = self.bound.get(&mut self.session, inputs)?;
        bound.write_inputs(inputs)?;
        timed(block, || bound.run(&mut self.session))
    }
}

impl Model for LocalModel {
    fn loaded(&self) -> &Loaded {
        &self.loaded
    }

    fn ports(&self) -> &Ports {
        &self.ports
    }

    fn run(&mut self, inputs: &[Tensor]) -> Result<Vec<Tensor>, ModelError> {
        if self.graph {
            let bound = self.bound.get(&mut self.session, inputs)?;
            return bound.run_through(&mut self.session, inputs);
        }
        let values = convert::session_inputs(&self.session, inputs)?;
        let options = convert::run_options(&self.outputs)?;
        let outputs = self.session.run_with_options(values.as_slice(), &options).map_err(|error| run_failed(&error))?;
        outputs.iter().map(|(name, value)| convert::tensor(name, &value)).collect()
    }

    /// Looks at the outputs where the runtime holds them; nothing is copied.
    fn ranges(&mut self, inputs: &[Tensor], part: Part) -> Result<Vec<OutputRange>, ModelError> {
        if self.graph {
            return Ok(self.run(inputs)?.iter().map(|output| OutputRange::of(output, part)).collect());
        }
        let values = convert::session_inputs(&self.session, inputs)?;
        let options = convert::run_options(&self.outputs)?;
        let outputs = self.session.run_with_options(values.as_slice(), &options).map_err(|error| run_failed(&error))?;
        outputs.iter().map(|(name, value)| convert::range(name, &value, part)).collect()
    }

    fn time(&mut self, inputs: &[Tensor], block: Block) -> Result<Vec<f64>, ModelError> {
        match block.scope {
            Scope::EndToEnd => self.time_end_to_end(inputs, block),
            Scope::Device => self.time_on_device(inputs, block),
        }
    }

    fn coverage(&mut self) -> Result<Option<Coverage>, ModelError> {
        let (runtime, spec, provider) = &self.made_from;
        kernels::coverage(runtime, spec, provider)
    }

    fn memory(&mut self) -> Result<Memory, ModelError> {
        let device = match self.loaded.provider.as_str() {
            "cuda" | "tensorrt" => crate::host::machine::device_memory_of(std::process::id()),
            _ => None,
        };
        Ok(Memory { peak_resident: peak_resident(), device })
    }
}

/// Times runs one by one until there are enough of them or the time is up.
fn timed(block: Block, mut run: impl FnMut() -> Result<(), ModelError>) -> Result<Vec<f64>, ModelError> {
    // Reserved beforehand, so that keeping a time costs no allocation between runs.
    let mut seconds = Vec::with_capacity(block.max_runs.min(1 << 20));
    let limit = Duration::try_from_secs_f64(block.max_seconds).unwrap_or(Duration::MAX);
    let first = Instant::now();
    while seconds.len() < block.max_runs {
        let start = Instant::now();
        run()?;
        let end = Instant::now();
        seconds.push((end - start).as_secs_f64());
        if end - first > limit {
            break;
        }
    }
    Ok(seconds)
}

/// Peak resident set of this process in bytes, where the system tells.
fn peak_resident() -> Option<u64> {
    let status = open::read_text(Path::new("/proc/self/status"), open::SMALL).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

fn elsewhere(placed: &[PlacedNode], kind: Kind) -> usize {
    placed.iter().filter(|node| node.provider != kind.onnxruntime_name()).count()
}

fn fallback(placed: &[PlacedNode], kind: Kind) -> ModelError {
    let misplaced: Vec<_> = placed.iter().filter(|node| node.provider != kind.onnxruntime_name()).collect();
    let mut message = format!("{} of {} nodes were not placed on {kind}", misplaced.len(), placed.len());
    for (index, node) in misplaced.iter().take(5).enumerate() {
        let before = if index == 0 { ": " } else { ", " };
        let _ = write!(message, "{before}{} {:?} on {}", node.operator, node.name, node.provider);
    }
    if misplaced.len() > 5 {
        message.push_str(", ...");
    }
    message.push_str("\nhint: --allow-fallback accepts this, and every result then says how many nodes fell back");
    ModelError::Fallback(message)
}
