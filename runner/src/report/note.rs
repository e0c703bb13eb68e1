//! The sentences of notes.

use std::fmt;

use crate::model::opened::Scope;
use crate::model::said::Source;
use crate::note::{LibraryVersion, Named, Note};
use onnx_file::meaning::Meaning;

/// The sentences alone.
pub(crate) fn sentences(items: &[impl fmt::Display]) -> Vec<String> {
    items.iter().map(ToString::to_string).collect()
}

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.provider, self.model)
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::Ultralytics => f.write_str("Ultralytics' metadata in the file"),
            Source::Beside(file) => write!(f, "the {file} beside it"),
        }
    }
}

/// A number and what is counted.
fn counted(count: usize, one: &str, several: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { several })
}

impl fmt::Display for Note {
    // One table, so that a note without its sentence does not compile.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Note::MachineBusy { load, processors } => {
                write!(f, "the machine was busy before the measurement (load {load:.1} on {processors} processors)")
            }
            Note::CoverageUnknown { candidate, reason } => {
                write!(f, "what of {candidate} runs in integers could not be found out: {reason}")
            }
            Note::Governor { governor } => {
                write!(f, "the processor's frequency governor is {governor}, not performance")
            }
            Note::Throttled { allowed, processors } => {
                write!(f, "the control group allows {allowed:.2} of {processors} processors: runs are throttled")
            }
            Note::WrongKernels { library, operators } => {
                let operators = operators.join(", ");
                write!(f, "{library} computes wrong results on this processor ({operators}); see `resnext-run doctor`")
            }
            Note::SameImages { count, first, again, in_several_classes } => {
                let of = if *in_several_classes { ", under different classes too" } else { "" };
                let images = counted(*count, "image is", "images are");
                write!(f, "{images} counted again under another name{of}: {again} is {first}")
            }
            Note::GpuShared { processes } => {
                let processes = processes.join(", ");
                write!(f, "other processes used the GPU before the measurement (process {processes})")
            }
            Note::GpuSlowed { slowed, looks, hottest_c } => {
                write!(f, "the GPU's clock was held down by heat or power in {slowed} of {looks} looks")?;
                hottest_c.map_or(Ok(()), |hottest| write!(f, " (up to {hottest} °C)"))
            }
            Note::LibraryVersionsDiffer { versions } => {
                let name = |one: &LibraryVersion| format!("{} {}", one.provider, one.version);
                let versions: Vec<String> = versions.iter().map(name).collect();
                write!(f, "the library versions differ ({}): so may the results", versions.join(", "))
            }
            Note::BaselineReplaced { batch, scope, against, first } => {
                let scope = match scope {
                    Scope::EndToEnd => "end-to-end",
                    Scope::Device => "device",
                };
                write!(
                    f,
                    "speed-ups at batch {batch} {scope} are against {against}, since {first} gave no result there"
                )
            }
            Note::ReferenceReplaced { first, against } => {
                write!(f, "{first} gave no result: the rows are compared against {against}")
            }
            Note::BlockNotFound { reason } => write!(f, "the first block that differs was not found: {reason}"),
            Note::FoldingIncluded { folded, strided } => {
                let strided = if *strided { ", that of `strided-1x1` as well" } else { "" };
                write!(
                    f,
                    "{folded} normalisations are folded into convolutions in every candidate but the original: the \
                     gain of each includes that{strided}"
                )
            }
        Note::PreprocessingAssumed { model } => write!(
            f,
            "{model} does not say how images are prepared: ImageNet's usual preprocessing (resize 256, crop 224, \
             bilinear) is assumed"
        ),
        Note::PreprocessingScaled { model, input: [height, width], crop: [crop_height, crop_width], resize } => write!(
            f,
            "{model} is given {height}x{width} pixels where its preprocessing crops {crop_height}x{crop_width}: the crop \
             is {height}x{width} and the shorter side is resized to {resize:.0}"
        ),
        Note::RandomWeights { model } => write!(f, "the weights of {model} are random: its classes mean nothing"),
        Note::Opaque { model } => write!(f, "{model} takes a fourth channel, which is 1 for every pixel of an image"),
        Note::LabelsFrom { model, source } => write!(f, "the names of the classes of {model} are those of {source}"),
        Note::PreprocessingFrom { model, source } => {
            write!(f, "images are prepared for {model} as {source} says")
        }
        Note::TwoClasses { output, meaning } => {
            let what = if *meaning == Meaning::Logits { "logit" } else { "probability" };
            write!(f, "output {output} is one number for each image: it is taken for the {what} of class 1 of two")
        }
        Note::OutputsUnread { outputs } => {
            let outputs: Vec<String> = outputs.iter().map(ToString::to_string).collect();
            write!(f, "left out, being of types that are not read: {}", outputs.join("; "))
        }
        Note::ScoresUnexplained { output } => write!(
            f,
            "the graph does not tell what the scores of output {output} are: no probabilities are made of them \
             (--softmax takes them for logits)"
        ),
        Note::TooFewLabels { count } => write!(f, "the model file names {count} classes, and the model has more"),
        Note::NoLabels => f.write_str("the model file names no classes: they are given by index"),
        Note::ImagesMissing { count, labels } => {
            let left = counted(*count, "image", "images");
            let are = if *count == 1 { "is" } else { "are" };
            write!(f, "{left} of {labels} {are} not there and {are} left out")
        }
        Note::ClassesInOrder { model } => {
            let model = if model.is_empty() { "the model file" } else { model };
            write!(
                f,
                "{model} names none of these classes: they are numbered in order of name, as torchvision's ImageFolder \
                 does it"
            )
        }
        Note::ClassesByNumber { model, first } => {
            let model = if model.is_empty() { "the model" } else { model };
            write!(f, "the names of the classes are taken for {model}'s numbers: class 0 is {first}")
        }
        Note::ImageNetAssumed { model, background } => {
            let model = if model.is_empty() { "the model" } else { model };
            write!(f, "{model} names no WordNet ids: its classes are taken for ImageNet's in their usual order")?;
            if *background { f.write_str(", after one for the background") } else { Ok(()) }
        }
        Note::EmptyClassFolders { folders } => {
            let shown: Vec<&str> = folders.iter().take(5).map(String::as_str).collect();
            let more = if folders.len() > shown.len() { ", ..." } else { "" };
            let hold = counted(folders.len(), "class folder holds", "class folders hold");
            write!(f, "{hold} no images that are read: {}{more}", shown.join(", "))
        }
        Note::LeftOut { kind, count, files } => {
            let kind = if kind.is_empty() { "files without an ending".to_owned() } else { format!(".{kind}") };
            let more = if *count > files.len() { ", ..." } else { "" };
            write!(f, "left out, being no images that are read: {count} {kind} ({}{more})", files.join(", "))
        }
        Note::SameImage { count, first } => {
            write!(f, "the same image under several classes ({count} in all): {}", first.join(", "))
        }
        Note::Orientation { applied, count, first } => {
            let have = counted(*count, "image has", "images have");
            let (were, as_said, more) = if *count == 1 { ("was", "it says", "") } else { ("were", "they say", ", ...") };
            write!(f, "{have} an EXIF orientation and {were} ")?;
            if *applied {
                write!(f, "turned as {as_said} (--exif ignore turns none): {first}{more}")
            } else {
                write!(f, "not turned, as torchvision does not (--exif apply turns them): {first}{more}")
            }
        }
        Note::ClassesAsOther { model, other } => {
            write!(f, "{model} names no classes: it is taken to number them as {other} does")
        }
        Note::NoRange { count: 1 } => f.write_str("1 value holds no floating-point numbers and has no range"),
        Note::NoRange { count } => write!(f, "{count} values hold no floating-point numbers and have no range"),
        Note::RangesOfInputsSeen { comfortable } => write!(
            f,
            "a range holds for the inputs seen, and others may exceed it: a headroom below {comfortable} is little"
        ),
        Note::RandomWeightRanges { model } => {
            write!(f, "the weights of {model} are random: trained ones give other ranges")
        }
        Note::SyntheticInputs => f.write_str("synthetic inputs are no images: --images gives the ranges that count"),
        Note::AlreadyF16 => f.write_str(
            "the model computes in f16 already: what overflows is infinite here; the f32 model tells how large it is",
        ),
        Note::SumsUnseen => {
            f.write_str("sums inside a node are not seen: a provider that adds up in f16 can overflow there before")
        }
        }
    }
}
