//! Checkpoints on servers, each in the cache that its own programs use: torchvision's in torch's, repositories in Hugging
//! Face's. Found there, or downloaded to it, so that those programs and this one share one copy.
//!
//! A file appears in the cache whole and with the digest its name promises, or not at all: what is on its way lies in
//! `.NAME.partial` beside it, which one process holds at a time and the next one takes up where the last was cut off.

mod address;
mod by_hand;
mod cached;
mod download;
mod error;
pub mod huggingface;
mod partial;
mod request;
mod settings;
mod token;
mod variables;

pub use address::Address;
pub use by_hand::ByHand;
pub use cached::{Fetched, Unasked};
pub use error::{HubError, Kept};
pub use request::{Entry, Event, Hub, Length, SLACK};
pub use token::Token;
pub use variables::{BASE_URL, TIMEOUT_VARIABLE, URL_VARIABLE};

use std::fmt;

use cached::obtain;
use request::Wanted;

/// Weights that lie on a server, or in a cache of what came from there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Remote {
    /// A repository of Hugging Face's.
    Repository(huggingface::Repository, huggingface::Place),
    /// One file.
    Address(Address),
}

impl fmt::Display for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Repository(huggingface::Repository { name, revision }, _) => {
                write!(f, "Hugging Face's {name} at revision {revision}")
            }
            Self::Address(address) => f.write_str(&address.url),
        }
    }
}

/// The file of `entry`: from the folder of `hub` where it is there, else downloaded to it. `on` hears what happens.
///
/// # Errors
/// [`HubError`]; whatever was in the cache is as it was, save for `.NAME.partial`.
pub fn fetch(entry: &Entry, hub: &Hub, on: &mut dyn FnMut(Event<'_>)) -> Result<Fetched, HubError> {
    let wanted = Wanted {
        url: format!("{}/{}", hub.base_url, entry.file_name),
        token: None,
        sha256: Some(entry.sha256_prefix.clone()),
        length: Length::About(entry.bytes),
        by_hand: ByHand::File { folder: hub.folder.clone(), file_name: entry.file_name.clone() },
    };
    obtain(&wanted, &hub.folder.join(&entry.file_name), hub, on)
}

/// What `remote` means, from its cache where it is there, else downloaded to it: a file, or a repository's folder.
///
/// # Errors
/// As [`fetch`].
pub fn fetch_remote(remote: &Remote, hub: &Hub, on: &mut dyn FnMut(Event<'_>)) -> Result<Fetched, HubError> {
    match remote {
        Remote::Repository(repository, place) => huggingface::fetch(repository, place, hub, on),
        Remote::Address(address) => address.fetch(hub, on),
    }
}
