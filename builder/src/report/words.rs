//! The sentences of what results hold as data.

use std::fmt::{self, Display, Formatter};

use crate::note::Note;
use crate::optimize::{Form, Refusal};
use crate::passes::Reason;

impl Display for Reason {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoConvolution => "no convolution before it whose result has this one use",
            Self::Computed => "its parameters, or those of the convolution before it, are computed",
            Self::WideEnough => "its groups are as wide as asked for",
            Self::Depthwise => "it is depthwise, for which runtimes have kernels of their own",
            Self::NoDivisor => "no number of neighbouring groups has the width asked for",
            Self::Padded => "its padding: a MaxPool before it does not read the zeros around the image",
        })
    }
}

impl Display for Refusal {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Declined { because, .. } => because.fmt(f),
            Self::Unproven { because } => f.write_str(because),
        }
    }
}

impl Display for Form {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self::Conv { groups, channels, stride: [height, width], folded } = self else {
            return f.write_str(if let Self::Other(op) = self { op } else { "folded into the node before" });
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
            Self::NestedUnder { key } => write!(f, "weights found under the key '{key}'"),
            Self::PrefixRemoved { prefix } => write!(f, "prefix '{prefix}' removed from the tensors' names"),
            Self::Skipped { objects } => {
                write!(f, "beside the weights, passed over unbuilt: {}", objects.join(", "))
            }
            Self::ImageFollowsPreprocessing { crop } => {
                write!(f, "images are {crop}x{crop}, as the preprocessing crops them")
            }
            Self::PreprocessingFollowsImage { resize, crop, usual_resize, usual_crop } => write!(
                f,
                "preprocessing follows the image size: resize {resize}, crop {crop}, in the ratio of {usual_resize} to {usual_crop}"
            ),
            Self::PreprocessingUnknown { resize, crop } => write!(
                f,
                "preprocessing of this checkpoint is not known: v1 stored (resize {resize}, crop {crop}); --preprocess v2 or a file sets it"
            ),
        }
    }
}
