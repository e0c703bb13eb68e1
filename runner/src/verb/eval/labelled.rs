//! Labelled images, and why there are none.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::classes::{Classes, Unmatched, is_wordnet_id};
use super::numbering::SPLITS;
use crate::input::folders::again;
use crate::note::Note;

/// How many names an error lists.
const MOST_NAMED: usize = 5;

/// Why a data set cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DatasetError {
    /// A folder or file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// There is nothing to evaluate.
    #[error("{}: {reason}", path.display())]
    Empty {
        /// The folder.
        path: PathBuf,
        /// What was looked for.
        reason: String,
    },
    /// Names of classes that the model does not know.
    #[error("{}: {reason}", path.display())]
    UnknownClasses {
        /// The folder or the file of labels.
        path: PathBuf,
        /// Which, and what they may have meant.
        reason: String,
    },
    /// Two models take the folder for different sets of images.
    #[error("{}: {first} and {second} do not find the same images in it; give a file of labels, or evaluate them one by one", path.display())]
    NotTheSame {
        /// The folder.
        path: PathBuf,
        /// Name of one model file.
        first: String,
        /// Name of the other.
        second: String,
    },
    /// The names of the class folders can be read in several ways.
    #[error("{}: {reason}", path.display())]
    WhichOrder {
        /// The folder.
        path: PathBuf,
        /// The ways, and how to choose one.
        reason: String,
    },
    /// A file of labels that cannot be understood.
    #[error("{} line {line}: {reason}", path.display())]
    BadLabels {
        /// The file.
        path: PathBuf,
        /// Line, from 1.
        line: u64,
        /// What is wrong.
        reason: String,
    },
}

/// A labelled image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Labelled {
    /// Its file.
    pub path: PathBuf,
    /// Index of its class.
    pub class: usize,
}

impl AsRef<Path> for Labelled {
    fn as_ref(&self) -> &Path {
        &self.path
    }
}

/// A set of labelled images.
#[derive(Clone, Debug, PartialEq)]
pub struct Dataset {
    /// The folder.
    pub folder: PathBuf,
    /// The images, by class folder and name, or in the order of the file of labels.
    pub images: Vec<Labelled>,
    /// Caveats.
    pub notes: Vec<Note>,
    /// Number of classes that the numbering supposes: with another, every class would be another one.
    pub supposed: Option<usize>,
}

/// What to say where links make one file several images.
pub(crate) fn same_images(images: &[Labelled]) -> Option<Note> {
    let class_of: BTreeMap<&Path, usize> = images.iter().map(|image| (image.path.as_path(), image.class)).collect();
    let found = again(images.iter().map(AsRef::as_ref));
    let differ = |(first, again): &&(&Path, &Path)| class_of.get(first) != class_of.get(again);
    // Of all, one that two classes have is worth showing most.
    let (first, again) = found.iter().find(differ).or(found.first())?;
    Some(Note::SameImages {
        count: found.len(),
        first: first.display().to_string(),
        again: again.display().to_string(),
        in_several_classes: found.iter().any(|pair| differ(&pair)),
    })
}

/// What to say of names that match no class, and what may have been meant.
pub(crate) fn unknown(unmatched: &[(&str, &Unmatched)], classes: &Classes) -> String {
    let told = |(name, error): &(&str, &Unmatched)| match error {
        Unmatched::Ambiguous(indices) => {
            let indices: Vec<String> = indices.iter().map(usize::to_string).collect();
            format!("{name} (classes {} are called so: use the index)", indices.join(" and "))
        }
        Unmatched::Unknown(close) if close.is_empty() => (*name).to_owned(),
        Unmatched::Unknown(close) => format!("{name} (did you mean {}?)", close.join(" or ")),
    };
    let named: Vec<String> = unmatched.iter().take(MOST_NAMED).map(told).collect();
    let more = unmatched.len().saturating_sub(MOST_NAMED);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let mut reason = format!("{} knows no classes {}{more}", classes.name(), named.join(", "));
    if unmatched.iter().any(|(name, _)| is_wordnet_id(name)) && classes.labels.is_empty() {
        reason += "; its file holds no WordNet ids, and it has not ImageNet's classes: --labels FILE names them";
    }
    if unmatched.iter().any(|(name, _)| SPLITS.contains(&name.to_ascii_lowercase().as_str())) {
        reason += "; give the folder of one split, such as val";
    }
    reason
}
