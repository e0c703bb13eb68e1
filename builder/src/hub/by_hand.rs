//! How to come by a file without this program's help.

use std::fmt;
use std::path::PathBuf;

use super::variables::URL_VARIABLE;

/// Where to put a file that was fetched by other means, or what to pass instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ByHand {
    /// A file of a cache.
    File {
        /// Its folder.
        folder: PathBuf,
        /// Its name there.
        file_name: String,
    },
    /// A repository of Hugging Face's.
    Repository {
        /// `ORG/NAME`.
        name: String,
    },
    /// An address.
    Address,
}

impl fmt::Display for ByHand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { folder, file_name } => write!(
                f,
                "Without a network: fetch it elsewhere and put it into the folder {} under the name {file_name}, or name a mirror in {URL_VARIABLE}",
                folder.display()
            ),
            Self::Repository { name } => write!(
                f,
                "Without a network: run `hf download {name}` elsewhere and copy the cache, or name a mirror in HF_ENDPOINT"
            ),
            Self::Address => f.write_str("Or fetch it by other means and pass --weights FILE"),
        }
    }
}
