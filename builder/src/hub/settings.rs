//! The cache and the server that the environment names.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::error::HubError;
use super::request::Hub;
use super::variables::{BASE_URL, TIMEOUT_VARIABLE, URL_VARIABLE};

impl Hub {
    /// The cache of torch and the server of torchvision, as the environment says: `TORCH_HOME`, else
    /// `XDG_CACHE_HOME/torch`, else `~/.cache/torch`, and in it `hub/checkpoints`; [`URL_VARIABLE`];
    /// [`TIMEOUT_VARIABLE`]. Empty variables count as not set.
    ///
    /// # Errors
    /// [`HubError::Settings`] where a variable makes no sense or no folder can be told.
    pub fn from_env() -> Result<Self, HubError> {
        let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        let text = |name: &str| set(name).map(|value| value.to_string_lossy().trim().to_owned());
        let home = std::env::home_dir().filter(|home| !home.as_os_str().is_empty());
        let torch = torch_home(set("TORCH_HOME"), set("XDG_CACHE_HOME"), home).ok_or_else(|| {
            HubError::Settings("no home folder is known; set TORCH_HOME to a folder for weights".into())
        })?;
        // Whoever is told where to put a file should not have to know where this process ran.
        let torch = std::path::absolute(&torch).unwrap_or(torch);
        let base_url = text(URL_VARIABLE).unwrap_or_else(|| BASE_URL.into());
        let base_url = base_url.trim_end_matches('/').to_owned();
        check_url(&base_url).map_err(|wrong| HubError::Settings(format!("{URL_VARIABLE}: {wrong}")))?;
        let stall = match text(TIMEOUT_VARIABLE) {
            None => 30.0,
            Some(value) => {
                value.parse().ok().filter(|seconds| (0.01..=86_400.0).contains(seconds)).ok_or_else(|| {
                    HubError::Settings(format!("{TIMEOUT_VARIABLE}={value}: give a number of seconds, for example 30"))
                })?
            }
        };
        Ok(Self {
            folder: torch.join("hub").join("checkpoints"),
            base_url,
            stall: Duration::from_secs_f64(stall),
            pause: Duration::from_secs(1),
        })
    }
}

/// As `torch.hub._get_torch_home`, tilde included.
fn torch_home(torch: Option<OsString>, cache: Option<OsString>, home: Option<PathBuf>) -> Option<PathBuf> {
    let folder = match (torch, cache) {
        (Some(torch), _) => PathBuf::from(torch),
        (None, Some(cache)) => Path::new(&cache).join("torch"),
        (None, None) => return Some(home?.join(".cache").join("torch")),
    };
    match folder.strip_prefix("~") {
        Ok(rest) => Some(home?.join(rest)),
        Err(_) => Some(folder),
    }
}

pub(super) fn check_url(url: &str) -> Result<(), &'static str> {
    let parsed = check_address(url)?;
    if parsed.query().is_some() || url.contains('#') {
        return Err("file names are appended to the address, so it can have no '?' and no '#'");
    }
    Ok(())
}

/// An address of one file.
pub(super) fn check_address(url: &str) -> Result<ureq::http::Uri, &'static str> {
    let parsed: ureq::http::Uri =
        url.parse().map_err(|_| "this is no address; it should look like https://host/path")?;
    if !matches!(parsed.scheme_str(), Some("http" | "https")) || parsed.host().is_none_or(str::is_empty) {
        return Err("it should look like https://host/path");
    }
    if parsed.authority().is_some_and(|authority| authority.as_str().contains('@')) {
        return Err("a name and password in the address are not supported");
    }
    Ok(parsed)
}

/// Whether `url` leads to this very machine, so that nobody is on the way.
pub(super) fn is_loopback(url: &str) -> bool {
    let Ok(parsed) = check_address(url) else { return false };
    let host = parsed.host().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folder_is_torchs_own() {
        let home = || Some(PathBuf::from("/home/u"));
        let of = |torch: Option<&str>, cache: Option<&str>| {
            torch_home(torch.map(Into::into), cache.map(Into::into), home()).unwrap()
        };
        assert_eq!(of(Some("/t"), Some("/c")), Path::new("/t"));
        assert_eq!(of(None, Some("/c")), Path::new("/c/torch"));
        assert_eq!(of(None, None), Path::new("/home/u/.cache/torch"));
        assert_eq!(of(Some("~/t"), None), Path::new("/home/u/t"));
        assert_eq!(of(Some("~x/t"), None), Path::new("~x/t"));
        assert_eq!(torch_home(None, None, None), None);
    }

    #[test]
    fn addresses_that_a_file_name_cannot_follow_are_refused() {
        for url in [BASE_URL, "http://127.0.0.1:8000", "https://mirror.example/a/b"] {
            assert_eq!(check_url(url), Ok(()), "{url}");
        }
        for url in
            ["", "mirror.example/a", "ftp://x/a", "file:///a", "https://", "https://u:p@x/a", "https://x/a?b", "a b"]
        {
            assert!(check_url(url).is_err(), "{url}");
        }
    }
}
