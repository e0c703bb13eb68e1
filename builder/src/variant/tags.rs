//! What a name says beside the network: whose weights it means.
//!
//! timm writes `NETWORK.TAG`; its older names, GluonCV's and those of torch's hub put a publisher before or behind.

use super::error::{UnknownTag, VariantError};
use super::network::Variant;
use crate::suggest;

/// timm's tags: whose weights `NETWORK.TAG` means (timm 1.0.31).
const TAGS: [(&str, &[&str]); 16] = [
    (
        "resnet18",
        &["a1_in1k", "a2_in1k", "a3_in1k", "tv_in1k", "fb_ssl_yfcc100m_ft_in1k", "fb_swsl_ig1b_ft_in1k", "gluon_in1k"],
    ),
    ("resnet34", &["a1_in1k", "a2_in1k", "a3_in1k", "bt_in1k", "ra4_e3600_r224_in1k", "tv_in1k", "gluon_in1k"]),
    ("resnet26", &["bt_in1k"]),
    (
        "resnet50",
        &[
            "a1_in1k",
            "a1h_in1k",
            "a2_in1k",
            "a3_in1k",
            "b1k_in1k",
            "b2k_in1k",
            "c1_in1k",
            "c2_in1k",
            "d_in1k",
            "ram_in1k",
            "am_in1k",
            "ra_in1k",
            "bt_in1k",
            "tv_in1k",
            "tv2_in1k",
            "bamboo",
            "fb_ssl_yfcc100m_ft_in1k",
            "fb_swsl_ig1b_ft_in1k",
            "gluon_in1k",
        ],
    ),
    ("resnet101", &["a1h_in1k", "a1_in1k", "a2_in1k", "a3_in1k", "tv_in1k", "tv2_in1k", "gluon_in1k"]),
    ("resnet152", &["a1h_in1k", "a1_in1k", "a2_in1k", "a3_in1k", "tv_in1k", "tv2_in1k", "gluon_in1k"]),
    ("resnet200", &["untrained"]),
    ("wide_resnet50_2", &["racm_in1k", "tv_in1k", "tv2_in1k"]),
    ("wide_resnet101_2", &["tv_in1k", "tv2_in1k"]),
    (
        "resnext50_32x4d",
        &[
            "a1h_in1k",
            "a1_in1k",
            "a2_in1k",
            "a3_in1k",
            "ra_in1k",
            "tv_in1k",
            "tv2_in1k",
            "fb_ssl_yfcc100m_ft_in1k",
            "fb_swsl_ig1b_ft_in1k",
            "gluon_in1k",
        ],
    ),
    ("resnext101_32x4d", &["untrained", "fb_ssl_yfcc100m_ft_in1k", "fb_swsl_ig1b_ft_in1k", "gluon_in1k"]),
    (
        "resnext101_32x8d",
        &["tv_in1k", "tv2_in1k", "fb_wsl_ig1b_ft_in1k", "fb_ssl_yfcc100m_ft_in1k", "fb_swsl_ig1b_ft_in1k"],
    ),
    ("resnext101_64x4d", &["c1_in1k", "tv_in1k", "gluon_in1k"]),
    ("resnext101_32x16d", &["fb_wsl_ig1b_ft_in1k", "fb_ssl_yfcc100m_ft_in1k", "fb_swsl_ig1b_ft_in1k"]),
    ("resnext101_32x32d", &["fb_wsl_ig1b_ft_in1k"]),
    ("resnext101_32x48d", &["fb_wsl_ig1b_ft_in1k"]),
];

/// Publishers as older names write them before the network, and the tag that each became.
const BEFORE: [(&str, &str); 5] = [
    ("ig_", "fb_wsl_ig1b_ft_in1k"),
    ("swsl_", "fb_swsl_ig1b_ft_in1k"),
    ("ssl_", "fb_ssl_yfcc100m_ft_in1k"),
    ("gluon_", "gluon_in1k"),
    ("tv_", "tv_in1k"),
];

/// As the hub of torch writes them behind.
const BEHIND: [(&str, &str); 3] =
    [("_wsl", "fb_wsl_ig1b_ft_in1k"), ("_swsl", "fb_swsl_ig1b_ft_in1k"), ("_ssl", "fb_ssl_yfcc100m_ft_in1k")];

/// Prefixes of timm's models on a hub.
const HUBS: [&str; 5] = ["hf-hub:", "hf_hub:", "local-dir:", "timm/", "torchvision/"];

/// A name in lower case, taken apart: the network, and the tag it means, if it says one.
fn split(lower: &str) -> (&str, Option<&str>) {
    let mut name = lower;
    while let Some(rest) = HUBS.iter().find_map(|hub| name.strip_prefix(hub)) {
        name = rest;
    }
    let (base, tag) = name.split_once('.').map_or((name, None), |(base, tag)| (base, Some(tag)));
    if let Some((rest, means)) = BEFORE.iter().find_map(|(mark, means)| Some((base.strip_prefix(mark)?, *means))) {
        // GluonCV's `v1b` has torchvision's blocks; its other versions have other stems.
        return (rest.strip_suffix("_v1b").unwrap_or(rest), tag.or(Some(means)));
    }
    if let Some((rest, means)) = BEHIND.iter().find_map(|(mark, means)| Some((base.strip_suffix(mark)?, *means))) {
        return (rest, tag.or(Some(means)));
    }
    (base, tag)
}

/// timm's tags for a network.
pub fn tags_of(variant: &Variant) -> &'static [&'static str] {
    let own = |(model, _): &&(&str, &[&str])| Variant::untagged(model, model, &[]).is_ok_and(|own| own == *variant);
    TAGS.iter().find(own).map_or(&[], |(_, tags)| tags)
}

/// A network, and whose weights its name means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// What was asked for.
    pub name: String,
    /// The network.
    pub variant: Variant,
    /// timm's tag of the weights, where the name says one; older names mean one too.
    pub tag: Option<&'static str>,
}

impl Named {
    /// Reads a name, with blocks of one's own in place of the depth's where there are any.
    ///
    /// # Errors
    /// [`VariantError`].
    pub fn parse_with(name: &str, blocks: &[usize]) -> Result<Self, VariantError> {
        let lower = name.trim().to_ascii_lowercase();
        let (base, tag) = split(&lower);
        let variant = Variant::untagged(base, name, blocks)?;
        let tags = tags_of(&variant);
        let tag = match tag {
            None => None,
            Some(tag) => Some(*tags.iter().find(|other| **other == tag).ok_or_else(|| {
                let near = suggest::nearest(tag, tags.iter().copied());
                Box::new(UnknownTag { name: name.into(), tag: tag.into(), variant: variant.to_string(), tags, near })
            })?),
        };
        Ok(Self { name: name.into(), variant, tag })
    }
}
