//! A number a line, for images in the order of their names: ImageNet's ground truth of its validation set, and plain
//! lists of indices.
//!
//! The numbers of ImageNet's development kit are its own, from 1 to 1000: they are not the places of classes in any
//! network, which are in the order of WordNet ids. Its map of classes tells which is which.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use onnx_file::metadata::Labels;
use onnx_file::open;

use super::classes::{Classes, is_wordnet_id};
use super::labelled::{DatasetError, Labelled};
use super::numbering::Named;
use super::order::assign;
use crate::input;

/// The file of the development kit that holds lines such as `n02119789 1 kit_fox`.
const MAP: &str = "map_clsloc.txt";

/// The images below `folder` with the classes that `numbers`, the lines of `file`, give them.
pub(crate) fn images(
    folder: &Path,
    file: &Path,
    numbers: &[usize],
    classes: &Classes,
) -> Result<Vec<Labelled>, DatasetError> {
    let bad = |reason: String| DatasetError::BadLabels { path: file.to_owned(), line: 1, reason };
    let paths = input::expand(&[folder.to_owned()]).map_err(|(path, source)| DatasetError::Io { path, source })?;
    let of_kit = is_ground_truth(file) || of_development_kit(numbers, classes);
    let classes_of: Vec<usize> = if of_kit {
        let ids = read_map(file, folder).ok_or_else(|| {
            bad(format!(
                "its numbers are those of ImageNet's development kit, which no network has; put the kit's {MAP} beside \
                 it (lines such as `n02119789 1 kit_fox`), or list the images with their WordNet ids"
            ))
        })?;
        by_wordnet_id(numbers, &ids, classes).map_err(bad)?
    } else {
        let most = numbers.iter().max().copied().unwrap_or(0);
        if classes.count.is_some_and(|count| most >= count) {
            return Err(bad(format!("it holds {most}, and the classes are 0 to {}", classes.count.unwrap_or(1) - 1)));
        }
        numbers.to_vec()
    };
    let place = |(at, path): (usize, &PathBuf)| if of_kit { number_in_name(path).or(Some(at)) } else { Some(at) };
    if !of_kit && paths.len() != numbers.len() {
        let reason = format!("it has {} lines for {} images; list them by name", numbers.len(), paths.len());
        return Err(bad(reason));
    }
    let images = paths.iter().enumerate().map(|one| {
        let class = place(one).and_then(|at| classes_of.get(at).copied());
        let path = one.1.clone();
        class
            .map(|class| Labelled { path, class })
            .ok_or_else(|| bad(format!("it has {} lines, and none for {}", numbers.len(), one.1.display())))
    });
    images.collect()
}

fn is_ground_truth(file: &Path) -> bool {
    file.file_name().is_some_and(|name| name.to_string_lossy().ends_with("validation_ground_truth.txt"))
}

/// Whether numbers from 1 on are a kit's that goes by another name: a list of indices begins with 0.
fn of_development_kit(numbers: &[usize], classes: &Classes) -> bool {
    let count = Labels::imagenet().ids.len();
    classes.count == Some(count) && !numbers.contains(&0) && numbers.contains(&count)
}

/// Place of `ILSVRC2012_val_00000001.JPEG` among the images, from 0: some of them may be missing.
fn number_in_name(path: &Path) -> Option<usize> {
    let stem = path.file_stem()?.to_string_lossy().into_owned();
    let number: usize = stem.strip_prefix("ILSVRC2012_val_")?.parse().ok()?;
    number.checked_sub(1)
}

/// Where the kit's file may lie: beside the file of labels, where there is one, and in the folder.
pub(crate) fn maps(file: Option<&Path>, folder: &Path) -> impl Iterator<Item = PathBuf> {
    file.map(|file| file.with_file_name(MAP)).into_iter().chain([folder.join(MAP)])
}

/// WordNet ids by the kit's number.
fn read_map(file: &Path, folder: &Path) -> Option<BTreeMap<usize, String>> {
    let text = maps(Some(file), folder).find_map(|map| open::read_text(&map, open::SMALL).ok())?;
    let line = |line: &str| {
        let mut words = line.split_whitespace();
        let id = words.next().filter(|word| is_wordnet_id(word))?;
        Some((words.next()?.parse().ok()?, id.to_owned()))
    };
    text.lines().filter(|text| !text.trim().is_empty()).map(line).collect()
}

fn by_wordnet_id(numbers: &[usize], ids: &BTreeMap<usize, String>, classes: &Classes) -> Result<Vec<usize>, String> {
    let id = |number: &usize| ids.get(number).ok_or_else(|| format!("{MAP} has no class {number}"));
    let named: Vec<&str> = numbers.iter().map(|number| id(number).map(String::as_str)).collect::<Result<_, _>>()?;
    let mut distinct = named.clone();
    distinct.sort_unstable();
    distinct.dedup();
    let assigned = assign(&distinct, Named::List, classes)
        .map_err(|_| format!("{} does not know ImageNet's classes", classes.name()))?;
    let class: BTreeMap<&str, usize> = distinct.into_iter().zip(assigned.classes).collect();
    Ok(named.into_iter().filter_map(|id| class.get(id).copied()).collect())
}
