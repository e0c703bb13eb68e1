//! A result as headings, tables and lists, before it is text or Markdown.
//!
//! Names, labels and messages in it are others', so it is made of [`Line`]s, which hold nothing that a terminal obeys.

use std::fmt;
use std::ops::{Deref, Range};

use onnx_file::text;

/// Text of one line: line ends become `; `, and all other control characters are shown as `\u{1b}`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Line(String);

impl<T: Into<String>> From<T> for Line {
    fn from(text: T) -> Line {
        Line(text::shown(&one_line(&text.into())).into_owned())
    }
}

impl Deref for Line {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// How a cell is meant, for colour where there is colour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tone {
    /// As it is.
    #[default]
    Plain,
    /// A success.
    Good,
    /// A failure.
    Bad,
    /// Of lesser interest.
    Faint,
}

/// One cell of a table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cell {
    /// What it says.
    pub text: Line,
    /// How it is meant.
    pub tone: Tone,
}

impl Cell {
    /// A cell with a tone.
    pub fn toned(text: impl Into<String>, tone: Tone) -> Cell {
        Cell { text: text.into().into(), tone }
    }
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Cell {
        Cell::toned(text, Tone::Plain)
    }
}

/// Errors from below may have several lines; a table cell has one.
pub(crate) fn one_line(text: &str) -> String {
    text.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join("; ")
}

/// Side of a column that its cells stand on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Align {
    /// Text.
    Left,
    /// Numbers.
    Right,
}

/// A column of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// What stands above it.
    pub heading: Line,
    /// Where its cells stand.
    pub align: Align,
}

impl Column {
    /// A column of text.
    pub fn text(heading: impl Into<String>) -> Column {
        Column { heading: heading.into().into(), align: Align::Left }
    }

    /// A column of numbers.
    pub fn number(heading: impl Into<String>) -> Column {
        Column { heading: heading.into().into(), align: Align::Right }
    }
}

/// A table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table {
    /// The columns.
    pub columns: Vec<Column>,
    /// The rows; a row shorter than the columns ends in a note that runs on to the right.
    pub rows: Vec<Vec<Cell>>,
    /// How many columns, from the left, say what a row is about: they stand in every part of a table that is too wide.
    pub keys: usize,
}

impl Table {
    /// A table without rows.
    pub fn new(columns: impl IntoIterator<Item = Column>) -> Table {
        Table { columns: columns.into_iter().collect(), rows: Vec::new(), keys: 1 }
    }

    /// The table with so many columns that say what a row is about.
    pub fn with_keys(self, keys: usize) -> Table {
        Table { keys, ..self }
    }

    /// Removes the columns in which no row says anything.
    pub fn without_empty_columns(mut self) -> Table {
        let full = self.columns.len();
        let said = |at: usize| self.rows.iter().any(|row| row.len() == full && !row[at].text.is_empty());
        let keep: Vec<bool> = (0..full).map(said).collect();
        if keep.iter().any(|&keep| keep) {
            let kept = |at: &mut usize| {
                *at += 1;
                keep.get(*at - 1).copied().unwrap_or(true)
            };
            self.keys = keep[..self.keys.min(full)].iter().filter(|&&keep| keep).count().max(1);
            let mut at = 0;
            self.columns.retain(|_| kept(&mut at));
            for row in self.rows.iter_mut().filter(|row| row.len() == full) {
                let mut at = 0;
                row.retain(|_| kept(&mut at));
            }
        }
        self
    }
}

/// A part of a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// A heading.
    Heading(Line),
    /// A paragraph.
    Paragraph(Line),
    /// A table.
    Table(Table),
    /// Notes.
    List(Vec<Line>),
    /// The summary.
    Verdict(Cell),
}

/// A result to be read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Document {
    /// Its parts, in order.
    pub parts: Vec<Part>,
    /// Which parts are beside the point: machine, notes, warnings, costs.
    asides: Vec<Range<usize>>,
}

impl Document {
    /// Adds what is beside the point, and left out where only results are wanted.
    pub fn aside(&mut self, add: impl FnOnce(&mut Document)) {
        let start = self.parts.len();
        add(self);
        self.asides.push(start..self.parts.len());
    }

    /// The results alone.
    pub fn without_asides(mut self) -> Document {
        let is_aside = |at: usize| self.asides.iter().any(|aside| aside.contains(&at));
        let parts = std::mem::take(&mut self.parts).into_iter().enumerate();
        Document { parts: parts.filter(|(at, _)| !is_aside(*at)).map(|(_, part)| part).collect(), asides: Vec::new() }
    }

    /// Adds a heading.
    pub fn heading(&mut self, text: impl Into<String>) {
        self.parts.push(Part::Heading(text.into().into()));
    }

    /// Adds a paragraph.
    pub fn paragraph(&mut self, text: impl Into<String>) {
        self.parts.push(Part::Paragraph(text.into().into()));
    }

    /// Adds a table, if it has rows.
    pub fn table(&mut self, table: Table) {
        if !table.rows.is_empty() {
            self.parts.push(Part::Table(table));
        }
    }

    /// Adds a list under a heading, if there are items.
    pub fn list(&mut self, heading: &str, items: Vec<String>) {
        if !items.is_empty() {
            self.heading(heading);
            self.parts.push(Part::List(items.into_iter().map(Line::from).collect()));
        }
    }

    /// Adds the summary.
    pub fn verdict(&mut self, text: impl Into<String>, tone: Tone) {
        self.parts.push(Part::Verdict(Cell::toned(text, tone)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_that_say_nothing_are_left_out_and_notes_stay() {
        let mut table = Table::new([Column::text("name"), Column::number("n"), Column::number("unused")]);
        table.rows.push(vec!["a".into(), "1".into(), "".into()]);
        table.rows.push(vec!["b".into(), "it failed".into()]);
        let table = table.without_empty_columns();
        assert_eq!(table.columns, [Column::text("name"), Column::number("n")]);
        assert_eq!(table.rows[0].len(), 2);
        assert_eq!(&*table.rows[1][1].text, "it failed");
    }

    #[test]
    fn asides_can_be_left_out() {
        let mut document = Document::default();
        document.aside(|document| document.paragraph("Some Processor"));
        document.verdict("agrees", Tone::Good);
        document.aside(|document| document.list("Notes", vec!["one".into()]));
        assert_eq!(document.parts.len(), 4);
        let results = document.without_asides();
        assert_eq!(results.parts, [Part::Verdict(Cell::toned("agrees", Tone::Good))]);
    }

    #[test]
    fn a_cell_is_one_line() {
        assert_eq!(&*Cell::from("first\n  second\n\n").text, "first; second");
    }

    #[test]
    fn nothing_in_it_is_obeyed_by_a_terminal() {
        let mut document = Document::default();
        let hostile = "\u{1b}]0;owned\u{7}\u{9b}2J\u{202e}a\rb";
        document.heading(hostile);
        document.paragraph(hostile);
        document.list(hostile, vec![hostile.to_owned()]);
        document.verdict(hostile, Tone::Good);
        let mut table = Table::new([Column::text(hostile), Column::number(hostile)]);
        table.rows.push(vec![hostile.into(), hostile.into()]);
        document.table(table);
        for text in
            [crate::report::text::render(&document, false).to_string(), crate::report::markdown::render(&document)]
        {
            assert!(text.contains("owned") && !text.chars().any(|c| text::is_control(c) && c != '\n'), "{text:?}");
        }
    }
}
