//! What a build did, and how far it has come.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Serialize;

use crate::ends::Change;
use crate::hub::Event;
use crate::note::{self, Note};
use crate::passes::PassRun;
use crate::precision::Effect;
use crate::target::Purpose;
use crate::verify::Verdict;

/// What a build did.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Summary {
    /// Canonical name of the network.
    pub variant: String,
    /// "random (seed 0)", or the checkpoint's file name and container.
    pub weights: String,
    /// SHA-256 of the checkpoint, in hex.
    pub weights_sha256: Option<String>,
    /// Trainable parameters of the network as built, before folding.
    pub parameters: u64,
    /// Multiply-adds for one image.
    pub multiply_adds: u64,
    /// The arithmetic that the graph carries, and what it did to the weights.
    pub precision: Effect,
    /// Provider or measurement that the passes were chosen for.
    pub target: Purpose,
    /// Why they were chosen, one sentence each.
    pub reasons: Vec<String>,
    /// Passes that ran.
    pub passes: Vec<PassRun>,
    /// What the file says about itself, by key.
    pub metadata: BTreeMap<String, String>,
    /// What was done to the network's input and outputs, where that was asked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ends: Vec<Change>,
    /// Files written, the model last.
    #[serde(skip)]
    pub files: Vec<PathBuf>,
    /// Bytes of all files.
    pub bytes: u64,
    /// How the finished model compares with the checkpoint, where that was asked for.
    pub verified: Option<Verdict>,
    /// Seconds from plan to file.
    pub seconds: f64,
    /// What a user should know.
    #[serde(serialize_with = "note::with_text")]
    pub notes: Vec<Note>,
}

/// How far a build has come.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Progress<'a> {
    /// Its weights are being fetched.
    Fetching(Event<'a>),
    /// Bytes of weights written.
    Writing {
        /// So far.
        done: u64,
        /// In all.
        total: u64,
    },
    /// The model is compared with its checkpoint: convolutions computed.
    Comparing {
        /// So far.
        done: u64,
        /// In all.
        total: u64,
    },
}
