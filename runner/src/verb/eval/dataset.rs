//! Labelled images: a folder of class folders, or images listed in a file of labels.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::classes::{Classes, Unmatched};
use super::labelled::{Dataset, DatasetError, Labelled, same_images, unknown};
use crate::input;
use crate::note::Note;

use super::labels_file::{labels_these, listed};
use super::numbering::{Named, Numbering};
use super::order::{Assigned, OrderError, assign};

/// Files that are taken for labels when they lie in a folder of images without class folders.
pub(crate) const LABEL_FILES: [&str; 9] = [
    "labels.csv",
    "labels.tsv",
    "labels.txt",
    "val.txt",
    "val_annotations.txt",
    "metadata.csv",
    "metadata.jsonl",
    "LOC_val_solution.csv",
    "ILSVRC2012_validation_ground_truth.txt",
];
/// How many classes a message shows.
const MOST_NAMED: usize = 5;

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
        let folders = ClassFolders::below(path)?;
        let lying_there: Vec<PathBuf> =
            LABEL_FILES.iter().map(|name| path.join(name)).filter(|f| f.is_file()).collect();
        match (in_class_folders(path, &folders, classes), lying_there.first()) {
            (Ok((dataset, numbering)), _) if !dataset.images.is_empty() => {
                let is_list = |file: &&PathBuf| classes.order.is_none() && labels_these(file, &dataset.images);
                match (numbering, lying_there.iter().find(is_list)) {
                    (Numbering::Name | Numbering::Number { .. }, Some(labels)) => as_listed(dataset, labels, classes),
                    _ => Ok(dataset),
                }
            }
            // Folders that are no classes may be shards of a set whose labels are in a file.
            (_, Some(labels)) => listed(path, labels, classes),
            (Err(error), None) => Err(error),
            (Ok(_), None) => Err(DatasetError::Empty {
                path: path.to_owned(),
                reason: format!("neither class folders with images nor a file of labels ({})", LABEL_FILES.join(", ")),
            }),
        }
    }
}

/// The images of `folders`, which only their place or number makes class folders, as a file of labels there has them: the
/// folders may be shards of the set.
///
/// # Errors
/// [`DatasetError::WhichOrder`] where the file does not label all of the images, so that neither is known to be meant.
fn as_listed(folders: Dataset, labels: &Path, classes: &Classes) -> Result<Dataset, DatasetError> {
    let refused = |why: String| {
        let reason = format!(
            "its folders can be numbered as classes, and {} lists images, {why}; choose the file with --image-labels, or \
             the folders with --class-order name or --class-order number",
            labels.display()
        );
        DatasetError::WhichOrder { path: folders.folder.clone(), reason }
    };
    let listed = listed(&folders.folder, labels, classes).map_err(|error| refused(format!("but: {error}")))?;
    let class: BTreeMap<&Path, usize> = listed.images.iter().map(|image| (image.path.as_path(), image.class)).collect();
    let of_file: Vec<Option<usize>> =
        folders.images.iter().map(|image| class.get(image.path.as_path()).copied()).collect();
    let missing = of_file.iter().filter(|class| class.is_none()).count();
    if missing > 0 {
        return Err(refused(format!("but not {missing} of the {} in them", of_file.len())));
    }
    let agree = listed.images.len() == folders.images.len()
        && folders.images.iter().zip(of_file).all(|(image, class)| Some(image.class) == class);
    Ok(if agree { folders } else { listed })
}

/// The first model whose names of classes may hold for one that has none.
fn same_class_names<'c>(classes: &Classes, models: &'c [Classes]) -> Option<&'c Classes> {
    let fits = |other: &&Classes| {
        !other.labels.is_empty() && classes.count.is_none_or(|count| other.count.is_none_or(|known| known == count))
    };
    models.iter().find(fits).filter(|_| classes.labels.is_empty())
}

/// Class folders directly below a folder, with what else lies there.
struct ClassFolders {
    /// Images by the folder's name; some folders hold none.
    images: BTreeMap<String, Vec<PathBuf>>,
    /// Files that are no images.
    left_out: Vec<PathBuf>,
}

impl ClassFolders {
    fn below(path: &Path) -> Result<ClassFolders, DatasetError> {
        let io = |(path, source)| DatasetError::Io { path, source };
        let told = |source| DatasetError::Io { path: path.to_owned(), source };
        let mut found = ClassFolders { images: BTreeMap::new(), left_out: Vec::new() };
        for entry in std::fs::read_dir(path).map_err(told)? {
            let entry = entry.map_err(told)?.path();
            let Some(name) = entry.file_name().map(|name| name.to_string_lossy().into_owned()) else { continue };
            if name.starts_with('.') || name == "__MACOSX" {
                continue;
            }
            if entry.is_dir() {
                let below = input::find(std::slice::from_ref(&entry)).map_err(io)?;
                found.left_out.extend(below.left_out);
                found.images.insert(name, below.images);
            } else if !LABEL_FILES.contains(&name.as_str()) {
                found.left_out.push(entry);
            }
        }
        Ok(found)
    }

    /// Leaves the folders without images out.
    fn without_empty(&self) -> ClassFolders {
        let full = self.images.iter().filter(|(_, images)| !images.is_empty());
        let images = full.map(|(name, images)| (name.clone(), images.clone())).collect();
        ClassFolders { images, left_out: self.left_out.clone() }
    }
}

fn in_class_folders(
    path: &Path,
    folders: &ClassFolders,
    classes: &Classes,
) -> Result<(Dataset, Numbering), DatasetError> {
    let names: Vec<&str> = folders.images.keys().map(String::as_str).collect();
    let assigned = match assign(&names, Named::Folders, classes) {
        Ok(assigned) => assigned,
        Err(OrderError::Unknown(unmatched)) => {
            // A folder that means no class and holds no image is none; those that are left must say what they mean.
            let is_empty = |(at, _): &(usize, Unmatched)| folders.images[names[*at]].is_empty();
            if unmatched.iter().all(is_empty) && unmatched.len() < names.len() {
                return in_class_folders(path, &folders.without_empty(), classes);
            }
            let unmatched: Vec<(&str, &Unmatched)> = unmatched.iter().map(|(at, error)| (names[*at], error)).collect();
            let mut reason = unknown(&unmatched, classes);
            if let Some(count) = classes.count.filter(|count| *count != names.len() && unmatched.len() == names.len()) {
                let folders = names.len();
                reason +=
                    &format!("; the order of {folders} folders does not tell which of its {count} classes they are");
            }
            return Err(DatasetError::UnknownClasses { path: path.to_owned(), reason });
        }
        Err(OrderError::Unsuited(reason)) => return Err(DatasetError::WhichOrder { path: path.to_owned(), reason }),
        Err(OrderError::Ambiguous(ways)) => {
            return Err(DatasetError::WhichOrder { path: path.to_owned(), reason: several_ways(&names, &ways) });
        }
    };
    let mut images = Vec::new();
    for (files, class) in folders.images.values().zip(&assigned.classes) {
        images.extend(files.iter().map(|path| Labelled { path: path.clone(), class: *class }));
    }
    let mut notes: Vec<Note> = assigned.numbering.note(&classes.model).into_iter().collect();
    let empty = folders.images.iter().filter(|(_, images)| images.is_empty()).map(|(name, _)| name.clone());
    let empty: Vec<String> = empty.collect();
    notes.extend((!empty.is_empty()).then_some(Note::EmptyClassFolders { folders: empty }));
    notes.extend(Note::left_out(&folders.left_out));
    notes.extend(same_images(&images));
    let supposed = assigned.numbering.supposes(names.len());
    Ok((Dataset { folder: path.to_owned(), images, notes, supposed }, assigned.numbering))
}

/// The ways in which names can be numbered, and how to choose one.
fn several_ways(names: &[&str], ways: &[Assigned]) -> String {
    let way = |way: &Assigned| {
        let how = match way.numbering {
            Numbering::Name => "by name, as torchvision's ImageFolder does".to_owned(),
            Numbering::Number { first } => format!("by number, from {first}"),
            Numbering::Said | Numbering::ImageNet { .. } => "by what they say".to_owned(),
        };
        let mut order: Vec<(usize, &str)> = way.classes.iter().copied().zip(names.iter().copied()).collect();
        order.sort_unstable();
        let shown: Vec<String> =
            order.iter().take(MOST_NAMED).map(|(class, name)| format!("{class} is {name}")).collect();
        let more = if order.len() > MOST_NAMED { ", ..." } else { "" };
        format!("{how} (class {}{more})", shown.join(", "))
    };
    let shown: Vec<String> = ways.iter().map(way).collect();
    let choice = if ways.iter().any(|way| way.numbering == Numbering::Name) {
        "choose with --class-order name or --class-order number"
    } else {
        "--class-order number takes the first; for another, list the images in a file"
    };
    format!("its folders are numbers that can be read in several ways: {}; {choice}", shown.join("; or "))
}

#[cfg(test)]
mod tests;
