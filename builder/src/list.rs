//! The networks that have a name.

use onnx_file::metadata::Recipe;
use serde::Serialize;

use crate::architecture::{self, Options};
use crate::cost::cost;
use crate::precision::Dtype;
use crate::published::{PUBLISHED, PublishedWeights};
use crate::shape::ShapeError;
use crate::variant::{NAMED, Variant, VariantError};

/// A network with its costs and published checkpoints.
#[derive(Clone, Debug, Serialize)]
pub struct Listed {
    /// What `--variant` takes.
    pub variant: String,
    /// torchvision's, timm's or another established name, if it has one.
    pub alias: Option<&'static str>,
    /// Where it is described.
    pub source: &'static str,
    /// Classes that the parameters count.
    pub classes: usize,
    /// Height and width of the image that the multiply-adds count, in pixels.
    pub image_size: usize,
    /// Trainable parameters.
    pub parameters: u64,
    /// Multiply-adds for one image.
    pub multiply_adds: u64,
    /// Published checkpoints.
    pub checkpoints: Vec<ListedCheckpoint>,
}

/// A published checkpoint.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ListedCheckpoint {
    /// Architecture, as torchvision names it.
    pub model: &'static str,
    /// torchvision's name of the weights.
    pub weights: &'static str,
    /// Whether torchvision's `DEFAULT` means these.
    pub default: bool,
    /// First eight hex digits of the file's SHA-256.
    pub sha256_prefix: &'static str,
    /// Size of the file as published, in bytes, to within a thousandth of a MiB.
    pub bytes: u64,
    /// Preprocessing they were evaluated with.
    pub recipe: Recipe,
    /// Top-1 accuracy on ImageNet's validation set as published.
    pub top1_percent: f64,
    /// Top-5 accuracy, likewise.
    pub top5_percent: f64,
}

impl From<&PublishedWeights> for ListedCheckpoint {
    fn from(known: &PublishedWeights) -> Self {
        let percent = |milli: u32| f64::from(milli) / 1000.0;
        Self {
            model: known.model,
            weights: known.weights,
            default: known.default,
            sha256_prefix: known.sha256_prefix,
            bytes: known.bytes(),
            recipe: known.recipe,
            top1_percent: percent(known.top1_milli),
            top5_percent: percent(known.top5_milli),
        }
    }
}

/// All of them.
#[derive(Clone, Debug, Serialize)]
pub struct Listing {
    /// Version of this structure.
    pub schema_version: u32,
    /// What `--dtype` takes.
    pub dtypes: [Dtype; Dtype::ALL.len()],
    /// In the order of their families.
    pub networks: Vec<Listed>,
}

/// Why the list could not be made: a bug.
#[derive(Debug, thiserror::Error)]
pub enum ListError {
    /// A name in the list is none.
    #[error(transparent)]
    Variant(#[from] VariantError),
    /// A network in the list does not fit its own image.
    #[error(transparent)]
    Shape(#[from] ShapeError),
}

/// The networks that have a name, in the order of their families.
///
/// # Errors
/// [`ListError`], which would be a bug.
pub fn list() -> Result<Listing, ListError> {
    let networks: Result<_, ListError> = NAMED
        .iter()
        .map(|&(name, alias, source)| {
            let variant = Variant::parse(name)?;
            let graph = architecture::build(&variant, &Options::classifier(&variant))?;
            let cost = cost(&graph);
            let published = |known: &&PublishedWeights| Some(known.model) == alias || known.model == name;
            Ok(Listed {
                variant: name.into(),
                alias,
                source,
                classes: variant.default_classes(),
                image_size: variant.default_image_size(),
                parameters: cost.parameters,
                multiply_adds: cost.multiply_adds,
                checkpoints: PUBLISHED.iter().filter(published).map(ListedCheckpoint::from).collect(),
            })
        })
        .collect();
    Ok(Listing { schema_version: 2, dtypes: Dtype::ALL, networks: networks? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_known_checkpoint_belongs_to_a_listed_network() {
        let listed: usize = list().unwrap().networks.iter().map(|l| l.checkpoints.len()).sum();
        assert_eq!(listed, PUBLISHED.len());
    }

    #[test]
    fn names_are_canonical() {
        for listed in list().unwrap().networks {
            let variant = Variant::parse(&listed.variant).unwrap();
            assert_eq!(variant.to_string(), listed.variant);
            if let Some(alias) = listed.alias {
                assert_eq!(Variant::parse(alias).unwrap(), variant);
            }
        }
    }

    #[test]
    fn published_sizes_of_the_larger_networks_are_met() {
        // Mahajan et al. 2018, Table 6: 194, 468, 829 million.
        for (name, millions) in [("101_32x16d", 194.0), ("101_32x32d", 468.5), ("101_32x48d", 828.4)] {
            let listed = list().unwrap().networks.into_iter().find(|l| l.variant == name).unwrap();
            assert!((listed.parameters as f64 / 1e6 - millions).abs() < 0.06, "{name}: {}", listed.parameters);
        }
    }
}
