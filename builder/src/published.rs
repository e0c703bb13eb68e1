//! The checkpoints that are published: torchvision's, which names reach, and timm's, known by file.
//!
//! A file's name ends in the first eight hex digits of its SHA-256, so a name that is in this table is a promise that
//! can be checked, and a digest that is in it identifies the file under any name.

mod timm;

use serde::Serialize;

use crate::suggest;
use crate::variant::{Named, Variant};
use onnx_file::metadata::{Preprocess, Recipe};

pub use timm::{TIMM, TimmWeights};

/// A published checkpoint, trained on ImageNet-1k with 1000 classes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct PublishedWeights {
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
    /// Size of the file as published, in thousandths of a MiB (2^20 bytes).
    pub mib_milli: u32,
}

const fn known(
    model: &'static str,
    sha256_prefix: &'static str,
    weights: &'static str,
    default: bool,
    recipe: Recipe,
    top1_milli: u32,
    top5_milli: u32,
    mib_milli: u32,
) -> PublishedWeights {
    PublishedWeights { model, sha256_prefix, weights, default, recipe, top1_milli, top5_milli, mib_milli }
}

const V1: &str = "IMAGENET1K_V1";
const V2: &str = "IMAGENET1K_V2";
const DEFAULT: &str = "DEFAULT";

/// Every published checkpoint of the family (torchvision, `models/resnet.py`).
pub const PUBLISHED: [PublishedWeights; 17] = [
    known("resnext50_32x4d", "7cdf4587", V1, false, Recipe::V1, 77_618, 93_698, 95_789),
    known("resnext50_32x4d", "1a0047aa", V2, true, Recipe::V2, 81_198, 95_340, 95_833),
    known("resnext101_32x8d", "8ba56ff5", V1, false, Recipe::V1, 79_312, 94_526, 339_586),
    known("resnext101_32x8d", "110c445d", V2, true, Recipe::V2, 82_834, 96_228, 339_673),
    known("resnext101_64x4d", "173b62eb", V1, true, Recipe::V2, 83_246, 96_454, 319_318),
    known("resnet18", "f37072fd", V1, true, Recipe::V1, 69_758, 89_078, 44_661),
    known("resnet34", "b627a593", V1, true, Recipe::V1, 73_314, 91_420, 83_275),
    known("resnet50", "0676ba61", V1, false, Recipe::V1, 76_130, 92_862, 97_781),
    known("resnet50", "11ad3fa6", V2, true, Recipe::V2, 80_858, 95_434, 97_790),
    known("resnet101", "63fe2227", V1, false, Recipe::V1, 77_374, 93_546, 170_511),
    known("resnet101", "cd907fc2", V2, true, Recipe::V2, 81_886, 95_780, 170_530),
    known("resnet152", "394f9c45", V1, false, Recipe::V1, 78_312, 94_046, 230_434),
    known("resnet152", "f82ba261", V2, true, Recipe::V2, 82_284, 96_002, 230_474),
    known("wide_resnet50_2", "95faca4d", V1, false, Recipe::V1, 78_468, 94_086, 131_820),
    known("wide_resnet50_2", "9ba9bcbe", V2, true, Recipe::V2, 81_602, 95_758, 263_124),
    known("wide_resnet101_2", "32ee1156", V1, false, Recipe::V1, 78_848, 94_284, 242_896),
    known("wide_resnet101_2", "d733dc28", V2, true, Recipe::V2, 82_510, 96_020, 484_747),
];

impl PublishedWeights {
    /// The published file name.
    pub fn file_name(&self) -> String {
        format!("{}-{}.pth", self.model, self.sha256_prefix)
    }

    /// Size of the file as published, in bytes, to within a thousandth of a MiB.
    pub fn bytes(&self) -> u64 {
        u64::from(self.mib_milli) * (1 << 20) / 1000
    }

    /// What timm calls the same weights.
    fn timm_tag(&self) -> &'static str {
        if self.weights == V1 { "tv_in1k" } else { "tv2_in1k" }
    }

    fn is_of(&self, variant: &Variant) -> bool {
        Variant::parse(self.model).is_ok_and(|own| own == *variant)
    }
}

/// What torchvision calls weights, whichever the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WeightsName {
    /// `IMAGENET1K_V1`.
    V1,
    /// `IMAGENET1K_V2`.
    V2,
    /// `DEFAULT`: the best of a network's.
    Default,
}

impl WeightsName {
    /// Reads a name; `None` for what may be a file. As in torchvision, letters are capitals.
    ///
    /// # Errors
    /// [`NameError::Unknown`] for what begins like a name and is none.
    pub fn parse(text: &str) -> Result<Option<Self>, NameError> {
        match text {
            V1 => Ok(Some(Self::V1)),
            V2 => Ok(Some(Self::V2)),
            DEFAULT => Ok(Some(Self::Default)),
            _ if text.to_ascii_uppercase().starts_with("IMAGENET1K") && !text.contains(['.', '/', '\\']) => {
                Err(NameError::Unknown { name: text.into(), near: suggest::nearest(text, [V1, V2, DEFAULT]) })
            }
            _ => Ok(None),
        }
    }

    /// The error for what is nearly a name, and no file either.
    pub(crate) fn misspelt(text: &str) -> Option<NameError> {
        let near = suggest::nearest(text, [V1, V2, DEFAULT]);
        (!near.is_empty()).then(|| NameError::Unknown { name: text.into(), near })
    }

    /// The published checkpoint that the name means for `variant`.
    ///
    /// # Errors
    /// [`NameError`], which lists what there is.
    pub fn of(self, network: Option<&Named>) -> Result<&'static PublishedWeights, NameError> {
        let Some(network) = network else { return Err(NameError::NoVariant { name: self.as_str() }) };
        let variant = &network.variant;
        if let Some(tag) = network.tag {
            return self.tagged(network, tag);
        }
        let means = |known: &&PublishedWeights| known.is_of(variant) && (known.default || self != Self::Default);
        let mut candidates = PUBLISHED.iter().filter(means);
        let found = candidates.find(|known| self == Self::Default || known.weights == self.as_str());
        found.ok_or_else(|| {
            let available: Vec<_> = PUBLISHED.iter().filter(|known| known.is_of(variant)).map(|k| k.weights).collect();
            match available.is_empty() {
                true => NameError::NoNetwork { variant: variant.to_string(), networks: networks() },
                false => NameError::NoWeights {
                    variant: variant.to_string(),
                    name: self.as_str(),
                    available: available.join(", "),
                },
            }
        })
    }

    /// The checkpoint that the name means where the network's name says itself whose weights it means.
    fn tagged(self, network: &Named, tag: &'static str) -> Result<&'static PublishedWeights, NameError> {
        let own = PUBLISHED.iter().find(|known| known.is_of(&network.variant) && known.timm_tag() == tag);
        match own {
            Some(own) if self == Self::Default || own.weights == self.as_str() => Ok(own),
            _ => Err(NameError::OtherWeights {
                asked: network.name.clone(),
                name: self.as_str(),
                variant: network.variant.to_string(),
                meant: timm::meant(&network.variant, tag),
            }),
        }
    }

    /// As torchvision writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::V1 => V1,
            Self::V2 => V2,
            Self::Default => DEFAULT,
        }
    }
}

/// Why a name means no checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Like a name, but none.
    #[error(
        "'{name}' is none of torchvision's names of weights for these networks: IMAGENET1K_V1, IMAGENET1K_V2, DEFAULT; for a file of that name write ./{name}{}",
        suggest::question(near)
    )]
    Unknown {
        /// What was asked for.
        name: String,
        /// The nearest names there are.
        near: Vec<String>,
    },
    /// Which network?
    #[error(
        "{name} exists for several networks; say which with --variant, for example --variant 50_32x4d (`resnext-build list` shows all)"
    )]
    NoVariant {
        /// What was asked for.
        name: &'static str,
    },
    /// A network without published weights.
    #[error(
        "torchvision publishes no weights for {variant}, only for {networks}; pass --weights FILE, or no --weights"
    )]
    NoNetwork {
        /// The network.
        variant: String,
        /// Those that have weights, with their names.
        networks: String,
    },
    /// The network's name means other weights.
    #[error(
        "'{asked}' means {meant}, and {name} torchvision's: other numbers for the same network; for those pass their file as --weights FILE, for torchvision's write --variant {variant}"
    )]
    OtherWeights {
        /// The network as asked for.
        asked: String,
        /// The weights asked for.
        name: &'static str,
        /// The network.
        variant: String,
        /// Whose weights its name means, and their file.
        meant: String,
    },
    /// A network with other weights only.
    #[error("torchvision has no {name} for {variant}; it has {available} (or DEFAULT, the best of them)")]
    NoWeights {
        /// The network.
        variant: String,
        /// What was asked for.
        name: &'static str,
        /// What there is.
        available: String,
    },
}

/// Each network with its weights: `50_32x4d (IMAGENET1K_V1, IMAGENET1K_V2), ...`.
fn networks() -> String {
    let mut parts: Vec<(&str, Vec<&str>)> = Vec::new();
    for known in &PUBLISHED {
        match parts.last_mut().filter(|(model, _)| *model == known.model) {
            Some((_, weights)) => weights.push(known.weights),
            None => parts.push((known.model, vec![known.weights])),
        }
    }
    let parts: Vec<String> = parts.iter().map(|(model, weights)| format!("{model} ({})", weights.join(", "))).collect();
    parts.join(", ")
}

/// A checkpoint that is published, whoever trained it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(tag = "collection", rename_all = "lowercase")]
pub enum Published {
    /// torchvision's.
    Torchvision(PublishedWeights),
    /// timm's, or known to it.
    Timm(TimmWeights),
}

impl Published {
    /// Network and weights: `resnext50_32x4d IMAGENET1K_V2`, `resnext50_32x4d.a1h_in1k`.
    pub fn name(&self) -> String {
        match self {
            Self::Torchvision(known) => format!("{} {}", known.model, known.weights),
            Self::Timm(known) => format!("{}.{}", known.model, known.tag),
        }
    }

    /// Whose it is.
    pub fn publisher(&self) -> &'static str {
        match self {
            Self::Torchvision(_) => "torchvision's",
            Self::Timm(known) => known.publisher(),
        }
    }

    /// Whether its classes are ImageNet-1k's.
    pub fn is_classifier(&self) -> bool {
        !matches!(self, Self::Timm(TimmWeights { classes: 0, .. }))
    }

    /// The preprocessing it was evaluated with, for images whose shorter side is `size`.
    pub fn preprocess(&self, size: usize) -> Preprocess {
        match self {
            Self::Torchvision(known) => Preprocess::imagenet(known.recipe, size),
            Self::Timm(known) => known.preprocess(size),
        }
    }
}

/// The start of the SHA-256 that a published file of this name has, if one is.
pub fn promised_sha256(name: &str) -> Option<&'static str> {
    let torchvision = PUBLISHED.iter().find(|known| known.file_name() == name).map(|known| known.sha256_prefix);
    torchvision.or_else(|| TIMM.iter().find(|known| known.file == Some(name)).and_then(TimmWeights::sha256_prefix))
}

/// The checkpoint with this SHA-256, in hex, if it is a published one.
pub fn by_sha256(hex: &str) -> Option<Published> {
    let torchvision = PUBLISHED.iter().find(|known| hex.starts_with(known.sha256_prefix));
    let timm = || TIMM.iter().find(|known| known.sha256_prefix().is_some_and(|prefix| hex.starts_with(prefix)));
    torchvision.copied().map(Published::Torchvision).or_else(|| timm().copied().map(Published::Timm))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: &str, variant: &str) -> Result<String, NameError> {
        let name = WeightsName::parse(name).unwrap().unwrap();
        name.of(Some(&Named::parse_with(variant, &[]).unwrap())).map(PublishedWeights::file_name)
    }

    #[test]
    fn names_mean_what_they_mean_in_torchvision() {
        for (variant, name, expected) in [
            ("50_32x4d", "IMAGENET1K_V1", "resnext50_32x4d-7cdf4587.pth"),
            ("resnext50_32x4d", "IMAGENET1K_V2", "resnext50_32x4d-1a0047aa.pth"),
            ("resnext50_32x4d", "DEFAULT", "resnext50_32x4d-1a0047aa.pth"),
            ("101_64x4d", "IMAGENET1K_V1", "resnext101_64x4d-173b62eb.pth"),
            ("101_64x4d", "DEFAULT", "resnext101_64x4d-173b62eb.pth"),
            ("50_1x64d", "DEFAULT", "resnet50-11ad3fa6.pth"),
            ("wide_resnet101_2", "IMAGENET1K_V1", "wide_resnet101_2-32ee1156.pth"),
            ("resnet18", "DEFAULT", "resnet18-f37072fd.pth"),
        ] {
            assert_eq!(file(name, variant).as_deref(), Ok(expected));
        }
    }

    #[test]
    fn every_entry_is_reached_by_its_name_and_one_of_each_network_is_the_default() {
        for known in &PUBLISHED {
            assert_eq!(file(known.weights, known.model), Ok(known.file_name()));
            let defaults = PUBLISHED.iter().filter(|other| other.model == known.model && other.default);
            assert_eq!(defaults.count(), 1, "{}", known.model);
            assert!(known.bytes() > 4 * 11_000_000, "{}", known.model);
        }
    }

    #[test]
    fn what_does_not_exist_is_answered_with_what_does() {
        let said = file("IMAGENET1K_V2", "101_64x4d").unwrap_err().to_string();
        assert!(said.contains("no IMAGENET1K_V2 for 101_64x4d; it has IMAGENET1K_V1"), "{said}");
        let said = file("DEFAULT", "26_32x4d").unwrap_err().to_string();
        assert!(said.contains("resnext50_32x4d (IMAGENET1K_V1, IMAGENET1K_V2), resnext101_32x8d ("), "{said}");
        assert!(WeightsName::Default.of(None).unwrap_err().to_string().contains("--variant"));
    }

    #[test]
    fn a_name_that_means_other_weights_is_refused_and_its_own_are_found() {
        for network in ["resnext101_32x8d_wsl", "swsl_resnext50_32x4d", "resnext50_32x4d.a1h_in1k", "50_32x4d.ra_in1k"]
        {
            for name in ["DEFAULT", "IMAGENET1K_V1"] {
                assert!(matches!(file(name, network), Err(NameError::OtherWeights { .. })), "{network} {name}");
            }
        }
        assert_eq!(file("DEFAULT", "resnext50_32x4d.tv_in1k").as_deref(), Ok("resnext50_32x4d-7cdf4587.pth"));
        assert_eq!(file("IMAGENET1K_V2", "resnext50_32x4d.tv2_in1k").as_deref(), Ok("resnext50_32x4d-1a0047aa.pth"));
        assert!(matches!(file("IMAGENET1K_V1", "resnext50_32x4d.tv2_in1k"), Err(NameError::OtherWeights { .. })));
        let said = file("DEFAULT", "resnext50_32x4d.a1h_in1k").unwrap_err().to_string();
        assert!(said.contains("timm's a1h_in1k (resnext50_32x4d_a1h-0146ab0a.pth)"), "{said}");
    }

    #[test]
    fn a_timm_file_is_known_by_its_name_and_by_its_digest() {
        assert_eq!(promised_sha256("resnext50_32x4d_a1h-0146ab0a.pth"), Some("0146ab0a"));
        let known = by_sha256("0146ab0a00").unwrap();
        assert_eq!((known.name().as_str(), known.publisher()), ("resnext50_32x4d.a1h_in1k", "timm's"));
        assert_eq!(known.preprocess(224).resize, 235);
    }

    #[test]
    fn files_are_not_mistaken_for_names() {
        for file in ["default", "w.pth", "IMAGENET1K_V1.pth", "./DEFAULT", "imagenet1k/x"] {
            assert_eq!(WeightsName::parse(file), Ok(None));
        }
        for slip in ["imagenet1k_v2", "IMAGENET1K_V3", "IMAGENET1K_FEATURES"] {
            assert!(WeightsName::parse(slip).is_err());
        }
    }
}
