//! What an interrupt from the keyboard does to verbs that measure.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::output::note;
use crate::exit::Failure;
use onnx_file::exit::Exit;

/// What a verb that keeps what it has says at the first interrupt.
pub(crate) const KEEPS: &str = "stopping after the runs in progress; interrupt again to stop at once";

/// The first interrupt asks the measurement to end, and says so; the second ends the program.
pub(crate) fn stop_on_interrupt(quiet: bool, said: &'static str) -> Result<Arc<AtomicBool>, Failure> {
    let stop = Arc::new(AtomicBool::new(false));
    let set = Arc::clone(&stop);
    let handler = move || {
        if set.swap(true, Ordering::Relaxed) {
            std::process::exit(Exit::Interrupted.into());
        }
        note(quiet, said);
    };
    ctrlc::set_handler(handler).map_err(|error| Failure::new(Exit::Internal, error.to_string()))?;
    Ok(stop)
}
