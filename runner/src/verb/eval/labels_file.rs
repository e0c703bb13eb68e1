//! Images listed in a file of labels.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::classes::{Classes, is_wordnet_id};
use super::labelled::{Dataset, DatasetError, Labelled, same_images, unknown};
use super::numbering::Named;
use super::order::{OrderError, assign};
use super::table::{self, Row, Table};
use super::truth;
use crate::input;
use crate::note::Note;
use onnx_file::open;

/// Reads the images that the file `labels` lists, of those in `folder`.
pub(crate) fn listed(folder: &Path, labels: &Path, classes: &Classes) -> Result<Dataset, DatasetError> {
    let dataset = match table::read(labels)? {
        Table::Rows { rows, maybe_header } => of_rows(folder, labels, rows, maybe_header, classes)?,
        Table::Numbers(numbers) => truth::dataset(folder, labels, &numbers, classes)?,
    };
    if dataset.images.is_empty() {
        let reason = format!("{} names no image that is there", labels.display());
        return Err(DatasetError::Empty { path: folder.to_owned(), reason });
    }
    Ok(dataset)
}

fn of_rows(
    folder: &Path,
    labels: &Path,
    rows: Vec<Row>,
    maybe_header: bool,
    classes: &Classes,
) -> Result<Dataset, DatasetError> {
    let bad = |line, reason: String| DatasetError::BadLabels { path: labels.to_owned(), line, reason };
    let names = Names::below(folder)?;
    let mut found: Vec<(PathBuf, Row)> = Vec::new();
    let mut lines: BTreeMap<PathBuf, u64> = BTreeMap::new();
    let mut missing = 0;
    for row in rows {
        let Some(path) = names.find(folder, &row.name).map_err(|reason| bad(row.line, reason))? else {
            // A header, or an image of another part of the set.
            missing += usize::from(!(maybe_header && row.line == 1) || classes.find(&row.label).is_ok());
            continue;
        };
        if let Some(before) = lines.insert(path.clone(), row.line) {
            let reason = format!("{} is {}, which line {before} has already labelled", row.name, path.display());
            return Err(bad(row.line, reason));
        }
        found.push((path, Row { label: class_name(classes, &row.label).to_owned(), ..row }));
    }
    let distinct: BTreeSet<&str> = found.iter().map(|(_, row)| row.label.as_str()).collect();
    let distinct: Vec<&str> = distinct.into_iter().collect();
    let assigned = assign(&distinct, Named::List, classes).map_err(|error| {
        let first = |name: &str| found.iter().find(|(_, row)| row.label == name).map_or(0, |(_, row)| row.line);
        match error {
            OrderError::Unknown(unmatched) => {
                // The first line that is wrong, as a reader of the file comes to it.
                let line = |at: usize| first(distinct[at]);
                let Some((at, error)) = unmatched.iter().min_by_key(|(at, _)| line(*at)) else {
                    return bad(0, "it names no class".into());
                };
                bad(line(*at), unknown(&[(distinct[*at], error)], classes))
            }
            OrderError::Unsuited(reason) => bad(1, reason),
            OrderError::Ambiguous(_) => bad(1, "its numbers can be read in several ways".into()),
        }
    })?;
    let class: BTreeMap<&str, usize> = distinct.iter().copied().zip(assigned.classes).collect();
    let of =
        |(path, row): &(PathBuf, Row)| Some(Labelled { path: path.clone(), class: *class.get(row.label.as_str())? });
    let images: Vec<Labelled> = found.iter().filter_map(of).collect();
    let mut notes: Vec<Note> = assigned.numbering.note(&classes.model).into_iter().collect();
    notes.extend(same_images(&images));
    if missing > 0 {
        notes.push(Note::ImagesMissing { count: missing, labels: labels.display().to_string() });
    }
    let supposed = assigned.numbering.supposes(distinct.len());
    Ok(Dataset { folder: folder.to_owned(), images, notes, supposed })
}

/// A label as a whole, or, as in Kaggle's solution, its first word where that is a WordNet id.
fn class_name<'l>(classes: &Classes, label: &'l str) -> &'l str {
    match label.split_once(char::is_whitespace) {
        Some((id, _)) if is_wordnet_id(id) && classes.named(label).is_err() => id,
        _ => label,
    }
}

/// Images below a folder by file name, with and without extension, for lists that leave the extension or the folder
/// out.
struct Names {
    whole: BTreeMap<String, Vec<PathBuf>>,
    stems: BTreeMap<String, Vec<PathBuf>>,
}

impl Names {
    fn below(folder: &Path) -> Result<Names, DatasetError> {
        let images = input::expand(&[folder.to_owned()]).map_err(|(path, source)| DatasetError::Io { path, source })?;
        let mut names = Names { whole: BTreeMap::new(), stems: BTreeMap::new() };
        for path in images {
            for (part, of) in [(path.file_name(), &mut names.whole), (path.file_stem(), &mut names.stems)] {
                if let Some(part) = part {
                    of.entry(part.to_string_lossy().into_owned()).or_default().push(path.clone());
                }
            }
        }
        Ok(names)
    }

    /// The image that `name` means: a path in the folder, else the only file of that name below it, else the only one
    /// of that name but for the extension. `Ok(None)` where there is none, the reason where there are several.
    fn find(&self, folder: &Path, name: &str) -> Result<Option<PathBuf>, String> {
        let direct = folder.join(name);
        if direct.is_file() {
            return Ok(Some(direct));
        }
        let Some(whole) = Path::new(name).file_name().map(|name| name.to_string_lossy().into_owned()) else {
            return Ok(None);
        };
        let stem = Path::new(&whole).file_stem().filter(|_| input::is_image_name(Path::new(name)));
        let stem = stem.map(|stem| stem.to_string_lossy().into_owned());
        let found = self.whole.get(&whole).or_else(|| self.stems.get(&whole));
        match found.or_else(|| self.stems.get(&stem?)).map(Vec::as_slice) {
            None | Some([]) => Ok(None),
            Some([only]) => Ok(Some(only.clone())),
            Some([one, other, ..]) => Err(format!(
                "{name} may be {} or {}; write the path from the folder on, extension included",
                one.display(),
                other.display()
            )),
        }
    }
}

/// Whether a file lists images with their classes, and not the names of classes: its lines begin with images' names.
pub(crate) fn lists_images(file: &Path) -> bool {
    let Ok(text) = open::read_text(file, open::SMALL) else { return false };
    let first_field = |line: &str| line.split([',', '\t', ';', ' ']).next().unwrap_or_default().trim().to_owned();
    if file.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("jsonl")) {
        return true;
    }
    let names_image = |line: &str| {
        let name = first_field(line);
        input::is_image_name(Path::new(&name)) || name.starts_with("ILSVRC2012_val_")
    };
    text.lines().take(2).any(names_image)
}

/// Whether a file that lies in a folder says which of its `images` is of which class, and does not name the classes.
pub(crate) fn labels_these(file: &Path, images: &[Labelled]) -> bool {
    let stem = |path: &Path| path.file_stem().map(|stem| stem.to_string_lossy().into_owned());
    match table::read(file) {
        Ok(Table::Rows { maybe_header: false, .. }) => true,
        Ok(Table::Rows { rows, .. }) => {
            let named: BTreeSet<Option<String>> = rows.iter().map(|row| stem(Path::new(&row.name))).collect();
            lists_images(file) || images.iter().all(|image| named.contains(&stem(&image.path)))
        }
        Ok(Table::Numbers(numbers)) => numbers.len() == images.len() || truth::is_ground_truth(file),
        Err(_) => lists_images(file),
    }
}
