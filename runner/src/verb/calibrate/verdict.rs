//! Whether f16 holds what was measured, and which nodes must stay f32 where it does not.

use std::collections::BTreeSet;

use onnx_file::element::ElementType;
use onnx_file::proto::NodeProto;
use resnext_builder::graph::Pass;

use super::result::{Value, Verdict};
use super::weights::Weights;
use crate::model::file::ModelFile;
use crate::model::precision::Precision;
use crate::model::values::name;
use crate::stats::range::f16_headroom;

impl Verdict {
    /// What follows from values, in the order of the graph, and weights of the model in `file`.
    pub fn of(values: &[Value], weights: &Weights, file: &ModelFile) -> Verdict {
        let names = |chosen: &dyn Fn(&Value) -> bool| -> BTreeSet<&str> {
            values.iter().filter(|value| chosen(value)).map(|value| value.range.name.as_str()).collect()
        };
        let too_large =
            |value: &Value| value.range.max_abs.is_some_and(|largest| largest > ElementType::F16.max_finite());
        let unsafe_values = names(&|value| too_large(value) || value.range.non_finite > 0);
        let unsafe_weights: BTreeSet<&str> =
            weights.overflowing.iter().chain(&weights.not_finite).map(String::as_str).collect();
        let not_finite = |value: &Value| value.range.non_finite > 0;
        let mut unfixable = !weights.not_finite.is_empty();
        let mut beyond = names(&too_large);
        beyond.extend(weights.overflowing.iter().map(String::as_str));
        if file.precision == Precision::F16 {
            let mut not_finite = names(&not_finite);
            not_finite.extend(weights.not_finite.iter().map(String::as_str));
            beyond.extend(first_of(&not_finite, &file.graph.node));
        } else {
            unfixable |= values.iter().any(not_finite);
        }
        let nodes = |chosen: &dyn Fn(&NodeProto) -> bool| -> Vec<String> {
            file.graph.node.iter().filter(|node| chosen(node)).map(|node| name(node).to_owned()).collect()
        };
        let overflowing = nodes(&|node| any(&node.output, &unsafe_values) || any(&node.input, &unsafe_weights));
        let largest = values.iter().filter_map(|value| value.range.max_abs).reduce(f64::max);
        Verdict {
            f16_safe: overflowing.is_empty() && unsafe_weights.is_empty(),
            largest,
            headroom: largest.and_then(f16_headroom),
            overflowing,
            keep_f32: kept(&beyond, &file.graph.node),
            unfixable,
            keep_io_types: file.graph.output.iter().any(|output| beyond.contains(output.name.as_str())),
        }
    }
}

/// Names of the nodes that make or take one of `beyond`, in the order of the graph; see [`Verdict::keep_f32`].
fn kept(beyond: &BTreeSet<&str>, nodes: &[NodeProto]) -> Vec<String> {
    // A node that `resnext-build` added for the convolution that takes its value is no node of the network that is built
    // anew, so no flag may name it.
    let is_subsampling = |node: &NodeProto| {
        let added_for = |taker: &NodeProto| {
            taker.input.iter().any(|input| node.output.contains(input))
                && Pass::Subsample.added_name(name(taker)) == name(node)
        };
        node.op_type == "MaxPool" && nodes.iter().any(added_for)
    };
    let touches = |node: &&NodeProto| any(&node.output, beyond) || any(&node.input, beyond);
    let subsampling: Vec<&NodeProto> = nodes.iter().filter(touches).filter(|node| is_subsampling(node)).collect();
    let around: BTreeSet<&str> =
        subsampling.iter().flat_map(|node| node.input.iter().chain(&node.output)).map(String::as_str).collect();
    let made: BTreeSet<&str> = subsampling.iter().flat_map(|node| &node.output).map(String::as_str).collect();
    let chosen = |node: &&NodeProto| touches(node) || any(&node.output, &around) || any(&node.input, &made);
    nodes.iter().filter(chosen).filter(|node| !is_subsampling(node)).map(|node| name(node).to_owned()).collect()
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
    use resnext_builder::calibration::Range;

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
            range: Range {
                name: ["b", "c", "d"][at].into(),
                node: Some(["conv", "relu", "fc"][at].into()),
                op: None,
                min: max_abs.map(|largest| -largest),
                max: max_abs,
                max_abs,
                non_finite,
                histogram: None,
            },
            stage: String::new(),
        };
        of.into_iter().enumerate().map(value).collect()
    }

    fn verdict(precision: Precision, of: [(Option<f64>, u64); 3], heavy: &[&str]) -> Verdict {
        let overflowing = heavy.iter().map(|name| (*name).to_owned()).collect();
        Verdict::of(&values(of), &Weights { overflowing, ..Weights::default() }, &chain(precision))
    }

    #[test]
    fn values_within_range_are_safe_and_little_headroom_is_told() {
        let found = verdict(Precision::F32, [(Some(2.0), 0), (Some(65_504.0), 0), (Some(0.0), 0)], &[]);
        assert!(found.f16_safe && found.is_tight());
        assert_eq!((found.largest, found.headroom), (Some(65_504.0), Some(1.0)));
        let found = verdict(Precision::F32, [(Some(2.0), 0), (Some(2.0), 0), (Some(0.0), 0)], &[]);
        assert!(found.f16_safe && !found.is_tight());
        let found = verdict(Precision::F32, [(Some(0.0), 0); 3], &[]);
        assert_eq!((found.f16_safe, found.largest, found.headroom), (true, Some(0.0), None));
    }

    #[test]
    fn who_makes_a_value_that_is_too_large_overflows_and_who_takes_it_stays_f32_as_well() {
        let found = verdict(Precision::F32, [(Some(1e5), 0), (Some(3.0), 0), (Some(1.0), 0)], &[]);
        assert!(!found.f16_safe && !found.is_tight());
        assert_eq!((found.overflowing, found.keep_f32), (vec!["conv".into()], vec!["conv".into(), "relu".into()]));
    }

    #[test]
    fn instead_of_the_node_that_subsamples_for_a_strided_convolution_that_and_who_makes_its_input_stay_f32() {
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
    fn what_is_not_finite_in_f32_is_unsafe_and_no_flag_fixes_it() {
        let found = verdict(Precision::F32, [(Some(1.0), 0), (Some(1.0), 1), (None, 4)], &[]);
        assert!(found.unfixable);
        assert_eq!(
            (found.f16_safe, found.overflowing, found.keep_f32),
            (false, vec!["relu".into(), "fc".into()], vec![])
        );
    }

    #[test]
    fn in_an_f16_model_the_node_where_infinities_begin_stays_f32() {
        let found = verdict(Precision::F16, [(Some(60_000.0), 1), (Some(1.0), 1), (None, 4)], &[]);
        assert_eq!((found.overflowing.len(), found.unfixable), (3, false));
        assert_eq!(found.keep_f32, ["conv", "relu"]);
    }

    #[test]
    fn an_output_that_is_too_large_keeps_the_outputs_f32() {
        let mut file = chain(Precision::F32);
        file.graph.output[0].name = "d".into();
        let of = |largest| {
            Verdict::of(&values([(Some(1.0), 0), (Some(1.0), 0), (Some(largest), 0)]), &Weights::default(), &file)
        };
        assert!(!of(65_504.0).keep_io_types);
        let found = of(65_505.0);
        assert_eq!((found.keep_io_types, found.keep_f32), (true, vec!["fc".into()]));
    }

    #[test]
    fn who_takes_a_weight_that_is_too_large_stays_f32() {
        let found = verdict(Precision::F32, [(Some(1.0), 0); 3], &["bias"]);
        assert_eq!((found.f16_safe, found.overflowing, found.keep_f32), (false, vec!["fc".into()], vec!["fc".into()]));
        let weights = Weights { not_finite: vec!["bias".into()], ..Weights::default() };
        let found = Verdict::of(&values([(Some(1.0), 0); 3]), &weights, &chain(Precision::F32));
        assert_eq!((found.f16_safe, found.overflowing, found.keep_f32), (false, vec!["fc".into()], vec![]));
    }
}
