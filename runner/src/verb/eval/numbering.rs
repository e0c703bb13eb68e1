//! How the names of a data set become numbers of classes.

use clap::ValueEnum;

use crate::note::Note;

/// The names of the parts of a data set, which are no classes.
pub(crate) const SPLITS: [&str; 7] = ["train", "training", "val", "valid", "validation", "test", "testing"];

/// How class folders are numbered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ClassOrder {
    /// In the order of their names as text, as torchvision's ImageFolder does it
    Name,
    /// By the numbers that they are called
    Number,
}

/// Where the names come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Named {
    /// Class folders.
    Folders,
    /// A file of labels, whose numbers are indices.
    List,
}

/// By what names were matched with classes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Numbering {
    /// By what they say.
    Said,
    /// By WordNet id, in ImageNet's order; whether after a class for the background.
    ImageNet { background: bool },
    /// By their place in the order of text.
    Name,
    /// By the numbers that they are, of which the first class has this.
    Number { first: usize },
}

impl Numbering {
    /// How many classes there are, if `names` of them are numbered like this.
    pub(crate) fn supposes(self, names: usize) -> Option<usize> {
        (self == Numbering::Name).then_some(names)
    }

    /// What is to be known of it, where the names are not the model's own.
    pub(crate) fn note(self, model: &str) -> Option<Note> {
        let model = model.to_owned();
        match self {
            Numbering::Said => None,
            Numbering::Name => Some(Note::ClassesInOrder { model }),
            Numbering::Number { first } => Some(Note::ClassesByNumber { model, first }),
            Numbering::ImageNet { background } => Some(Note::ImageNetAssumed { model, background }),
        }
    }
}
