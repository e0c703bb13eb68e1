//! Documents for a terminal or a log.

use std::fmt;

use super::document::Align;
use super::document::{Cell, Document, Part, Table, Tone};

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

/// Writes a document as text, with colour if `colour` says so.
pub fn render(document: &Document, colour: bool) -> Styled {
    let mut out = String::new();
    for (index, part) in document.parts.iter().enumerate() {
        let follows_heading = index > 0 && matches!(document.parts[index - 1], Part::Heading(_));
        if index > 0 && !follows_heading {
            out.push('\n');
        }
        match part {
            Part::Heading(text) => out.push_str(&format!("{}\n", paint(text, "1", colour))),
            Part::Paragraph(text) => out.push_str(&format!("{text}\n")),
            Part::List(items) => items.iter().for_each(|item| out.push_str(&format!("  {item}\n"))),
            Part::Verdict(cell) => out.push_str(&format!("{}\n", toned(cell, &cell.text, colour))),
            Part::Table(table) => render_table(table, colour, &mut out),
        }
    }
    Styled(out)
}

fn render_table(table: &Table, colour: bool, out: &mut String) {
    let count = table.columns.len();
    let width = |text: &str| text.chars().count();
    let mut widths: Vec<usize> = table.columns.iter().map(|column| width(&column.heading)).collect();
    for row in &table.rows {
        // The last cell of a short row runs on and does not widen its column.
        let fixed = if row.len() < count { row.len().saturating_sub(1) } else { count };
        for (at, cell) in row.iter().take(fixed).enumerate() {
            widths[at] = widths[at].max(width(&cell.text));
        }
    }
    let line = |cells: &[Cell], out: &mut String| {
        let mut text = String::new();
        for (at, cell) in cells.iter().enumerate() {
            let runs_on = at + 1 == cells.len() && cells.len() < count;
            let padding = if runs_on { 0 } else { widths[at] - width(&cell.text) };
            let blanks = " ".repeat(padding);
            let said = toned(cell, &cell.text, colour);
            text += if at > 0 { "  " } else { "" };
            text += &if table.columns[at].align == Align::Right && !runs_on { blanks + &said } else { said + &blanks };
        }
        out.push_str(text.trim_end());
        out.push('\n');
    };
    let headings: Vec<Cell> =
        table.columns.iter().map(|column| Cell { text: column.heading.clone(), tone: Tone::Faint }).collect();
    line(&headings, out);
    table.rows.iter().for_each(|row| line(row, out));
}

fn toned(cell: &Cell, text: &str, colour: bool) -> String {
    match cell.tone {
        Tone::Plain => text.to_owned(),
        Tone::Good => paint(text, "32", colour),
        Tone::Bad => paint(text, "31", colour),
        Tone::Faint => paint(text, "2", colour),
    }
}

fn paint(text: &str, code: &str, colour: bool) -> String {
    if colour && !text.is_empty() { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::document::Column;

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
