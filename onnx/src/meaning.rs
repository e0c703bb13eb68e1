//! What the numbers of an output mean, read from the graph that makes them.
//!
//! Whether numbers are probabilities cannot be seen from the numbers: those of a quantized softmax add up to 0.97, and
//! logits may by chance add up to 1. So the output is followed back through whatever only moves or stores numbers, to
//! the node that decides.

use std::cell::Cell;
use std::collections::{HashMap, HashSet};

use serde::{Deserialize, Serialize};

use crate::port::Port;
use crate::proto::{AttributeProto, GraphProto, NodeProto};

/// Nodes looked at for one output; a graph made to branch without end is given up on.
const MOST_LOOKED_AT: usize = 2000;
/// First version of the default operator set whose `Softmax` works along one axis, the last unless told otherwise:
/// <https://onnx.ai/onnx/operators/onnx__Softmax.html>.
const SOFTMAX_ALONG_ONE_AXIS: i64 = 13;

/// What the numbers of an output are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Meaning {
    /// Numbers that a softmax turns into probabilities.
    Logits,
    /// Probabilities of classes of which one is right: a softmax made them.
    Probabilities,
    /// Logarithms of such probabilities.
    LogProbabilities,
    /// A probability for each class by itself: a sigmoid made them.
    IndependentProbabilities,
    /// Indices of classes, the best first.
    Classes,
    /// Numbers of which the graph tells no more than that there is one for each class.
    Scores,
}

/// A graph whose outputs are asked about.
pub struct Meanings<'g> {
    /// The node that makes a value, and which of its outputs the value is.
    made_by: HashMap<&'g str, (&'g NodeProto, usize)>,
    shapes: HashMap<&'g str, Vec<Option<usize>>>,
    constants: HashSet<&'g str>,
    opset: i64,
}

impl<'g> Meanings<'g> {
    /// Of `graph`, whose default operator set has version `opset`.
    pub fn of(graph: &'g GraphProto, opset: i64) -> Self {
        let mut made_by = HashMap::new();
        for node in &graph.node {
            for (at, output) in node.output.iter().enumerate().filter(|(_, output)| !output.is_empty()) {
                made_by.insert(output.as_str(), (node, at));
            }
        }
        let described = graph.value_info.iter().chain(&graph.output).chain(&graph.input);
        let shapes = described.filter_map(|value| Some((value.name.as_str(), Port::of(value).shape?))).collect();
        let constants = graph.initializer.iter().map(|tensor| tensor.name.as_str());
        Meanings { made_by, shapes, constants: constants.collect(), opset }
    }

    /// What the numbers of `value` are.
    pub fn meaning(&self, value: &str) -> Meaning {
        self.follow(value, &Cell::new(MOST_LOOKED_AT))
    }

    /// The values that `value` is computed from one by one, without a look at any other: through whatever moves numbers,
    /// normalises them or picks the best. Two outputs that share the last of these rank the same scores; two parts cut
    /// from one value do not.
    pub fn lineage(&self, value: &'g str) -> Vec<&'g str> {
        self.back(value, |node| {
            let cuts = matches!(node.op_type.as_str(), "Split" | "Slice" | "Gather");
            !cuts
                && !matches!(
                    step(node),
                    Step::Known(Meaning::Logits) | Step::Combined | Step::Activation | Step::Unknown
                )
        })
    }

    /// Whether `value` holds what a `TopK` picked, best first: its places say nothing of the classes.
    pub fn is_picked(&self, value: &'g str) -> bool {
        let picked =
            |value: &&str| self.made_by.get(value).is_some_and(|(node, at)| node.op_type == "TopK" && *at == 0);
        let moves = |node: &NodeProto| !matches!(step(node), Step::Known(Meaning::Logits) | Step::Unknown);
        self.back(value, moves).iter().any(picked)
    }

    /// Values and places of a `TopK`, where `value` is the places.
    pub fn top_values(&self, value: &'g str) -> Option<&'g str> {
        let places = *self.back(value, |node| matches!(step(node), Step::Through)).last()?;
        let (node, at) = self.made_by.get(places)?;
        let values = node.output.first().filter(|name| node.op_type == "TopK" && *at == 1 && !name.is_empty());
        values.map(String::as_str)
    }

    /// The value, what it is made of, and so on by first inputs, for as long as the nodes between are of that sort.
    fn back(&self, value: &'g str, goes_on: impl Fn(&NodeProto) -> bool) -> Vec<&'g str> {
        let mut values = vec![value];
        let mut seen = HashSet::from([value]);
        while let Some((node, _)) = values.last().and_then(|last| self.made_by.get(last)) {
            let before = node.input.first().map(String::as_str).filter(|name| goes_on(node) && seen.insert(name));
            match before {
                Some(before) if values.len() <= MOST_LOOKED_AT => values.push(before),
                _ => break,
            }
        }
        values
    }

    fn follow(&self, value: &str, budget: &Cell<usize>) -> Meaning {
        let mut value = value;
        loop {
            budget.set(budget.get().saturating_sub(1));
            let Some((node, at)) = self.made_by.get(value).filter(|_| budget.get() > 0) else {
                // An input, a weight, or a part of another graph.
                return Meaning::Scores;
            };
            let Some(before) = node.input.first() else { return Meaning::Scores };
            match step(node) {
                Step::Through => value = before,
                Step::Known(meaning) => return meaning,
                Step::Activation => {
                    return match self.follow(before, budget) {
                        Meaning::Logits => Meaning::Logits,
                        _ => Meaning::Scores,
                    };
                }
                Step::Softmax(meaning) if self.is_over_classes(node) => return meaning,
                Step::Softmax(_) | Step::Unknown => return Meaning::Scores,
                Step::Best if node.op_type == "TopK" && *at == 0 => value = before,
                Step::Best if smallest(node) => return Meaning::Scores,
                Step::Best => return Meaning::Classes,
                Step::Classifier(meaning) => return if *at == 0 { Meaning::Classes } else { meaning },
                Step::Logarithm => {
                    return match self.follow(before, budget) {
                        Meaning::Probabilities => Meaning::LogProbabilities,
                        _ => Meaning::Scores,
                    };
                }
                Step::Exponential => {
                    return match self.follow(before, budget) {
                        Meaning::LogProbabilities => Meaning::Probabilities,
                        _ => Meaning::Scores,
                    };
                }
                Step::Combined if self.is_written_out_softmax(node) => return Meaning::Probabilities,
                Step::Combined => {
                    let operands = node.input.iter().filter(|name| !name.is_empty() && !self.is_constant(name));
                    let logits = |name: &String| self.follow(name, budget) == Meaning::Logits;
                    return if operands.clone().count() > 0 && operands.clone().all(logits) {
                        Meaning::Logits
                    } else {
                        Meaning::Scores
                    };
                }
            }
        }
    }

    fn is_constant(&self, value: &str) -> bool {
        let made = self.made_by.get(value);
        let constant = made.is_some_and(|(node, _)| {
            node.op_type == "Constant"
                || matches!(step(node), Step::Through)
                    && node.input.first().is_some_and(|name| self.constants.contains(name.as_str()))
        });
        self.constants.contains(value) || constant
    }

    /// Whether a softmax goes along the classes: of the other axes but the first, which counts images, none has an
    /// extent, as far as shapes are known.
    fn is_over_classes(&self, node: &NodeProto) -> bool {
        let along_one = node.domain == "com.microsoft" || self.opset >= SOFTMAX_ALONG_ONE_AXIS;
        let axis = integer(node, "axis").unwrap_or(if along_one { -1 } else { 1 });
        let named = [node.output.first(), node.input.first()];
        let Some(shape) = named.iter().flatten().find_map(|name| self.shapes.get(name.as_str())) else {
            // The classes are last, or second; the images first.
            return axis != 0;
        };
        let rank = shape.len();
        let Some(axis) = usize::try_from(if axis < 0 { axis + rank as i64 } else { axis }).ok() else { return false };
        let normalised = |at: usize| if along_one { at == axis } else { at >= axis };
        let images = if rank == 1 { None } else { Some(0) };
        let alone = |(at, extent): (usize, &Option<usize>)| {
            Some(at) == images || normalised(at) || extent.is_none_or(|extent| extent == 1)
        };
        let classes = |(at, extent): (usize, &Option<usize>)| normalised(at) && *extent != Some(1);
        !(images == Some(0) && normalised(0))
            && shape.iter().enumerate().all(alone)
            && shape.iter().enumerate().any(classes)
    }

    /// `exp(x) / sum(exp(x))`, as exporters without a softmax write it.
    fn is_written_out_softmax(&self, node: &NodeProto) -> bool {
        let (Some(above), Some(below)) = (node.input.first(), node.input.get(1)) else { return false };
        let made = |value: &str, op: &str| self.made_by.get(value).filter(|(node, _)| node.op_type == op);
        // Along the classes; axes in a tensor cannot be looked at, and without any the sum is over all images.
        let along_classes = |sum: &NodeProto| match attribute(sum, "axes") {
            Some(axes) => axes.ints.iter().all(|axis| *axis != 0 && *axis != -2) && !axes.ints.is_empty(),
            None => sum.input.get(1).is_some_and(|axes| !axes.is_empty()),
        };
        let is_sum = |(sum, _): &(&NodeProto, usize)| sum.input.first() == Some(above) && along_classes(sum);
        node.op_type == "Div" && made(above, "Exp").is_some() && made(below, "ReduceSum").is_some_and(is_sum)
    }
}

/// What a node does to the meaning of what goes through it.
enum Step {
    /// Moves or stores numbers: they mean what they meant.
    Through,
    /// Makes numbers of this meaning.
    Known(Meaning),
    /// Likewise, where it goes along the classes.
    Softmax(Meaning),
    /// Bends or shifts numbers one by one or channel by channel: logits stay logits.
    Activation,
    /// Picks the best.
    Best,
    /// A whole classifier: its first output is the class, its second this.
    Classifier(Meaning),
    Logarithm,
    Exponential,
    /// Computes with several numbers; of logits it makes logits.
    Combined,
    /// Nobody knows.
    Unknown,
}

fn step(node: &NodeProto) -> Step {
    match (node.domain.as_str(), node.op_type.as_str()) {
        ("" | "ai.onnx", op) => default_domain(op),
        ("com.microsoft", "QLinearSoftmax") => Step::Softmax(Meaning::Probabilities),
        ("com.microsoft", "QLinearSigmoid") => Step::Known(Meaning::IndependentProbabilities),
        ("com.microsoft", "QuantizeLinear" | "DequantizeLinear" | "QLinearReduceMean") => Step::Through,
        (
            "com.microsoft",
            "QLinearAdd"
            | "QLinearMul"
            | "QLinearConcat"
            | "QLinearGlobalAveragePool"
            | "QLinearAveragePool"
            | "QLinearLeakyRelu"
            | "QGemm"
            | "FusedMatMul"
            | "FusedGemm"
            | "FusedConv"
            | "NhwcFusedConv"
            | "QLinearConv"
            | "DynamicQuantizeMatMul"
            | "MatMulIntegerToFloat"
            | "MatMulNBits"
            | "GemmFastGelu",
        ) => Step::Known(Meaning::Logits),
        ("ai.onnx.ml", "LinearClassifier" | "SVMClassifier" | "TreeEnsembleClassifier") => {
            Step::Classifier(match text(node, "post_transform") {
                Some(b"SOFTMAX") => Meaning::Probabilities,
                Some(b"LOGISTIC") => Meaning::IndependentProbabilities,
                _ => Meaning::Scores,
            })
        }
        ("ai.onnx.ml", "Normalizer") if text(node, "norm") == Some(b"L1") => Step::Known(Meaning::Probabilities),
        _ => Step::Unknown,
    }
}

fn default_domain(op: &str) -> Step {
    match op {
        "Identity" | "Cast" | "CastLike" | "QuantizeLinear" | "DequantizeLinear" | "Reshape" | "Flatten"
        | "Squeeze" | "Unsqueeze" | "Transpose" | "Dropout" | "Clip" | "Slice" | "Gather" | "Split" | "Expand" => {
            Step::Through
        }
        "Softmax" => Step::Softmax(Meaning::Probabilities),
        "LogSoftmax" => Step::Softmax(Meaning::LogProbabilities),
        "Sigmoid" | "HardSigmoid" => Step::Known(Meaning::IndependentProbabilities),
        "ArgMax" | "TopK" => Step::Best,
        "Log" => Step::Logarithm,
        "Exp" => Step::Exponential,
        "Add" | "Sub" | "Mul" | "Div" | "Sum" | "Mean" | "Max" | "Min" | "Concat" | "ReduceMean" | "ReduceSum"
        | "ReduceMax" | "Where" => Step::Combined,
        "Gemm" | "MatMul" | "MatMulInteger" | "QLinearMatMul" | "Conv" | "ConvInteger" | "ConvTranspose"
        | "QLinearConv" | "Einsum" => Step::Known(Meaning::Logits),
        "Relu" | "LeakyRelu" | "PRelu" | "Elu" | "Selu" | "Celu" | "Gelu" | "Mish" | "HardSwish" | "Swish"
        | "ThresholdedRelu" | "BatchNormalization" => Step::Activation,
        // A mean over a plane may be one of class maps or of features, and a new operator anything.
        _ => Step::Unknown,
    }
}

/// Whether a `TopK` picks the smallest.
fn smallest(node: &NodeProto) -> bool {
    node.op_type == "TopK" && integer(node, "largest") == Some(0)
}

fn attribute<'n>(node: &'n NodeProto, name: &str) -> Option<&'n AttributeProto> {
    node.attribute.iter().find(|attribute| attribute.name == name)
}

fn integer(node: &NodeProto, name: &str) -> Option<i64> {
    attribute(node, name).map(|attribute| attribute.i)
}

fn text<'n>(node: &'n NodeProto, name: &str) -> Option<&'n [u8]> {
    attribute(node, name).map(|attribute| attribute.s.as_ref())
}

#[cfg(test)]
mod tests;
