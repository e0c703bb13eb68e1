//! The cache, the server and the token that the environment names.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use onnx_file::open;

use crate::hub::error::HubError;
use crate::hub::settings::{check_url, is_loopback};
use crate::hub::token::Token;

/// The server where no other is named.
const ENDPOINT: &str = "https://huggingface.co";

/// Environment variables that forbid the network.
const OFFLINE: [&str; 2] = ["HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"];

/// Longest file of a token.
const MAX_TOKEN: u64 = 4096;

/// Where repositories are kept, and where they come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The folder of all repositories.
    pub cache: PathBuf,
    /// The server's address, without a slash at its end.
    pub endpoint: String,
    /// Who asks it.
    pub token: Option<Token>,
    /// The variable that forbids to ask it.
    pub offline: Option<&'static str>,
}

impl Place {
    /// As the environment says. The cache: `HF_HUB_CACHE`, else `HUGGINGFACE_HUB_CACHE`, else `hub` in `HF_HOME`, else in
    /// `XDG_CACHE_HOME/huggingface`, else in `~/.cache/huggingface`. The server: `HF_ENDPOINT`. The token: `HF_TOKEN`, else
    /// the file `HF_TOKEN_PATH`, else `token` in `HF_HOME`. Empty variables count as not set.
    ///
    /// # Errors
    /// [`HubError::Settings`] where a variable makes no sense or no folder can be told.
    pub fn from_env() -> Result<Self, HubError> {
        let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        let home = base(&set, std::env::home_dir())
            .ok_or_else(|| HubError::Settings("no home folder is known; set HF_HOME to a folder for weights".into()))?;
        let endpoint =
            set("HF_ENDPOINT").map_or_else(|| ENDPOINT.to_owned(), |url| url.to_string_lossy().trim().to_owned());
        let endpoint = endpoint.trim_end_matches('/').to_owned();
        check_url(&endpoint).map_err(|wrong| HubError::Settings(format!("HF_ENDPOINT: {wrong}")))?;
        // Files of weights are held to digests that come the same way, and all other files to nothing.
        if !endpoint.starts_with("https://") && !is_loopback(&endpoint) {
            let wrong = format!("HF_ENDPOINT: {endpoint} is not encrypted; name it with https://");
            return Err(HubError::Settings(wrong));
        }
        let offline = OFFLINE.into_iter().find(|name| set(name).is_some_and(|value| is_yes(&value)));
        let token = token(&set, &home)?;
        Ok(Self { cache: cache(&set, &home), endpoint, token, offline })
    }
}

fn base(set: &impl Fn(&str) -> Option<OsString>, home: Option<PathBuf>) -> Option<PathBuf> {
    match (set("HF_HOME"), set("XDG_CACHE_HOME")) {
        (Some(home), _) => Some(PathBuf::from(home)),
        (None, Some(cache)) => Some(Path::new(&cache).join("huggingface")),
        (None, None) => Some(home?.join(".cache").join("huggingface")),
    }
}

fn cache(set: &impl Fn(&str) -> Option<OsString>, home: &Path) -> PathBuf {
    match set("HF_HUB_CACHE").or_else(|| set("HUGGINGFACE_HUB_CACHE")) {
        Some(cache) => PathBuf::from(cache),
        None => home.join("hub"),
    }
}

fn token(set: &impl Fn(&str) -> Option<OsString>, home: &Path) -> Result<Option<Token>, HubError> {
    if let Some(text) = set("HF_TOKEN").or_else(|| set("HUGGING_FACE_HUB_TOKEN")) {
        let text = text.to_string_lossy();
        if text.trim().is_empty() {
            return Ok(None);
        }
        let wrong = || HubError::Settings("HF_TOKEN holds characters that no token has".into());
        return Token::new(&text).ok_or_else(wrong).map(Some);
    }
    if set("HF_HUB_DISABLE_IMPLICIT_TOKEN").is_some_and(|value| is_yes(&value)) {
        return Ok(None);
    }
    let file = set("HF_TOKEN_PATH").map_or_else(|| home.join("token"), PathBuf::from);
    // Most repositories need none: a file that is not there, or holds none, is no error.
    Ok(open::read_text(&file, MAX_TOKEN).ok().and_then(|text| Token::new(&text)))
}

fn is_yes(value: &std::ffi::OsStr) -> bool {
    ["1", "on", "yes", "true"].contains(&value.to_string_lossy().to_ascii_lowercase().as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(variables: &[(&str, &str)]) -> impl Fn(&str) -> Option<OsString> {
        let variables: Vec<(String, OsString)> =
            variables.iter().map(|(name, value)| ((*name).to_owned(), OsString::from(*value))).collect();
        move |name| variables.iter().find(|(own, _)| own == name).map(|(_, value)| value.clone())
    }

    #[test]
    fn the_folder_is_hugging_faces_own() {
        let of = |variables: &[(&str, &str)]| {
            let set = environment(variables);
            cache(&set, &base(&set, Some("/home/u".into())).unwrap())
        };
        assert_eq!(of(&[]), Path::new("/home/u/.cache/huggingface/hub"));
        assert_eq!(of(&[("XDG_CACHE_HOME", "/c")]), Path::new("/c/huggingface/hub"));
        assert_eq!(of(&[("HF_HOME", "/h"), ("XDG_CACHE_HOME", "/c")]), Path::new("/h/hub"));
        assert_eq!(of(&[("HUGGINGFACE_HUB_CACHE", "/g"), ("HF_HOME", "/h")]), Path::new("/g"));
        assert_eq!(of(&[("HF_HUB_CACHE", "/f"), ("HUGGINGFACE_HUB_CACHE", "/g")]), Path::new("/f"));
    }

    #[test]
    fn the_token_is_the_variables_or_the_files() {
        let home = tempfile::tempdir().unwrap();
        let of =
            |variables: &[(&str, &str)]| token(&environment(variables), home.path()).map(|t| t.map(|t| t.header()));
        assert_eq!(of(&[]).unwrap(), None);
        std::fs::write(home.path().join("token"), "hf_file\n").unwrap();
        assert_eq!(of(&[]).unwrap().as_deref(), Some("Bearer hf_file"));
        assert_eq!(of(&[("HF_TOKEN", "hf_set")]).unwrap().as_deref(), Some("Bearer hf_set"));
        assert_eq!(of(&[("HF_HUB_DISABLE_IMPLICIT_TOKEN", "1")]).unwrap(), None);
        let error = of(&[("HF_TOKEN", "hf\nsecret")]).unwrap_err().to_string();
        assert!(!error.contains("secret"), "{error}");
    }
}
