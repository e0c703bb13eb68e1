//! Names of classes as data sets write them, matched to the indices a model knows.

use std::collections::{BTreeMap, BTreeSet};

use onnx_file::metadata::Labels;

use crate::model::file::{MetadataError, ModelFile};
use crate::model::output::ClassOutput;

use super::numbering::ClassOrder;

/// What a model file says of its classes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Classes {
    /// Name of the model file.
    pub model: String,
    /// Names by index; empty where the file holds none.
    pub labels: Vec<String>,
    /// Number of classes, where it is known before a run.
    pub count: Option<usize>,
    /// How class folders are numbered, where the user says.
    pub order: Option<ClassOrder>,
    /// Indices by every way of writing a class: full label, each of its comma-separated synonyms, WordNet id.
    written: BTreeMap<String, Vec<usize>>,
}

/// Why a name means no class.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unmatched {
    /// No class is called so; names that come close.
    Unknown(Vec<String>),
    /// Several classes are called so, by index.
    Ambiguous(Vec<usize>),
}

impl Classes {
    /// The classes of a model: labels and WordNet ids from its properties, their number from its output.
    ///
    /// # Errors
    /// [`MetadataError`] where the labels do not parse.
    pub fn of(file: &ModelFile) -> Result<Classes, MetadataError> {
        let Labels { names: labels, ids } = file.labels()?;
        let count = ClassOutput::of(file)?.classes().or(Some(labels.len()).filter(|count| *count > 0));
        Ok(Classes { model: file.name(), ..Classes::new(labels, &ids, count) })
    }

    pub(crate) fn new(labels: Vec<String>, ids: &[String], count: Option<usize>) -> Classes {
        let mut written: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        for (index, label) in labels.iter().enumerate() {
            let mut names = vec![normal(label)];
            names.extend(label.split(',').map(normal));
            names.extend(ids.get(index).map(|id| normal(id)));
            // A label may begin with the id itself, as in `n01440764 tench`.
            names.extend(label.split_whitespace().next().filter(|word| is_wordnet_id(word)).map(normal));
            names.sort_unstable();
            names.dedup();
            for name in names.into_iter().filter(|name| !name.is_empty()) {
                written.entry(name).or_default().push(index);
            }
        }
        Classes { labels, count, written, ..Classes::default() }
    }

    /// The same classes, with another order of class folders.
    pub(crate) fn in_order(&self, order: Option<ClassOrder>) -> Classes {
        Classes { order, ..self.clone() }
    }

    /// The class that `name` means: a label or synonym, a WordNet id, or an index.
    ///
    /// # Errors
    /// [`Unmatched`] where no class, or more than one, is meant.
    pub fn find(&self, name: &str) -> Result<usize, Unmatched> {
        let index = || name.trim().parse::<usize>().ok().filter(|index| self.count.is_none_or(|count| *index < count));
        self.named(name).or_else(|error| match error {
            Unmatched::Unknown(_) => index().ok_or(error),
            Unmatched::Ambiguous(_) => Err(error),
        })
    }

    /// The class that is called `name`: a label or synonym, or a WordNet id.
    ///
    /// # Errors
    /// As for [`Classes::find`].
    pub fn named(&self, name: &str) -> Result<usize, Unmatched> {
        let name = normal(name);
        match self.written.get(&name).map(Vec::as_slice) {
            Some([only]) => Ok(*only),
            Some(several) => Err(Unmatched::Ambiguous(several.to_vec())),
            None => Err(Unmatched::Unknown(self.close_to(&name))),
        }
    }

    /// What the model is called in messages.
    pub(crate) fn name(&self) -> &str {
        if self.model.is_empty() { "the model" } else { &self.model }
    }

    /// Up to three labels that contain the name or are contained in it.
    fn close_to(&self, name: &str) -> Vec<String> {
        let close = |label: &&String| {
            let label = normal(label);
            name.len() > 2 && (label.contains(name) || name.contains(&label))
        };
        self.labels.iter().filter(close).take(3).cloned().collect()
    }
}

/// Which classes of two models are the same, however each numbers them.
#[derive(Clone, Debug)]
pub struct ClassMapping {
    by_index: bool,
    pairs: BTreeSet<(usize, usize)>,
}

impl ClassMapping {
    /// From the names of both models' classes, and the classes that both see in the same images.
    pub fn of(first: &[String], second: &[String], meant: impl Iterator<Item = (usize, usize)>) -> ClassMapping {
        let mut pairs: BTreeSet<(usize, usize)> = meant.collect();
        let unnamed = first.is_empty() || second.is_empty();
        if first == second || (unnamed && pairs.iter().all(|(a, b)| a == b)) {
            return ClassMapping { by_index: true, pairs };
        }
        // A name that two classes of one model share tells neither.
        let by_name = |labels: &[String]| {
            let mut indices: BTreeMap<String, Vec<usize>> = BTreeMap::new();
            labels.iter().enumerate().for_each(|(at, label)| indices.entry(normal(label)).or_default().push(at));
            indices
        };
        let others = by_name(second);
        for (name, indices) in by_name(first) {
            if let ([one], Some([other])) = (indices.as_slice(), others.get(&name).map(Vec::as_slice)) {
                pairs.insert((*one, *other));
            }
        }
        // Of such a name the index tells, where both models number as many and no image says otherwise.
        if first.len() == second.len() {
            let free = |at: &usize| pairs.iter().all(|(a, b)| a != at && b != at);
            let same = (0..first.len()).filter(|&at| normal(&first[at]) == normal(&second[at]));
            let same: Vec<usize> = same.filter(free).collect();
            pairs.extend(same.into_iter().map(|at| (at, at)));
        }
        ClassMapping { by_index: false, pairs }
    }

    /// Whether class `first` of the first model is class `second` of the second.
    pub fn holds(&self, first: usize, second: usize) -> bool {
        if self.by_index { first == second } else { self.pairs.contains(&(first, second)) }
    }
}

/// Lower case, with blanks for what file names put in their place.
fn normal(name: &str) -> String {
    let blank = |c: char| if matches!(c, '_' | '-') { ' ' } else { c };
    name.trim().to_lowercase().chars().map(blank).collect()
}

/// Whether a word is `n` and eight digits.
pub fn is_wordnet_id(word: &str) -> bool {
    word.strip_prefix('n').is_some_and(|digits| digits.len() == 8 && digits.bytes().all(|byte| byte.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn classes() -> Classes {
        let labels = ["tench, Tinca tinca", "great white shark, man-eater", "crane", "crane"].map(str::to_owned);
        let ids = ["n01440764", "n01484850", "n02012849", "n03126707"].map(str::to_owned);
        Classes::new(labels.to_vec(), &ids, Some(4))
    }

    #[test]
    fn labels_synonyms_wordnet_ids_and_indices_are_matched() {
        let classes = classes();
        for (name, index) in [
            ("tench, Tinca tinca", 0),
            ("Tench", 0),
            ("tinca_tinca", 0),
            ("great_white_shark", 1),
            ("Man Eater", 1),
            ("n03126707", 3),
            ("2", 2),
            ("003", 3),
        ] {
            assert_eq!(classes.find(name), Ok(index), "{name}");
        }
    }

    #[test]
    fn what_means_two_classes_or_none_is_told() {
        let classes = classes();
        assert_eq!(classes.find("crane"), Err(Unmatched::Ambiguous(vec![2, 3])));
        assert_eq!(classes.find("white shark"), Err(Unmatched::Unknown(vec!["great white shark, man-eater".into()])));
        assert_eq!(classes.find("4"), Err(Unmatched::Unknown(vec![])));
        assert_eq!(classes.find("n00000000"), Err(Unmatched::Unknown(vec![])));
    }

    #[test]
    fn labels_that_are_numbers_go_before_indices() {
        let labels = ["10", "9", "8"].map(str::to_owned).to_vec();
        assert_eq!(Classes::new(labels, &[], Some(3)).find("9"), Ok(1));
    }

    #[test]
    fn classes_are_alike_by_name_by_the_images_they_stand_for_and_by_index_where_nothing_else_tells() {
        let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
        let (first, second) = (names(&["cat", "dog", "crane", "crane"]), names(&["Dog", "cat", "crane", "machine"]));
        let mapping = ClassMapping::of(&first, &second, [(3, 3)].into_iter());
        assert!(mapping.holds(0, 1) && mapping.holds(1, 0) && mapping.holds(3, 3));
        assert!(!mapping.holds(0, 0) && !mapping.holds(1, 1));
        assert!(mapping.holds(2, 2) && !mapping.holds(2, 3), "two are called crane, and this one has the same number");
        assert!(!ClassMapping::of(&first, &second, [(2, 3)].into_iter()).holds(2, 2), "an image says otherwise");
        assert!(!ClassMapping::of(&first, &second[..3], [].into_iter()).holds(2, 2), "other numbers of classes");
        assert!(ClassMapping::of(&first, &first, [].into_iter()).holds(2, 2));
        assert!(
            ClassMapping::of(&first, &[], [(1, 1)].into_iter()).holds(2, 2),
            "no names, and the images do not contradict"
        );
        let reversed = ClassMapping::of(&first, &[], [(0, 1), (1, 0)].into_iter());
        assert!(reversed.holds(0, 1) && !reversed.holds(2, 2));
    }

    #[test]
    fn without_labels_only_indices_are_known() {
        let classes = Classes::new(vec![], &[], None);
        assert_eq!(classes.find("999"), Ok(999));
        assert_eq!(classes.find("cat"), Err(Unmatched::Unknown(vec![])));
    }
}
