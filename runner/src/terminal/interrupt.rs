//! What a signal does: temporary and partial files go, and the program ends; only an interrupt from the keyboard lets a verb
//! that measures keep what it has.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use onnx_file::interrupt::{self, Signal};
use onnx_file::{atomic, temporary};

use super::output::note;

/// What a verb that keeps what it has says at the first interrupt.
pub(crate) const KEEPS: &str = "stopping after the runs in progress; interrupt again to stop at once";

/// What the first interrupt asks to stop.
struct Measurement {
    stop: Arc<AtomicBool>,
    quiet: bool,
    said: &'static str,
}

static MEASUREMENT: OnceLock<Measurement> = OnceLock::new();

/// Prepares this process, before it starts anything. Workers need no word: they end when this process does.
pub fn prepare() {
    interrupt::survive_size_limit();
    // Without it a signal ends the program as it always does, and the next run removes what is left.
    let _ = interrupt::handle(|signal| match (signal, MEASUREMENT.get()) {
        (Signal::Interrupt, Some(measurement)) if !measurement.stop.swap(true, Ordering::Relaxed) => {
            note(measurement.quiet, measurement.said);
        }
        _ => {
            atomic::stop_within(Duration::from_secs(2));
            temporary::remove_all();
            std::process::exit(signal.exit().into());
        }
    });
}

/// The first interrupt from now on asks the measurement to end, and says so; the second ends the program.
pub(crate) fn stop_on_interrupt(quiet: bool, said: &'static str) -> Arc<AtomicBool> {
    let measurement = || Measurement { stop: Arc::new(AtomicBool::new(false)), quiet, said };
    Arc::clone(&MEASUREMENT.get_or_init(measurement).stop)
}
