//! Results as one page of HTML: no script, no request, nothing but what stands in it.
//!
//! The policy in its head forbids every request and every script, whatever text of others it holds; that text is
//! [`Line`](super::document::Line)s, escaped here and nowhere else.

use std::fmt::Write as _;

use super::document::{Align, Cell, Document, Part, Table, Tone};
use super::plot::Figure;

/// A page.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Page {
    /// What it is about.
    pub title: String,
    /// What was found, in sentences.
    pub verdicts: Vec<Cell>,
    /// Its parts.
    pub sections: Vec<Section>,
    /// The results themselves, as JSON, each with its name.
    pub data: Vec<(String, String)>,
}

/// A part of a page.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Section {
    /// What it is about.
    pub heading: String,
    /// What stands in it, in order.
    pub pieces: Vec<Piece>,
}

/// A piece of a section.
#[derive(Clone, Debug, PartialEq)]
pub enum Piece {
    /// Text and tables.
    Document(Document),
    /// A plot with its table.
    Figure(Figure),
    /// Lines to be typed.
    Commands(Vec<String>),
}

/// How a page begins.
pub const BEGINS: &str = "<!doctype html>";
/// Begins each embedded result.
const DATA: &str = "<script type=\"application/json\" class=\"result\" data-name=\"";
/// Ends it.
const DATA_END: &str = "</script>";

const STYLE: &str = include_str!("html/style.css");

/// Writes a page.
pub fn render(page: &Page) -> String {
    let title = escape(&page.title);
    let mut html = format!(
        "{BEGINS}\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; img-src data:\">\n\
         <link rel=\"icon\" href=\"data:,\">\n<title>{title}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n\
         <header>\n<h1>{title}</h1>\n"
    );
    for verdict in &page.verdicts {
        let _ = writeln!(html, "<p class=\"verdict {}\">{}</p>", class(verdict.tone), escape(&verdict.text));
    }
    html.push_str("<nav aria-label=\"Parts\"><ul>\n");
    for (at, section) in page.sections.iter().enumerate() {
        let _ = writeln!(html, "<li><a href=\"#part-{at}\">{}</a></li>", escape(&section.heading));
    }
    html.push_str("</ul></nav>\n</header>\n<main>\n");
    for (at, section) in page.sections.iter().enumerate() {
        let _ = writeln!(html, "<section id=\"part-{at}\">\n<h2>{}</h2>", escape(&section.heading));
        section.pieces.iter().for_each(|found| piece(&mut html, found));
        html.push_str("</section>\n");
    }
    html.push_str("</main>\n");
    for (name, json) in &page.data {
        let _ = writeln!(html, "{DATA}{}\">{}{DATA_END}", escape(name), embedded(json));
    }
    html.push_str("</body>\n</html>\n");
    html
}

/// The results that a page holds, each with its name, as JSON; none where it is no such page.
pub fn data(page: &str) -> Vec<(String, &str)> {
    let mut found = Vec::new();
    let mut rest = page;
    while let Some((_, after)) = rest.split_once(DATA) {
        let Some((name, after)) = after.split_once("\">") else { break };
        let Some((json, after)) = after.split_once(DATA_END) else { break };
        found.push((unescaped(name), json));
        rest = after;
    }
    found
}

/// JSON in which nothing ends the element that holds it, and nothing turns the text of an editor around: such characters
/// stand in strings alone, where an escape means the same.
fn embedded(json: &str) -> String {
    let mut embedded = String::with_capacity(json.len());
    for c in json.trim_end().chars() {
        let between = matches!(c, '\n' | '\r' | '\t');
        if matches!(c, '<' | '>' | '&' | '\u{2028}' | '\u{2029}') || onnx_file::text::is_control(c) && !between {
            for unit in c.encode_utf16(&mut [0; 2]) {
                let _ = write!(embedded, "\\u{unit:04x}");
            }
        } else {
            embedded.push(c);
        }
    }
    embedded
}

fn piece(html: &mut String, piece: &Piece) {
    match piece {
        Piece::Document(document) => document.parts.iter().for_each(|found| part(html, found)),
        Piece::Commands(lines) => {
            let lines: Vec<String> = lines.iter().map(|line| escape(&onnx_file::text::shown(line))).collect();
            let _ = writeln!(html, "<pre tabindex=\"0\"><code>{}</code></pre>", lines.join("\n"));
        }
        Piece::Figure(figure) => {
            let title = escape(&figure.title);
            let _ = writeln!(html, "<figure>\n<figcaption>{title}</figcaption>");
            let _ = writeln!(html, "<div role=\"img\" aria-label=\"{title}; the table below holds its numbers\">");
            let _ = writeln!(html, "{}</div>", figure.svg);
            table(html, &figure.table, &title);
            html.push_str("</figure>\n");
        }
    }
}

fn part(html: &mut String, part: &Part) {
    let _ = match part {
        Part::Heading(text) => writeln!(html, "<h3>{}</h3>", escape(text)),
        Part::Paragraph(text) => writeln!(html, "<p>{}</p>", escape(text)),
        Part::Verdict(cell) => writeln!(html, "<p class=\"verdict {}\">{}</p>", class(cell.tone), escape(&cell.text)),
        Part::List(items) => {
            let items: String = items.iter().map(|item| format!("<li>{}</li>\n", escape(item))).collect();
            writeln!(html, "<ul>\n{items}</ul>")
        }
        Part::Table(found) => {
            table(html, found, "Table");
            Ok(())
        }
    };
}

/// A table that can be moved by keyboard where it is wider than the page.
fn table(html: &mut String, table: &Table, name: &str) {
    if table.rows.is_empty() {
        return;
    }
    let side = |at: usize| match table.columns.get(at).map(|column| column.align) {
        Some(Align::Right) => " class=\"n\"",
        _ => "",
    };
    let _ =
        write!(html, "<div class=\"wide\" tabindex=\"0\" role=\"region\" aria-label=\"{name}\"><table>\n<thead><tr>");
    for (at, column) in table.columns.iter().enumerate() {
        let _ = write!(html, "<th scope=\"col\"{}>{}</th>", side(at), escape(&column.heading));
    }
    html.push_str("</tr></thead>\n<tbody>\n");
    for row in &table.rows {
        html.push_str("<tr>");
        for (at, cell) in row.iter().enumerate() {
            // A short row ends in a note that runs on to the right.
            let rest = table.columns.len().saturating_sub(row.len());
            let span =
                if at + 1 == row.len() && rest > 0 { format!(" colspan=\"{}\"", rest + 1) } else { String::new() };
            let tone = class(cell.tone);
            let tone = if tone.is_empty() { String::new() } else { format!("<span class=\"{tone}\">") };
            let end = if tone.is_empty() { "" } else { "</span>" };
            let _ = write!(html, "<td{}{span}>{tone}{}{end}</td>", side(at), escape(&cell.text));
        }
        html.push_str("</tr>\n");
    }
    html.push_str("</tbody>\n</table></div>\n");
}

fn class(tone: Tone) -> &'static str {
    match tone {
        Tone::Plain => "",
        Tone::Good => "good",
        Tone::Bad => "bad",
        Tone::Faint => "faint",
    }
}

fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            c if onnx_file::text::is_control(c) && c != '\n' => {
                let _ = write!(escaped, "\\u{{{:x}}}", u32::from(c));
            }
            c => escaped.push(c),
        }
    }
    escaped
}

/// What [`escape`] made of a text without control characters.
fn unescaped(text: &str) -> String {
    let text = text.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&#39;", "'");
    text.replace("&amp;", "&")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::document::Column;

    #[test]
    fn text_of_others_is_text_wherever_it_stands() {
        let hostile = "</script><script>alert(1)</script>\"'&\u{1b}[2J\u{202e}";
        let mut document = Document::default();
        document.heading(hostile);
        document.paragraph(hostile);
        document.list(hostile, vec![hostile.into()]);
        document.verdict(hostile, Tone::Bad);
        let mut table = Table::new([Column::text(hostile), Column::number("n")]);
        table.rows.push(vec![Cell::toned(hostile, Tone::Faint)]);
        document.table(table.clone());
        let figure = Figure { name: "f".into(), title: hostile.into(), svg: String::new(), table };
        let pieces = vec![Piece::Document(document), Piece::Figure(figure), Piece::Commands(vec![hostile.into()])];
        let json = serde_json::json!({ "name": hostile }).to_string();
        let page = render(&Page {
            title: hostile.into(),
            verdicts: vec![hostile.into()],
            sections: vec![Section { heading: hostile.into(), pieces }],
            data: vec![(hostile.into(), json.clone()), ("b".into(), "1\n".into())],
        });
        assert!(!page.contains("<script>") && !page.contains('\u{1b}') && !page.contains('\u{202e}'), "{page}");
        assert_eq!(page.matches("</script>").count(), 2);
        let found = data(&page);
        assert_eq!(found.len(), 2);
        let value = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
        assert_eq!((value(found[0].1), found[1].1), (value(&json), "1"));
        assert!(data("<!doctype html><script>x</script>").is_empty());
        assert!(data(&page[..page.len() / 2]).len() <= 1);
    }
}
