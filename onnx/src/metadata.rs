//! What a model file says about itself: where its weights come from, how to prepare images, what the classes are.
//!
//! Everything stands in the model's `metadata_props`, values that are not plain text as JSON. Each key has its name here
//! and nowhere else; what one program writes, the other reads through the same types.

pub mod foreign;
mod labels;
mod preprocess;
mod provenance;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::proto::{ModelProto, StringStringEntryProto};

pub use labels::Labels;
pub use preprocess::{Crop, IMAGENET_V1, Interpolation, Preprocess, PreprocessError, Recipe};
pub use provenance::{Provenance, Weights};

/// What [`Key::Weights`] holds where the weights are not a checkpoint's.
const RANDOM: &str = "random";

/// A key of `metadata_props` that these programs write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Key {
    /// Canonical name of the network.
    Variant,
    /// The checkpoint's file name, or `random`.
    Weights,
    /// SHA-256 of the checkpoint, in hex.
    WeightsSha256,
    /// Key of the weights that were taken, where the checkpoint has others; empty for those at the top.
    WeightsKey,
    /// What the checkpoint's publisher calls it.
    WeightsName,
    /// Whose licence the weights are under.
    LicenseNote,
    /// Seed of random weights.
    Seed,
    /// [`Preprocess`], as JSON.
    Preprocess,
    /// Names of the classes by index, a JSON array of strings.
    Labels,
    /// WordNet ids of the classes by index, likewise.
    LabelIds,
    /// What the graph was lowered for.
    Target,
    /// Why it was lowered like that.
    Lowering,
    /// Passes that a build ran, with their rewrites.
    Passes,
    /// Passes that `optimize` ran, likewise.
    Optimized,
    /// Type that the graph computes in, where that is not f32.
    Dtype,
    /// Nodes kept in f32, a JSON array of strings.
    KeepF32,
    /// What rounding to f16 did to the weights.
    F16Weights,
    /// What is known of the activations in f16.
    F16Activations,
    /// What the weights of an int8 model use of their 8 bits, by the name of the flag's value.
    WeightRange,
    /// What the integers of an int8 model's weights are.
    Int8Weights,
    /// What those of its activations are, and what their ranges come from.
    Int8Activations,
}

impl Key {
    /// All of them.
    pub const ALL: [Self; 21] = [
        Self::Variant,
        Self::Weights,
        Self::WeightsSha256,
        Self::WeightsKey,
        Self::WeightsName,
        Self::LicenseNote,
        Self::Seed,
        Self::Preprocess,
        Self::Labels,
        Self::LabelIds,
        Self::Target,
        Self::Lowering,
        Self::Passes,
        Self::Optimized,
        Self::Dtype,
        Self::KeepF32,
        Self::F16Weights,
        Self::F16Activations,
        Self::WeightRange,
        Self::Int8Weights,
        Self::Int8Activations,
    ];

    /// The key as it stands in the file.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Variant => "resnext.variant",
            Self::Weights => "resnext.weights",
            Self::WeightsSha256 => "resnext.weights_sha256",
            Self::WeightsKey => "resnext.weights_key",
            Self::WeightsName => "resnext.weights_name",
            Self::LicenseNote => "resnext.license_note",
            Self::Seed => "resnext.seed",
            Self::Preprocess => "resnext.preprocess",
            Self::Labels => "resnext.labels",
            Self::LabelIds => "resnext.label_ids",
            Self::Target => "resnext.target",
            Self::Lowering => "resnext.lowering",
            Self::Passes => "resnext.passes",
            Self::Optimized => "resnext.optimized",
            Self::Dtype => "resnext.dtype",
            Self::KeepF32 => "resnext.keep_f32",
            Self::F16Weights => "resnext.f16_weights",
            Self::F16Activations => "resnext.f16_activations",
            Self::WeightRange => "resnext.weight_range",
            Self::Int8Weights => "resnext.int8_weights",
            Self::Int8Activations => "resnext.int8_activations",
        }
    }

    /// The key that stands in a file as `name`; `None` for those of other programs.
    pub fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|key| key.name() == name)
    }
}

impl std::fmt::Display for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.name())
    }
}

/// A key that holds something else than it should.
#[derive(Debug, thiserror::Error)]
#[error("property {key}: {reason}")]
pub struct PropertyError {
    /// The key.
    pub key: Key,
    /// What is wrong.
    pub reason: String,
}

/// The metadata of a model under the keys of these programs, in the order of the file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Metadata(Vec<(Key, String)>);

impl Metadata {
    /// What `model` says. Where it has a key twice, the last counts, as it does for onnxruntime.
    pub fn of(model: &ModelProto) -> Self {
        let mut metadata = Self::default();
        for entry in &model.metadata_props {
            if let Some(key) = Key::of(&entry.key) {
                metadata.set(key, entry.value.clone());
            }
        }
        metadata
    }

    /// Sets `key`, in its place if it is there and at the end if not.
    pub fn set(&mut self, key: Key, value: impl Into<String>) {
        match self.0.iter_mut().find(|(other, _)| *other == key) {
            Some(entry) => entry.1 = value.into(),
            None => self.0.push((key, value.into())),
        }
    }

    /// Sets `key` to JSON.
    pub fn set_json(&mut self, key: Key, value: &impl Serialize) {
        // Plain structs, lists and strings have no way to fail.
        self.set(key, serde_json::to_string(value).unwrap_or_default());
    }

    /// What `key` holds.
    pub fn get(&self, key: Key) -> Option<&str> {
        self.0.iter().find(|(other, _)| *other == key).map(|(_, value)| value.as_str())
    }

    /// The entries of `metadata_props`.
    pub fn entries(&self) -> impl Iterator<Item = StringStringEntryProto> {
        self.0.iter().map(|(key, value)| StringStringEntryProto { key: key.name().into(), value: value.clone() })
    }

    /// Writes all of it into `model`; other keys there, and the places of these, stay as they are.
    pub fn write_into(&self, model: &mut ModelProto) {
        for entry in self.entries() {
            match model.metadata_props.iter_mut().find(|other| other.key == entry.key) {
                Some(other) => other.value = entry.value,
                None => model.metadata_props.push(entry),
            }
        }
    }

    /// How images are prepared; `None` where the file does not say.
    ///
    /// # Errors
    /// [`PropertyError`] where that does not parse or makes no sense.
    pub fn preprocess(&self) -> Result<Option<Preprocess>, PropertyError> {
        let bad = |error: PreprocessError| PropertyError { key: Key::Preprocess, reason: error.to_string() };
        self.get(Key::Preprocess).map(|text| Preprocess::parse(text).map_err(bad)).transpose()
    }

    /// Sets labels and their ids, as far as there are any.
    pub fn set_labels(&mut self, labels: &Labels) {
        for (key, texts) in [(Key::Labels, &labels.names), (Key::LabelIds, &labels.ids)] {
            if !texts.is_empty() {
                self.set_json(key, texts);
            }
        }
    }

    /// Names and WordNet ids of the classes; either is empty where the file does not say.
    ///
    /// # Errors
    /// [`PropertyError`] for what is no JSON array of strings.
    pub fn labels(&self) -> Result<Labels, PropertyError> {
        Ok(Labels { names: self.strings(Key::Labels)?, ids: self.strings(Key::LabelIds)? })
    }

    fn strings(&self, key: Key) -> Result<Vec<String>, PropertyError> {
        let bad = |error| PropertyError { key, reason: format!("no JSON array of strings ({error})") };
        self.json(key).map(Option::unwrap_or_default).map_err(bad)
    }

    fn json<T: DeserializeOwned>(&self, key: Key) -> Result<Option<T>, serde_json::Error> {
        self.get(key).map(serde_json::from_str).transpose()
    }

    /// Sets where the model comes from; `file` is the checkpoint's name, which random weights have not.
    pub fn set_origin(&mut self, origin: &Provenance, file: &str) {
        if let Some(variant) = &origin.variant {
            self.set(Key::Variant, variant.as_str());
        }
        match &origin.weights {
            Some(Weights::Checkpoint { sha256 }) => {
                self.set(Key::Weights, file);
                self.set(Key::WeightsSha256, sha256.as_str());
            }
            Some(Weights::Random { seed }) => {
                self.set(Key::Weights, RANDOM);
                self.set(Key::Seed, seed.to_string());
            }
            None => {}
        }
    }

    /// Where the model comes from.
    ///
    /// # Errors
    /// [`PropertyError`] where the seed is no number.
    pub fn origin(&self) -> Result<Provenance, PropertyError> {
        let bad = |error: std::num::ParseIntError| PropertyError { key: Key::Seed, reason: error.to_string() };
        let seed = self.get(Key::Seed).map(|seed| seed.parse().map_err(bad)).transpose()?;
        let weights = match (self.get(Key::WeightsSha256), seed) {
            (Some(sha256), _) => Some(Weights::Checkpoint { sha256: sha256.into() }),
            (None, Some(seed)) => Some(Weights::Random { seed }),
            (None, None) => None,
        };
        Ok(Provenance { variant: self.get(Key::Variant).map(str::to_owned), weights })
    }

    /// Whether the file says that its weights are random.
    pub fn has_random_weights(&self) -> bool {
        self.get(Key::WeightsSha256).is_none() && self.get(Key::Weights) == Some(RANDOM)
    }
}

#[cfg(test)]
mod tests;
