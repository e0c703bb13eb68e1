//! Documents for a terminal or a log.

mod style;
mod table;

use std::fmt;

use self::style::{lines, paint, toned};
use super::document::{Document, Part};

/// A document as text: the control characters in it are line ends and this module's own colours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Styled(String);

impl std::ops::Deref for Styled {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Styled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Writes a document as text, with colour if `colour` says so, however wide it becomes.
pub fn render(document: &Document, colour: bool) -> Styled {
    render_within(document, colour, None)
}

/// The same, within so many columns of a terminal where that can be done: tables that are too wide continue below with
/// their first columns repeated, and sentences go on in the next line.
pub fn render_within(document: &Document, colour: bool, width: Option<usize>) -> Styled {
    let width = width.unwrap_or(usize::MAX);
    let mut out = String::new();
    for (index, part) in document.parts.iter().enumerate() {
        let follows_heading = index > 0 && matches!(document.parts[index - 1], Part::Heading(_));
        if index > 0 && !follows_heading {
            out.push('\n');
        }
        match part {
            Part::Heading(text) => out.push_str(&format!("{}\n", paint(text, "1", colour))),
            Part::Paragraph(text) => folded(text, width, "", &mut out),
            Part::List(items) => items.iter().for_each(|item| folded(item, width, "  ", &mut out)),
            Part::Verdict(cell) => out.push_str(&format!("{}\n", toned(cell, &cell.text, colour))),
            Part::Table(table) => table::render(table, colour, width, &mut out),
        }
    }
    Styled(out)
}

/// A sentence within the width, its lines indented.
fn folded(text: &str, width: usize, indent: &str, out: &mut String) {
    for line in lines(text, width.saturating_sub(indent.len())) {
        out.push_str(&format!("{indent}{line}\n"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::document::{Cell, Column, Table, Tone};

    fn document() -> Document {
        let mut document = Document::default();
        document.heading("Times");
        let mut table = Table::new([Column::text("name"), Column::number("ms"), Column::text("state")]);
        table.rows.push(vec!["a".into(), "1.25".into(), Cell::toned("fine", Tone::Good)]);
        table.rows.push(vec!["longer".into(), "100".into(), "".into()]);
        table.rows.push(vec!["c".into(), Cell::toned("gave no result at all", Tone::Bad)]);
        document.table(table);
        document.list("Notes", vec!["one".into()]);
        document.verdict("done", Tone::Good);
        document
    }

    #[test]
    fn numbers_align_to_the_right_and_notes_run_on() {
        let expected = "\
Times
name      ms  state
a       1.25  fine
longer   100
c       gave no result at all

Notes
  one

done
";
        assert_eq!(&*render(&document(), false), expected);
    }

    #[test]
    fn what_is_too_wide_goes_on_below_and_repeats_what_it_is_about() {
        let mut document = Document::default();
        let mut table = Table::new([
            Column::text("provider"),
            Column::number("batch"),
            Column::number("median ms"),
            Column::number("images/s"),
            Column::text("interval"),
        ])
        .with_keys(2);
        table.rows.push(vec![
            "cpu".into(),
            "1".into(),
            "10.25".into(),
            "97.56".into(),
            "0.98 to 1.02: no difference shown".into(),
        ]);
        table.rows.push(vec![
            "cuda".into(),
            "1".into(),
            "libcudnn.so.9 was not found; set it up with resnext-run setup cuda".into(),
        ]);
        document.table(table);
        document.paragraph("A sentence of some length that has to go on in the next line of the terminal.");
        let expected = "\
provider  batch  median ms  images/s
cpu           1      10.25     97.56
cuda          1  libcudnn.so.9 was not
                 found; set it up with
                 resnext-run setup cuda

provider  batch  interval
cpu           1  0.98 to 1.02: no
                 difference shown

A sentence of some length that has to go
on in the next line of the terminal.
";
        assert_eq!(&*render_within(&document, false, Some(40)), expected);
        // As wide as it comes where there is no terminal.
        assert!(render(&document, false).lines().any(|line| line.ends_with("no difference shown")));
    }

    #[test]
    fn a_column_is_as_wide_as_a_terminal_draws_it() {
        let mut document = Document::default();
        let mut table = Table::new([Column::text("class"), Column::number("images")]);
        table.rows.push(vec!["\u{72ac}".into(), "1".into()]);
        table.rows.push(vec!["cafe\u{301}".into(), "20".into()]);
        document.table(table);
        let expected = "class  images\n\u{72ac}          1\ncafe\u{301}       20\n";
        assert_eq!(&*render(&document, false), expected);
    }

    #[test]
    fn colour_changes_nothing_but_colour() {
        let coloured = render(&document(), true);
        assert!(coloured.contains("\x1b[32mfine\x1b[0m"));
        let mut plain = coloured.to_string();
        for code in ["\x1b[1m", "\x1b[2m", "\x1b[31m", "\x1b[32m", "\x1b[0m"] {
            plain = plain.replace(code, "");
        }
        assert_eq!(plain, *render(&document(), false));
    }
}
