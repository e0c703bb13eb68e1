//! Whether f16 holds what was measured, and which nodes must stay f32 where it does not.

use std::collections::BTreeSet;

use onnx_file::element::ElementType;
use onnx_file::proto::NodeProto;
use resnext_builder::graph::Pass;
use serde::Serialize;

use super::calibration::Value;
use super::weights::Weights;
use crate::model::file::ModelFile;
use crate::model::precision::Precision;
use crate::model::values::name;
use crate::stats::range::f16_headroom;

/// Headroom from which on other inputs are not expected to overflow.
pub const COMFORTABLE: f64 = 8.0;

/// The judgement.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Verdict {
    /// Whether every value and weight is finite and within f16's range.
    pub f16_safe: bool,
    /// Largest magnitude of a value; `None` where no element of any is finite.
    pub largest: Option<f64>,
    /// f16's largest number divided by that; `None` where all values are 0.
    pub headroom: Option<f64>,
    /// Nodes whose values or weights f16 cannot hold, in the order of the graph.
    pub overflowing: Vec<String>,
    /// Nodes that must stay f32 for that: those and the ones that take their values; instead of one that takes the pixels
    /// of a strided convolution (`.subsample`), that convolution and who makes its input. What is not finite in f32
    /// already is not among them, because it stays so.
    pub keep_f32: Vec<String>,
    /// Whether something is NaN or infinite that no node in f32 fixes: a weight, or a value of the model's own f32
    /// arithmetic.
    #[serde(skip)]
    pub beyond_mending: bool,
    /// Whether an output of the model is too large for f16, so that outputs must stay f32, too.
    pub keep_io_types: bool,
}

impl Verdict {
    /// Judges values, in the order of the graph, and weights of the model in `file`.
    pub fn of(values: &[Value], weights: &Weights, file: &ModelFile) -> Verdict {
        let names = |chosen: &dyn Fn(&Value) -> bool| -> BTreeSet<&str> {
            values.iter().filter(|value| chosen(value)).map(|value| value.name.as_str()).collect()
        };
        let too_large = |value: &Value| value.max_abs.is_some_and(|largest| largest > ElementType::F16.max_finite());
        let unsafe_values = names(&|value| too_large(value) || value.non_finite > 0);
        let unsafe_weights: BTreeSet<&str> =
            weights.overflowing.iter().chain(&weights.not_finite).map(String::as_str).collect();
        let not_finite = |value: &Value| value.non_finite > 0;
        let mut beyond_mending = !weights.not_finite.is_empty();
        let mut beyond = names(&too_large);
        beyond.extend(weights.overflowing.iter().map(String::as_str));
        if file.precision == Precision::F16 {
            let mut not_finite = names(&not_finite);
            not_finite.extend(weights.not_finite.iter().map(String::as_str));
            beyond.extend(first_of(&not_finite, &file.graph.node));
        } else {
            beyond_mending |= values.iter().any(not_finite);
        }
        let nodes = |chosen: &dyn Fn(&NodeProto) -> bool| -> Vec<String> {
            file.graph.node.iter().filter(|node| chosen(node)).map(|node| name(node).to_owned()).collect()
        };
        let overflowing = nodes(&|node| any(&node.output, &unsafe_values) || any(&node.input, &unsafe_weights));
        let largest = values.iter().filter_map(|value| value.max_abs).reduce(f64::max);
        Verdict {
            f16_safe: overflowing.is_empty() && unsafe_weights.is_empty(),
            largest,
            headroom: largest.and_then(f16_headroom),
            overflowing,
            keep_f32: kept(&beyond, &file.graph.node),
            beyond_mending,
            keep_io_types: file.graph.output.iter().any(|output| beyond.contains(output.name.as_str())),
        }
    }

    /// Whether f16 holds what was measured, but hardly more.
    pub fn is_tight(&self) -> bool {
        self.f16_safe && self.headroom.is_some_and(|headroom| headroom < COMFORTABLE)
    }
}

/// Names of the nodes that make or take one of `beyond`, in the order of the graph; see [`Verdict::keep_f32`].
fn kept(beyond: &BTreeSet<&str>, nodes: &[NodeProto]) -> Vec<String> {
    // A node that `resnext-build` added for the convolution that takes its value is no node of the network that is built
    // anew, so no flag may name it.
    let is_pixels = |node: &NodeProto| {
        let added_for = |taker: &NodeProto| {
            taker.input.iter().any(|input| node.output.contains(input))
                && Pass::Subsample.added_name(name(taker)) == name(node)
        };
        node.op_type == "MaxPool" && nodes.iter().any(added_for)
    };
    let touches = |node: &&NodeProto| any(&node.output, beyond) || any(&node.input, beyond);
    let pixels: Vec<&NodeProto> = nodes.iter().filter(touches).filter(|node| is_pixels(node)).collect();
    let around: BTreeSet<&str> =
        pixels.iter().flat_map(|node| node.input.iter().chain(&node.output)).map(String::as_str).collect();
    let made: BTreeSet<&str> = pixels.iter().flat_map(|node| &node.output).map(String::as_str).collect();
    let chosen = |node: &&NodeProto| touches(node) || any(&node.output, &around) || any(&node.input, &made);
    nodes.iter().filter(chosen).filter(|node| !is_pixels(node)).map(|node| name(node).to_owned()).collect()
}

fn any(names: &[String], of: &BTreeSet<&str>) -> bool {
    names.iter().any(|name| of.contains(name.as_str()))
}

/// The values that are not finite although none that their node takes is: in an f16 model, where it overflows.
fn first_of<'g>(not_finite: &BTreeSet<&str>, nodes: &'g [NodeProto]) -> Vec<&'g str> {
    let begins = nodes.iter().filter(|node| any(&node.output, not_finite) && !any(&node.input, not_finite));
    begins.flat_map(|node| node.output.iter().map(String::as_str)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::file::tests::file;
    use crate::verb::compare::boundary::tests::node;

    /// a -> conv -> b -> relu -> c -> fc -> d
    fn chain(precision: Precision) -> ModelFile {
        let mut file = file(vec![], &[]);
        file.graph.node = vec![
            node("Conv", "conv", &["a", "weight"], "b"),
            node("Relu", "relu", &["b"], "c"),
            node("Gemm", "fc", &["c", "bias"], "d"),
        ];
        ModelFile { precision, ..file }
    }

    fn values(of: [(Option<f64>, u64); 3]) -> Vec<Value> {
        let value = |(at, (max_abs, non_finite)): (usize, (Option<f64>, u64))| Value {
            name: ["b", "c", "d"][at].into(),
            node: ["conv", "relu", "fc"][at].into(),
            op: String::new(),
            stage: String::new(),
            min: max_abs.map(|largest| -largest),
            max: max_abs,
            max_abs,
            non_finite,
        };
        of.into_iter().enumerate().map(value).collect()
    }

    fn judged(precision: Precision, of: [(Option<f64>, u64); 3], heavy: &[&str]) -> Verdict {
        let overflowing = heavy.iter().map(|name| (*name).to_owned()).collect();
        Verdict::of(&values(of), &Weights { overflowing, ..Weights::default() }, &chain(precision))
    }

    #[test]
    fn values_within_range_are_safe_and_little_headroom_is_told() {
        let found = judged(Precision::F32, [(Some(2.0), 0), (Some(65_504.0), 0), (Some(0.0), 0)], &[]);
        assert!(found.f16_safe && found.is_tight());
        assert_eq!((found.largest, found.headroom), (Some(65_504.0), Some(1.0)));
        let found = judged(Precision::F32, [(Some(2.0), 0), (Some(2.0), 0), (Some(0.0), 0)], &[]);
        assert!(found.f16_safe && !found.is_tight());
        let found = judged(Precision::F32, [(Some(0.0), 0); 3], &[]);
        assert_eq!((found.f16_safe, found.largest, found.headroom), (true, Some(0.0), None));
    }

    #[test]
    fn who_makes_a_value_that_is_too_large_overflows_and_who_takes_it_stays_f32_as_well() {
        let found = judged(Precision::F32, [(Some(1e5), 0), (Some(3.0), 0), (Some(1.0), 0)], &[]);
        assert!(!found.f16_safe && !found.is_tight());
        assert_eq!((found.overflowing, found.keep_f32), (vec!["conv".into()], vec!["conv".into(), "relu".into()]));
    }

    #[test]
    fn instead_of_the_pixels_of_a_strided_convolution_it_and_who_makes_its_input_stay_f32() {
        let mut file = file(vec![], &[]);
        file.graph.node = vec![
            node("Conv", "conv", &["a", "weight"], "b"),
            node("MaxPool", "down.subsample", &["b"], "c"),
            node("Conv", "down", &["c", "weight"], "d"),
            node("Conv", "other", &["a", "weight"], "e"),
        ];
        for of in [[(Some(1e5), 0), (Some(1e5), 0), (Some(1.0), 0)], [(Some(1e5), 0), (Some(1.0), 0), (Some(1.0), 0)]] {
            let found = Verdict::of(&values(of), &Weights::default(), &file);
            assert_eq!(found.keep_f32, ["conv", "down"]);
        }
        file.graph.node[1].op_type = "Relu".into();
        let of = [(Some(1e5), 0), (Some(1.0), 0), (Some(1.0), 0)];
        let found = Verdict::of(&values(of), &Weights::default(), &file);
        assert_eq!(found.keep_f32, ["conv", "down.subsample"], "a node that happens to be called so");
    }

    #[test]
    fn what_is_not_finite_in_f32_is_unsafe_and_no_flag_mends_it() {
        let found = judged(Precision::F32, [(Some(1.0), 0), (Some(1.0), 1), (None, 4)], &[]);
        assert!(found.beyond_mending);
        assert_eq!(
            (found.f16_safe, found.overflowing, found.keep_f32),
            (false, vec!["relu".into(), "fc".into()], vec![])
        );
    }

    #[test]
    fn in_an_f16_model_the_node_where_infinities_begin_stays_f32() {
        let found = judged(Precision::F16, [(Some(60_000.0), 1), (Some(1.0), 1), (None, 4)], &[]);
        assert_eq!((found.overflowing.len(), found.beyond_mending), (3, false));
        assert_eq!(found.keep_f32, ["conv", "relu"]);
    }

    #[test]
    fn an_output_that_is_too_large_keeps_the_outputs_f32() {
        let mut file = chain(Precision::F32);
        file.graph.output[0].name = "d".into();
        let judged = |largest| {
            Verdict::of(&values([(Some(1.0), 0), (Some(1.0), 0), (Some(largest), 0)]), &Weights::default(), &file)
        };
        assert!(!judged(65_504.0).keep_io_types);
        let found = judged(65_505.0);
        assert_eq!((found.keep_io_types, found.keep_f32), (true, vec!["fc".into()]));
    }

    #[test]
    fn who_takes_a_weight_that_is_too_large_stays_f32() {
        let found = judged(Precision::F32, [(Some(1.0), 0); 3], &["bias"]);
        assert_eq!((found.f16_safe, found.overflowing, found.keep_f32), (false, vec!["fc".into()], vec!["fc".into()]));
        let weights = Weights { not_finite: vec!["bias".into()], ..Weights::default() };
        let found = Verdict::of(&values([(Some(1.0), 0); 3]), &weights, &chain(Precision::F32));
        assert_eq!((found.f16_safe, found.overflowing, found.keep_f32), (false, vec!["fc".into()], vec![]));
    }
}
