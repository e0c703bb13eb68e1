//! Labelled images: a folder of class folders, or images listed in a file of labels.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::classes::{Classes, Unmatched};
use super::labelled::{Dataset, DatasetError, Labelled, same_images, unknown};
use crate::input;
use crate::note::Note;

use super::labels_file::listed;

/// Files that are taken for labels when they lie in a folder of images without class folders.
pub(crate) const LABEL_FILES: [&str; 5] = ["labels.csv", "labels.tsv", "labels.txt", "val.txt", "LOC_val_solution.csv"];
impl Dataset {
    /// Reads the data set once for each model, as its classes are named and numbered there; see [`Dataset::open`]. A model
    /// that names none is taken to number them as the first model does that names as many. The images of all are the
    /// same, in the same order.
    ///
    /// # Errors
    /// [`DatasetError`], also where the models do not find the same images.
    pub fn for_models(path: &Path, labels: Option<&Path>, models: &[Classes]) -> Result<Vec<Dataset>, DatasetError> {
        let mut datasets: Vec<Dataset> = Vec::new();
        for classes in models {
            let same_class_names = same_class_names(classes, models);
            let mut dataset = Dataset::open(path, labels, same_class_names.unwrap_or(classes))?;
            dataset.notes.extend(
                same_class_names
                    .map(|other| Note::ClassesAsOther { model: classes.model.clone(), other: other.model.clone() }),
            );
            let paths = |dataset: &Dataset| dataset.images.iter().map(|p| p.path.clone()).collect::<Vec<_>>();
            if datasets.first().is_some_and(|first| paths(first) != paths(&dataset)) {
                let (first, second) = (models[0].model.clone(), classes.model.clone());
                return Err(DatasetError::NotTheSame { path: path.to_owned(), first, second });
            }
            datasets.push(dataset);
        }
        Ok(datasets)
    }

    /// Reads a data set: a folder of class folders (names, synonyms, WordNet ids, indices), or a folder of images with
    /// a file of labels, given as `labels`, or lying in it, or given in place of the folder.
    ///
    /// # Errors
    /// [`DatasetError`] where nothing is found, a class is unknown, or a label does not parse.
    pub fn open(path: &Path, labels: Option<&Path>, classes: &Classes) -> Result<Dataset, DatasetError> {
        let about = std::fs::metadata(path).map_err(|source| DatasetError::Io { path: path.to_owned(), source })?;
        if about.is_file() {
            // The parent of a bare name is the empty path, which no folder answers to.
            let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
            return listed(folder.unwrap_or(Path::new(".")), path, classes);
        }
        if let Some(labels) = labels {
            return listed(path, labels, classes);
        }
        let folders = class_folders(path)?;
        let lying_there = LABEL_FILES.iter().map(|name| path.join(name)).find(|file| file.is_file());
        match (in_class_folders(path, folders, classes), lying_there) {
            (Ok(dataset), _) if !dataset.images.is_empty() => Ok(dataset),
            // Folders that are no classes may be shards of a set whose labels are in a file.
            (_, Some(labels)) => listed(path, &labels, classes),
            (Err(error), None) => Err(error),
            (Ok(_), None) => Err(DatasetError::Empty {
                path: path.to_owned(),
                reason: format!("neither class folders with images nor a file of labels ({})", LABEL_FILES.join(", ")),
            }),
        }
    }
}

/// The first model whose names of classes may hold for one that has none.
fn same_class_names<'c>(classes: &Classes, models: &'c [Classes]) -> Option<&'c Classes> {
    let fits = |other: &&Classes| {
        !other.labels.is_empty() && classes.count.is_none_or(|count| other.count.is_none_or(|known| known == count))
    };
    models.iter().find(fits).filter(|_| classes.labels.is_empty())
}

/// Name of each folder directly below `path` that holds images, with the images.
fn class_folders(path: &Path) -> Result<BTreeMap<String, Vec<PathBuf>>, DatasetError> {
    let io = |(path, source)| DatasetError::Io { path, source };
    let told = |source| DatasetError::Io { path: path.to_owned(), source };
    let mut folders = BTreeMap::new();
    for entry in std::fs::read_dir(path).map_err(told)? {
        let folder = entry.map_err(told)?.path();
        if !folder.is_dir() {
            continue;
        }
        let images = input::expand(std::slice::from_ref(&folder)).map_err(io)?;
        if let (false, Some(name)) = (images.is_empty(), folder.file_name()) {
            folders.insert(name.to_string_lossy().into_owned(), images);
        }
    }
    Ok(folders)
}

fn in_class_folders(
    path: &Path,
    folders: BTreeMap<String, Vec<PathBuf>>,
    classes: &Classes,
) -> Result<Dataset, DatasetError> {
    let found: Vec<Result<usize, Unmatched>> = folders.keys().map(|name| classes.find(name)).collect();
    let mut notes = Vec::new();
    // The order in which torchvision's ImageFolder numbers classes, by which networks are trained.
    let by_order = classes.labels.is_empty()
        && found.iter().any(Result::is_err)
        && (classes.count == Some(folders.len()) || (classes.count.is_none() && folders.len() > 1));
    let indices: Vec<usize> = if by_order {
        notes.push(Note::ClassesInOrder { model: classes.model.clone() });
        (0..folders.len()).collect()
    } else {
        let names = folders.keys().map(String::as_str).zip(&found);
        let unmatched: Vec<(&str, &Unmatched)> =
            names.filter_map(|(name, found)| found.as_ref().err().map(|error| (name, error))).collect();
        if !unmatched.is_empty() {
            let reason = unknown(&unmatched, classes);
            return Err(DatasetError::UnknownClasses { path: path.to_owned(), reason });
        }
        found.into_iter().flatten().collect()
    };
    let mut images = Vec::new();
    for (files, class) in folders.into_values().zip(indices) {
        images.extend(files.into_iter().map(|path| Labelled { path, class }));
    }
    notes.extend(same_images(&images));
    Ok(Dataset { folder: path.to_owned(), images, notes })
}

#[cfg(test)]
mod tests;
