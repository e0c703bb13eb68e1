//! What a terminal shows while a command runs: a bar, and lines about a download.

use std::io::{self, IsTerminal as _, Write};
use std::time::{Duration, Instant};

use indicatif::{HumanBytes, ProgressBar, ProgressStyle};
use onnx_file::text::Shown;

use crate::build::Progress;
use crate::hub::Event;

/// Bars for work that lasts, on a terminal only; lines for what a log should hold as well.
pub(crate) struct Display<'a> {
    err: &'a mut dyn Write,
    quiet: bool,
    draws: bool,
    bar: Option<ProgressBar>,
    phase: Phase,
}

/// What lasts.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Work {
    Fetching,
    Writing,
    Comparing,
}

impl Work {
    const fn name(self) -> &'static str {
        match self {
            Self::Fetching => "fetching",
            Self::Writing => "writing",
            Self::Comparing => "comparing",
        }
    }

    /// The bar, what it counts, and how fast.
    const fn template(self) -> &'static str {
        match self {
            Self::Fetching | Self::Writing => "{prefix} {bar:30} {bytes}/{total_bytes} {msg}",
            Self::Comparing => "{prefix} {bar:30} {pos}/{len} convolutions {msg}",
        }
    }
}

/// What the bar shows.
struct Phase {
    work: Option<Work>,
    start: Instant,
    /// What was done at the start: it says nothing about speed.
    first: u64,
}

impl<'a> Display<'a> {
    /// Lines go to `err`; nothing at all where `quiet`, no bar with `NO_COLOR`.
    pub(crate) fn new(err: &'a mut dyn Write, quiet: bool) -> Self {
        let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let draws = !quiet && !plain && io::stderr().is_terminal();
        Self { err, quiet, draws, bar: None, phase: Phase { work: None, start: Instant::now(), first: 0 } }
    }

    /// Shows `progress`.
    pub(crate) fn show(&mut self, progress: Progress<'_>) {
        match progress {
            Progress::Writing { done, total } => self.draw(Work::Writing, done, total),
            Progress::Comparing { done, total } => self.draw(Work::Comparing, done, total),
            Progress::Fetching(Event::Received { done, total }) => {
                self.draw(Work::Fetching, done, total.unwrap_or(done));
            }
            Progress::Fetching(Event::Waiting { file }) => {
                self.line(&format!("another process downloads {}; waiting for it", file.display()));
            }
            Progress::Fetching(Event::Started { url, file, resumed }) => {
                let resumed = if resumed > 0 { format!(", {resumed} bytes of it are there") } else { String::new() };
                self.line(&format!("downloading {url} to {}{resumed}", file.display()));
            }
            Progress::Fetching(Event::Retrying { reason, pause }) => {
                self.line(&format!("{reason}; trying again in {} s", pause.as_secs_f64()));
            }
        }
    }

    /// A bar shows itself only once the work has lasted a while.
    fn draw(&mut self, work: Work, done: u64, total: u64) {
        if !self.draws {
            return;
        }
        if self.phase.work != Some(work) || done < self.phase.first {
            self.clear();
            self.phase = Phase { work: Some(work), start: Instant::now(), first: done };
        }
        let elapsed = self.phase.start.elapsed();
        if elapsed < Duration::from_millis(400) {
            return;
        }
        let bar = self.bar.get_or_insert_with(|| {
            let style = ProgressStyle::with_template(work.template());
            let style = style.unwrap_or_else(|_| ProgressStyle::default_bar());
            ProgressBar::new(total).with_style(style).with_prefix(work.name())
        });
        let speed = (done - self.phase.first) as f64 / elapsed.as_secs_f64();
        if speed > 0.0 {
            let left = total.saturating_sub(done) as f64 / speed;
            let speed = match work {
                Work::Fetching | Work::Writing => format!("{}/s, ", HumanBytes(speed as u64)),
                Work::Comparing => String::new(),
            };
            bar.set_message(format!("{speed}{left:.0} s left"));
        }
        bar.set_length(total);
        bar.set_position(done);
    }

    fn line(&mut self, text: &str) {
        if self.quiet {
            return;
        }
        self.clear();
        // Where standard error is closed, the exit code still tells.
        let _ = writeln!(self.err, "{}", Shown(text));
    }

    /// Takes the bar away.
    pub(crate) fn clear(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}

impl Drop for Display<'_> {
    fn drop(&mut self) {
        self.clear();
    }
}
