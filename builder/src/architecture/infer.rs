//! From the shapes in a checkpoint back to the variant.
//!
//! `conv2.weight` is `[W, W / g, 3, 3]`, so shape fixes cardinality and width; 101_32x8d and 101_64x4d share W = 256
//! and differ only there. Where a stride sits, dilation and preprocessing leave no trace in shapes.

use super::layer::hidden;
use crate::variant::{Block, Stem, Variant, VariantError};

/// Most channels of an image: satellites' have a dozen.
const MOST_CHANNELS: usize = 64;

/// Why shapes are not those of a network of the family.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InferError {
    /// A tensor that every network of the family has.
    #[error("no tensor '{name}': this is not a checkpoint of a ResNet or ResNeXt with torchvision's names{hint}")]
    Missing {
        /// The tensor.
        name: String,
        /// What the keys look like instead.
        hint: &'static str,
    },
    /// A tensor whose shape fits no network of the family.
    #[error("'{name}' has shape {shape:?}, which fits no ResNeXt: {reason}")]
    Shape {
        /// The tensor.
        name: String,
        /// Its shape.
        shape: Vec<usize>,
        /// What is expected.
        reason: String,
    },
    /// The numbers make no network.
    #[error(transparent)]
    Variant(#[from] VariantError),
}

/// What a checkpoint's shapes tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inferred {
    /// The architecture.
    pub variant: Variant,
    /// Channels of the image.
    pub channels: usize,
    /// Outputs of the linear layers before the last.
    pub hidden: Vec<usize>,
    /// Rows of `fc.weight`, if there is one.
    pub classes: Option<usize>,
}

impl Inferred {
    /// Outputs of the linear layers, the classes last; empty where there is no classifier.
    pub fn head(&self) -> Vec<usize> {
        self.classes.map(|classes| [&self.hidden[..], &[classes]].concat()).unwrap_or_default()
    }
}

/// Infers the architecture from `shape`, which gives the shape of a named tensor.
///
/// # Errors
/// [`InferError`], naming the tensor that does not fit.
pub fn infer<'a>(shape: impl Fn(&str) -> Option<&'a [usize]>) -> Result<Inferred, InferError> {
    let need = |name: &str| shape(name).ok_or_else(|| missing(name, &shape));
    let conv1 = need("conv1.weight")?;
    let wrong = |name: &str, found: &[usize], reason: String| InferError::Shape {
        name: name.into(),
        shape: found.to_vec(),
        reason,
    };
    let (planes, channels, stem) = match *conv1 {
        [planes, channels @ 1..=MOST_CHANNELS, 7, 7] => (planes, channels, Stem::ImageNet),
        [planes, channels @ 1..=MOST_CHANNELS, 3, 3] => (planes, channels, Stem::Cifar),
        _ => return Err(wrong("conv1.weight", conv1, "[planes, 3, 7, 7], or [planes, 3, 3, 3] for CIFAR".into())),
    };
    let mut blocks = Vec::new();
    for layer in 1.. {
        let count = (0..).take_while(|i| shape(&format!("layer{layer}.{i}.conv1.weight")).is_some()).count();
        if count == 0 {
            break;
        }
        blocks.push(count);
    }
    let first = need("layer1.0.conv1.weight")?;
    let bottleneck = shape("layer1.0.conv3.weight").is_some();
    let conv2 = need("layer1.0.conv2.weight")?;
    let &[width, per_group, 3, 3] = conv2 else {
        return Err(wrong("layer1.0.conv2.weight", conv2, "[width, width / groups, 3, 3]".into()));
    };
    if per_group == 0 || width % per_group != 0 {
        return Err(wrong("layer1.0.conv2.weight", conv2, "the second extent must divide the first".into()));
    }
    let variant = if bottleneck {
        let cardinality = width / per_group;
        Variant { block: Block::Bottleneck, stem, blocks, planes, cardinality, group_width: per_group }
    } else {
        if first.first() != Some(&planes) {
            return Err(wrong("layer1.0.conv1.weight", first, format!("{planes} output channels, as conv1 has")));
        }
        Variant { block: Block::Basic, stem, blocks, planes, cardinality: 1, group_width: planes }
    };
    let variant = variant.check()?;
    for (stage, &count) in variant.blocks.iter().enumerate().filter(|_| bottleneck) {
        let (width, cardinality) = (variant.width(stage), variant.cardinality);
        for block in 0..count {
            let name = format!("layer{}.{block}.conv2.weight", stage + 1);
            let found = need(&name)?;
            if *found != [width, width / cardinality, 3, 3] {
                let expected = [width, width / cardinality, 3, 3];
                let reason = format!("with {cardinality} groups as in layer1.0 it would be {expected:?}");
                return Err(wrong(&name, found, reason));
            }
        }
    }
    let classes = shape("fc.weight").and_then(|s| s.first().copied());
    let rows = |name: String| shape(&name).and_then(|s| s.first().copied());
    let hidden = (0..).map_while(|index| rows(format!("{}.weight", hidden(index)))).collect();
    Ok(Inferred { variant, channels, hidden, classes })
}

fn missing<'a>(name: &str, shape: &impl Fn(&str) -> Option<&'a [usize]>) -> InferError {
    let hint = if shape("conv1.0.weight").is_some() || shape("stem.0.weight").is_some() {
        "; its stem of several convolutions is timm's 'd' family, another architecture"
    } else if shape("layer1.0.se.fc1.weight").is_some() || shape("layer1.0.se_module.fc1.weight").is_some() {
        "; it has squeeze-and-excitation, another architecture"
    } else if shape("patch_embed.proj.weight").is_some() || shape("cls_token").is_some() {
        "; it looks like a vision transformer"
    } else if shape("features.0.weight").is_some() || shape("features.0.0.weight").is_some() {
        "; it looks like a VGG, MobileNet or EfficientNet"
    } else {
        ""
    };
    InferError::Missing { name: name.into(), hint }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::architecture::{Options, build};

    fn shapes(variant: &Variant) -> HashMap<String, Vec<usize>> {
        let graph = build(variant, &Options::classifier(variant)).unwrap();
        let mut shapes = HashMap::new();
        for id in graph.weights() {
            graph.value(id).weight.as_ref().unwrap().for_each_stored(&mut |name, shape| {
                shapes.insert(name.to_string(), shape.to_vec());
            });
        }
        shapes
    }

    #[test]
    fn every_variant_is_recognised_from_its_own_shapes() {
        for name in ["50_32x4d", "101_32x8d", "101_64x4d", "resnet18", "resnet34", "wide_resnet50_2", "29_8x64d"] {
            let variant = Variant::parse(name).unwrap();
            let shapes = shapes(&variant);
            let inferred = infer(|n| shapes.get(n).map(Vec::as_slice)).unwrap();
            assert_eq!(inferred.variant.to_string(), name);
            assert_eq!(inferred.classes, Some(variant.default_classes()));
        }
    }

    #[test]
    fn a_block_of_another_cardinality_is_named() {
        let variant = Variant::parse("50_32x4d").unwrap();
        let mut shapes = shapes(&variant);
        shapes.insert("layer3.4.conv2.weight".into(), vec![512, 8, 3, 3]);
        let error = infer(|n| shapes.get(n).map(Vec::as_slice)).unwrap_err();
        assert!(error.to_string().contains("layer3.4.conv2.weight"), "{error}");
    }
}
