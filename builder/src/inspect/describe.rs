//! The stages of an architecture, with what they cost.

use super::result::{Architecture, Inferred, Stage, Unknown};
use crate::architecture::{self, Options};
use crate::cost::{Cost, cost_of};
use crate::graph::{Dim, Graph, Origin, Part};
use crate::variant::Variant;

/// Counts the network for images of this size, or of its usual one.
pub(super) fn describe(found: &architecture::Inferred, image: Option<[usize; 2]>, form: Vec<String>) -> Architecture {
    let architecture::Inferred { variant, channels, hidden, classes } = found;
    let classes = *classes;
    let mut options = Options::classifier(variant);
    let image_size = image.unwrap_or([variant.default_image_size(); 2]);
    options.image = image_size.map(Dim::Fixed);
    options.classes = classes.unwrap_or(options.classes);
    options.channels = *channels;
    options.hidden.clone_from(hidden);
    if classes.is_none() {
        options.outputs = vec![architecture::Output::Stage(variant.blocks.len())];
    }
    let graph = match architecture::build(variant, &options) {
        Ok(graph) => graph,
        Err(error) => return Architecture::Unknown(Unknown::Image(error)),
    };
    let mut stages = vec![stage(&graph, "stem", Part::Stem, None)];
    for index in 0..variant.blocks.len() {
        stages.push(stage(&graph, &format!("layer{}", index + 1), Part::Stage(index), Some((variant, index))));
    }
    if classes.is_some() {
        stages.push(stage(&graph, "head", Part::Head, None));
    }
    let costs = stages.iter().map(|s| Cost { parameters: s.parameters, multiply_adds: s.multiply_adds });
    let Cost { parameters, multiply_adds } = costs.sum();
    Architecture::Inferred(Box::new(Inferred {
        variant: variant.to_string(),
        classes,
        image_size,
        form,
        parameters,
        multiply_adds,
        stages,
    }))
}

fn stage(graph: &Graph, name: &str, part: Part, place: Option<(&Variant, usize)>) -> Stage {
    let nodes: Vec<_> = graph.nodes.iter().filter(|node| node.origin == Origin::Network(part)).collect();
    let Cost { parameters, multiply_adds } = nodes.iter().map(|n| cost_of(graph, n)).sum();
    let last = nodes.last().map(|n| graph.value(n.output).shape.clone()).unwrap_or_default();
    let extent = |axis: usize| last.get(axis).and_then(Dim::fixed);
    Stage {
        name: name.into(),
        blocks: place.map(|(variant, index)| variant.blocks[index]),
        cardinality: place.map(|(variant, _)| variant.cardinality),
        width: place.map(|(variant, index)| variant.width(index)),
        out_channels: extent(1).unwrap_or(0),
        out_size: extent(2).zip(extent(3)).map(|(h, w)| [h, w]),
        parameters,
        multiply_adds,
    }
}
