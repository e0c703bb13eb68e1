//! Documents as GitHub-flavoured Markdown.

use super::document::{Align, Column};
use super::document::{Cell, Document, Part, Table};

/// Writes a document as Markdown.
pub fn render(document: &Document) -> String {
    let mut parts = Vec::new();
    for part in &document.parts {
        parts.push(match part {
            Part::Heading(text) => format!("### {}\n", escape(text)),
            Part::Paragraph(text) => format!("{}\n", escape(text)),
            Part::List(items) => items.iter().map(|item| format!("- {}\n", escape(item))).collect(),
            Part::Verdict(cell) => format!("**{}**\n", escape(&cell.text)),
            Part::Table(table) => render_table(table),
        });
    }
    parts.join("\n")
}

fn render_table(table: &Table) -> String {
    let row = |cells: Vec<String>| format!("| {} |\n", cells.join(" | "));
    let rule = |column: &Column| if column.align == Align::Right { "---:" } else { "---" }.to_owned();
    let mut out = row(table.columns.iter().map(|column| escape(&column.heading)).collect());
    out += &row(table.columns.iter().map(rule).collect());
    for cells in &table.rows {
        let mut cells: Vec<String> = cells.iter().map(|cell: &Cell| escape(&cell.text)).collect();
        cells.resize(table.columns.len(), String::new());
        out += &row(cells);
    }
    out
}

/// Characters that would otherwise be markup, of GitHub's kind too: links, mathematics, entities.
fn escape(text: &str) -> String {
    let mut out = String::new();
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    for (at, c) in text.char_indices() {
        let always = matches!(c, '|' | '*' | '_' | '`' | '<' | '[' | '\\' | '~' | '$' | '&');
        // Headings, quotations and lists begin a line.
        let begins = at == 0 && matches!(c, '#' | '>' | '+' | '-' | '=');
        let numbers = at == digits && at > 0 && matches!(c, '.' | ')') && text[at + 1..].starts_with(' ');
        if always || begins || numbers {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::document::Tone;

    #[test]
    fn tables_have_aligned_columns_and_full_rows_and_nothing_becomes_markup() {
        let mut document = Document::default();
        let mut table = Table::new([Column::text("name"), Column::number("ms"), Column::text("state")]);
        table.rows.push(vec!["a_b|c".into(), "1.25".into(), "fine".into()]);
        table.rows.push(vec!["c".into(), "failed".into()]);
        document.table(table);
        document.verdict("all *agree*", Tone::Good);
        let expected = "\
| name | ms | state |
| --- | ---: | --- |
| a\\_b\\|c | 1.25 | fine |
| c | failed |  |

**all \\*agree\\***
";
        assert_eq!(render(&document), expected);
    }

    #[test]
    fn what_begins_a_line_or_is_an_entity_is_no_markup_either() {
        for (text, escaped) in [
            ("# a", "\\# a"),
            ("> a > b", "\\> a > b"),
            ("- a-b", "\\- a-b"),
            ("12. a", "12\\. a"),
            ("1.25 ms", "1.25 ms"),
            ("&lt;b&gt; ~~a~~ $x$", "\\&lt;b\\&gt; \\~\\~a\\~\\~ \\$x\\$"),
            ("[a](http://b) ![c](d)", "\\[a](http://b) !\\[c](d)"),
        ] {
            assert_eq!(escape(text), escaped);
        }
    }
}
