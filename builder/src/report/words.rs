//! The sentences of what results hold as data.

use std::fmt::{self, Display, Formatter};

use onnx_file::text::Lines;

use crate::checkpoint::{Alternative, Naming, WeightsKind};
use crate::inspect::Unknown;
use crate::note::Note;
use crate::optimize::{Form, Obstacle, Refusal};
use crate::passes::Reason;

impl Display for Reason {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoConvolution => "no convolution before it whose result has this one use",
            Self::Computed => "its parameters, or those of the convolution before it, are computed",
            Self::WideEnough => "its groups are as wide as asked for",
            Self::Depthwise => "it is depthwise, for which runtimes have kernels of their own",
            Self::NoDivisor => "no number of neighbouring groups has the width asked for",
            Self::ManyGroups => "it has more groups than are worth convolutions of their own",
            Self::NoIntegerKernel => "no rule for it in integers",
            Self::NotBetweenIntegers => "what it takes is not rounded to integers",
            Self::NoRange => "the calibration has no range of what it takes or makes",
            Self::NotF32 => "its weights or values are not f32",
            Self::Padded => "its padding: a MaxPool before it does not read the zeros around the image",
        })
    }
}

impl Display for Refusal {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Declined { because, .. } => because.fmt(f),
            Self::Unproven { because } => because.fmt(f),
        }
    }
}

impl Display for Unknown {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Checkpoint(other) => write!(f, "it {other}"),
            Self::Graph { reason } | Self::Undecided { reason } | Self::Beside { reason } => f.write_str(reason),
            Self::Otherwise { file, otherwise } => {
                write!(f, "{} says that {otherwise}, which no tensor shows", file.display())
            }
            Self::Image(error) => error.fmt(f),
        }
    }
}

impl Display for Obstacle {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Computed { parameter } => {
                write!(f, "its parameter '{parameter}' is computed, not a constant of the file")
            }
            Self::Overridable { parameter } => write!(
                f,
                "its parameter '{parameter}' is also an input of the model, which may be fed; --constant-initializers where it never is"
            ),
            Self::NoWeight => f.write_str("it has no weight"),
            Self::MixedTypes => f.write_str("its parameters are of different types"),
            Self::OtherType { input, parameters } => {
                write!(f, "its input is {input} and its parameters are {parameters}")
            }
            Self::Integers { element } => write!(f, "its parameters are {element}, no floating-point numbers"),
            Self::Rounded { element } => {
                write!(f, "in {element} folding would round what is rounded already a second time")
            }
            Self::Quantized => {
                f.write_str("it is quantized: providers compute it in 8-bit integers, and a new weight would be f32")
            }
            Self::NoRule => f.write_str("no rule for it in integers"),
            Self::NothingExtracted => f.write_str("nothing that it takes can become integers"),
            Self::OnConstant { operand } => write!(f, "it computes on the constant '{operand}'"),
            Self::Dimensions { dimensions } => write!(f, "it convolves {dimensions} dimensions, not two"),
            Self::Form { reason } => f.write_str(reason),
        }
    }
}

impl Display for Form {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self::Conv { groups, channels, stride: [height, width], folded } = self else {
            return match self {
                Self::Other(op) => f.write_str(op),
                Self::Integers(op) => write!(f, "{op} in integers"),
                _ => f.write_str("folded into the node before"),
            };
        };
        match groups {
            1 => f.write_str("one group")?,
            _ => write!(f, "{groups} groups of {channels} channels")?,
        }
        match height == width {
            true => write!(f, ", stride {height}")?,
            false => write!(f, ", strides {height} and {width}")?,
        }
        f.write_str(if *folded { ", with its normalisation folded in" } else { "" })
    }
}

impl Display for Note {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::PublishedWeights { weights, downloaded, file } => {
                let how = if *downloaded { "downloaded to" } else { "found in torch's cache:" };
                write!(f, "weights: torchvision's {weights}, {how} {}", file.display())
            }
            Self::RemoteWeights { from, downloaded, file, sha256 } => {
                let how = if *downloaded { "downloaded to" } else { "found in the cache:" };
                write!(f, "weights: {from}, {how} {}", file.display())?;
                sha256.as_ref().map_or(Ok(()), |sha256| write!(f, ", SHA-256 {sha256}"))
            }
            Self::SidecarsUnasked { folder, files, reason } => write!(
                f,
                "{} was never fetched to {}, and {reason}: if the repository has it, it says how the weights are meant, and was not followed",
                files.join(" and "),
                folder.display()
            ),
            Self::NestedUnder { key } => write!(f, "weights found under the key '{key}'"),
            Self::PrefixRemoved { prefix } => write!(f, "prefix '{prefix}' removed from the tensors' names"),
            Self::PreprocessingFrom { file, resize, crop } => {
                write!(f, "preprocessing taken from {}: resize {resize}, crop {crop}", file.display())
            }
            Self::LabelsFrom { file, count } => write!(f, "{count} labels taken from {}", file.display()),
            Self::StrideFrom { file } => write!(
                f,
                "stride in the first 1x1 of each block, as downsample_in_bottleneck beside {} says",
                file.display()
            ),
            Self::NoPreprocessing { channels } => {
                write!(f, "the image has {channels} channels: no preprocessing stored, which is for three")
            }
            Self::OtherWeights { others } => other_weights(f, others),
            Self::Naming { naming } => f.write_str(naming_of(*naming)),
            Self::ChannelsReversed => f.write_str(
                "the checkpoint's network takes BGR images: the input channels of its first convolution are reversed, so the model written takes RGB; --channel-order rgb leaves them as they are",
            ),
            Self::PixelMeans { undivided, resize, crop } => write!(
                f,
                "mean and deviation of the preprocessing are Detectron's for such networks, in RGB: pixels of 0 to 255 less 123.675, 116.28, 103.53, {}; resize {resize} and crop {crop} are v1's, as nothing says them; --preprocess FILE sets others",
                if *undivided { "not divided" } else { "divided by 58.395, 57.12, 57.375" },
                crop = crop.shorter()
            ),
            Self::Classifier { layers } => match &layers[..] {
                [only] => write!(f, "classifier: '{only}'"),
                several => write!(
                    f,
                    "classifier: the linear layers {}, with ReLU between, as shapes do not tell the activation",
                    several.join(", ")
                ),
            },
            Self::NoBias => f.write_str("the classifier has a layer without bias: zeros stored"),
            Self::FoldedIn { layers } => {
                write!(f, "folded, in f64, into the layers beside them: {}", layers.join(", "))
            }
            Self::LeftOut { tensors } => {
                let shown = tensors.iter().take(5).map(String::as_str).collect::<Vec<_>>().join(", ");
                let more = tensors.len().saturating_sub(5);
                write!(f, "left out, as no part of the network: {shown}")?;
                if more > 0 { write!(f, " and {more} more") } else { Ok(()) }
            }
            Self::Skipped { objects } => {
                write!(f, "beside the weights, passed over unbuilt: {}", objects.join(", "))
            }
            Self::ImageFollowsPreprocessing { crop } => {
                write!(f, "images are {crop}, as the preprocessing crops them")
            }
            Self::PreprocessingFollowsImage { resize, crop, usual_resize, usual_crop } => write!(
                f,
                "preprocessing follows the image size: resize {resize}, crop {crop}, in the ratio of {usual_resize} to {usual_crop}",
                crop = crop.shorter(),
                usual_crop = usual_crop.shorter()
            ),
            Self::NormalisationFound { resize, crop } => write!(
                f,
                "mean and deviation of the preprocessing are those of the checkpoint's own normalising layer, which the model leaves to it; resize {resize} and crop {crop} are v1's, as nothing says them",
                crop = crop.shorter()
            ),
            Self::PreprocessingUnknown { resize, crop } => write!(
                f,
                "preprocessing of this checkpoint is not known: v1 stored (resize {resize}, crop {crop}); --preprocess v2 or a file sets it",
                crop = crop.shorter()
            ),
        }
    }
}

/// The line of a note.
pub fn note(note: &Note) -> String {
    let mut text = Lines::default();
    let _ = writeln!(text, "note: {note}");
    text.into()
}

/// That there are other weights, and how to take them.
fn other_weights(f: &mut Formatter<'_>, others: &[Alternative]) -> fmt::Result {
    let listed: Vec<String> = others.iter().map(ToString::to_string).collect();
    write!(f, "other weights are in the file: {}", listed.join(", "))?;
    let Some(best) = others.iter().find(|other| other.kind != WeightsKind::Unknown).or(others.first()) else {
        return Ok(());
    };
    f.write_str(match best.kind {
        WeightsKind::Ema | WeightsKind::Swa => "; averaged weights are usually the better ones",
        WeightsKind::Teacher => "; a teacher's weights are usually the better ones",
        WeightsKind::Unknown => "",
    })?;
    if best.key.is_empty() { Ok(()) } else { write!(f, "; --weights-key {} takes them", best.key) }
}

impl Display for Alternative {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.key.as_str() {
            "" => f.write_str("at the top")?,
            key => write!(f, "'{}'", key.escape_debug())?,
        }
        f.write_str(match self.kind {
            WeightsKind::Ema => " (EMA)",
            WeightsKind::Swa => " (SWA)",
            WeightsKind::Teacher => " (teacher)",
            WeightsKind::Unknown => "",
        })
    }
}

pub(super) fn naming_of(naming: Naming) -> &'static str {
    match naming {
        Naming::Torchvision => "names are torchvision's",
        Naming::Transformers => {
            "names are those of transformers' ResNet; where its configuration has downsample_in_bottleneck, add --stride-in 1x1"
        }
        Naming::Detectron2 => "names are Detectron2's; where its configuration has STRIDE_IN_1X1, add --stride-in 1x1",
        Naming::Caffe2 => {
            "names are Caffe2's, as in Detectron's model zoo; X-101-32x8d has its stride in the 3x3 as here, R-50 and R-101 of that zoo in the first 1x1 (--stride-in 1x1)"
        }
        Naming::Sequential { .. } => {
            "names are the numbers of an nn.Sequential, taken for a ResNet's children in order"
        }
    }
}
