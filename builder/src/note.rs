//! What a user should know of a result, as data: a code with its fields. The sentences are in `report`.

use std::fmt;
use std::path::PathBuf;

use onnx_file::metadata::Crop;
use serde::{Serialize, Serializer};

use crate::checkpoint::{Alternative, Naming};

/// Something that a user should know of a build.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "code", rename_all = "snake_case")]
pub enum Note {
    /// torchvision's weights were used.
    PublishedWeights {
        /// torchvision's name of them.
        weights: String,
        /// Fetched for this build, rather than found.
        downloaded: bool,
        /// Their file.
        file: PathBuf,
    },
    /// Weights came from a server, or from the cache of what did.
    RemoteWeights {
        /// The repository or the address.
        from: String,
        /// Fetched for this build, rather than found.
        downloaded: bool,
        /// Their file or folder.
        file: PathBuf,
        /// Digest of the file, in hex; a repository's files are checked one by one.
        sha256: Option<String>,
    },
    /// The cache has a repository's weights, but perhaps not all that says how they are meant.
    SidecarsUnasked {
        /// The repository's folder.
        folder: PathBuf,
        /// Which files may be missing.
        files: Vec<&'static str>,
        /// Why they could not be asked for.
        reason: String,
    },
    /// The weights lie inside another dictionary.
    NestedUnder {
        /// Its key.
        key: String,
    },
    /// Every name had a prefix.
    PrefixRemoved {
        /// Which.
        prefix: String,
    },
    /// Preprocessing was taken from a file beside the weights.
    PreprocessingFrom {
        /// Which.
        file: PathBuf,
        /// Shorter side after resizing.
        resize: u32,
        /// Centre crop.
        crop: Crop,
    },
    /// Labels were taken from a file beside the weights.
    LabelsFrom {
        /// Which.
        file: PathBuf,
        /// How many.
        count: usize,
    },
    /// The stride sits in the first 1x1, as the configuration beside the weights says.
    StrideFrom {
        /// The folder.
        file: PathBuf,
    },
    /// The image has not three channels, so no preprocessing is stored.
    NoPreprocessing {
        /// How many it has.
        channels: usize,
    },
    /// The file has other weights, too.
    OtherWeights {
        /// Which.
        others: Vec<Alternative>,
    },
    /// The names are another library's.
    Naming {
        /// Whose.
        naming: Naming,
    },
    /// The checkpoint's network takes BGR images; its stem was reversed, so that the model takes RGB.
    ChannelsReversed,
    /// Detectron's mean and deviation of pixels were taken, as the network is one of BGR images; nobody said how to resize.
    PixelMeans {
        /// Whether pixels of 0 to 255 are only shifted by the mean, not divided.
        undivided: bool,
        /// Shorter side after resizing, as stored.
        resize: u32,
        /// Height and width of the centre crop, as stored.
        crop: Crop,
    },
    /// The classifier is not torchvision's `fc`.
    Classifier {
        /// Its linear layers, by their names in the file.
        layers: Vec<String>,
    },
    /// A linear layer of the classifier has no bias.
    NoBias,
    /// Biases and normalisations were folded into the layers beside them.
    FoldedIn {
        /// Their names in the file.
        layers: Vec<String>,
    },
    /// Tensors were left out.
    LeftOut {
        /// Their names in the file.
        tensors: Vec<String>,
    },
    /// Objects beside the weights were skipped, not built.
    Skipped {
        /// What they are.
        objects: Vec<String>,
    },
    /// The input has the size that the given preprocessing crops.
    ImageFollowsPreprocessing {
        /// Height and width.
        crop: Crop,
    },
    /// The stored preprocessing was scaled to the size of the input.
    PreprocessingFollowsImage {
        /// Shorter side after resizing, as stored.
        resize: u32,
        /// Height and width of the centre crop, as stored.
        crop: Crop,
        /// Shorter side after resizing, at the network's own size.
        usual_resize: u32,
        /// Height and width of the centre crop, at the network's own size.
        usual_crop: Crop,
    },
    /// Mean and deviation were taken from the checkpoint's own normalising layer; nobody said how to resize.
    NormalisationFound {
        /// Shorter side after resizing, as stored.
        resize: u32,
        /// Height and width of the centre crop, as stored.
        crop: Crop,
    },
    /// Nobody said how to prepare images for this checkpoint.
    PreprocessingUnknown {
        /// Shorter side after resizing, as stored.
        resize: u32,
        /// Height and width of the centre crop, as stored.
        crop: Crop,
    },
}

/// Notes as objects of a code, its fields and the sentence, `text`.
pub(crate) fn with_text<S: Serializer>(notes: &[Note], serializer: S) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    struct Told<'a> {
        #[serde(flatten)]
        note: &'a Note,
        text: String,
    }
    serializer.collect_seq(notes.iter().map(|note| Told { note, text: note.to_string() }))
}

/// Data with the sentence that says it: a program reads the one, a person the other.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct WithSentence<T>(pub T);

impl<T> From<T> for WithSentence<T> {
    fn from(data: T) -> Self {
        Self(data)
    }
}

impl<T: fmt::Display> fmt::Display for WithSentence<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<T: Serialize + fmt::Display> Serialize for WithSentence<T> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Both<'a, T> {
            #[serde(flatten)]
            data: &'a T,
            reason: String,
        }
        Both { data: &self.0, reason: self.0.to_string() }.serialize(serializer)
    }
}
