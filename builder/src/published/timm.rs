//! The checkpoints of these networks that timm publishes, or knows from GluonCV and Facebook.
//!
//! Facts from the configurations in timm 1.0.31 (`timm/models/resnet.py`): the tag, the file, how images are prepared.
//! The last eight hex digits of a file's name begin its SHA-256. torchvision's files, which timm calls `tv_in1k` and
//! `tv2_in1k`, are in the other table.

use serde::Serialize;

use crate::variant::Variant;
use onnx_file::metadata::{Interpolation, Preprocess, Recipe};

/// A checkpoint with timm's tag.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct TimmWeights {
    /// Network, as timm names it.
    pub model: &'static str,
    /// What stands behind the dot in timm's name.
    pub tag: &'static str,
    /// The file; none where timm publishes the tensors on the hub alone, as `model.safetensors`.
    pub file: Option<&'static str>,
    /// Number of ImageNet-1k's classes that it tells apart; 0 without a classifier.
    pub classes: usize,
    /// Preparation of images.
    #[serde(skip)]
    pub images: Images,
}

/// How timm prepares images of 224 pixels.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Images {
    /// Crop over resized side, in thousandths.
    crop_milli: usize,
    interpolation: Interpolation,
    /// Mean and standard deviation of one half instead of ImageNet's.
    halves: bool,
}

const fn images(crop_milli: usize, interpolation: Interpolation) -> Images {
    Images { crop_milli, interpolation, halves: false }
}

const CROP_87: Images = images(875, Interpolation::Bicubic);
const CROP_95: Images = images(950, Interpolation::Bicubic);
const CROP_100: Images = images(1000, Interpolation::Bicubic);
const FACEBOOK: Images = images(875, Interpolation::Bilinear);
const HALVES: Images = Images { crop_milli: 900, interpolation: Interpolation::Bicubic, halves: true };

const fn timm(model: &'static str, tag: &'static str, file: Option<&'static str>, images: Images) -> TimmWeights {
    TimmWeights { model, tag, file, classes: 1000, images }
}

/// Where timm trained at less than 224 pixels, its test at 224 counts.
pub const TIMM: [TimmWeights; 62] = [
    timm("resnet18", "a1_in1k", Some("resnet18_a1_0-d63eafa0.pth"), CROP_95),
    timm("resnet18", "a2_in1k", Some("resnet18_a2_0-b61bd467.pth"), CROP_95),
    timm("resnet18", "a3_in1k", Some("resnet18_a3_0-40c531c8.pth"), CROP_95),
    timm("resnet18", "fb_ssl_yfcc100m_ft_in1k", Some("semi_supervised_resnet18-d92f0530.pth"), FACEBOOK),
    timm("resnet18", "fb_swsl_ig1b_ft_in1k", Some("semi_weakly_supervised_resnet18-118f1556.pth"), FACEBOOK),
    timm("resnet18", "gluon_in1k", Some("gluon_resnet18_v1b-0757602b.pth"), CROP_87),
    timm("resnet34", "a1_in1k", Some("resnet34_a1_0-46f8f793.pth"), CROP_95),
    timm("resnet34", "a2_in1k", Some("resnet34_a2_0-82d47d71.pth"), CROP_95),
    timm("resnet34", "a3_in1k", Some("resnet34_a3_0-a20cabb6.pth"), CROP_95),
    timm("resnet34", "bt_in1k", Some("resnet34-43635321.pth"), CROP_87),
    timm("resnet34", "ra4_e3600_r224_in1k", None, HALVES),
    timm("resnet34", "gluon_in1k", Some("gluon_resnet34_v1b-c6d82d59.pth"), CROP_87),
    timm("resnet26", "bt_in1k", Some("resnet26-9aa10e23.pth"), CROP_87),
    timm("resnet50", "a1_in1k", Some("resnet50_a1_0-14fe96d1.pth"), CROP_95),
    timm("resnet50", "a1h_in1k", Some("resnet50_a1h2_176-001a1197.pth"), CROP_100),
    timm("resnet50", "a2_in1k", Some("resnet50_a2_0-a2746f79.pth"), CROP_95),
    timm("resnet50", "a3_in1k", Some("resnet50_a3_0-59cae1ef.pth"), CROP_95),
    timm("resnet50", "b1k_in1k", Some("resnet50_b1k-532a802a.pth"), CROP_95),
    timm("resnet50", "b2k_in1k", Some("resnet50_b2k-1ba180c1.pth"), CROP_95),
    timm("resnet50", "c1_in1k", Some("resnet50_c1-5ba5e060.pth"), CROP_95),
    timm("resnet50", "c2_in1k", Some("resnet50_c2-d01e05b2.pth"), CROP_95),
    timm("resnet50", "d_in1k", Some("resnet50_d-f39db8af.pth"), CROP_95),
    timm("resnet50", "ram_in1k", Some("resnet50_ram-a26f946b.pth"), CROP_87),
    timm("resnet50", "am_in1k", Some("resnet50_am-6c502b37.pth"), CROP_87),
    timm("resnet50", "ra_in1k", Some("resnet50_ra-85ebb6e5.pth"), CROP_87),
    timm("resnet50", "bt_in1k", Some("rw_resnet50-86acaeed.pth"), CROP_87),
    TimmWeights { classes: 0, ..timm("resnet50", "bamboo", None, CROP_100) },
    timm("resnet50", "fb_ssl_yfcc100m_ft_in1k", Some("semi_supervised_resnet50-08389792.pth"), FACEBOOK),
    timm("resnet50", "fb_swsl_ig1b_ft_in1k", Some("semi_weakly_supervised_resnet50-16a12f1b.pth"), FACEBOOK),
    timm("resnet50", "gluon_in1k", Some("gluon_resnet50_v1b-0ebe02e2.pth"), CROP_87),
    timm("resnet101", "a1h_in1k", Some("resnet101_a1h-36d3f2aa.pth"), CROP_95),
    timm("resnet101", "a1_in1k", Some("resnet101_a1_0-cdcb52a9.pth"), CROP_95),
    timm("resnet101", "a2_in1k", Some("resnet101_a2_0-6edb36c7.pth"), CROP_95),
    timm("resnet101", "a3_in1k", Some("resnet101_a3_0-1db14157.pth"), CROP_95),
    timm("resnet101", "gluon_in1k", Some("gluon_resnet101_v1b-3b017079.pth"), CROP_87),
    timm("resnet152", "a1h_in1k", Some("resnet152_a1h-dc400468.pth"), CROP_95),
    timm("resnet152", "a1_in1k", Some("resnet152_a1_0-2eee8a7a.pth"), CROP_95),
    timm("resnet152", "a2_in1k", Some("resnet152_a2_0-b4c6978f.pth"), CROP_95),
    timm("resnet152", "a3_in1k", Some("resnet152_a3_0-134d4688.pth"), CROP_95),
    timm("resnet152", "gluon_in1k", Some("gluon_resnet152_v1b-c1edb0dd.pth"), CROP_87),
    timm("wide_resnet50_2", "racm_in1k", Some("wide_resnet50_racm-8234f177.pth"), CROP_87),
    timm("resnext50_32x4d", "a1h_in1k", Some("resnext50_32x4d_a1h-0146ab0a.pth"), CROP_95),
    timm("resnext50_32x4d", "a1_in1k", Some("resnext50_32x4d_a1_0-b5a91a1d.pth"), CROP_95),
    timm("resnext50_32x4d", "a2_in1k", Some("resnext50_32x4d_a2_0-efc76add.pth"), CROP_95),
    timm("resnext50_32x4d", "a3_in1k", Some("resnext50_32x4d_a3_0-3e450271.pth"), CROP_95),
    timm("resnext50_32x4d", "ra_in1k", Some("resnext50_32x4d_ra-d733960d.pth"), CROP_87),
    timm("resnext50_32x4d", "fb_ssl_yfcc100m_ft_in1k", Some("semi_supervised_resnext50_32x4-ddb3e555.pth"), FACEBOOK),
    timm(
        "resnext50_32x4d",
        "fb_swsl_ig1b_ft_in1k",
        Some("semi_weakly_supervised_resnext50_32x4-72679e44.pth"),
        FACEBOOK,
    ),
    timm("resnext50_32x4d", "gluon_in1k", Some("gluon_resnext50_32x4d-e6a097c1.pth"), CROP_87),
    timm("resnext101_32x4d", "fb_ssl_yfcc100m_ft_in1k", Some("semi_supervised_resnext101_32x4-dc43570a.pth"), FACEBOOK),
    timm(
        "resnext101_32x4d",
        "fb_swsl_ig1b_ft_in1k",
        Some("semi_weakly_supervised_resnext101_32x4-3f87e46b.pth"),
        FACEBOOK,
    ),
    timm("resnext101_32x4d", "gluon_in1k", Some("gluon_resnext101_32x4d-b253c8c4.pth"), CROP_87),
    timm("resnext101_32x8d", "fb_wsl_ig1b_ft_in1k", Some("ig_resnext101_32x8-c38310e5.pth"), FACEBOOK),
    timm("resnext101_32x8d", "fb_ssl_yfcc100m_ft_in1k", Some("semi_supervised_resnext101_32x8-2cfe2f8b.pth"), FACEBOOK),
    timm(
        "resnext101_32x8d",
        "fb_swsl_ig1b_ft_in1k",
        Some("semi_weakly_supervised_resnext101_32x8-b4712904.pth"),
        FACEBOOK,
    ),
    timm("resnext101_64x4d", "c1_in1k", Some("resnext101_64x4d_c-0d0e0cc0.pth"), CROP_95),
    timm("resnext101_64x4d", "gluon_in1k", Some("gluon_resnext101_64x4d-f9a8e184.pth"), CROP_87),
    timm("resnext101_32x16d", "fb_wsl_ig1b_ft_in1k", Some("ig_resnext101_32x16-c6f796b0.pth"), FACEBOOK),
    timm(
        "resnext101_32x16d",
        "fb_ssl_yfcc100m_ft_in1k",
        Some("semi_supervised_resnext101_32x16-15fffa57.pth"),
        FACEBOOK,
    ),
    timm(
        "resnext101_32x16d",
        "fb_swsl_ig1b_ft_in1k",
        Some("semi_weakly_supervised_resnext101_32x16-f3559a9c.pth"),
        FACEBOOK,
    ),
    timm("resnext101_32x32d", "fb_wsl_ig1b_ft_in1k", Some("ig_resnext101_32x32-e4b90b00.pth"), FACEBOOK),
    timm("resnext101_32x48d", "fb_wsl_ig1b_ft_in1k", Some("ig_resnext101_32x48-3e41cc8a.pth"), FACEBOOK),
];

impl TimmWeights {
    /// First eight hex digits of the file's SHA-256, as its name ends.
    pub fn sha256_prefix(&self) -> Option<&'static str> {
        let stem = self.file?.strip_suffix(".pth")?;
        stem.rsplit_once('-').map(|(_, digest)| digest)
    }

    /// Preprocessing for images whose shorter side is `size`, as timm computes it: the crop over its ratio, rounded
    /// down.
    pub fn preprocess(&self, size: usize) -> Preprocess {
        let Images { crop_milli, interpolation, halves } = self.images;
        let usual = Preprocess::imagenet(Recipe::V1, size);
        let (mean, std) = if halves { ([0.5; 3], [0.5; 3]) } else { (usual.mean, usual.std) };
        let resize = u32::try_from(size.saturating_mul(1000) / crop_milli).unwrap_or(u32::MAX);
        Preprocess { resize, interpolation, mean, std, ..usual }
    }

    /// Who trained it.
    pub fn publisher(&self) -> &'static str {
        publisher(self.tag)
    }
}

/// Whose weights a tag of timm's means.
fn publisher(tag: &str) -> &'static str {
    match tag {
        _ if tag.starts_with("fb_") => "Facebook's",
        _ if tag.starts_with("gluon_") => "GluonCV's",
        _ if tag.starts_with("tv_") || tag.starts_with("tv2_") => "torchvision's",
        _ => "timm's",
    }
}

/// What a network's tag means, with the file where it has one: `timm's a1h_in1k (resnext50_32x4d_a1h-0146ab0a.pth)`.
pub(super) fn meant(variant: &Variant, tag: &str) -> String {
    let own = |known: &&TimmWeights| known.tag == tag && Variant::parse(known.model).is_ok_and(|own| own == *variant);
    let file = match TIMM.iter().find(own) {
        None if tag == "untrained" => ", which has no weights".into(),
        None => String::new(),
        Some(known) => format!(" ({})", known.file.unwrap_or("model.safetensors on the hub")),
    };
    format!("{} {tag}{file}", publisher(tag))
}

#[cfg(test)]
mod tests {
    use onnx_file::metadata::Crop;

    use super::*;
    use crate::published::PUBLISHED;
    use crate::variant::tags_of;

    #[test]
    fn every_entry_is_of_a_network_of_the_family_and_its_tag_is_known() {
        for weights in &TIMM {
            let variant = Variant::parse(weights.model).unwrap();
            assert!(tags_of(&variant).contains(&weights.tag), "{}.{}", weights.model, weights.tag);
            if weights.file.is_some() {
                let prefix = weights.sha256_prefix().unwrap();
                assert!(prefix.len() == 8 && prefix.bytes().all(|b| b.is_ascii_hexdigit()), "{prefix}");
                assert!(PUBLISHED.iter().all(|known| known.sha256_prefix != prefix), "{prefix}");
                assert_eq!(TIMM.iter().filter(|other| other.sha256_prefix() == Some(prefix)).count(), 1, "{prefix}");
            }
        }
    }

    #[test]
    fn images_are_prepared_as_timm_does() {
        let of = |model: &str, tag: &str| {
            let weights = TIMM.iter().find(|w| w.model == model && w.tag == tag).unwrap();
            weights.preprocess(224)
        };
        let a1 = of("resnext50_32x4d", "a1_in1k");
        assert_eq!((a1.resize, a1.crop, a1.interpolation), (235, Crop::Square(224), Interpolation::Bicubic));
        let facebook = of("resnext101_32x8d", "fb_wsl_ig1b_ft_in1k");
        assert_eq!((facebook.resize, facebook.interpolation), (256, Interpolation::Bilinear));
        assert_eq!(of("resnet34", "ra4_e3600_r224_in1k").mean, [0.5; 3]);
        assert_eq!(of("resnet50", "a1h_in1k").resize, 224);
    }
}
