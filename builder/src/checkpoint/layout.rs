//! Where the elements of a tensor lie in its storage.

use onnx_file::element::ElementType;

/// A strided view. Invariant: its last element's position fits 64 bits, as does the number of its bytes.
#[derive(Debug)]
pub(super) struct Layout {
    pub(super) dtype: ElementType,
    /// First element.
    offset: u64,
    /// Dimensions of more than one element, merged where they can be: extent and stride, in elements, outermost first.
    dims: Vec<(usize, usize)>,
    elements: usize,
}

impl Layout {
    /// The view of `shape` with `stride` from `offset` on, all in elements; `None` on overflow.
    pub(super) fn new(dtype: ElementType, offset: usize, shape: Vec<usize>, stride: Vec<usize>) -> Option<Self> {
        let elements = shape.iter().try_fold(1usize, |product, extent| product.checked_mul(*extent))?;
        elements.checked_mul(dtype.size())?;
        let mut dims: Vec<(usize, usize)> = Vec::new();
        for (extent, stride) in shape.into_iter().zip(stride) {
            // A dimension of one element is never stepped along: torch writes anything as its stride.
            if extent == 1 {
                continue;
            }
            match dims.last_mut() {
                // Row after row without a gap: one longer row.
                Some((outer, step)) if elements > 0 && Some(*step) == stride.checked_mul(extent) => {
                    (*outer, *step) = (*outer * extent, stride);
                }
                _ => dims.push((extent, stride)),
            }
        }
        let layout = Self { dtype, offset: offset as u64, dims, elements };
        layout.checked_end()?.checked_mul(dtype.size() as u64)?;
        Some(layout)
    }

    /// `elements` numbers in a row, from the storage's start.
    pub(super) fn contiguous(dtype: ElementType, elements: usize) -> Self {
        let dims = if elements == 1 { Vec::new() } else { vec![(elements, 1)] };
        Self { dtype, offset: 0, dims, elements }
    }

    /// Number of elements.
    pub(super) fn elements(&self) -> usize {
        self.elements
    }

    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.elements == 0
    }

    /// One past the last element that the view reaches in its storage.
    pub(super) fn end(&self) -> u64 {
        self.checked_end().unwrap_or(u64::MAX)
    }

    fn checked_end(&self) -> Option<u64> {
        if self.is_empty() {
            return Some(self.offset);
        }
        let last = self.dims.iter().try_fold(self.offset, |position, (extent, stride)| {
            position.checked_add((*extent as u64 - 1).checked_mul(*stride as u64)?)
        })?;
        last.checked_add(1)
    }

    /// The bytes of the storage from the first to the last element.
    pub(super) fn bytes(&self) -> std::ops::Range<u64> {
        let size = self.dtype.size() as u64;
        self.offset * size..self.end() * size
    }

    /// Whether the elements lie in row-major order without gaps.
    pub(super) fn is_contiguous(&self) -> bool {
        self.is_empty() || matches!(self.dims[..], [] | [(_, 1)])
    }

    /// Whether two elements may be one and the same stored number: a stride of 0, or one shorter than what lies within.
    pub(super) fn overlaps_itself(&self) -> bool {
        if self.is_empty() {
            return false;
        }
        let mut dims = self.dims.clone();
        dims.sort_unstable_by_key(|(_, stride)| *stride);
        let mut reach = 0; // distance from the first to the last element of the dimensions so far
        dims.iter().any(|(extent, stride)| {
            let overlaps = *stride <= reach;
            reach += (*extent - 1) * *stride;
            overlaps
        })
    }

    /// Calls `visit` with the position of each element after the first, in row-major order, counted from the first.
    pub(super) fn positions(&self, mut visit: impl FnMut(usize)) {
        if self.is_empty() {
            return;
        }
        // The two innermost dimensions are plain loops; an odometer turns the others.
        let split = self.dims.len().saturating_sub(2);
        let (outer, inner) = self.dims.split_at(split);
        let ((rows, row_step), (columns, column_step)) = match *inner {
            [] => ((1, 0), (1, 0)),
            [columns] => ((1, 0), columns),
            [rows, columns, ..] => (rows, columns),
        };
        let mut counters = vec![0; outer.len()];
        let mut start = 0;
        loop {
            for row in 0..rows {
                let row = start + row * row_step;
                for column in 0..columns {
                    visit(row + column * column_step);
                }
            }
            let Some(turned) = (0..outer.len()).rev().find(|&dim| counters[dim] + 1 < outer[dim].0) else { return };
            counters[turned] += 1;
            counters[turned + 1..].fill(0);
            start = counters.iter().zip(outer).map(|(count, (_, step))| count * step).sum();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Positions by the definition of a stride.
    fn naive(shape: &[usize], stride: &[usize]) -> Vec<usize> {
        let mut positions = vec![0];
        for (extent, step) in shape.iter().zip(stride) {
            positions = positions.iter().flat_map(|start| (0..*extent).map(move |i| start + i * step)).collect();
        }
        positions
    }

    fn strided() -> impl Strategy<Value = (Vec<usize>, Vec<usize>)> {
        proptest::collection::vec((0usize..5, 0usize..30), 0..5).prop_map(|dims| dims.into_iter().unzip())
    }

    /// A permutation of a contiguous layout, as channels_last is one.
    fn permuted() -> impl Strategy<Value = (Vec<usize>, Vec<usize>)> {
        proptest::collection::vec(1usize..5, 0..5).prop_shuffle().prop_flat_map(|shape| {
            let mut stride = vec![1; shape.len()];
            for dim in (1..shape.len()).rev() {
                stride[dim - 1] = stride[dim] * shape[dim];
            }
            let dims: Vec<_> = shape.into_iter().zip(stride).collect();
            Just(dims).prop_shuffle().prop_map(|dims| dims.into_iter().unzip())
        })
    }

    fn layout(shape: &[usize], stride: &[usize]) -> Layout {
        Layout::new(ElementType::F32, 0, shape.to_vec(), stride.to_vec()).unwrap()
    }

    proptest! {
        #[test]
        fn positions_follow_the_definition_of_a_stride((shape, stride) in strided()) {
            let mut positions = Vec::new();
            let layout = layout(&shape, &stride);
            layout.positions(|position| positions.push(position));
            let expected = naive(&shape, &stride);
            prop_assert_eq!(layout.elements(), expected.len());
            prop_assert_eq!(layout.end(), expected.iter().max().map_or(0, |last| *last as u64 + 1));
            prop_assert_eq!(positions, expected);
        }

        #[test]
        fn a_view_that_repeats_an_element_overlaps_itself((shape, stride) in strided()) {
            let mut positions = naive(&shape, &stride);
            let count = positions.len();
            positions.sort_unstable();
            positions.dedup();
            if positions.len() < count {
                prop_assert!(layout(&shape, &stride).overlaps_itself());
            }
        }

        #[test]
        fn a_permuted_layout_does_not_overlap_itself((shape, stride) in permuted()) {
            prop_assert!(!layout(&shape, &stride).overlaps_itself());
        }

        #[test]
        fn a_layout_is_contiguous_exactly_when_its_positions_count_up((shape, stride) in permuted()) {
            let positions = naive(&shape, &stride);
            let counts_up = positions.iter().enumerate().all(|(index, position)| index == *position);
            prop_assert_eq!(layout(&shape, &stride).is_contiguous(), counts_up);
        }
    }

    #[test]
    fn sizes_and_strides_that_overflow_give_no_layout() {
        for (offset, shape, stride) in [
            (0, vec![usize::MAX, 2], vec![1, 1]),
            (0, vec![2], vec![usize::MAX]),
            (usize::MAX, vec![2], vec![1]),
            (0, vec![usize::MAX / 2], vec![1]),
        ] {
            assert!(Layout::new(ElementType::F64, offset, shape, stride).is_none());
        }
    }
}
