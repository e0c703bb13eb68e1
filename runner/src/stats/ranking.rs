//! Orders among numbers.

/// Indices of the `k` largest scores, best first, ties by index; `None` where a score is NaN or infinite, because what
/// computed it has failed and its other scores mean nothing.
pub fn best(scores: &[f64], k: usize) -> Option<Vec<usize>> {
    if scores.iter().any(|score| !score.is_finite()) {
        return None;
    }
    let mut indices: Vec<usize> = (0..scores.len()).collect();
    let order = |a: &usize, b: &usize| scores[*b].total_cmp(&scores[*a]).then(a.cmp(b));
    if k < indices.len() {
        indices.select_nth_unstable_by(k, order);
        indices.truncate(k);
    }
    indices.sort_by(order);
    Some(indices)
}

/// Number of classes of an output `[N, classes]` or `[N, classes, 1, 1]`; `None` where it is no such output.
pub fn class_count(shape: &[usize]) -> Option<usize> {
    match shape {
        [images, classes] | [images, classes, 1, 1] if *images > 0 && *classes > 1 => Some(*classes),
        _ => None,
    }
}
