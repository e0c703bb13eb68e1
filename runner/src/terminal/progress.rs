//! The progress bar of long-running verbs.

use std::fmt;

use crate::model::candidate::{Phase, Progress};
use indicatif::{HumanDuration, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};
use onnx_file::text::Shown;

use super::output::shows_progress;

/// A bar on standard error; nothing where standard error is no terminal or was asked to be quiet.
pub(crate) struct Bar {
    bar: ProgressBar,
    /// Whether it tells the time left, which follows what is measured alone.
    tells_time: bool,
}

impl Bar {
    /// A bar that appears with the first progress.
    pub(crate) fn new(quiet: bool) -> Bar {
        let target = if shows_progress(quiet) { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(Some(0), target);
        if let Ok(style) = ProgressStyle::with_template("{bar:30} {pos}/{len} {wide_msg}") {
            bar.set_style(style);
        }
        Bar { bar, tells_time: false }
    }

    /// A bar that tells the time left.
    pub(crate) fn with_time_left(quiet: bool) -> Bar {
        let mut bar = Bar::new(quiet);
        bar.tells_time = true;
        // Before anything is done nobody knows how long the rest takes.
        let left = |state: &ProgressState, to: &mut dyn fmt::Write| {
            if state.pos() > 0 {
                let _ = write!(to, ", {:#} left", HumanDuration(state.eta()));
            }
        };
        if let Ok(style) = ProgressStyle::with_template("{bar:30} {percent}%{left}, {wide_msg}") {
            bar.bar.set_style(style.with_key("left", left));
        }
        bar
    }

    /// Shows how far it has come.
    pub(crate) fn show(&mut self, progress: &Progress) {
        if !self.tells_time || progress.phase == Phase::Measuring {
            self.bar.set_length(progress.total as u64);
            self.bar.set_position(progress.done as u64);
        }
        self.bar.set_message(message(progress));
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

fn message(progress: &Progress) -> String {
    let phase = match progress.phase {
        Phase::Loading => "loading",
        Phase::WarmingUp => "warming up",
        Phase::Measuring => "measuring",
        Phase::Comparing => "comparing",
        Phase::Classifying => "classifying",
        Phase::Evaluating => "evaluating",
        Phase::Calibrating => "calibrating",
    };
    let round = progress.round.as_ref().map(|round| format!("{round}: ")).unwrap_or_default();
    Shown(format!("{round}{phase} {}", progress.subject).trim_end()).to_string()
}
