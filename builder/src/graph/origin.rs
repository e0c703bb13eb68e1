//! Where a node comes from, as a type: names only label, so nothing is read from them.

use std::fmt;

use serde::Serialize;

/// Where a node comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Origin {
    /// Nobody said.
    #[default]
    Unknown,
    /// A part of the network.
    Network(Part),
    /// The node at this position of the model that was read.
    Model(usize),
    /// A pass that added it. It stands before the node that it was added for.
    Added(Pass),
}

/// A part of a network of the family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Part {
    /// What comes before the first stage.
    Stem,
    /// A stage, counted from 0.
    Stage(usize),
    /// Pooling and classifier.
    Head,
}

/// A rewrite of the graph; `passes` has their order and what they do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
#[value(rename_all = "snake_case")]
pub enum Pass {
    /// Normalisations into the convolutions before them.
    FoldBn,
    /// Neighbouring groups of convolutions into wider ones.
    WidenGroups,
    /// Strided 1x1 convolutions into a subsampling and a dense one.
    Subsample,
    /// Arithmetic in f16.
    ToF16,
    /// Arithmetic in 8-bit integers.
    Quantize,
    /// Quantized grouped convolutions into several of one group.
    Ungroup,
    /// Channels of zeros for the image.
    PadImage,
}

impl Pass {
    /// As JSON, metadata and messages name it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::FoldBn => "fold_bn",
            Self::WidenGroups => "widen_groups",
            Self::Subsample => "subsample",
            Self::ToF16 => "to_f16",
            Self::Quantize => "quantize",
            Self::Ungroup => "ungroup",
            Self::PadImage => "pad_image",
        }
    }
}

impl Pass {
    /// The name of the node that this pass adds for the node called `node`.
    pub fn added_name(self, node: &str) -> String {
        format!("{node}.{self}")
    }
}

impl fmt::Display for Pass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
