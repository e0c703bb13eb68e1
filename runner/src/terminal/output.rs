//! Writing to the terminal: results to standard output, notes and progress to standard error.

use crate::exit::Failure;
use std::io::{self, IsTerminal, Write};

use onnx_file::exit::Exit;
use onnx_file::text::Terminal;

use super::args::{Color, Global};
use crate::report::text::Styled;

/// Writes text to standard output, whoever wrote it: what a terminal would obey is shown instead.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    write(&mut Terminal::new(io::stdout().lock()), text)
}

/// Writes a result to standard output, in its colours.
pub(crate) fn show(text: &Styled) -> Result<(), Failure> {
    write(&mut io::stdout().lock(), text)
}

/// That the reader went away is no error: files may still be wanted.
fn write(output: &mut impl Write, text: &str) -> Result<(), Failure> {
    match output.write_all(text.as_bytes()).and_then(|()| output.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        Ok(()) => Ok(()),
        Err(error) => Err(Failure::new(Exit::Output, format!("standard output: {error}"))),
    }
}

/// Writes a note to standard error unless it was asked to be quiet.
pub(crate) fn note(quiet: bool, text: impl std::fmt::Display) {
    if !quiet {
        let _ = writeln!(Terminal::new(io::stderr()), "{text}");
    }
}

/// Whether progress may be drawn.
pub(crate) fn shows_progress(quiet: bool) -> bool {
    !quiet && !no_color() && io::stderr().is_terminal()
}

/// How wide the terminal is that standard output goes to, in columns; `None` where it goes elsewhere.
pub(crate) fn width() -> Option<usize> {
    terminal_size::terminal_size_of(io::stdout()).map(|(width, _)| usize::from(width.0))
}

/// Whether standard output may be coloured.
pub(crate) fn colour(global: &Global) -> bool {
    match global.color {
        Color::Always => true,
        Color::Never => false,
        Color::Auto => !no_color() && io::stdout().is_terminal(),
    }
}

fn no_color() -> bool {
    std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
}
