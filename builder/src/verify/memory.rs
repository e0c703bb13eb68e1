//! How much memory a comparison takes, told from shapes alone, before anything is computed.

use crate::graph::{Graph, Op, ValueId};

/// Bytes of a number.
const NUMBER: u64 = size_of::<f64>() as u64;

/// Bytes that evaluating `graph`, whose extents are all known, takes at its worst moment: the values that later nodes
/// need, and beside the node at work its padded input and, for each of `threads`, the windows of a convolution.
pub(super) fn peak(graph: &Graph, threads: u64) -> u64 {
    let bytes = |id: ValueId| extents(graph, id).fold(NUMBER, u64::saturating_mul);
    let mut remaining = graph.use_counts();
    let mut live: u64 = graph.inputs.iter().map(|&id| bytes(id)).fold(0, u64::saturating_add);
    let mut peak = live;
    for node in &graph.nodes {
        live = live.saturating_add(bytes(node.output));
        let work = match (&node.op, node.inputs.first()) {
            (Op::Conv(conv), Some(&input)) => {
                let channels = extents(graph, input).nth(1).unwrap_or(1) / conv.group.max(1) as u64;
                let places = extents(graph, node.output).skip(2).fold(NUMBER, u64::saturating_mul);
                let window = conv.kernel.iter().fold(channels, |n, &side| n.saturating_mul(side as u64));
                let padded = bytes(input).saturating_mul(2);
                window.saturating_mul(places).saturating_mul(threads).saturating_add(padded)
            }
            (_, Some(&input)) => bytes(input),
            (_, None) => 0,
        };
        peak = peak.max(live.saturating_add(work));
        for &id in node.inputs.iter().filter(|&&id| graph.value(id).weight.is_none()) {
            remaining[id.0 as usize] -= 1;
            if remaining[id.0 as usize] == 0 {
                live = live.saturating_sub(bytes(id));
            }
        }
    }
    peak
}

fn extents(graph: &Graph, id: ValueId) -> impl Iterator<Item = u64> {
    graph.value(id).shape.iter().map(|dim| dim.fixed().map_or(1, |extent| extent as u64))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::architecture::{Options, build};
    use crate::graph::Dim;
    use crate::variant::Variant;

    fn peak_at(side: usize) -> u64 {
        let variant = Variant::parse_with("50_32x4d", &[]).unwrap();
        let image = [Dim::Fixed(side), Dim::Fixed(side)];
        let options = Options { batch: Dim::Fixed(2), image, ..Options::classifier(&variant) };
        peak(&build(&variant, &options).unwrap(), 2)
    }

    #[test]
    fn usual_images_take_little_and_memory_grows_with_their_area() {
        let usual = peak_at(224);
        // The stem's windows: 147 numbers for each of 112 x 112 places, twice.
        assert!(usual > 2 * 147 * 112 * 112 * 8 && usual < 256 << 20, "{usual}");
        let large = peak_at(4096);
        assert!(large > 300 * usual && large > 10 << 30, "{large}");
    }
}
