//! Which class each name of a data set stands for: by what it says, or by its place among the others.
//!
//! Networks are trained on folders that torchvision's ImageFolder numbers in the order of their names as text, so that
//! folder `10` comes before folder `2`. Where the readings of a set differ, nobody but its owner knows which is right.

use std::collections::BTreeMap;

use onnx_file::metadata::Labels;

use super::classes::{Classes, Unmatched, is_wordnet_id};
use super::numbering::{ClassOrder, Named, Numbering, SPLITS};

/// The classes of names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Assigned {
    /// One for each name.
    pub(crate) classes: Vec<usize>,
    /// How they were found.
    pub(crate) numbering: Numbering,
}

/// Why names have no classes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum OrderError {
    /// Some mean no class, by index.
    Unknown(Vec<(usize, Unmatched)>),
    /// Numbers that can be read in several ways: each way with the class of every name.
    Ambiguous(Vec<Assigned>),
    /// An order was asked for that does not go with the names.
    Unsuited(String),
}

/// The class of each of `names`, which are in the order of text.
pub(crate) fn assign(names: &[&str], from: Named, classes: &Classes) -> Result<Assigned, OrderError> {
    let by_place = || Assigned { classes: (0..names.len()).collect(), numbering: Numbering::Name };
    let as_many = classes.count.is_none_or(|count| count == names.len()) && names.len() > 1;
    let numbers: Option<Vec<usize>> = names.iter().map(|name| number(name)).collect();
    match classes.order {
        Some(ClassOrder::Name) if as_many => return Ok(by_place()),
        Some(ClassOrder::Name) => {
            let count = classes.count.map_or("some".to_owned(), |count| count.to_string());
            let reason = format!("--class-order name needs a folder for each class: {} for {count}", names.len());
            return Err(OrderError::Unsuited(reason));
        }
        Some(ClassOrder::Number) => {
            let ways = numbers.as_ref().map(|numbers| by_number(numbers, classes.count)).unwrap_or_default();
            let reason = "--class-order number needs folders whose names are numbers of classes, from 0 or 1 on";
            return ways.into_iter().next().ok_or_else(|| OrderError::Unsuited(reason.to_owned()));
        }
        None => {}
    }
    let said: Vec<Result<usize, Unmatched>> = names.iter().map(|name| classes.named(name)).collect();
    let matched = said.iter().filter(|found| found.is_ok()).count();
    if matched == names.len() {
        return Ok(Assigned { classes: said.into_iter().flatten().collect(), numbering: Numbering::Said });
    }
    let ambiguous = said.iter().any(|found| matches!(found, Err(Unmatched::Ambiguous(_))));
    if matched == 0 && !ambiguous {
        if let Some(numbers) = &numbers {
            let mut ways = by_number(numbers, classes.count);
            match from {
                Named::List => {
                    // Without a 0 they may count from 1, which is to be told.
                    let can_be_others = ways.len() > 1;
                    ways.truncate(1);
                    let indices = ways.iter_mut().filter(|way| way.numbering == Numbering::Number { first: 0 });
                    indices.filter(|_| !can_be_others).for_each(|way| way.numbering = Numbering::Said);
                }
                Named::Folders if as_many && ways.iter().all(|way| way.classes != by_place().classes) => {
                    ways.insert(0, by_place());
                }
                Named::Folders => {}
            }
            match ways.as_slice() {
                [] => {}
                [only] => return Ok(only.clone()),
                _ => return Err(OrderError::Ambiguous(ways)),
            }
        }
        if let Some(found) = by_wordnet_id(names, classes) {
            return Ok(found);
        }
        if as_many && !names.iter().any(|name| SPLITS.contains(&name.to_ascii_lowercase().as_str())) {
            return Ok(by_place());
        }
    }
    let found: Vec<Result<usize, Unmatched>> = names.iter().map(|name| classes.find(name)).collect();
    let unknown = |(at, found): (usize, &Result<usize, Unmatched>)| Some((at, found.as_ref().err()?.clone()));
    let unmatched: Vec<(usize, Unmatched)> = found.iter().enumerate().filter_map(unknown).collect();
    if unmatched.is_empty() {
        return Ok(Assigned { classes: found.into_iter().flatten().collect(), numbering: Numbering::Said });
    }
    Err(OrderError::Unknown(unmatched))
}

/// The ways in which numbers can be those of `count` classes: from 0, and from 1.
fn by_number(numbers: &[usize], count: Option<usize>) -> Vec<Assigned> {
    let (least, most) = (numbers.iter().min().copied(), numbers.iter().max().copied());
    let (Some(least), Some(most)) = (least, most) else { return Vec::new() };
    let fits = |first: usize| least >= first && count.is_none_or(|count| most - first < count);
    let way = |first: usize| {
        let classes = numbers.iter().map(|number| number - first).collect();
        Assigned { classes, numbering: Numbering::Number { first } }
    };
    [0, 1].into_iter().filter(|first| fits(*first)).map(way).collect()
}

/// WordNet ids in the order that ImageNet's networks have them, where the model can be one of these.
fn by_wordnet_id(names: &[&str], classes: &Classes) -> Option<Assigned> {
    if !names.iter().all(|name| is_wordnet_id(name)) {
        return None;
    }
    let imagenet = Labels::imagenet();
    let places: BTreeMap<&str, usize> = imagenet.ids.iter().enumerate().map(|(at, id)| (id.as_str(), at)).collect();
    let background = match classes.count {
        None => false,
        Some(count) if count == imagenet.ids.len() => false,
        // TensorFlow's networks have a class for the background before the others.
        Some(count) if count == imagenet.ids.len() + 1 => true,
        // A network of some of the classes knows them by their names, or not at all.
        Some(_) if classes.labels.is_empty() => return None,
        Some(_) => false,
    };
    let all = classes.count.is_none_or(|count| count >= imagenet.ids.len());
    let class = |name: &&str| {
        let place = *places.get(name)?;
        let index = place + usize::from(background);
        let words = &imagenet.names[place];
        match classes.labels.get(index) {
            None if classes.labels.is_empty() => Some(index),
            Some(label) if all && share_a_word(label, words) => Some(index),
            _ => words.split(',').find_map(|word| classes.named(word).ok()),
        }
    };
    let classes = names.iter().map(class).collect::<Option<Vec<usize>>>()?;
    Some(Assigned { classes, numbering: Numbering::ImageNet { background } })
}

/// Whether two labels, synonyms separated by commas, have one in common.
fn share_a_word(one: &str, other: &str) -> bool {
    let words = |label: &str| -> Vec<String> {
        label.split(',').map(|word| word.trim().to_lowercase().replace(['_', '-'], " ")).collect()
    };
    let others = words(other);
    words(one).iter().any(|word| others.contains(word))
}

/// The number that a name is; `007` is one, `+7` is not.
fn number(name: &str) -> Option<usize> {
    if name.bytes().all(|byte| byte.is_ascii_digit()) { name.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ordered(count: usize, order: Option<ClassOrder>) -> Classes {
        let mut classes = Classes::new(Vec::new(), &[], Some(count));
        classes.order = order;
        classes
    }

    fn numbered(count: usize) -> Classes {
        ordered(count, None)
    }

    fn sorted(names: impl Iterator<Item = usize>) -> Vec<String> {
        let mut names: Vec<String> = names.map(|number| number.to_string()).collect();
        names.sort();
        names
    }

    fn of(names: &[String], count: usize, asked: Option<ClassOrder>) -> Result<Assigned, OrderError> {
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        assign(&names, Named::Folders, &ordered(count, asked))
    }

    #[test]
    fn numbers_that_can_be_read_in_two_ways_are_asked_about() {
        let full = sorted(0..12);
        let Err(OrderError::Ambiguous(ways)) = of(&full, 12, None) else { panic!("two ways") };
        assert_eq!(ways.len(), 2);
        let name = of(&full, 12, Some(ClassOrder::Name)).unwrap();
        assert_eq!((full[2].as_str(), name.classes[2]), ("10", 2), "as torchvision's ImageFolder has it");
        let number = of(&full, 12, Some(ClassOrder::Number)).unwrap();
        assert_eq!((number.classes[2], number.numbering), (10, Numbering::Number { first: 0 }));
        assert!(matches!(of(&sorted(1..13), 12, None), Err(OrderError::Ambiguous(_))));
        let from_one = of(&sorted(1..13), 12, Some(ClassOrder::Number)).unwrap();
        assert_eq!((from_one.classes[1], from_one.numbering), (9, Numbering::Number { first: 1 }));
        assert!(matches!(of(&sorted(1..12), 12, None), Err(OrderError::Ambiguous(_))), "0 or 12 is missing");
    }

    #[test]
    fn numbers_that_can_be_read_in_one_way_are_taken() {
        assert_eq!(of(&sorted(0..10), 10, None).unwrap().classes, (0..10).collect::<Vec<_>>());
        let padded: Vec<String> = (1..13).map(|number| format!("{number:02}")).collect();
        assert_eq!(of(&padded, 12, None).unwrap().classes, (0..12).collect::<Vec<_>>());
        let some = of(&sorted([0, 5, 10].into_iter()), 1000, None).unwrap();
        assert_eq!(some.classes, [0, 10, 5]);
        assert!(matches!(of(&sorted([0, 12].into_iter()), 12, None), Err(OrderError::Unknown(_))));
        let list = assign(&["1", "10", "2"], Named::List, &numbered(12)).unwrap();
        assert_eq!(list.classes, [1, 10, 2], "the numbers of a list are indices");
        assert_eq!(list.numbering, Numbering::Number { first: 0 }, "which is told where they can count from 1");
        let list = assign(&["0", "10", "2"], Named::List, &numbered(12)).unwrap();
        assert_eq!((list.classes, list.numbering), (vec![0, 10, 2], Numbering::Said));
    }

    #[test]
    fn imagenets_ids_are_known_without_help_and_a_background_moves_them_up() {
        let names = ["n01440764", "n15075141"];
        for (count, expected) in [(1000, [0, 999]), (1001, [1, 1000])] {
            assert_eq!(assign(&names, Named::Folders, &numbered(count)).unwrap().classes, expected);
        }
        let two = assign(&names, Named::Folders, &numbered(2)).unwrap();
        assert_eq!(
            (two.classes, two.numbering),
            (vec![0, 1], Numbering::Name),
            "another network, of these two classes"
        );
        assert!(matches!(assign(&names, Named::Folders, &numbered(10)), Err(OrderError::Unknown(_))));
        let labels = vec!["toilet tissue".to_owned(), "Tench".to_owned(), "cat".to_owned()];
        let own = Classes::new(labels, &[], Some(3));
        assert_eq!(assign(&names, Named::Folders, &own).unwrap().classes, [1, 0], "by their names");
    }

    #[test]
    fn a_missing_folder_shifts_no_class_in_silence_and_parts_of_a_set_are_no_classes() {
        let names = ["bird", "cat"];
        assert!(matches!(assign(&names, Named::Folders, &numbered(3)), Err(OrderError::Unknown(_))));
        assert_eq!(assign(&names, Named::Folders, &numbered(2)).unwrap().numbering, Numbering::Name);
        assert!(matches!(assign(&["train", "val"], Named::Folders, &numbered(2)), Err(OrderError::Unknown(_))));
        let asked = assign(&names, Named::Folders, &ordered(3, Some(ClassOrder::Name)));
        assert!(matches!(asked, Err(OrderError::Unsuited(_))), "{asked:?}");
    }
}
