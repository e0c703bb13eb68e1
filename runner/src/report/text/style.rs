//! Lines and colours.

use unicode_width::UnicodeWidthStr;

use crate::report::document::{Cell, Tone};

/// The lines of a text that is at most so wide; a word that is wider stands whole, so that a path can be copied.
pub(super) fn lines(text: &str, width: usize) -> Vec<String> {
    let options = textwrap::Options::new(width.max(1)).break_words(false);
    let options = options.word_splitter(textwrap::WordSplitter::NoHyphenation);
    match text.width() <= width {
        true => vec![text.to_owned()],
        false => textwrap::wrap(text, options).into_iter().map(|line| line.into_owned()).collect(),
    }
}

/// The text of a cell in its colour.
pub(super) fn toned(cell: &Cell, text: &str, colour: bool) -> String {
    match cell.tone {
        Tone::Plain => text.to_owned(),
        Tone::Good => paint(text, "32", colour),
        Tone::Bad => paint(text, "31", colour),
        Tone::Faint => paint(text, "2", colour),
    }
}

/// A text in a colour of the terminal's.
pub(super) fn paint(text: &str, code: &str, colour: bool) -> String {
    if colour && !text.is_empty() { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
}
