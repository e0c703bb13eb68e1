//! A checkpoint at an address of its own.

use std::path::PathBuf;

use onnx_file::digest;

use super::by_hand::ByHand;
use super::cached::{Fetched, obtain};
use super::error::HubError;
use super::request::{Event, Hub, Length, Wanted};
use super::settings;
use crate::published;

/// Hex digits of the digest of an address that names its folder in the cache.
const FOLDER_DIGITS: usize = 16;

/// Longest name of a file that is taken from an address.
const MAX_NAME: usize = 128;

/// Where one file lies, and what it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// `https://...`, or `http://` of this very machine.
    pub url: String,
    /// First hex digits of its SHA-256, where the user gives them.
    pub sha256: Option<String>,
}

impl Address {
    /// The address that `text` is; `None` for what is no address of the web.
    ///
    /// # Errors
    /// [`HubError::Settings`] for an address that is not encrypted, or makes no sense.
    pub fn parse(text: &str, sha256: Option<&str>) -> Result<Option<Self>, HubError> {
        let scheme = text.split_once("://").map(|(scheme, _)| scheme.to_ascii_lowercase());
        if !matches!(scheme.as_deref(), Some("http" | "https")) {
            return Ok(None);
        }
        let wrong = |what: &str| HubError::Settings(format!("--weights {text}: {what}"));
        settings::check_address(text).map_err(wrong)?;
        if scheme.as_deref() == Some("http") && !settings::is_loopback(text) {
            return Err(wrong(
                "weights are fetched over https only, as anybody on the way can change what http brings; fetch the file by other means and pass it",
            ));
        }
        Ok(Some(Self { url: text.to_owned(), sha256: sha256.map(str::to_owned) }))
    }

    /// The file, from torch's cache where it is there, else downloaded to it.
    pub(super) fn fetch(&self, hub: &Hub, on: &mut dyn FnMut(Event<'_>)) -> Result<Fetched, HubError> {
        let name = self.file_name();
        let promised = published::promised_sha256(&name).map(str::to_owned);
        let folder =
            if self.is_shared(promised.as_deref()) { hub.folder.clone() } else { hub.folder.join(self.folder()) };
        let sha256 = self.sha256.clone().or(promised);
        let wanted =
            Wanted { url: self.url.clone(), token: None, sha256, length: Length::Unknown, by_hand: ByHand::Address };
        obtain(&wanted, &folder.join(name), hub, on)
    }

    /// Whether it may lie where all programs that use torch look for a file of its name: one name may stand for many
    /// files, as model.safetensors does, unless it is a published one, and another digest is another file.
    fn is_shared(&self, promised: Option<&str>) -> bool {
        let held_to = |promised: &str| {
            self.sha256.as_deref().is_none_or(|given| given.to_ascii_lowercase().starts_with(promised))
        };
        promised.is_some_and(held_to)
    }

    /// A folder of its own.
    fn folder(&self) -> PathBuf {
        // Hashing memory cannot fail.
        let hex = digest::sha256(self.url.as_bytes()).map(|digest| digest::hex(&digest)).unwrap_or_default();
        PathBuf::from(&hex[..FOLDER_DIGITS.min(hex.len())])
    }

    /// The last part of its path, as far as that is the name of a file.
    fn file_name(&self) -> String {
        let path = self.url.split(['?', '#']).next().unwrap_or_default();
        let path = path.split_once("://").map_or(path, |(_, rest)| rest);
        let last = path.split_once('/').and_then(|(_, path)| path.rsplit('/').next()).unwrap_or_default();
        let plain = |c: char| if c.is_ascii_alphanumeric() || "-_.+=".contains(c) { c } else { '_' };
        let name: String = last.chars().map(plain).take(MAX_NAME).collect();
        let name = name.trim_start_matches('.');
        if name.is_empty() { "weights".to_owned() } else { name.to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_address_is_left_alone_and_what_is_not_encrypted_is_refused() {
        for text in ["weights.pth", "a/b.pth", "C:\\w.pth", "hf-hub:a/b", "file:///w.pth"] {
            assert_eq!(Address::parse(text, None).unwrap(), None, "{text}");
        }
        for text in [
            "https://host/w.pth",
            "HTTPS://host/w.pth?download=1",
            "http://127.0.0.1:8/w",
            "http://localhost/w",
            "http://[::1]:8/w",
        ] {
            assert!(Address::parse(text, None).unwrap().is_some(), "{text}");
        }
        for text in [
            "http://host/w.pth",
            "http://localhost.evil/w",
            "http://127.0.0.1.evil/w",
            "https://",
            "https://u:p@host/w",
            "http://127.0.0.1@host/w",
        ] {
            assert!(matches!(Address::parse(text, None), Err(HubError::Settings(_))), "{text}");
        }
    }

    #[test]
    fn another_file_under_a_published_name_stays_out_of_the_shared_cache() {
        let shared = |sha256: Option<&str>, promised| {
            Address { url: "https://h/resnext50_32x4d-7cdf4587.pth".into(), sha256: sha256.map(str::to_owned) }
                .is_shared(promised)
        };
        assert!(shared(None, Some("7cdf4587")) && shared(Some("7CDF4587ab"), Some("7cdf4587")));
        assert!(!shared(Some("00112233"), Some("7cdf4587")) && !shared(None, None));
    }

    #[test]
    fn files_of_one_name_lie_apart_and_names_lead_nowhere_else() {
        let address = |url: &str| Address { url: url.to_owned(), sha256: None };
        assert_eq!(address("https://h/a/model.safetensors?x=1").file_name(), "model.safetensors");
        assert_ne!(
            address("https://h/a/model.safetensors").folder(),
            address("https://h/b/model.safetensors").folder()
        );
        for (url, name) in [
            ("https://h", "weights"),
            ("https://h/", "weights"),
            ("https://h/..", "weights"),
            ("https://h/a%2Fb", "a_2Fb"),
            ("https://h/a\\b", "a_b"),
        ] {
            assert_eq!(address(url).file_name(), name, "{url}");
        }
    }
}
