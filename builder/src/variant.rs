//! The members of the family and their names.
//!
//! Sources: Xie et al., "Aggregated Residual Transformations for Deep Neural Networks", CVPR 2017 (arXiv 1611.05431);
//! torchvision's `models/resnet.py` for names, keys and the width formula.

mod error;
mod names;
mod network;
mod tags;

pub use error::{UnknownTag, VariantError};
pub use names::NAMED;
pub use network::{Block, Stem, Variant};
pub use tags::{Named, tags_of};

use network::number;

impl Variant {
    /// Reads a name: `50_32x4d`, `resnext50_32x4d`, `resnet50`, `wide_resnet50_2`, `ig_resnext101_32x16d`,
    /// `resnext101_32x8d_wsl`, `32x48d`, with or without a timm tag (`resnext50_32x4d.a1h_in1k`).
    ///
    /// # Errors
    /// [`VariantError`].
    pub fn parse(name: &str) -> Result<Self, VariantError> {
        Self::parse_with(name, &[])
    }

    /// As [`Variant::parse`], with blocks of one's own in place of the depth's; any depth will do then.
    ///
    /// # Errors
    /// [`VariantError`].
    pub fn parse_with(name: &str, blocks: &[usize]) -> Result<Self, VariantError> {
        Named::parse_with(name, blocks).map(|named| named.variant)
    }

    /// Reads what its `Display` writes, of networks outside the table, too.
    pub fn parse_described(text: &str) -> Option<Self> {
        let Some((kind, rest)) = text.split_once(" blocks ") else { return Self::parse(text).ok() };
        let (blocks, planes) = rest.split_once(" planes ")?;
        let blocks = blocks.split(',').map(number).collect::<Option<Vec<usize>>>()?;
        let (marks, groups) = kind.rsplit_once(' ').unwrap_or(("", kind));
        let (cardinality, width) = groups.strip_suffix('d')?.split_once('x')?;
        let block = if marks.contains("basic") { Block::Basic } else { Block::Bottleneck };
        let stem = if marks.contains("cifar") { Stem::Cifar } else { Stem::ImageNet };
        let (cardinality, group_width) = (number(cardinality)?, number(width)?);
        Self { block, stem, blocks, planes: number(planes)?, cardinality, group_width }.check().ok()
    }
}

#[cfg(test)]
mod tests;
