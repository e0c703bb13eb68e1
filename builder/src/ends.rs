//! The ends of a model's file: names, layout and type of what goes in and comes out.
//!
//! Other stacks feed inputs by names of their own, as bytes or with the channels last. All of that is nodes and names
//! around a network, which stays as it is, so it is done on the finished model, whoever made it, and after every pass:
//! calibrations and tunings know values by the names that the network itself has.

mod enter;
mod error;
mod leave;
mod names;
mod nodes;
mod strip;

use onnx_file::metadata::Preprocess;
use onnx_file::port::{Layout, Port};
use onnx_file::proto::{GraphProto, ModelProto};
use serde::Serialize;

pub use error::{EndsError, Pixels};
use names::Names;
pub use strip::{Entry, Stripped, strip};
pub(crate) use strip::{contradiction, without_ends};

/// What the ends of a model are to be; nothing of it by default.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Ends {
    /// Name of the only input.
    pub input_name: Option<String>,
    /// Names of the outputs, in order; empty for those there are.
    pub output_names: Vec<String>,
    /// Where the channels of images stand.
    pub layout: Option<Layout>,
    /// Type of images.
    pub pixels: Option<Pixels>,
    /// Turn logits into probabilities.
    pub softmax: bool,
    /// Put out f32 where the network makes f16.
    pub wide_outputs: bool,
}

/// What was done to an end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "end")]
pub enum Change {
    /// The input.
    Input {
        /// As it was.
        from: Port,
        /// As it is.
        to: Port,
    },
    /// An output.
    Output {
        /// As it was.
        from: Port,
        /// As it is.
        to: Port,
    },
}

impl Ends {
    /// Whether nothing is asked for.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Where the channels are to stand: as asked, or last where pixels are fed as files have them.
    fn layout(&self) -> Option<Layout> {
        self.layout.or((self.pixels == Some(Pixels::U8)).then_some(Layout::Nhwc))
    }

    /// Gives `model` these ends. Pixels are normalised as `preprocess` says. New constants are initializers, with their
    /// data, behind those there are.
    ///
    /// # Errors
    /// [`EndsError`]; the model may then be changed in part.
    pub fn apply(&self, model: &mut ModelProto, preprocess: Option<&Preprocess>) -> Result<Vec<Change>, EndsError> {
        if self.is_empty() {
            return Ok(Vec::new());
        }
        let opset = opset(model);
        let Some(graph) = &mut model.graph else { return Ok(Vec::new()) };
        let before = (Port::inputs(graph), outputs(graph));
        self.check_names(graph)?;
        let mut names = Names::of(graph);
        if self.layout().is_some() || self.pixels.is_some() {
            enter::enter(graph, &mut names, self.layout(), self.pixels, preprocess)?;
        }
        if self.softmax {
            leave::softmax(graph, &mut names, opset)?;
        }
        if self.wide_outputs {
            leave::widen(graph, &mut names);
        }
        if let (Some(name), [input]) = (&self.input_name, &Port::inputs(graph)[..]) {
            names::rename(graph, &mut names, &input.name, name);
        }
        for (at, name) in self.output_names.iter().enumerate() {
            let old = graph.output[at].name.clone();
            // Two names may change places.
            if graph.output.iter().any(|other| other.name == *name && other.name != old) {
                let aside = names.fresh(&format!("{name}.aside"));
                names::rename(graph, &mut names, name, &aside);
            }
            names::rename(graph, &mut names, &old, name);
        }
        Ok(changes(before, (Port::inputs(graph), outputs(graph))))
    }

    /// Refuses names that are none, are given twice, or would be those of an input and an output.
    fn check_names(&self, graph: &GraphProto) -> Result<(), EndsError> {
        let inputs = Port::inputs(graph);
        if self.input_name.is_some() && inputs.len() != 1 {
            return Err(EndsError::Inputs(inputs.len()));
        }
        let found: Vec<String> = graph.output.iter().map(|output| output.name.clone()).collect();
        if !self.output_names.is_empty() && self.output_names.len() != found.len() {
            return Err(EndsError::Outputs { given: self.output_names.len(), found });
        }
        let asked = self.input_name.iter().chain(&self.output_names);
        if let Some(bad) = asked.clone().find(|name| !is_name(name)) {
            return Err(EndsError::Name(bad.clone()));
        }
        let inputs = match &self.input_name {
            Some(name) => vec![name.clone()],
            None => inputs.into_iter().map(|port| port.name).collect(),
        };
        let outputs = if self.output_names.is_empty() { &found } else { &self.output_names };
        let mut seen = std::collections::HashSet::new();
        match inputs.iter().chain(outputs).find(|name| !seen.insert(name.as_str())) {
            Some(twice) if asked.into_iter().any(|name| name == twice) => Err(EndsError::Twice(twice.clone())),
            _ => Ok(()),
        }
    }
}

/// Characters that every stack takes in the name of an input: servers put them into addresses and files.
fn is_name(name: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "_.-/:".contains(c);
    !name.is_empty() && name.len() <= 256 && name.chars().all(allowed)
}

fn outputs(graph: &GraphProto) -> Vec<Port> {
    graph.output.iter().map(Port::of).collect()
}

/// Version of the default operator set.
fn opset(model: &ModelProto) -> i64 {
    let default = model.opset_import.iter().find(|opset| matches!(opset.domain.as_str(), "" | "ai.onnx"));
    default.map_or(0, |opset| opset.version)
}

type Ports = (Vec<Port>, Vec<Port>);

fn changes(before: Ports, after: Ports) -> Vec<Change> {
    let pairs = |from: Vec<Port>, to: Vec<Port>| from.into_iter().zip(to).filter(|(from, to)| from != to);
    let inputs = pairs(before.0, after.0).map(|(from, to)| Change::Input { from, to });
    inputs.chain(pairs(before.1, after.1).map(|(from, to)| Change::Output { from, to })).collect()
}

#[cfg(test)]
mod tests;
