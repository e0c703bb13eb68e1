//! What a reader should know of a result, as data: a code with its fields. The sentences are in [`crate::report::note`].

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Serialize;

use crate::input::decode::Exif;
use crate::model::file::{ModelFile, Port};
use crate::model::opened::{Loaded, Scope};
use crate::model::output::ClassOutput;
use crate::model::said::Source;
use onnx_file::meaning::Meaning;

/// How many of the files that are not read are named.
const LEFT_OUT_NAMED: usize = 3;

/// Something that a reader should know of a result.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "code", rename_all = "kebab-case")]
pub enum Note {
    /// The machine had other work before the measurement.
    MachineBusy {
        /// Runnable processes, averaged over a minute.
        load: f64,
        /// Usable processors.
        processors: usize,
    },
    /// The frequency governor is not `performance`.
    Governor {
        /// Which it is.
        governor: String,
    },
    /// The control group allows less time than there are processors.
    Throttled {
        /// Processors' worth of time that is allowed.
        allowed: f64,
        /// Usable processors.
        processors: usize,
    },
    /// Other processes used the GPU before the measurement.
    GpuShared {
        /// Their ids.
        processes: Vec<String>,
    },
    /// The GPU's clock was held down by heat or power.
    GpuSlowed {
        /// How often it was found so.
        slowed: usize,
        /// How often it was looked at.
        looks: usize,
        /// The highest temperature seen.
        hottest_c: Option<f64>,
    },
    /// What runs in integers could not be found out.
    CoverageUnknown {
        /// Provider and model.
        candidate: String,
        /// Why not.
        reason: String,
    },
    /// Not every result comes from one version of the library.
    LibraryVersionsDiffer {
        /// Each provider with its version.
        versions: Vec<LibraryVersion>,
    },
    /// Speed-ups are against another candidate than the first, which gave no result.
    BaselineReplaced {
        /// Batch size.
        batch: usize,
        /// What the clock encloses.
        scope: Scope,
        /// What they are against.
        against: Named,
        /// The first candidate.
        first: Named,
    },
    /// The rows are compared against another candidate than the first, which gave no result.
    ReferenceReplaced {
        /// The first candidate.
        first: Named,
        /// What they are compared against.
        against: Named,
    },
    /// Kernels of the library compute wrong results on this processor, as `doctor` found out.
    WrongKernels {
        /// The library.
        library: String,
        /// The operators that are wrong.
        operators: Vec<String>,
    },
    /// Images of a set that are one file, and count as often as they are listed.
    SameImages {
        /// How many beyond the first of each.
        count: usize,
        /// One of them.
        first: String,
        /// The same file by another name.
        again: String,
        /// Whether two classes have an image in common.
        in_several_classes: bool,
    },
    /// The search for the first block that differs came to nothing.
    BlockNotFound {
        /// Why.
        reason: String,
    },
    /// The model file does not say how images are prepared.
    PreprocessingAssumed {
        /// Its name.
        model: String,
    },
    /// The model takes another number of pixels than its preprocessing crops.
    PreprocessingScaled {
        /// The model file's name.
        model: String,
        /// Height and width of the input.
        input: [u32; 2],
        /// Height and width that the preprocessing crops.
        crop: [u32; 2],
        /// Shorter side after resizing, scaled to the input.
        resize: f64,
    },
    /// The weights are random: classes mean nothing.
    RandomWeights {
        /// The model file's name.
        model: String,
    },
    /// The weights are random: trained ones give other ranges.
    RandomWeightRanges {
        /// The model file's name.
        model: String,
    },
    /// The model takes four channels: images are given as opaque.
    Opaque {
        /// The model file's name.
        model: String,
    },
    /// The labels are not the model's own.
    LabelsFrom {
        /// The model file's name.
        model: String,
        /// Who gives them.
        source: Source,
    },
    /// The preprocessing is not the model's own.
    PreprocessingFrom {
        /// The model file's name.
        model: String,
        /// Who gives it.
        source: Source,
    },
    /// One number for each image tells two classes apart.
    TwoClasses {
        /// The output.
        output: String,
        /// What the number is.
        meaning: Meaning,
    },
    /// Outputs could say classes, and their types are not read.
    OutputsUnread {
        /// Names, types and shapes.
        outputs: Vec<Port>,
    },
    /// The graph does not tell what the scores are.
    ScoresUnexplained {
        /// The output.
        output: String,
    },
    /// The model has more classes than its file names.
    TooFewLabels {
        /// Classes named.
        count: usize,
    },
    /// The model file names no classes.
    NoLabels,
    /// Images of a file of labels are not there.
    ImagesMissing {
        /// How many.
        count: usize,
        /// The file of labels.
        labels: String,
    },
    /// Names of a data set are none of the model's: they are its classes in the order of text.
    ClassesInOrder {
        /// The model file's name; empty where it is not known.
        model: String,
    },
    /// Names of a data set are numbers, and taken for those of classes.
    ClassesByNumber {
        /// The model file's name; empty where it is not known.
        model: String,
        /// The number of the first class.
        first: usize,
    },
    /// Names of a data set are WordNet ids, which the model does not know: it is taken to have ImageNet's classes.
    ImageNetAssumed {
        /// The model file's name; empty where it is not known.
        model: String,
        /// Whether it has a class for the background before them.
        background: bool,
    },
    /// Class folders hold no images that are read.
    EmptyClassFolders {
        /// Their names.
        folders: Vec<String>,
    },
    /// Files of one kind among the images are not read.
    LeftOut {
        /// How their names end; empty where they end in nothing.
        kind: String,
        /// How many.
        count: usize,
        /// Some of them.
        files: Vec<String>,
    },
    /// The same image is of several classes.
    SameImage {
        /// How many such images there are.
        count: usize,
        /// The files of the first one.
        first: Vec<String>,
    },
    /// Files say that their images lie on a side.
    Orientation {
        /// Whether they were turned.
        applied: bool,
        /// How many.
        count: usize,
        /// The first of them.
        first: String,
    },
    /// The model names no classes: it is taken to number them as another does.
    ClassesAsOther {
        /// The model file's name.
        model: String,
        /// The other's.
        other: String,
    },
    /// Values without floating-point numbers have no range.
    NoRange {
        /// How many.
        count: usize,
    },
    /// A range holds for the inputs seen.
    RangesOfInputsSeen {
        /// Headroom below which little is left.
        comfortable: f64,
    },
    /// Synthetic inputs are no images.
    SyntheticInputs,
    /// The model computes in f16 already.
    AlreadyF16,
    /// Sums inside a node are not seen.
    SumsUnseen,
    /// The gain of each candidate includes folded normalisations.
    FoldingIncluded {
        /// Normalisations folded.
        folded: usize,
        /// Whether strided 1x1 convolutions are tried too.
        strided: bool,
    },
}

/// A version of the library.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct LibraryVersion {
    /// The provider that it serves.
    pub provider: String,
    /// Its version.
    pub version: String,
}

/// A candidate by its names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Named {
    /// Provider.
    pub provider: String,
    /// Model file.
    pub model: String,
}

impl Named {
    /// A model on a provider.
    pub(crate) fn of(provider: &str, model: &str) -> Named {
        Named { provider: provider.to_owned(), model: model.to_owned() }
    }
}

impl Note {
    /// Where not every result comes from one version of the library.
    pub(crate) fn library<'a>(loaded: impl Iterator<Item = &'a Loaded>) -> Option<Note> {
        let version = |loaded: &Loaded| LibraryVersion {
            provider: loaded.provider.clone(),
            version: loaded.library_version.clone(),
        };
        let mut versions: Vec<LibraryVersion> = loaded.map(version).collect();
        versions.sort_unstable();
        versions.dedup();
        let differ = versions.iter().any(|one| one.version != versions[0].version);
        differ.then_some(Note::LibraryVersionsDiffer { versions })
    }

    /// What became of images that lie on a side, where there are any.
    pub(crate) fn orientation(exif: Exif, count: usize, first: Option<String>) -> Option<Note> {
        first.map(|first| Note::Orientation { applied: exif == Exif::Apply, count, first })
    }

    /// The files that are not read, by kind.
    pub(crate) fn left_out(files: &[PathBuf]) -> Vec<Note> {
        let mut kinds: BTreeMap<String, Vec<&PathBuf>> = BTreeMap::new();
        for file in files {
            let kind = file.extension().map(|kind| kind.to_string_lossy().to_ascii_lowercase()).unwrap_or_default();
            kinds.entry(kind).or_default().push(file);
        }
        let note = |(kind, files): (String, Vec<&PathBuf>)| Note::LeftOut {
            kind,
            count: files.len(),
            files: files.iter().take(LEFT_OUT_NAMED).map(|file| file.display().to_string()).collect(),
        };
        kinds.into_iter().map(note).collect()
    }

    /// What is to be known of the classes: who names them, and what the numbers are where that does not show.
    pub(crate) fn classes(file: &ModelFile, output: &ClassOutput) -> Vec<Note> {
        let labels = file.labels_of_others();
        let labels = labels.map(|(_, source)| Note::LabelsFrom { model: file.name(), source: source.clone() });
        let name = || output.name.clone();
        let numbers = match (output.meaning, output.numbers) {
            (meaning, Some(1)) if meaning != Meaning::Classes => Some(Note::TwoClasses { output: name(), meaning }),
            (Meaning::Scores, _) if file.asked.softmax.is_none() => Some(Note::ScoresUnexplained { output: name() }),
            _ => None,
        };
        let unread = ClassOutput::unread(file);
        let unread = (!unread.is_empty()).then_some(Note::OutputsUnread { outputs: unread });
        labels.into_iter().chain(numbers).chain(unread).collect()
    }

    /// Where the weights are random, so that nobody takes the classes for a result.
    pub(crate) fn weights(file: &ModelFile) -> Option<Note> {
        file.metadata.has_random_weights().then(|| Note::RandomWeights { model: file.name() })
    }
}
