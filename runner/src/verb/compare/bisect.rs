//! Which boundaries to look at: those that divide what is open.

/// Which positions to look at next. Positions up to the number of boundaries, which stands for the model's outputs.
pub(crate) struct Search {
    /// Last position known to agree.
    pub(crate) low: Option<usize>,
    /// First position known to diverge; one past the outputs while none is.
    pub(crate) high: usize,
    at_once: usize,
}

impl Search {
    /// A search among `count` positions, `at_once` at a time.
    pub(crate) fn among(count: usize, at_once: usize) -> Search {
        Search { low: None, high: count, at_once: at_once.max(1) }
    }

    /// Up to `at_once` positions that divide the open span evenly; none once it is closed.
    pub(crate) fn positions(&self) -> Vec<usize> {
        let start = self.low.map_or(0, |low| low + 1);
        let open = self.high.saturating_sub(start);
        let count = open.min(self.at_once);
        // The last of the span is always among them, so that a span without divergence closes at once.
        (1..=count).map(|part| start + part * open / count - 1).collect()
    }

    pub(crate) fn narrow(&mut self, positions: &[usize], agrees: impl Fn(usize) -> bool) {
        for &position in positions {
            if !agrees(position) {
                self.high = position;
                return;
            }
            self.low = Some(position);
        }
    }
}
