//! The calibration file: ranges of a network's values on given inputs, measured once, and whether f16 holds them.

mod error;
pub mod histogram;
pub mod method;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::path::Path;

use onnx_file::element::ElementType::F16;
use onnx_file::metadata::Provenance;
use onnx_file::open;
use serde::{Deserialize, Serialize};

pub use error::CalibrationError;

use crate::graph::{Graph, Node, Op, Origin, Pass, ValueId};
use histogram::Histogram;
use method::RangeMethod;

/// Version of the file's structure.
pub const SCHEMA_VERSION: u32 = 2;
/// What the file says that it is.
pub const KIND: &str = "calibration";

/// The part of a calibration file that is read; the file may hold more.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    /// [`SCHEMA_VERSION`].
    pub schema_version: u32,
    /// [`KIND`].
    pub kind: String,
    /// The model that was measured.
    pub model: Measured,
    /// The inputs that it was measured on.
    pub inputs: Inputs,
    /// One for each value that a node makes.
    pub values: Vec<Range>,
}

/// What a measured model says of itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// Its file.
    pub file: String,
    /// SHA-256 of the file, in hex.
    pub sha256: String,
    /// Where it comes from.
    #[serde(flatten)]
    pub origin: Provenance,
}

/// Where inputs come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum InputSource {
    /// Image files; `pictures` in files of schema 1.
    #[serde(alias = "pictures")]
    Images,
    /// Seeded random numbers.
    Seeded,
}

/// What was fed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inputs {
    /// What they are.
    pub source: InputSource,
    /// How many.
    pub count: u64,
    /// Seed of seeded ones.
    pub seed: Option<u64>,
}

impl fmt::Display for Inputs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.source, self.seed) {
            (InputSource::Images, _) => write!(f, "{} images", self.count),
            (InputSource::Seeded, Some(seed)) => write!(f, "{} seeded inputs (seed {seed})", self.count),
            (InputSource::Seeded, None) => write!(f, "{} seeded inputs", self.count),
        }
    }
}

/// What a node outputs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Range {
    /// The value.
    pub name: String,
    /// The node that makes it; none, or an empty name, for the graph's input.
    pub node: Option<String>,
    /// The node's operator.
    pub op: Option<String>,
    /// Smallest finite element.
    #[serde(default)]
    pub min: Option<f64>,
    /// Largest finite element.
    #[serde(default)]
    pub max: Option<f64>,
    /// Largest magnitude; none where no element was finite.
    pub max_abs: Option<f64>,
    /// Elements that were infinite or not a number.
    #[serde(default)]
    pub non_finite: u64,
    /// How often which magnitude occurs; none in files written before there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub histogram: Option<Histogram>,
}

/// Ranges that f16 holds.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Activations {
    /// Largest magnitude of all values in f16.
    pub largest: f64,
    /// The node that put it out, or the graph's input; empty where no value is in f16.
    pub largest_in: String,
    /// f16's largest over that; none where that is zero.
    pub headroom: Option<f64>,
    /// What they were measured on.
    pub inputs: Inputs,
}

impl fmt::Display for Activations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { largest, largest_in, headroom, inputs } = self;
        let Some(headroom) = headroom else {
            return match largest_in.as_str() {
                "" => f.write_str("no value is in f16"),
                _ => write!(f, "all values in f16 are zero on {inputs}"),
            };
        };
        write!(
            f,
            "values up to {largest:.4} ({largest_in}) on {inputs}, headroom {headroom:.1} to f16's end at {limit}",
            limit = F16.max_finite()
        )
    }
}

impl Calibration {
    /// Reads the file at `path`.
    ///
    /// # Errors
    /// [`CalibrationError`].
    pub fn read(path: &Path) -> Result<Self, CalibrationError> {
        let name = || path.display().to_string();
        let text =
            open::read_text(path, open::SMALL).map_err(|source| CalibrationError::Read { path: name(), source })?;
        let content = |reason: String| CalibrationError::Content { path: name(), reason };
        let calibration: Self = serde_json::from_str(&text).map_err(|error| content(error.to_string()))?;
        if calibration.kind != KIND || !(1..=SCHEMA_VERSION).contains(&calibration.schema_version) {
            return Err(content(format!("it is '{}' of version {}", calibration.kind, calibration.schema_version)));
        }
        if calibration.inputs.count == 0 {
            return Err(content("it was measured on no input".into()));
        }
        let mut names = HashSet::new();
        if let Some(twice) = calibration.values.iter().find(|range| !names.insert(range.name.as_str())) {
            return Err(content(format!("it holds the value '{}' twice", twice.name)));
        }
        let odd = |range: &&Range| range.histogram.as_ref().is_some_and(|counts| !counts.is_sound());
        if let Some(range) = calibration.values.iter().find(odd) {
            return Err(content(format!("the histogram of '{}' goes beyond what f32 holds", range.name)));
        }
        match calibration.values.iter().find(|range| range.max_abs.is_some_and(|max| !(0.0..).contains(&max))) {
            Some(range) => Err(content(format!("the largest magnitude of '{}' is negative", range.name))),
            None if calibration.values.is_empty() => Err(content("it names no values".into())),
            None => Ok(calibration),
        }
    }

    /// Refuses another network, or other weights, than those of `asked`.
    ///
    /// # Errors
    /// [`CalibrationError::Other`].
    pub fn check_origin(&self, asked: &Provenance) -> Result<(), CalibrationError> {
        let Measured { file, origin, .. } = &self.model;
        if origin == asked && origin.variant.is_some() {
            return Ok(());
        }
        Err(CalibrationError::Other { file: file.clone(), found: origin.to_string(), asked: asked.to_string() })
    }

    /// The range of each value that has one, by its name, as `method` makes it of what was measured.
    ///
    /// # Errors
    /// [`CalibrationError::NotFinite`] where the network is broken, [`CalibrationError::NoBounds`] where the file holds
    /// magnitudes alone, [`CalibrationError::NoHistogram`] where the method needs more than the file holds.
    pub fn bounds(&self, method: RangeMethod) -> Result<BTreeMap<String, [f64; 2]>, CalibrationError> {
        self.check_finite()?;
        let file = || self.model.file.clone();
        let mut found = BTreeMap::new();
        for range in &self.values {
            let (Some(min), Some(max)) = (range.min, range.max) else { continue };
            let bounds = match (&range.histogram, method) {
                (_, RangeMethod::MinMax) => [min, max],
                (Some(counts), method) => method.bounds([min, max], counts),
                (None, method) => return Err(CalibrationError::NoHistogram { file: file(), method }),
            };
            found.insert(range.name.clone(), bounds);
        }
        if found.is_empty() { Err(CalibrationError::NoBounds { file: file() }) } else { Ok(found) }
    }

    fn check_finite(&self) -> Result<(), CalibrationError> {
        match self.values.iter().find(|range| range.non_finite > 0 || range.max_abs.is_none()) {
            Some(broken) => {
                let (inputs, file) = (self.inputs.to_string(), self.model.file.clone());
                Err(CalibrationError::NotFinite { node: label(broken), inputs, file })
            }
            None => Ok(()),
        }
    }

    /// Refuses another file than that with the digest `sha256`, in hex.
    ///
    /// # Errors
    /// [`CalibrationError::OtherFile`].
    pub fn check_file(&self, model: &Path, sha256: &str) -> Result<(), CalibrationError> {
        if self.model.sha256 == sha256 {
            return Ok(());
        }
        Err(CalibrationError::OtherFile { file: self.model.file.clone(), model: model.display().to_string() })
    }

    /// Checks the ranges of a graph that `to_f16` has passed against the limit of f16: every value that is f16, or becomes it, must fit.
    ///
    /// # Errors
    /// [`CalibrationError::Other`] where the nodes are not those measured, [`CalibrationError::Overflow`].
    pub fn check(&self, graph: &Graph) -> Result<Activations, CalibrationError> {
        let ranges = self.by_value(graph)?;
        self.check_finite()?;
        let halves = halves(graph);
        let mut used: Vec<(ValueId, &Range)> = ranges.into_iter().filter(|(id, _)| halves.contains(id)).collect();
        let magnitude = |range: &Range| range.max_abs.unwrap_or(f64::INFINITY);
        used.sort_by(|(a, x), (b, y)| magnitude(y).total_cmp(&magnitude(x)).then(a.cmp(b)));
        let (largest, largest_in) = used.first().map_or((0.0, String::new()), |(_, r)| (magnitude(r), label(r)));
        used.retain(|(_, range)| magnitude(range) > F16.max_finite());
        if used.is_empty() {
            let headroom = (largest > 0.0).then(|| F16.max_finite() / largest);
            return Ok(Activations { largest, largest_in, headroom, inputs: self.inputs.clone() });
        }
        let beyond: Vec<ValueId> = used.iter().map(|(id, _)| *id).collect();
        // A subsampled value shares the range of the value that it is taken from.
        let more = match used.iter().map(|(_, range)| range.name.as_str()).collect::<HashSet<_>>().len() - 1 {
            0 => String::new(),
            n => format!(", and so do {n} more"),
        };
        let (inputs, fix) = (self.inputs.to_string(), fix(graph, &beyond));
        Err(CalibrationError::Overflow { node: largest_in, max_abs: largest, inputs, more, fix })
    }

    /// The range of every value that nodes of `graph` make, Casts aside; and of its inputs, where they were measured.
    ///
    /// What a subsampling before a strided convolution keeps is part of what was measured, whether the measured model
    /// was subsampled or not: it has the range of the value that it is taken from.
    fn by_value(&self, graph: &Graph) -> Result<Vec<(ValueId, &Range)>, CalibrationError> {
        let is_cast = |op: &Option<String>| op.as_deref() == Some("Cast");
        let named = |range: &&Range| range.node.as_deref().is_some_and(|node| !node.is_empty()) && !is_cast(&range.op);
        let mut measured: HashMap<&str, &Range> = HashMap::new();
        for range in self.values.iter().filter(named) {
            measured.insert(range.node.as_deref().unwrap_or_default(), range);
        }
        let mut found = Vec::new();
        // The measured model may have been subsampled where this graph is not.
        for node in graph.nodes.iter().filter(|node| matches!(node.op, Op::Conv(_))) {
            measured.remove(Pass::Subsample.added_name(&node.name).as_str());
        }
        let subsamples = |node: &&Node| node.origin == Origin::Added(Pass::Subsample);
        for node in graph.nodes.iter().filter(|node| node.op != Op::Cast && !subsamples(node)) {
            match measured.remove(node.name.as_str()) {
                Some(range) if range.op.as_deref().is_none_or(|op| op == node.op.name()) => {
                    found.push((node.output, range));
                }
                _ => return Err(self.other(&format!("a network without its {} '{}'", node.op.name(), node.name))),
            }
        }
        if let Some(extra) = measured.keys().min() {
            return Err(self.other(&format!("a network with a node '{extra}' that this build has not")));
        }
        for &input in &graph.inputs {
            let name = &graph.value(input).name;
            found.extend(self.values.iter().find(|range| !named(range) && range.name == *name).map(|r| (input, r)));
        }
        for node in graph.nodes.iter().filter(subsamples) {
            let whole = uncast(graph, node.inputs[0]);
            let range = found.iter().find(|(id, _)| *id == whole).map(|(_, range)| *range);
            found.extend(range.map(|range| (node.output, range)));
        }
        Ok(found)
    }

    fn other(&self, found: &str) -> CalibrationError {
        let asked = "made with other arguments (outputs, folding, block form)".into();
        CalibrationError::Other { file: self.model.file.clone(), found: found.into(), asked }
    }
}

/// The node that makes a value, or the value's own name.
fn label(range: &Range) -> String {
    range.node.clone().filter(|node| !node.is_empty()).unwrap_or_else(|| range.name.clone())
}

/// Values that are f16 or are cast to it.
fn halves(graph: &Graph) -> HashSet<ValueId> {
    let made = graph.nodes.iter().map(|node| node.output).chain(graph.inputs.iter().copied());
    let half: HashSet<ValueId> = made.filter(|&id| graph.value(id).element == F16).collect();
    let casts = graph.nodes.iter().filter(|node| node.op == Op::Cast && half.contains(&node.output));
    let sources: Vec<ValueId> = casts.flat_map(|node| node.inputs.iter().copied()).collect();
    half.into_iter().chain(sources).collect()
}

/// The value that `id` is, or was before a Cast.
fn uncast(graph: &Graph, id: ValueId) -> ValueId {
    match graph.nodes.iter().find(|node| node.output == id) {
        Some(node) if node.op == Op::Cast => node.inputs[0],
        _ => id,
    }
}

/// The flags that keep all of `beyond` out of f16: the nodes that make them, those that take them, and the ends.
fn fix(graph: &Graph, beyond: &[ValueId]) -> String {
    let source = |id: ValueId| uncast(graph, id);
    let mut nodes: Vec<&str> = Vec::new();
    for node in graph.nodes.iter().filter(|node| node.op != Op::Cast && graph.value(node.output).element == F16) {
        let takes = node.inputs.iter().any(|&id| beyond.contains(&source(id)));
        if takes || beyond.contains(&node.output) {
            nodes.push(&node.name);
        }
    }
    let ends = graph.inputs.iter().chain(&graph.outputs);
    let mut half_ends = ends.filter(|&&id| graph.value(id).element == F16);
    let mut flags = Vec::new();
    if half_ends.any(|&id| beyond.contains(&source(id))) {
        flags.push("--keep-io-types".to_string());
    }
    if !nodes.is_empty() {
        flags.push(format!("--keep-f32 {}", nodes.join(",")));
    }
    flags.join(" ")
}

#[cfg(test)]
#[path = "calibration/tests.rs"]
mod tests;
