//! The dimensions of a network: its blocks, stem, stages and groups.

use std::fmt;

use super::error::VariantError;
use super::names;

/// Residual block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Block {
    /// Two 3x3 convolutions (ResNet-18 and 34). Never grouped: paper, Figure 4.
    Basic,
    /// 1x1, 3x3, 1x1; the 3x3 is grouped (paper, Figure 3).
    Bottleneck,
}

impl Block {
    /// Output channels over planes.
    pub const fn expansion(self) -> usize {
        match self {
            Block::Basic => 1,
            Block::Bottleneck => 4,
        }
    }
}

/// What comes before the first stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Stem {
    /// 7x7 stride 2, then 3x3 max pooling stride 2
    #[value(name = "imagenet")]
    ImageNet,
    /// 3x3 stride 1 (paper, section 5.3)
    Cifar,
}

/// An architecture of the family, without its head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Variant {
    /// Kind of block.
    pub block: Block,
    /// Kind of stem.
    pub stem: Stem,
    /// Blocks in each stage.
    pub blocks: Vec<usize>,
    /// Channels of the stem and planes of the first stage; each further stage doubles them.
    pub planes: usize,
    /// Number of groups C of every 3x3 (1 for a ResNet).
    pub cardinality: usize,
    /// Channels of a group in the first stage, d; each further stage doubles them.
    pub group_width: usize,
}

/// Blocks per stage of the bottleneck networks (paper, Table 1 and section 5; torchvision for 26's proportions).
const BOTTLENECK: [(usize, &[usize]); 6] = [
    (26, &[2, 2, 2, 2]),
    (29, &[3, 3, 3]),
    (50, &[3, 4, 6, 3]),
    (101, &[3, 4, 23, 3]),
    (152, &[3, 8, 36, 3]),
    (200, &[3, 24, 36, 3]),
];

/// Blocks per stage of the two-layer networks.
const BASIC: [(usize, &[usize]); 2] = [(18, &[2, 2, 2, 2]), (34, &[3, 4, 6, 3])];

/// timm's and others' relatives that must not be mistaken for a ResNeXt.
const OTHERS: [(&str, &str); 11] = [
    ("seresne", "squeeze-and-excitation"),
    ("skresne", "selective kernels"),
    ("ecaresne", "channel attention"),
    ("resnest", "split attention"),
    ("gcresne", "global context"),
    ("res2ne", "multi-scale blocks"),
    ("resnetv2", "pre-activation"),
    ("resnetrs", "a deep stem and squeeze-and-excitation"),
    ("resnetaa", "anti-aliased downsampling"),
    ("resnetblur", "anti-aliased downsampling"),
    ("regnet", "another stage plan"),
];

impl Variant {
    /// A network by its own name, `base`, in lower case; `name` is what was asked for.
    pub(super) fn untagged(base: &str, name: &str, blocks: &[usize]) -> Result<Self, VariantError> {
        if let Some(&(_, difference)) = OTHERS.iter().find(|(prefix, _)| base.contains(prefix)) {
            return Err(VariantError::OtherArchitecture { name: name.into(), difference });
        }
        let unknown = || VariantError::Unknown { name: name.into(), near: names::near(name) };
        if let Some(rest) = base.strip_prefix("wide_resnet") {
            let depth = rest.strip_suffix("_2").ok_or_else(unknown)?;
            return Self::bottleneck(number(depth).ok_or_else(unknown)?, 1, 128, blocks);
        }
        if let Some(depth) = base.strip_prefix("resnet").filter(|rest| !rest.contains('_')) {
            if depth.strip_suffix(['d', 't', 's', 'c', 'q']).and_then(number).is_some() {
                return Err(VariantError::OtherArchitecture { name: name.into(), difference: "a deep or tiered stem" });
            }
            return Self::resnet(number(depth).ok_or_else(unknown)?, blocks);
        }
        let rest = base.strip_prefix("resnext").unwrap_or(base);
        let (depth, groups) = match rest.split_once('_') {
            Some(parts) => parts,
            // The names that WSL's own paper uses: all of depth 101.
            None if matches!(rest, "32x8d" | "32x16d" | "32x32d" | "32x48d") => ("101", rest),
            None => return Err(unknown()),
        };
        if depth.strip_suffix(['d', 't', 's']).and_then(number).is_some() || depth.ends_with("ts") {
            return Err(VariantError::OtherArchitecture { name: name.into(), difference: "a deep or tiered stem" });
        }
        let (cardinality, width) = groups.strip_suffix('d').and_then(|g| g.split_once('x')).ok_or_else(unknown)?;
        let parsed = (number(depth), number(cardinality), number(width));
        let (Some(depth), Some(cardinality), Some(width)) = parsed else { return Err(unknown()) };
        if BASIC.iter().any(|(d, _)| *d == depth) {
            return Self::resnet(depth, blocks)?.with_groups(cardinality, width);
        }
        Self::bottleneck(depth, cardinality, width, blocks)
    }

    /// A plain ResNet.
    fn resnet(depth: usize, blocks: &[usize]) -> Result<Self, VariantError> {
        match BASIC.iter().find(|(d, _)| *d == depth) {
            Some((_, usual)) => {
                let blocks = if blocks.is_empty() { usual } else { blocks };
                Ok(Self { block: Block::Basic, blocks: blocks.to_vec(), ..Self::default() })
            }
            None => Self::bottleneck(depth, 1, 64, blocks),
        }
    }

    fn bottleneck(depth: usize, cardinality: usize, width: usize, blocks: &[usize]) -> Result<Self, VariantError> {
        let usual = BOTTLENECK.iter().find(|(d, _)| *d == depth).map(|(_, usual)| *usual);
        let blocks = if blocks.is_empty() { usual.ok_or(VariantError::Depth { depth })? } else { blocks };
        let stem = if depth == 29 { Stem::Cifar } else { Stem::ImageNet };
        Self { stem, blocks: blocks.to_vec(), ..Self::default() }.with_groups(cardinality, width)
    }

    /// The same network with other groups. `width` is torchvision's `width_per_group`, which counts for 64 planes:
    /// a group has `width * planes / 64` channels in the first stage, rounded down.
    ///
    /// # Errors
    /// [`VariantError::GroupedBasic`] for two-layer blocks, [`VariantError::Range`] for numbers that make no network.
    pub fn with_groups(mut self, cardinality: usize, width: usize) -> Result<Self, VariantError> {
        if self.block == Block::Basic && (cardinality, width) != (1, 64) {
            let dense = cardinality.saturating_mul(width);
            return Err(VariantError::GroupedBasic { cardinality, width, dense });
        }
        self.cardinality = cardinality;
        self.group_width = width.saturating_mul(self.planes) / 64;
        self.check()
    }

    /// Refuses numbers that make no network or one beyond any real use.
    ///
    /// # Errors
    /// [`VariantError::Range`].
    pub fn check(self) -> Result<Self, VariantError> {
        let range = |what, value, ok: bool, range| {
            if ok { Ok(()) } else { Err(VariantError::Range { what, value, range }) }
        };
        let stages = self.blocks.len();
        range("number of stages", stages, (1..=6).contains(&stages), "1 to 6")?;
        for &blocks in &self.blocks {
            range("number of blocks in a stage", blocks, (1..=1000).contains(&blocks), "1 to 1000")?;
        }
        range("planes", self.planes, (1..=4096).contains(&self.planes), "1 to 4096")?;
        range("cardinality", self.cardinality, (1..=4096).contains(&self.cardinality), "1 to 4096")?;
        let width = self.group_width;
        range("group width", width, (1..=8192).contains(&width), "1 to 8192 channels in the first stage")?;
        let last = self.width(stages - 1);
        range("width of the last stage", last, last <= 1 << 17, "1 to 131072 channels")?;
        Ok(self)
    }

    /// Channels of the 3x3 convolution in stage `stage` (from 0).
    pub fn width(&self, stage: usize) -> usize {
        match self.block {
            Block::Basic => self.planes << stage,
            Block::Bottleneck => (self.group_width * self.cardinality) << stage,
        }
    }

    /// Channels that stage `stage` (from 0) outputs.
    pub fn out_channels(&self, stage: usize) -> usize {
        (self.planes << stage) * self.block.expansion()
    }

    /// Channels that the last stage outputs: features of the classifier.
    pub fn features(&self) -> usize {
        self.out_channels(self.blocks.len() - 1)
    }

    /// Height and width of the images the network was described for.
    pub fn default_image_size(&self) -> usize {
        match self.stem {
            Stem::ImageNet => 224,
            Stem::Cifar => 32,
        }
    }

    /// Classes of the data set the network was described for.
    pub fn default_classes(&self) -> usize {
        match self.stem {
            Stem::ImageNet => 1000,
            Stem::Cifar => 10,
        }
    }

    /// Layers as the papers count them, if the blocks are those of a described network.
    fn depth(&self) -> Option<usize> {
        let table: &[(usize, &[usize])] = match self.block {
            Block::Basic => &BASIC,
            Block::Bottleneck => &BOTTLENECK,
        };
        let stem = |depth| if depth == 29 { Stem::Cifar } else { Stem::ImageNet };
        table.iter().find(|(d, blocks)| *blocks == self.blocks && stem(*d) == self.stem).map(|(d, _)| *d)
    }
}

impl Default for Variant {
    /// ResNet-50's dimensions.
    fn default() -> Self {
        Self {
            block: Block::Bottleneck,
            stem: Stem::ImageNet,
            blocks: vec![3, 4, 6, 3],
            planes: 64,
            cardinality: 1,
            group_width: 64,
        }
    }
}

impl fmt::Display for Variant {
    /// `50_32x4d`, `resnet50`, `wide_resnet50_2`, or all the numbers for a network outside the table.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (groups, width) = (self.cardinality, self.group_width);
        match (self.depth().filter(|_| self.planes == 64), self.stem, groups, width) {
            (Some(depth), Stem::ImageNet, 1, 64) => write!(f, "resnet{depth}"),
            (Some(depth), Stem::ImageNet, 1, 128) => write!(f, "wide_resnet{depth}_2"),
            (Some(depth), ..) => write!(f, "{depth}_{groups}x{width}d"),
            (None, ..) => {
                let blocks: Vec<String> = self.blocks.iter().map(usize::to_string).collect();
                let kind = match (self.block, self.stem) {
                    (Block::Basic, Stem::ImageNet) => "basic ",
                    (Block::Bottleneck, Stem::ImageNet) => "",
                    (Block::Basic, Stem::Cifar) => "cifar basic ",
                    (Block::Bottleneck, Stem::Cifar) => "cifar ",
                };
                write!(f, "{kind}{groups}x{width}d blocks {} planes {}", blocks.join(","), self.planes)
            }
        }
    }
}

pub(super) fn number(text: &str) -> Option<usize> {
    text.parse().ok().filter(|n| *n <= 1 << 20)
}
