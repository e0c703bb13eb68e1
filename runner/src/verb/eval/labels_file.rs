//! Images listed in a file of labels.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::classes::{Classes, Unmatched, is_wordnet_id};
use super::labelled::{Dataset, DatasetError, Labelled, same_images, unknown};
use crate::input;
use onnx_file::open;

/// Longest file of labels that is read: fifty million images have less.
const MOST_LABELS: u64 = 2 << 30;

/// Reads `file,label` lines: separated by commas, tabs or blanks, with or without a header. Kaggle's ImageNet solution
/// (`ILSVRC2012_val_00048981,n03995372 85 1 499 272`) and Caffe's `val.txt` are of this form.
pub(crate) fn listed(folder: &Path, labels: &Path, classes: &Classes) -> Result<Dataset, DatasetError> {
    let io = |source| DatasetError::Io { path: labels.to_owned(), source };
    let bad = |line, reason: String| DatasetError::BadLabels { path: labels.to_owned(), line, reason };
    let text = open::read_text(labels, MOST_LABELS).map_err(io)?;
    let first = text.lines().next().unwrap_or_default();
    let separator = [b',', b'\t', b';'].into_iter().find(|&separator| first.as_bytes().contains(&separator));
    let mut format = csv::ReaderBuilder::new();
    format.has_headers(false).flexible(true).delimiter(separator.unwrap_or(b' ')).trim(csv::Trim::All);
    let mut reader = format.from_reader(text.as_bytes());
    let names = Names::below(folder)?;
    let mut images = Vec::new();
    let mut lines: BTreeMap<PathBuf, u64> = BTreeMap::new();
    let mut missing = 0;
    for record in reader.records() {
        let record = record.map_err(|error| bad(error.position().map_or(0, csv::Position::line), error.to_string()))?;
        let line = record.position().map_or(0, csv::Position::line);
        let fields: Vec<&str> = record.iter().filter(|field| !field.is_empty()).collect();
        let [name, label, ..] = fields.as_slice() else {
            let reason = "an image's name and its class are needed, separated by a comma, a tab or a blank".to_owned();
            return Err(bad(line, reason));
        };
        let Some(path) = names.find(folder, name).map_err(|reason| bad(line, reason))? else {
            // A header, or an image of another part of the set.
            missing += usize::from(line > 1 || find(classes, label).is_ok());
            continue;
        };
        if let Some(before) = lines.insert(path.clone(), line) {
            let reason = format!("{name} is {}, which line {before} has already labelled", path.display());
            return Err(bad(line, reason));
        }
        match find(classes, label) {
            Ok(class) => images.push(Labelled { path, class }),
            Err(error) => return Err(bad(line, unknown(&[(label, &error)], classes))),
        }
    }
    if images.is_empty() {
        let reason = format!("{} names no image that is there", labels.display());
        return Err(DatasetError::Empty { path: folder.to_owned(), reason });
    }
    let mut notes = Vec::new();
    if missing > 0 {
        notes.push(crate::note::Note::ImagesMissing { count: missing, labels: labels.display().to_string() });
    }
    notes.extend(same_images(&images));
    Ok(Dataset { folder: folder.to_owned(), images, notes })
}

/// A label as a whole, or, as in Kaggle's solution, its first word where that is a WordNet id.
fn find(classes: &Classes, label: &str) -> Result<usize, Unmatched> {
    let first = label.split_whitespace().next().filter(|word| is_wordnet_id(word));
    classes.find(label).or_else(|error| first.map_or(Err(error), |word| classes.find(word)))
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

/// Whether a file lists images with their classes, and not the names of classes: a line begins with an image's name, or
/// is a configuration's or a table's of Hugging Face.
pub(crate) fn lists_images(file: &Path) -> bool {
    let Ok(text) = onnx_file::open::read_text(file, onnx_file::open::SMALL) else { return false };
    let first_field = |line: &str| line.split([',', '\t', ';', ' ']).next().unwrap_or_default().trim().to_owned();
    text.lines().take(2).any(|line| {
        let name = first_field(line);
        input::is_image_name(Path::new(&name)) || name.starts_with("ILSVRC2012_val_")
    })
}
