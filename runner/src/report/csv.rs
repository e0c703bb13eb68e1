//! Results as comma-separated values, for spreadsheets: one line a row, units in the headings.

use std::borrow::Cow;

use onnx_file::text::{Shown, shown};

/// Writes lines of fields, quoted where they must be, each as [`cell`] makes it.
pub(crate) fn render(lines: impl Iterator<Item = Vec<String>>) -> String {
    let mut writer = csv::WriterBuilder::new().flexible(true).from_writer(Vec::new());
    for line in lines {
        // Writing to memory fails for no line.
        let _ = writer.write_record(line.iter().map(|field| cell(field).into_owned()));
    }
    writer.into_inner().map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
}

/// A field as a spreadsheet may read it: control characters are shown as `\u{1b}`, and text that would be a formula begins
/// with an apostrophe, which spreadsheets take for "this is text".
fn cell(field: &str) -> Cow<'_, str> {
    let is_formula =
        field.starts_with(['=', '+', '-', '@', '\t', '\r', '\u{ff1d}', '\u{ff0b}', '\u{ff0d}', '\u{ff20}']);
    if is_formula && field.parse::<f64>().is_err() {
        return Cow::Owned(format!("'{}", Shown(field)));
    }
    shown(field)
}

pub(crate) fn strings(fields: &[&str]) -> Vec<String> {
    fields.iter().map(|&field| field.to_owned()).collect()
}

/// A number, or nothing.
pub(crate) fn number(value: Option<f64>) -> String {
    value.map(|value| value.to_string()).unwrap_or_default()
}

pub(crate) fn kebab(value: &impl serde::Serialize) -> String {
    serde_json::to_value(value).ok().and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_is_a_formula_and_numbers_stay_numbers() {
        for text in ["=1+1", "+SUM(A1)", "-1+cmd", "@x", "\t=1", "\r=1", "\u{ff1d}1", "-", "--1"] {
            assert!(cell(text).starts_with('\''), "{text:?}");
        }
        for text in ["-1.5", "+2", "-1e-9", "-inf", "NaN", "0", "", "tench, Tinca", "a=b", " =1"] {
            assert_eq!(cell(text), text);
        }
        let written = render([strings(&["=HYPERLINK(\"http://x\")", "a\u{1b}]0;b\nc", "-3"])].into_iter());
        assert_eq!(written, "\"'=HYPERLINK(\"\"http://x\"\")\",a\\u{1b}]0;b\\u{a}c,-3\n");
    }
}
