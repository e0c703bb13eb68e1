//! Why a name means no network of the family.

use crate::suggest;

/// Why a name or a combination is not a network of the family.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VariantError {
    /// Not understood.
    #[error(
        "'{name}' names no network of the family; write DEPTH_CxWd, for example 50_32x4d or 101_64x4d, or one of the names that `resnext-build list` shows{}",
        suggest::question(near)
    )]
    Unknown {
        /// What was asked for.
        name: String,
        /// The nearest names there are.
        near: Vec<String>,
    },
    /// A tag that is not among those of the network.
    #[error(transparent)]
    Tag(#[from] Box<UnknownTag>),
    /// A relative with another graph.
    #[error(
        "'{name}' is another architecture ({difference}), whose graph this program does not write; export it with its own framework"
    )]
    OtherArchitecture {
        /// What was asked for.
        name: String,
        /// What it has that a ResNeXt has not.
        difference: &'static str,
    },
    /// A depth that the paper and torchvision do not define.
    #[error(
        "depth {depth} has no block counts of its own (26, 50, 101, 152, 200; 29 for CIFAR; 18 and 34 without groups); give them with --blocks, for example --blocks 3,4,6,3"
    )]
    Depth {
        /// The depth asked for.
        depth: usize,
    },
    /// Grouping a two-layer block.
    #[error(
        "a block of two 3x3 convolutions gains nothing from groups: {cardinality} branches of width {width} summed are one dense block of width {dense} (paper, Figure 4); use depth 26 or 50 for grouped blocks, or a dense network: resnet18, resnet34"
    )]
    GroupedBasic {
        /// Cardinality asked for.
        cardinality: usize,
        /// Width of a branch.
        width: usize,
        /// Width of the equivalent dense block.
        dense: usize,
    },
    /// A number out of range.
    #[error("{what} {value} is out of range ({range})")]
    Range {
        /// Which number.
        what: &'static str,
        /// Its value.
        value: usize,
        /// What is accepted.
        range: &'static str,
    },
}

/// A name whose tag is none of its network's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{name}' means a network and, by '{tag}', whose weights; {}{}", self.known(), suggest::question(near))]
pub struct UnknownTag {
    /// What was asked for.
    pub name: String,
    /// The part that says whose weights.
    pub tag: String,
    /// The network.
    pub variant: String,
    /// The tags there are.
    pub tags: &'static [&'static str],
    /// The nearest of them.
    pub near: Vec<String>,
}

impl UnknownTag {
    fn known(&self) -> String {
        let Self { variant, tags, .. } = self;
        if tags.is_empty() {
            format!("timm has no weights of {variant} under a tag: write --variant {variant}")
        } else {
            format!("timm's tags of {variant} are {}", tags.join(", "))
        }
    }
}
