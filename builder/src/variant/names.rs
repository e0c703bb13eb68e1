//! The networks that have a name, in the order of their families.

use crate::suggest;

const PAPER: &str = "Xie et al. 2017";
const TORCHVISION: &str = "torchvision";
const WSL: &str = "Mahajan et al. 2018 (WSL)";

/// Canonical name, alias, source.
pub const NAMED: [(&str, Option<&str>, &str); 25] = [
    ("26_32x4d", Some("resnext26_32x4d"), "timm"),
    ("50_32x4d", Some("resnext50_32x4d"), PAPER),
    ("50_2x40d", None, PAPER),
    ("50_4x24d", None, PAPER),
    ("50_8x14d", None, PAPER),
    ("101_32x4d", Some("resnext101_32x4d"), PAPER),
    ("101_32x8d", Some("resnext101_32x8d"), TORCHVISION),
    ("101_64x4d", Some("resnext101_64x4d"), PAPER),
    ("101_2x64d", None, PAPER),
    ("101_32x16d", Some("ig_resnext101_32x16d"), WSL),
    ("101_32x32d", Some("ig_resnext101_32x32d"), WSL),
    ("101_32x48d", Some("ig_resnext101_32x48d"), WSL),
    ("152_32x4d", None, "this family"),
    ("200_32x4d", None, "this family"),
    ("29_8x64d", None, PAPER),
    ("29_16x64d", None, PAPER),
    ("resnet18", None, TORCHVISION),
    ("resnet34", None, TORCHVISION),
    ("resnet26", None, "timm"),
    ("resnet50", None, TORCHVISION),
    ("resnet101", None, TORCHVISION),
    ("resnet152", None, TORCHVISION),
    ("resnet200", None, PAPER),
    ("wide_resnet50_2", None, TORCHVISION),
    ("wide_resnet101_2", None, TORCHVISION),
];

/// The names that `asked` may have meant: those that it begins, as a network without its groups does, then those that
/// it nearly is.
pub(super) fn near(asked: &str) -> Vec<String> {
    let lower = asked.trim().to_ascii_lowercase().replace('-', "_");
    // torchvision's class of weights: ResNeXt50_32X4D_Weights.
    let lower = lower.split("_weights").next().unwrap_or_default();
    let all = || NAMED.iter().flat_map(|&(name, alias, _)| [Some(name), alias]).flatten();
    let begun = |name: &&str| name.strip_prefix(lower).is_some_and(|rest| rest.starts_with('_') && lower.len() > 1);
    let begun: Vec<String> = all().filter(begun).take(2).map(str::to_owned).collect();
    if begun.is_empty() { suggest::nearest(lower, all()) } else { begun }
}
