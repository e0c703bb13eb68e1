//! The extents that operators give their results.

/// The most axes that a constant may have: models of images have far fewer.
pub(super) const MAX_RANK: usize = 16;

/// An axis counted from the front.
pub(super) fn axis(given: i64, rank: usize) -> Option<usize> {
    let front = if given < 0 { given + rank as i64 } else { given };
    usize::try_from(front).ok().filter(|axis| *axis < rank)
}

/// The shape that both broadcast to.
pub(super) fn common(a: &[usize], b: &[usize]) -> Option<Vec<usize>> {
    let rank = a.len().max(b.len());
    let extent = |shape: &[usize], axis: usize| (axis + shape.len()).checked_sub(rank).map_or(1, |at| shape[at]);
    (0..rank)
        .map(|axis| match (extent(a, axis), extent(b, axis)) {
            (1, other) | (other, 1) => Some(other),
            (one, other) => (one == other).then_some(one),
        })
        .collect()
}

/// The extents that Reshape gives `from`: 0 takes over, -1 follows from the others.
pub(crate) fn reshape(from: &[usize], to: &[i64]) -> Option<Vec<usize>> {
    let all = from.iter().try_fold(1usize, |n, &dim| n.checked_mul(dim))?;
    let mut open = None;
    let mut dims = Vec::new();
    for (axis, &extent) in to.iter().enumerate() {
        dims.push(match extent {
            -1 if open.is_none() => {
                open = Some(axis);
                1
            }
            0 => *from.get(axis)?,
            extent => usize::try_from(extent).ok()?,
        });
    }
    let given = dims.iter().try_fold(1usize, |n, &dim| n.checked_mul(dim))?;
    match open {
        Some(axis) if given > 0 && all % given == 0 => dims[axis] = all / given,
        Some(_) => return None,
        None => {}
    }
    (dims.iter().try_fold(1usize, |n, &dim| n.checked_mul(dim)) == Some(all)).then_some(dims)
}

/// The extents that Squeeze leaves: without `axes`, all but those of 1.
pub(crate) fn squeeze(from: &[usize], axes: Option<&[i64]>) -> Option<Vec<usize>> {
    let gone: Vec<usize> = match axes {
        Some(axes) if axes.len() > MAX_RANK => return None,
        Some(axes) => axes.iter().map(|&at| axis(at, from.len())).collect::<Option<_>>()?,
        None => (0..from.len()).filter(|&at| from[at] == 1).collect(),
    };
    if gone.iter().any(|&at| from[at] != 1) {
        return None;
    }
    Some(from.iter().enumerate().filter(|(at, _)| !gone.contains(at)).map(|(_, &extent)| extent).collect())
}

/// The extents after Unsqueeze.
pub(crate) fn unsqueeze(from: &[usize], axes: &[i64]) -> Option<Vec<usize>> {
    let rank = from.len() + axes.len();
    if rank > MAX_RANK {
        return None;
    }
    let new: Vec<usize> = axes.iter().map(|&at| axis(at, rank)).collect::<Option<_>>()?;
    let mut old = from.iter();
    let dims: Vec<usize> =
        (0..rank).filter_map(|at| if new.contains(&at) { Some(1) } else { old.next().copied() }).collect();
    (dims.len() == rank && old.next().is_none()).then_some(dims)
}

/// The extents after Flatten, which counts `axis` from the front.
pub(crate) fn flatten(from: &[usize], axis: usize) -> Option<Vec<usize>> {
    let (outer, inner) = from.split_at_checked(axis)?;
    let all = |part: &[usize]| part.iter().try_fold(1usize, |n, &dim| n.checked_mul(dim));
    Some(vec![all(outer)?, all(inner)?])
}
