//! What is asked of the library and its providers, however it was asked.

use std::path::PathBuf;
use std::time::Duration;

use super::provider::{Kind, Provider};
use super::spec::SessionOptions;
use crate::backend::kserve::address::Address;
use crate::host::machine as host;

/// Which library, and how long to wait for it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LibraryOptions {
    /// The library, or a folder that holds it; searched for where it is not given.
    pub ort_lib: Option<PathBuf>,
    /// Time limit for loading a model and for each run, in place of the usual ones.
    pub timeout: Option<Duration>,
}

/// Which providers, with what options.
#[derive(Clone, Debug, PartialEq)]
pub struct ProviderOptions {
    /// The providers with their options, each once, in the order asked for.
    pub providers: Vec<Provider>,
    /// Models on servers, behind them.
    pub served: Vec<Address>,
    /// Threads and session configuration.
    pub session: SessionOptions,
    /// Whether the number of threads was asked for, and is no default.
    pub threads_asked: bool,
    /// Accept nodes on other providers than asked for.
    pub allow_fallback: bool,
    /// The library.
    pub library: LibraryOptions,
}

impl ProviderOptions {
    /// These providers with nothing but defaults.
    pub fn of(kinds: &[Kind]) -> ProviderOptions {
        ProviderOptions {
            providers: kinds.iter().copied().map(Provider::new).collect(),
            served: Vec::new(),
            session: SessionOptions {
                intra_op_threads: host::default_threads(),
                inter_op_threads: 1,
                config: Default::default(),
            },
            threads_asked: false,
            allow_fallback: false,
            library: LibraryOptions::default(),
        }
    }
}
