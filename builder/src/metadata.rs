//! What a model file says about itself: where its weights come from, how to prepare images, what the classes are.
//!
//! Everything stands in the model's `metadata_props` under `resnext.*`, values that are not plain text as JSON.

use serde::{Deserialize, Serialize};

/// How a resized image's pixels are computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Interpolation {
    /// Antialiased triangle filter, as Pillow's and torchvision's `bilinear`.
    Bilinear,
    /// Antialiased Catmull-Rom-like filter (a = -0.5), as Pillow's and torchvision's `bicubic`.
    Bicubic,
}

/// Preprocessing of an image: shorter side to `resize`, central `crop` x `crop`, to [0, 1], minus mean, over std.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Preprocess {
    /// Shorter side after resizing, in pixels.
    pub resize: usize,
    /// Side of the central square, in pixels.
    pub crop: usize,
    /// How to resize.
    pub interpolation: Interpolation,
    /// Per channel, RGB, of pixels scaled to [0, 1].
    pub mean: [f64; 3],
    /// Likewise.
    pub std: [f64; 3],
}

/// Preprocessing by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Recipe {
    /// torchvision's first weights: resize 256, crop 224.
    V1,
    /// torchvision's second recipe: resize 232, crop 224.
    V2,
}

impl Preprocess {
    /// The preprocessing of `recipe` for images whose shorter side is `size`; the resized side keeps the ratio it has
    /// to the crop at 224.
    pub fn imagenet(recipe: Recipe, size: usize) -> Self {
        let at_224 = match recipe {
            Recipe::V1 => 256,
            Recipe::V2 => 232,
        };
        Self {
            resize: (size * at_224 + 112) / 224,
            crop: size,
            interpolation: Interpolation::Bilinear,
            mean: [0.485, 0.456, 0.406],
            std: [0.229, 0.224, 0.225],
        }
    }

    /// CIFAR's usual normalisation, without resizing beyond the network's own input.
    pub fn cifar(size: usize) -> Self {
        Self {
            resize: size,
            crop: size,
            interpolation: Interpolation::Bilinear,
            mean: [0.4914, 0.4822, 0.4465],
            std: [0.2471, 0.2435, 0.2616],
        }
    }

    /// The same for images of another size: the resized side keeps its ratio to the crop.
    pub fn scaled(&self, crop: usize) -> Self {
        let resize = (crop * self.resize + self.crop / 2) / self.crop;
        Self { resize, crop, ..self.clone() }
    }

    /// Refuses numbers no image can be prepared with.
    ///
    /// # Errors
    /// What is wrong, as a sentence.
    pub fn check(&self) -> Result<(), String> {
        if !(1..=16384).contains(&self.crop) || !(self.crop..=65536).contains(&self.resize) {
            return Err(format!("crop {} and resize {} need 1 <= crop <= resize", self.crop, self.resize));
        }
        if self.mean.iter().any(|m| !m.is_finite()) || self.std.iter().any(|s| !s.is_finite() || *s <= 0.0) {
            return Err("mean must be finite and std positive".into());
        }
        Ok(())
    }
}

/// Class names, by index.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Labels {
    /// What a person reads.
    pub names: Vec<String>,
    /// WordNet ids where there are any, else empty.
    pub ids: Vec<String>,
}

impl Labels {
    /// ImageNet-1k's classes: WordNet ids and lemmas.
    pub fn imagenet() -> Self {
        Self::parse(include_str!("../data/imagenet.txt"))
    }

    /// One label a line; `n01440764 tench` gives a WordNet id and a name.
    pub fn parse(text: &str) -> Self {
        let text = text.trim_start_matches('\u{feff}').trim_end();
        let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
        let split = |line: &&str| {
            let (id, name) = line.split_once([' ', '\t'])?;
            let digits = id.strip_prefix('n').filter(|d| d.len() == 8)?;
            digits.bytes().all(|b| b.is_ascii_digit()).then(|| (id.to_string(), name.trim().to_string()))
        };
        match lines.iter().map(split).collect::<Option<Vec<_>>>() {
            Some(pairs) if !pairs.is_empty() => {
                let (ids, names) = pairs.into_iter().unzip();
                Self { names, ids }
            }
            _ => Self { names: lines.into_iter().map(str::to_string).collect(), ids: Vec::new() },
        }
    }
}

/// The metadata of a model, in the order it is written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Metadata(Vec<(String, String)>);

impl Metadata {
    /// Adds `resnext.{key}`.
    pub fn push(&mut self, key: &str, value: impl Into<String>) {
        self.0.push((format!("resnext.{key}"), value.into()));
    }

    /// Adds `resnext.{key}` as JSON.
    pub fn push_json(&mut self, key: &str, value: &impl Serialize) {
        // Plain structs, lists and strings have no way to fail.
        self.push(key, serde_json::to_string(value).unwrap_or_default());
    }

    /// Keys and values.
    pub fn entries(&self) -> &[(String, String)] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn imagenet_has_a_thousand_classes_keyed_by_index() {
        let labels = Labels::imagenet();
        assert_eq!((labels.names.len(), labels.ids.len()), (1000, 1000));
        assert_eq!(labels.names[0], "tench, Tinca tinca");
        assert_eq!((labels.names[134].as_str(), labels.names[517].as_str()), ("crane", "crane"));
        assert_ne!(labels.ids[134], labels.ids[517]);
    }

    #[test]
    fn plain_labels_are_one_a_line() {
        let labels = Labels::parse("\u{feff}cat\nblack dog\n\n");
        assert_eq!(labels, Labels { names: vec!["cat".into(), "black dog".into()], ids: vec![] });
    }

    #[test]
    fn recipes_scale_with_the_image() {
        assert_eq!(Preprocess::imagenet(Recipe::V1, 224).resize, 256);
        assert_eq!(Preprocess::imagenet(Recipe::V2, 224).resize, 232);
        assert_eq!(Preprocess::imagenet(Recipe::V1, 448).resize, 512);
    }
}
