//! Tables, in as many parts as the terminal's width asks for.

use unicode_width::UnicodeWidthStr;

use super::super::document::{Align, Cell, Column, Table, Tone};
use super::style::{lines, toned};

/// Blanks between columns.
const GAP: usize = 2;
/// Columns narrower than this are not folded further.
const NARROWEST: usize = 12;

/// Writes the table within `width` columns where that can be done.
pub(super) fn render(table: &Table, colour: bool, width: usize, out: &mut String) {
    let widths = widths(table);
    for (number, part) in parts(&widths, table.keys, width).into_iter().enumerate() {
        if number > 0 {
            out.push('\n');
        }
        Part { table, widths: &widths, shown: &part, colour, width, first: number == 0 }.render(out);
    }
}

/// The width of every column.
fn widths(table: &Table) -> Vec<usize> {
    let count = table.columns.len();
    let mut widths: Vec<usize> = table.columns.iter().map(|column| column.heading.width()).collect();
    for row in &table.rows {
        // The last cell of a short row runs on and does not widen its column.
        let fixed = if row.len() < count { row.len().saturating_sub(1) } else { count };
        for (width, cell) in widths.iter_mut().zip(&row[..fixed]) {
            *width = (*width).max(cell.text.width());
        }
    }
    widths
}

/// Which columns stand side by side: the keys and as many of the others as fit, one at least.
fn parts(widths: &[usize], keys: usize, width: usize) -> Vec<Vec<usize>> {
    let keys: Vec<usize> = (0..keys.min(widths.len())).collect();
    let key_width: usize = keys.iter().map(|&at| widths[at] + GAP).sum();
    let mut parts = vec![keys.clone()];
    let mut used = key_width;
    for (at, column) in widths.iter().enumerate().skip(keys.len()) {
        let fits = used.saturating_add(*column) <= width;
        let last = parts.len() - 1;
        if !fits && parts[last].len() > keys.len() {
            parts.push(keys.clone());
            used = key_width;
        }
        let last = parts.len() - 1;
        parts[last].push(at);
        used += column + GAP;
    }
    parts
}

/// Some of the columns, all rows.
struct Part<'t> {
    table: &'t Table,
    widths: &'t [usize],
    shown: &'t [usize],
    colour: bool,
    width: usize,
    /// Whether this is the part that shows the notes of short rows.
    first: bool,
}

impl Part<'_> {
    fn render(&self, out: &mut String) {
        let heading = |column: &Column| Cell { text: column.heading.clone(), tone: Tone::Faint };
        let headings: Vec<Cell> = self.table.columns.iter().map(heading).collect();
        self.row(&headings, out);
        let full = self.table.columns.len();
        let shown = self.table.rows.iter().filter(|row| self.first || row.len() == full);
        shown.for_each(|row| self.row(row, out));
    }

    /// A row, in as many lines as its longest cell takes.
    fn row(&self, row: &[Cell], out: &mut String) {
        let full = self.table.columns.len();
        let mut cells: Vec<(&Cell, Vec<String>, usize, Align)> = Vec::new();
        let mut start = 0;
        for &at in self.shown {
            let Some(cell) = row.get(at) else { break };
            let runs_on = at + 1 == row.len() && row.len() < full;
            let rest = self.width.saturating_sub(start).max(NARROWEST);
            let available = if runs_on { rest } else { self.widths[at].min(rest) };
            let align = if runs_on { Align::Left } else { self.table.columns[at].align };
            let padded = if runs_on { 0 } else { available };
            cells.push((cell, lines(&cell.text, available), padded, align));
            start += padded + GAP;
        }
        let height = cells.iter().map(|(_, lines, ..)| lines.len()).max().unwrap_or(0);
        for line in 0..height {
            let mut text = String::new();
            for (at, (cell, lines, width, align)) in cells.iter().enumerate() {
                let content = lines.get(line).map_or("", String::as_str);
                let blanks = " ".repeat(width.saturating_sub(content.width()));
                let content = toned(cell, content, self.colour);
                text += if at > 0 { "  " } else { "" };
                text += &if *align == Align::Right { blanks + &content } else { content + &blanks };
            }
            out.push_str(text.trim_end());
            out.push('\n');
        }
    }
}
