//! The checkpoints that torchvision publishes.
//!
//! A file's name ends in the first eight hex digits of its SHA-256, so a name that is in this table is a promise that
//! can be checked, and a digest that is in it identifies the file under any name.

use serde::Serialize;

use crate::metadata::Recipe;

/// A published checkpoint, trained on ImageNet-1k with 1000 classes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Known {
    /// Architecture, as torchvision names it.
    pub model: &'static str,
    /// First eight hex digits of the file's SHA-256.
    pub sha256_prefix: &'static str,
    /// torchvision's name of the weights.
    pub weights: &'static str,
    /// Whether torchvision's `DEFAULT` means these.
    pub default: bool,
    /// Preprocessing they were evaluated with.
    pub recipe: Recipe,
    /// Top-1 accuracy on ImageNet's validation set as published, in thousandths of a percent.
    pub top1_milli: u32,
    /// Top-5 accuracy, likewise.
    pub top5_milli: u32,
}

const fn known(
    model: &'static str,
    sha256_prefix: &'static str,
    weights: &'static str,
    default: bool,
    recipe: Recipe,
    top1_milli: u32,
    top5_milli: u32,
) -> Known {
    Known { model, sha256_prefix, weights, default, recipe, top1_milli, top5_milli }
}

const V1: &str = "IMAGENET1K_V1";
const V2: &str = "IMAGENET1K_V2";

/// Every published checkpoint of the family (torchvision, `models/resnet.py`).
pub const KNOWN: [Known; 17] = [
    known("resnext50_32x4d", "7cdf4587", V1, false, Recipe::V1, 77_618, 93_698),
    known("resnext50_32x4d", "1a0047aa", V2, true, Recipe::V2, 81_198, 95_340),
    known("resnext101_32x8d", "8ba56ff5", V1, false, Recipe::V1, 79_312, 94_526),
    known("resnext101_32x8d", "110c445d", V2, true, Recipe::V2, 82_834, 96_228),
    known("resnext101_64x4d", "173b62eb", V1, true, Recipe::V2, 83_246, 96_454),
    known("resnet18", "f37072fd", V1, true, Recipe::V1, 69_758, 89_078),
    known("resnet34", "b627a593", V1, true, Recipe::V1, 73_314, 91_420),
    known("resnet50", "0676ba61", V1, false, Recipe::V1, 76_130, 92_862),
    known("resnet50", "11ad3fa6", V2, true, Recipe::V2, 80_858, 95_434),
    known("resnet101", "63fe2227", V1, false, Recipe::V1, 77_374, 93_546),
    known("resnet101", "cd907fc2", V2, true, Recipe::V2, 81_886, 95_780),
    known("resnet152", "394f9c45", V1, false, Recipe::V1, 78_312, 94_046),
    known("resnet152", "f82ba261", V2, true, Recipe::V2, 82_284, 96_002),
    known("wide_resnet50_2", "95faca4d", V1, false, Recipe::V1, 78_468, 94_086),
    known("wide_resnet50_2", "9ba9bcbe", V2, true, Recipe::V2, 81_602, 95_758),
    known("wide_resnet101_2", "32ee1156", V1, false, Recipe::V1, 78_848, 94_284),
    known("wide_resnet101_2", "d733dc28", V2, true, Recipe::V2, 82_510, 96_020),
];

impl Known {
    /// The published file name.
    pub fn file_name(&self) -> String {
        format!("{}-{}.pth", self.model, self.sha256_prefix)
    }
}

/// The checkpoint published under this file name, if any.
pub fn by_file_name(name: &str) -> Option<&'static Known> {
    KNOWN.iter().find(|known| known.file_name() == name)
}

/// The checkpoint with this SHA-256, in hex, if it is a published one.
pub fn by_sha256(hex: &str) -> Option<&'static Known> {
    KNOWN.iter().find(|known| hex.starts_with(known.sha256_prefix))
}
