//! A number a line, for images in the order of their names: ImageNet's ground truth of its validation set, and plain
//! lists of indices.
//!
//! The numbers of ImageNet's development kit are its own, from 1 to 1000: they are not the places of classes in any
//! network, which are in the order of WordNet ids. Its map of classes tells which is which.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use onnx_file::metadata::Labels;
use onnx_file::open;

use super::classes::{Classes, is_wordnet_id};
use super::labelled::{Dataset, DatasetError, Labelled, same_images, unknown};
use super::numbering::{ClassOrder, Named, Numbering};
use super::order::{Assigned, OrderError, assign};
use super::place::{all_numbered, lines_of};
use crate::input;
use crate::note::Note;

/// The file of the development kit that holds lines such as `n02119789 1 kit_fox`.
const MAP: &str = "map_clsloc.txt";

/// The images below `folder` with the classes that `numbers`, the lines of `file`, give them.
pub(crate) fn dataset(
    folder: &Path,
    file: &Path,
    numbers: &[usize],
    classes: &Classes,
) -> Result<Dataset, DatasetError> {
    let bad = |line: u64, reason: String| DatasetError::BadLabels { path: file.to_owned(), line, reason };
    let paths = input::expand(&[folder.to_owned()]).map_err(|(path, source)| DatasetError::Io { path, source })?;
    let map = read_map(file, folder);
    let said = is_ground_truth(file);
    let of_kit = said || can_be_of_development_kit(numbers, all_numbered(&paths) || map.is_some(), classes);
    let assigned = if of_kit {
        let map = map.ok_or_else(|| bad(1, needs_map(said)))?;
        by_wordnet_id(numbers, &map, classes).map_err(|reason| bad(1, reason))?
    } else {
        by_index(numbers, classes).map_err(|(line, reason)| bad(line, reason))?
    };
    let lines = lines_of(&paths, numbers.len(), of_kit).map_err(|reason| bad(1, reason))?;
    let image = |(path, line): (PathBuf, usize)| Labelled { path, class: assigned.classes[line] };
    let images: Vec<Labelled> = paths.into_iter().zip(lines).map(image).collect();
    let mut notes: Vec<Note> = assigned.numbering.note(&classes.model).into_iter().collect();
    notes.extend(same_images(&images));
    let distinct: BTreeSet<&usize> = numbers.iter().collect();
    let supposed = assigned.numbering.supposes(distinct.len());
    Ok(Dataset { folder: folder.to_owned(), images, notes, supposed })
}

/// Whether a file is called as the development kit calls its list of numbers.
pub(crate) fn is_ground_truth(file: &Path) -> bool {
    file.file_name().is_some_and(|name| name.to_string_lossy().ends_with("validation_ground_truth.txt"))
}

/// Whether numbers can be a kit's whose file goes by another name: a list of indices mostly holds 0, and never 1000 for
/// as many classes. Where only a part of the kit's numbers is there, the images' names or the map beside it (`hinted`)
/// tell. Who gives the order of classes as that of numbers says that they are indices.
fn can_be_of_development_kit(numbers: &[usize], hinted: bool, classes: &Classes) -> bool {
    let ids = &Labels::imagenet().ids;
    let count = ids.len();
    let as_many = classes.count.is_none_or(|known| known == count || known == count + 1);
    let from_one = numbers.iter().all(|number| (1..=count).contains(number));
    if !as_many || !from_one || classes.order == Some(ClassOrder::Number) || !(hinted || numbers.contains(&count)) {
        return false;
    }
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    let known = assign(&ids, Named::List, &classes.in_order(None));
    known.is_ok_and(|known| matches!(known.numbering, Numbering::Said | Numbering::ImageNet { .. }))
}

/// What to do about a kit's numbers without its map; whether the file's name has said that they are a kit's.
fn needs_map(said: bool) -> String {
    let whose = if said { "its numbers are" } else { "none of its numbers is 0, and they can be" };
    let else_ = if said { "" } else { ", or give --class-order number where they are indices of the model's classes" };
    format!(
        "{whose} those of ImageNet's development kit, which no network has; put the kit's {MAP} beside it (lines such as \
         `n02119789 1 kit_fox`), or list the images with their WordNet ids{else_}"
    )
}

/// The class on each line, by the numbers themselves, or the line that holds none and why.
fn by_index(numbers: &[usize], classes: &Classes) -> Result<Assigned, (u64, String)> {
    let mut distinct: Vec<String> = numbers.iter().map(usize::to_string).collect();
    distinct.sort_unstable();
    distinct.dedup();
    let names: Vec<&str> = distinct.iter().map(String::as_str).collect();
    let line = |number: &str| numbers.iter().position(|one| one.to_string() == number).map_or(1, |at| at as u64 + 1);
    let assigned = assign(&names, Named::List, classes).map_err(|error| match error {
        OrderError::Unsuited(reason) => (1, reason),
        OrderError::Ambiguous(_) => (1, "its numbers can be read in several ways".to_owned()),
        OrderError::Unknown(unmatched) => {
            let wrong = unmatched.iter().min_by_key(|(at, _)| line(names[*at]));
            let told = wrong.map(|(at, error)| (line(names[*at]), unknown(&[(names[*at], error)], classes)));
            let (line, reason) = told.unwrap_or((1, "it names no class".to_owned()));
            let range = classes.count.map_or(String::new(), |count| format!("; its {count} classes count from 0"));
            (line, reason + &range)
        }
    })?;
    Ok(on_each_line(numbers.iter().map(usize::to_string), &names, assigned))
}

/// The classes of `distinct` names on each of the lines that hold them.
fn on_each_line(lines: impl Iterator<Item = impl AsRef<str>>, distinct: &[&str], assigned: Assigned) -> Assigned {
    let class: BTreeMap<&str, usize> = distinct.iter().copied().zip(assigned.classes).collect();
    Assigned { classes: lines.filter_map(|name| class.get(name.as_ref()).copied()).collect(), ..assigned }
}

/// WordNet ids by the kit's number.
fn read_map(file: &Path, folder: &Path) -> Option<BTreeMap<usize, String>> {
    let beside = file.parent().unwrap_or(Path::new(""));
    let text = [beside, folder].iter().find_map(|place| open::read_text(&place.join(MAP), open::SMALL).ok())?;
    let line = |line: &str| {
        let mut words = line.split_whitespace();
        let id = words.next().filter(|word| is_wordnet_id(word))?;
        Some((words.next()?.parse().ok()?, id.to_owned()))
    };
    text.lines().filter(|text| !text.trim().is_empty()).map(line).collect()
}

fn by_wordnet_id(numbers: &[usize], ids: &BTreeMap<usize, String>, classes: &Classes) -> Result<Assigned, String> {
    let id = |number: &usize| ids.get(number).ok_or_else(|| format!("{MAP} has no class {number}"));
    let named: Vec<&str> = numbers.iter().map(|number| id(number).map(String::as_str)).collect::<Result<_, _>>()?;
    let mut distinct = named.clone();
    distinct.sort_unstable();
    distinct.dedup();
    let assigned = assign(&distinct, Named::List, &classes.in_order(None))
        .map_err(|_| format!("{} does not know ImageNet's classes", classes.name()))?;
    Ok(on_each_line(named.iter(), &distinct, assigned))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(count: usize) -> Classes {
        Classes::new(Vec::new(), &[], Some(count))
    }

    fn read(names: &[&str], text: &str, map: &str, classes: &Classes) -> Result<(Vec<usize>, Vec<Note>), String> {
        let folder = tempfile::tempdir().unwrap();
        names.iter().for_each(|name| std::fs::write(folder.path().join(name), b"image").unwrap());
        if !map.is_empty() {
            std::fs::write(folder.path().join(MAP), map).unwrap();
        }
        let numbers: Vec<usize> = text.split(' ').map(|number| number.parse().unwrap()).collect();
        let read = dataset(folder.path(), &folder.path().join("labels.txt"), &numbers, classes);
        let read = read.map_err(|error| error.to_string())?;
        Ok((read.images.iter().map(|image| image.class).collect(), read.notes))
    }

    #[test]
    fn a_part_of_the_kits_numbers_is_not_taken_for_indices() {
        let kit = ["ILSVRC2012_val_00000001.JPEG", "ILSVRC2012_val_00000002.JPEG"];
        let map = "n02119789 1 kit_fox\nn01440764 7 tench\nn01514668 1000 cock\n";
        for (count, background) in [(1000, 0), (1001, 1)] {
            let classes = network(count);
            for (names, text) in [(kit, "7 1"), (["a.png", "b.png"], "7 1000")] {
                let error = read(&names, text, "", &classes).unwrap_err();
                assert!(error.contains(MAP) && error.contains("--class-order number"), "{error}");
            }
            let (found, notes) = read(&["a.png", "b.png"], "7 1000", map, &classes).unwrap();
            assert_eq!(found, [background, 7 + background]);
            assert!(matches!(notes[..], [Note::ImageNetAssumed { .. }]), "{notes:?}");
            assert_eq!(read(&kit, "7 0", "", &classes).unwrap(), (vec![7, 0], vec![]));
            let asked = classes.in_order(Some(ClassOrder::Number));
            assert_eq!(read(&kit, "7 1", "", &asked).unwrap().0, [7, 1]);
        }
        assert_eq!(read(&kit, "7 1", "", &network(12)).unwrap().0, [7, 1], "no network of ImageNet's classes");
    }

    #[test]
    fn numbers_that_can_count_from_0_or_from_1_are_told() {
        let names = ["a.png", "b.png", "c.png"];
        let (found, notes) = read(&names, "1 11 2", "", &network(12)).unwrap();
        assert_eq!(found, [1, 11, 2]);
        assert!(matches!(notes[..], [Note::ClassesByNumber { first: 0, .. }]), "{notes:?}");
        assert_eq!(read(&names, "0 11 2", "", &network(12)).unwrap().1, []);
        let (found, notes) = read(&names, "1 12 2", "", &network(12)).unwrap();
        assert_eq!(found, [0, 11, 1]);
        assert!(matches!(notes[..], [Note::ClassesByNumber { first: 1, .. }]), "{notes:?}");
        let error = read(&names, "0 1 12", "", &network(12)).unwrap_err();
        assert!(error.contains("line 3") && error.contains("12 classes"), "{error}");
    }
}
