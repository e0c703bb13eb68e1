//! What flags' values mean.

use std::path::Path;

use crate::architecture::Output;
use crate::build::{BuildError, Weights};
use crate::graph::Dim;
use crate::hub::huggingface::{Place, Repository};
use crate::hub::{Address, Hub, Remote};
use crate::published::WeightsName;
use crate::suggest;
use crate::variant::Named;

/// `--image-size`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImageSize {
    /// In pixels.
    pub height: usize,
    /// In pixels.
    pub width: usize,
}

pub(super) fn parse_output(text: &str) -> Result<Output, String> {
    match text {
        "logits" => Ok(Output::Logits),
        _ => text
            .strip_prefix('c')
            .and_then(|n| n.parse::<usize>().ok())
            .filter(|n| (2..=7).contains(n))
            .map(|n| Output::Stage(n - 1))
            .ok_or_else(|| {
                let near = suggest::nearest(text, ["logits", "c2", "c3", "c4", "c5"]);
                format!("outputs are logits, c2, c3, c4, c5{}", suggest::question(&near))
            }),
    }
}

pub(super) fn parse_batch(text: &str) -> Result<Dim, String> {
    if text == "dynamic" {
        return Ok(Dim::Named("batch".into()));
    }
    text.parse().map(Dim::Fixed).map_err(|_| "a number, or 'dynamic'".into())
}

pub(super) fn parse_image_size(text: &str) -> Result<ImageSize, String> {
    let (height, width) = text.split_once('x').unwrap_or((text, text));
    match (height.parse(), width.parse()) {
        (Ok(height), Ok(width)) => Ok(ImageSize { height, width }),
        _ => Err("a number of pixels, or HEIGHTxWIDTH".into()),
    }
}

/// What `--weights` means for a network: a file, or by name a published checkpoint.
pub(super) fn weights(value: &Path, network: Option<&Named>, sha256: Option<&str>) -> Result<Weights, BuildError> {
    let text = value.to_str().unwrap_or_default();
    if let Some(repository) = Repository::parse(text)? {
        refuse_sha256(sha256, "the files of a repository are checked by the digests that its server gives")?;
        let remote = Remote::Repository(repository, Place::from_env()?);
        return Ok(Weights::Remote { remote, hub: Hub::from_env()? });
    }
    if let Some(address) = Address::parse(text, sha256)? {
        return Ok(Weights::Remote { remote: Remote::Address(address), hub: Hub::from_env()? });
    }
    match value.to_str().map(WeightsName::parse).transpose()?.flatten() {
        Some(name) => {
            refuse_sha256(sha256, "torchvision's weights are checked by the digests in their names")?;
            Ok(Weights::Published { known: name.of(network)?, hub: Hub::from_env()? })
        }
        None if !value.exists() => match value.to_str().and_then(WeightsName::misspelt) {
            Some(error) => Err(error.into()),
            None => Ok(Weights::File(value.to_owned())),
        },
        None => Ok(Weights::File(value.to_owned())),
    }
}

fn refuse_sha256(sha256: Option<&str>, why: &str) -> Result<(), BuildError> {
    let refused = |_| Err(BuildError::Request(format!("{why}; drop --sha256")));
    sha256.map_or(Ok(()), refused)
}

/// `--sha256`.
pub(super) fn parse_sha256(text: &str) -> Result<String, String> {
    let lower = text.trim().to_ascii_lowercase();
    let plain = (8..=64).contains(&lower.len()) && lower.bytes().all(|byte| byte.is_ascii_hexdigit());
    if plain { Ok(lower) } else { Err("8 to 64 hexadecimal digits: the digest, or how it begins".into()) }
}

/// As for a build, where `variant` has no other use.
pub(crate) fn weights_only(value: &Path, variant: Option<&str>, sha256: Option<&str>) -> Result<Weights, BuildError> {
    let parsed = variant.map(|name| Named::parse_with(name, &[])).transpose()?;
    match weights(value, parsed.as_ref(), sha256)? {
        Weights::File(_) | Weights::Remote { .. } if variant.is_some() => Err(BuildError::Request(
            "--variant goes with IMAGENET1K_V1, IMAGENET1K_V2 or DEFAULT; a file says itself which network it holds"
                .into(),
        )),
        weights => Ok(weights),
    }
}
