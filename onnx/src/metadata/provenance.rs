//! Where a model comes from.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What a file of `resnext-build` says of where it comes from. In JSON: `variant`, `source_sha256` and `random_seed`,
/// `null` where it is not said.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Flat", into = "Flat")]
pub struct Provenance {
    /// The network's canonical name.
    pub variant: Option<String>,
    /// Its weights.
    pub weights: Option<Weights>,
}

/// Where weights come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Weights {
    /// A checkpoint.
    Checkpoint {
        /// SHA-256 of the file, in hex.
        sha256: String,
    },
    /// Random numbers.
    Random {
        /// Their seed.
        seed: u64,
    },
}

/// `50_32x4d with random weights of seed 0`.
impl fmt::Display for Provenance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.variant.as_deref().unwrap_or("of no known variant"))?;
        match &self.weights {
            Some(Weights::Checkpoint { sha256 }) => write!(f, " with the weights of SHA-256 {sha256}"),
            Some(Weights::Random { seed }) => write!(f, " with random weights of seed {seed}"),
            None => f.write_str(" with weights that it does not name"),
        }
    }
}

/// The JSON form.
#[derive(Serialize, Deserialize)]
struct Flat {
    variant: Option<String>,
    source_sha256: Option<String>,
    random_seed: Option<u64>,
}

impl From<Flat> for Provenance {
    fn from(Flat { variant, source_sha256, random_seed }: Flat) -> Self {
        let random = random_seed.map(|seed| Weights::Random { seed });
        Self { variant, weights: source_sha256.map(|sha256| Weights::Checkpoint { sha256 }).or(random) }
    }
}

impl From<Provenance> for Flat {
    fn from(Provenance { variant, weights }: Provenance) -> Self {
        let (source_sha256, random_seed) = match weights {
            Some(Weights::Checkpoint { sha256 }) => (Some(sha256), None),
            Some(Weights::Random { seed }) => (None, Some(seed)),
            None => (None, None),
        };
        Self { variant, source_sha256, random_seed }
    }
}
