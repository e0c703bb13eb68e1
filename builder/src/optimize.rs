//! The lowering passes on an existing model, whoever exported it.
//!
//! The convolutions and normalisations that can be proven are extracted into a [`Graph`] whose inputs
//! are whatever the rest of the model feeds them; the passes run there; what changed is spliced in. Every
//! other node passes through as it is.

mod describe;
mod extract;
mod result;
mod splice;
mod write;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

use onnx_file::budget;
use onnx_file::digest;
use onnx_file::metadata::{Key, Metadata};
use onnx_file::proto::{GraphProto, ModelProto};
use onnx_file::read::{ReadError, Whole};

pub use result::{Declined, Form, Obstacle, OptimizeError, Optimized, Refusal, Rewrite, SCHEMA_VERSION};

use crate::build::{LabelsChoice, PreprocessChoice};
use crate::calibration::Calibration;
use crate::ends::{Change, Ends};
use crate::export::OPSETS;
use crate::graph::{Dim, Graph, Origin, Pass, ValueId};
use crate::import::label;
use crate::output::{DataName, External, data_refusal, overwritten, refusal, unwritable};
use crate::passes::{self, Lowering, PassRun, Stage};
use crate::precision::{Effect, Precision};
use crate::target::Rationale;
use crate::validate::validate;
use extract::Scope;

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
    /// Name of that file; by default it follows from the model's name and the content.
    pub data_name: Option<DataName>,
    /// Names, layout and type of what goes in and comes out.
    pub ends: Ends,
    /// Ranges of values, where they are to become integers.
    pub calibration: Option<Calibration>,
    /// Take initializers that are also inputs for constants, as they are below IR 4.
    pub constant_initializers: bool,
    /// Labels to store.
    pub labels: LabelsChoice,
    /// Preprocessing to store.
    pub preprocess: PreprocessChoice,
    /// Other files that were read for this plan: the output can be none of them.
    pub files: Vec<PathBuf>,
}

/// A model in memory, external data included.
#[derive(Clone, Debug)]
pub struct Model {
    path: PathBuf,
    proto: ModelProto,
    data_files: Vec<PathBuf>,
    /// Whether initializers that are also inputs are constants.
    inputs_are_constant: bool,
    ends: Ends,
    data_name: Option<DataName>,
}

/// The first version of the format in which an initializer that is also an input may be fed.
const OVERRIDABLE: i64 = 4;

impl Model {
    /// Reads the file at `path`, and the data files it names.
    ///
    /// # Errors
    /// [`OptimizeError::Read`].
    pub fn read(path: &Path) -> Result<Self, OptimizeError> {
        let Whole { model, data_files } = onnx_file::read::read_whole(path)?;
        let inputs_are_constant = model.ir_version < OVERRIDABLE;
        let (ends, data_name) = (Ends::default(), None);
        Ok(Self { path: path.to_owned(), proto: model, data_files, inputs_are_constant, ends, data_name })
    }

    /// With initializers that are also inputs taken for constants, whatever the version of the format.
    pub fn with_constant_initializers(self) -> Self {
        Self { inputs_are_constant: true, ..self }
    }

    /// With these names, this layout and this type of what goes in and comes out, once it is lowered.
    pub fn with_ends(self, ends: Ends) -> Self {
        Self { ends, ..self }
    }

    /// With its weights, where they go into a file of their own, in one of this name.
    pub fn with_data_name(self, data_name: Option<DataName>) -> Self {
        Self { data_name, ..self }
    }

    fn extract(&self, graph: &GraphProto, scope: Scope) -> extract::Extracted {
        extract::extract(graph, self.inputs_are_constant, scope)
    }

    /// The stages of its grouped convolutions.
    pub fn stages(&self) -> Vec<Stage> {
        self.proto
            .graph
            .as_ref()
            .map(|graph| passes::stages(&self.extract(graph, Scope::Convolutions).graph))
            .unwrap_or_default()
    }

    /// How many places of it a pass of `lowering` would rewrite.
    ///
    /// # Errors
    /// [`OptimizeError::Request`] where `lowering` asks for what this model has not.
    pub fn rewrites(&self, lowering: &Lowering, pass: Pass) -> Result<usize, OptimizeError> {
        let Some(graph) = &self.proto.graph else { return Ok(0) };
        let runs = run(&mut self.extract(graph, Scope::Convolutions).graph, lowering)?;
        Ok(runs.iter().filter(|run| run.pass == pass).map(|run| run.rewrites).sum())
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
        tracing::info!(model = path, target = %rationale.target, "lowering");
        let mut graph = self.proto.graph.take().unwrap_or_default();
        let nodes = graph.node.len();
        let scope = if lowering.precision.int8().is_some() { Scope::Integers } else { Scope::Convolutions };
        self.check(lowering)?;
        let mut extracted = self.extract(&graph, scope);
        let ops: Vec<String> = graph.node.iter().map(|node| node.op_type.clone()).collect();
        rationale.check(&passes::stages(&extracted.graph)).map_err(OptimizeError::Request)?;
        let mut lowered = extracted.graph.clone();
        let lowering = &without_real_nodes(lowering, &graph, &extracted.graph);
        let runs = run_all(&mut lowered, &extracted.graph, lowering)?;
        if !lowered.outputs.is_empty() {
            number(&mut lowered);
            validate(&lowered)?;
        }
        let bytes = lowered.weights().iter().map(|&id| weight_bytes(&lowered, id)).fold(0, u64::saturating_add);
        budget::check("the rewritten model", bytes)
            .map_err(|source| ReadError::Cost { path: self.path.clone(), source: source.into() })?;
        let changes = splice::splice(&mut graph, &mut extracted, &lowered, &runs, &path, self.proto.ir_version)?;
        let declined = declined(extracted.unproven, &runs, &changes, &ops);
        self.proto.graph = Some(graph);
        let precision = match lowering.precision.int8() {
            Some(int8) => Effect::Int8(int8.outcome(changes.largest_pair)),
            None => Effect::F32,
        };
        describe(&mut self.proto, rationale, &runs, &precision);
        let ends = self.enter()?;
        let (files, bytes) = write::write(self.proto, &path, output, (external, self.data_name.as_ref()))?;
        Ok(Optimized {
            schema_version: SCHEMA_VERSION,
            input: path,
            target: rationale.target.clone(),
            reasons: rationale.reasons.clone(),
            passes: runs,
            precision,
            nodes,
            untouched: nodes - changes.touched.len(),
            rewritten: changes.rewritten,
            declined,
            labels: None,
            preprocess: None,
            ends,
            files,
            bytes,
            seconds: start.elapsed().as_secs_f64(),
        })
    }
}

impl Model {
    /// Gives the model its ends; pixels are normalised as its own metadata says.
    fn enter(&mut self) -> Result<Vec<Change>, OptimizeError> {
        let says = Metadata::of(&self.proto).preprocess();
        let preprocess = says.map_err(|error| OptimizeError::Request(error.to_string()))?;
        let ends = self.ends.apply(&mut self.proto, preprocess.as_ref());
        ends.map_err(|error| OptimizeError::Request(error.to_string()))
    }

    /// Refuses what this model cannot become.
    fn check(&self, lowering: &Lowering) -> Result<(), OptimizeError> {
        if lowering.precision.half().is_some() {
            let reason = "an existing file is not turned to f16; build it from its checkpoint with --dtype f16";
            return Err(OptimizeError::Request(reason.into()));
        }
        let opset = self.proto.opset_import.iter().find(|opset| matches!(opset.domain.as_str(), "" | "ai.onnx"));
        let opset = opset.map_or(0, |opset| opset.version);
        if lowering.precision.int8().is_some() && opset < *OPSETS.start() {
            return Err(OptimizeError::Request(format!(
                "--dtype int8 needs opset {} or later, which knows a scale for each channel, and the model has {opset}; export it again with a later one",
                OPSETS.start()
            )));
        }
        Ok(())
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
    if let Some(source) = unwritable(&plan.output) {
        return Err(OptimizeError::Output { path: plan.output.display().to_string(), source });
    }
    let data = || data_refusal(&plan.output, plan.data_name.as_ref(), plan.external, plan.force);
    if let Some(reason) = refusal(&plan.output, plan.force, false).or_else(data) {
        return Err(OptimizeError::Request(reason));
    }
    if let Some(name) = &plan.data_name
        && overwritten(&name.beside(&plan.output), plan.files.iter().chain([&plan.input])).is_some()
    {
        return Err(OptimizeError::Request("--external-data-name is a file that is read; give another".into()));
    }
    let start = Instant::now();
    if let Some(calibration) = &plan.calibration {
        let digest = digest::file(&plan.input);
        let source = |source| OptimizeError::Read(ReadError::Io { path: plan.input.clone(), source });
        calibration.check_file(&plan.input, &digest.map_err(source)?)?;
    }
    let mut model = Model::read(&plan.input)?;
    if plan.constant_initializers {
        model = model.with_constant_initializers();
    }
    held(&model.data_files, "the input's data file")?;
    if let Some(name) = &plan.data_name
        && overwritten(&name.beside(&plan.output), &model.data_files).is_some()
    {
        return Err(OptimizeError::Request("--external-data-name is the input's data file; give another".into()));
    }
    model = model.with_ends(plan.ends.clone()).with_data_name(plan.data_name.clone());
    let stored = describe::describe(&mut model.proto, &plan.labels, &plan.preprocess)?;
    let mut done = model.lower(&plan.lowering, &plan.rationale, &plan.output, plan.external)?;
    (done.labels, done.preprocess) = (stored.labels, stored.preprocess);
    done.seconds = start.elapsed().as_secs_f64();
    Ok(done)
}

/// Every node that was left as it was: those that could not be proven, then in the model's order those that a pass
/// declined, with the first pass's reason; not those that another pass changed.
fn declined(
    unproven: Vec<extract::Unproven>,
    runs: &[PassRun],
    changes: &splice::Changes,
    ops: &[String],
) -> Vec<Declined> {
    let unproven = unproven.into_iter().map(|extract::Unproven { node, op, because }| {
        let reason = Refusal::Unproven { because }.into();
        Declined { node, op, reason }
    });
    let mut left: BTreeMap<usize, Declined> = BTreeMap::new();
    for run in runs {
        for declined in &run.declined {
            let Origin::Model(position) = declined.origin else { continue };
            if !changes.touched.contains(&position) {
                let reason = Refusal::Declined { pass: run.pass, because: declined.reason };
                let (node, op) = (declined.node.clone(), ops[position].clone());
                left.entry(position).or_insert(Declined { node, op, reason: reason.into() });
            }
        }
    }
    unproven.chain(left.into_values()).collect()
}

/// Runs the passes on the extracted part. Without a convolution nothing is extracted, and a graph without an output is no graph.
fn run(graph: &mut Graph, lowering: &Lowering) -> Result<Vec<PassRun>, OptimizeError> {
    if graph.outputs.is_empty() {
        return Ok(Vec::new());
    }
    passes::run(graph, lowering).map_err(|error| OptimizeError::Request(error.to_string()))
}

/// Runs the passes on numbers, and then, on values that have the model's own names again, those on integers:
/// calibrations know values by these.
fn run_all(graph: &mut Graph, original: &Graph, lowering: &Lowering) -> Result<Vec<PassRun>, OptimizeError> {
    if lowering.precision.int8().is_none() {
        return run(graph, lowering);
    }
    let mut runs = run(graph, &Lowering { precision: Precision::F32, ..lowering.clone() })?;
    for id in (0..original.value_count() as u32).map(ValueId) {
        graph.value_mut(id).name.clone_from(&original.value(id).name);
    }
    let integers = Lowering { fold_bn: false, group_widths: Vec::new(), subsample: false, ..lowering.clone() };
    runs.extend(run(graph, &integers)?);
    Ok(runs)
}

/// The lowering without requests to keep nodes in f32 that no pass would change: nodes of the model that were not
/// extracted.
fn without_real_nodes(lowering: &Lowering, model: &GraphProto, extracted: &Graph) -> Lowering {
    let mut lowering = lowering.clone();
    if let Precision::Int8(int8) = &mut lowering.precision {
        let is_extracted = |name: &String| extracted.nodes.iter().any(|node| node.name == *name);
        let is_there = |name: &String| model.node.iter().any(|node| label(node) == *name);
        int8.keep_f32.retain(|name| is_extracted(name) || !is_there(name));
    }
    lowering
}

/// Bytes of a weight of `graph`: a pass may make a large one of a small one.
fn weight_bytes(graph: &Graph, id: ValueId) -> u64 {
    let value = graph.value(id);
    let extents = value.shape.iter().filter_map(Dim::fixed);
    extents.fold(value.element.size() as u64, |bytes, extent| bytes.saturating_mul(extent as u64))
}

/// Names every value by its number: a pass's names are none of the model's, and could be like them.
fn number(graph: &mut Graph) {
    for id in 0..graph.value_count() as u32 {
        graph.value_mut(ValueId(id)).name = id.to_string();
    }
}

/// Says in the metadata what was done; what other passes left there stays.
fn describe(model: &mut ModelProto, rationale: &Rationale, runs: &[PassRun], precision: &Effect) {
    let mut metadata = Metadata::default();
    metadata.set(Key::Target, rationale.target.to_string());
    if !rationale.reasons.is_empty() {
        metadata.set(Key::Lowering, rationale.reasons.join("; "));
    }
    metadata.set(Key::Optimized, passes::summary(runs));
    precision.describe(&mut metadata);
    metadata.write_into(model);
}
