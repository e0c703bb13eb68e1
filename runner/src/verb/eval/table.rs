//! Files that say which image is of which class, line by line: tables with or without a header, JSON lines, and lists of
//! numbers alone.

use std::path::Path;

use onnx_file::open;
use serde_json::Value;

use super::labelled::DatasetError;

/// What a line says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    /// Its number, from 1.
    pub(crate) line: u64,
    /// The image.
    pub(crate) name: String,
    /// Its class.
    pub(crate) label: String,
}

/// What a file says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Table {
    /// Images with their classes; whether the first line may be a header that names no columns known here.
    Rows { rows: Vec<Row>, maybe_header: bool },
    /// A number a line, for images in the order of their names.
    Numbers(Vec<usize>),
}

/// Columns of the image and of its class, as tables call them; the first that is there counts.
const NAMES: [&str; 10] =
    ["file_name", "filename", "file", "image_path", "filepath", "path", "image", "img", "imageid", "image_id"];
const LABELS: [&str; 12] = [
    "label",
    "labels",
    "class_name",
    "classname",
    "class",
    "category",
    "wnid",
    "synset",
    "target",
    "class_id",
    "class_index",
    "predictionstring",
];

/// Reads such a file.
pub(crate) fn read(path: &Path) -> Result<Table, DatasetError> {
    let text = open::read_text(path, open::SMALL);
    let text = text.map_err(|source| DatasetError::Io { path: path.to_owned(), source })?;
    let text = text.trim_start_matches('\u{feff}');
    if path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("jsonl")) {
        return json_lines(path, text);
    }
    let numbers: Option<Vec<usize>> = text.lines().map(|line| line.trim().parse().ok()).collect();
    match numbers {
        Some(numbers) if numbers.len() > 1 => Ok(Table::Numbers(numbers)),
        _ => separated(path, text),
    }
}

fn bad(path: &Path, line: u64, reason: impl Into<String>) -> DatasetError {
    DatasetError::BadLabels { path: path.to_owned(), line, reason: reason.into() }
}

/// `file,label` lines, separated by commas, tabs, semicolons or blanks. Kaggle's ImageNet solution
/// (`ILSVRC2012_val_00048981,n03995372 85 1 499 272`), Caffe's `val.txt` and tiny-imagenet's annotations are of this form.
/// Between blanks, the class is the rest of the line, for it may be of several words.
fn separated(path: &Path, text: &str) -> Result<Table, DatasetError> {
    let first = text.lines().next().unwrap_or_default();
    let separator = [b'\t', b',', b';'].into_iter().find(|&separator| first.as_bytes().contains(&separator));
    let mut format = csv::ReaderBuilder::new();
    format.has_headers(false).flexible(true).delimiter(separator.unwrap_or(b' ')).trim(csv::Trim::All);
    let mut columns: Option<Columns> = None;
    let mut rows = Vec::new();
    for (at, record) in format.from_reader(text.as_bytes()).records().enumerate() {
        let line = |position: Option<&csv::Position>| position.map_or(0, csv::Position::line);
        let record = record.map_err(|error| bad(path, line(error.position()), error.to_string()))?;
        let line = line(record.position());
        let is_field = |field: &&str| !field.is_empty() || (separator.is_some() && (at == 0 || columns.is_some()));
        let fields: Vec<&str> = record.iter().filter(is_field).collect();
        if at == 0 {
            columns = Columns::of(&fields);
            if columns.is_some() {
                continue;
            }
        }
        let found = name_and_label(&fields, columns, separator.is_none()).map_err(|reason| bad(path, line, reason))?;
        let Some((name, label)) = found else {
            return Err(bad(
                path,
                line,
                "an image's name and its class are needed, separated by a comma, a tab or a blank",
            ));
        };
        if name.is_empty() || label.is_empty() {
            return Err(bad(path, line, "the image's name or its class is empty"));
        }
        rows.push(Row { line, name, label });
    }
    Ok(Table::Rows { rows, maybe_header: columns.is_none() })
}

/// Where a header says that the image and its class stand, and how many columns there are.
#[derive(Clone, Copy)]
struct Columns {
    name: usize,
    label: usize,
    count: usize,
}

impl Columns {
    fn of(header: &[&str]) -> Option<Columns> {
        let plain = |field: &&str| field.to_ascii_lowercase().replace([' ', '-'], "_");
        let called: Vec<String> = header.iter().map(plain).collect();
        let column = |names: &[&str]| names.iter().find_map(|name| called.iter().position(|column| column == name));
        Some(Columns { name: column(&NAMES)?, label: column(&LABELS)?, count: header.len() })
    }
}

/// The image's name and its class, where there are two fields. Words between blanks cannot be told from fields: what
/// follows the last column is a part of it, and more of them before that are refused.
fn name_and_label(
    fields: &[&str],
    columns: Option<Columns>,
    by_blanks: bool,
) -> Result<Option<(String, String)>, String> {
    let (name, label, count) = columns.map_or((0, 1, 2), |columns| (columns.name, columns.label, columns.count));
    let (Some(name_field), Some(rest)) = (fields.get(name), fields.get(label..).filter(|rest| !rest.is_empty())) else {
        return Ok(None);
    };
    let is_last = name < label && label + 1 == count;
    if by_blanks && !is_last && fields.len() != count {
        let fields = fields.len();
        return Err(format!("it has {fields} fields between blanks, and the header {count}; separate them by commas"));
    }
    let label = if by_blanks && is_last { rest.join(" ") } else { rest[0].to_owned() };
    Ok(Some(((*name_field).to_owned(), label)))
}

/// `{"file_name": "0001.png", "label": "cat"}` lines, as Hugging Face's ImageFolder has them.
fn json_lines(path: &Path, text: &str) -> Result<Table, DatasetError> {
    let mut rows = Vec::new();
    for (at, text) in text.lines().enumerate().filter(|(_, text)| !text.trim().is_empty()) {
        let line = at as u64 + 1;
        let value: Value = serde_json::from_str(text).map_err(|error| bad(path, line, error.to_string()))?;
        let field = |names: &[&str]| names.iter().find_map(|name| value.get(name));
        let name = field(&NAMES).and_then(Value::as_str);
        let label = field(&LABELS).and_then(|label| match label {
            Value::String(label) => Some(label.clone()),
            Value::Number(label) => label.as_u64().map(|label| label.to_string()),
            _ => None,
        });
        let (Some(name), Some(label)) = (name, label) else {
            return Err(bad(path, line, r#"a line like {"file_name": "0001.png", "label": "cat"} is needed"#));
        };
        rows.push(Row { line, name: name.to_owned(), label });
    }
    Ok(Table::Rows { rows, maybe_header: false })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(name: &str, text: &str) -> Result<Vec<(String, String)>, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        match read(&path).map_err(|error| error.to_string())? {
            Table::Rows { rows, .. } => Ok(rows.into_iter().map(|row| (row.name, row.label)).collect()),
            Table::Numbers(numbers) => Err(format!("{numbers:?}")),
        }
    }

    #[test]
    fn columns_are_found_by_their_names_wherever_they_stand() {
        let expected = Ok(vec![("a.png".to_owned(), "cat".to_owned()), ("b.png".to_owned(), "dog, hound".to_owned())]);
        for (name, text) in [
            ("l.csv", "id,label,file_name\n7,cat,a.png\n8,\"dog, hound\",b.png\n"),
            ("l.csv", "Image,Class Name,fold\na.png,cat,1\nb.png,\"dog, hound\",2\n"),
            ("l.tsv", "a.png\tcat\nb.png\tdog, hound\n"),
            (
                "metadata.jsonl",
                "{\"file_name\":\"a.png\",\"label\":\"cat\"}\n\n{\"label\":\"dog, hound\",\"file_name\":\"b.png\"}\n",
            ),
        ] {
            assert_eq!(rows(name, text), expected, "{text}");
        }
        assert_eq!(rows("m.jsonl", "{\"image\":\"a.png\",\"label\":3}"), Ok(vec![("a.png".into(), "3".into())]));
    }

    #[test]
    fn labels_of_several_words_are_whole_between_blanks_and_tabs_go_before_commas() {
        let expected = Ok(vec![("a.jpg".to_owned(), "tiger cat".to_owned()), ("b.jpg".to_owned(), "cat".to_owned())]);
        for text in ["a.jpg tiger cat\nb.jpg  cat\n", "file label\na.jpg tiger cat\nb.jpg cat\n"] {
            assert_eq!(rows("val.txt", text), expected, "{text}");
        }
        assert_eq!(
            rows("l.txt", "a.jpg\ttench, Tinca tinca\n"),
            Ok(vec![("a.jpg".into(), "tench, Tinca tinca".into())])
        );
        assert_eq!(rows("l.txt", "label file\n3 a.jpg\n"), Ok(vec![("a.jpg".into(), "3".into())]));
        let error = rows("l.txt", "label file\n3 a.jpg\ntiger cat b.jpg\n").unwrap_err();
        assert!(error.contains("line 3") && error.contains("3 fields"), "{error}");
    }

    #[test]
    fn lines_that_say_too_little_are_told_by_number() {
        for (name, text, line) in [
            ("l.csv", "a.png,cat\nb.png\n", 2),
            ("l.csv", "file,label\na.png,\n", 2),
            ("l.jsonl", "{\"file_name\":\"a.png\",\"label\":\"cat\"}\n{\"file_name\":\"b.png\"}\n", 2),
            ("l.jsonl", "{\n", 1),
        ] {
            let error = rows(name, text).unwrap_err();
            assert!(error.contains(&format!("line {line}:")), "{error}");
        }
        assert_eq!(rows("ground_truth.txt", "490\n361\n"), Err("[490, 361]".into()));
    }
}
