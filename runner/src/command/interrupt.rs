//! What an interrupt from the keyboard does to verbs that measure.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::terminal::{Exit, Failure, remark};

/// The first interrupt ends the measurement and keeps what there is; the second ends the program.
pub(super) fn stop_on_interrupt(quiet: bool) -> Result<Arc<AtomicBool>, Failure> {
    let stop = Arc::new(AtomicBool::new(false));
    let set = Arc::clone(&stop);
    let handler = move || {
        if set.swap(true, Ordering::Relaxed) {
            std::process::exit(130);
        }
        remark(quiet, "stopping after the runs in progress; interrupt again to stop at once");
    };
    ctrlc::set_handler(handler).map_err(|error| Failure::new(Exit::Internal, error.to_string()))?;
    Ok(stop)
}
