//! Repositories in Hugging Face's own cache, so that its programs and this one share one copy.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::HubError;

/// What a repository's name begins with on the command line.
const PREFIXES: [&str; 2] = ["hf-hub:", "hf_hub:"];

/// The repository that `text` names, `ORG/NAME` or `ORG/NAME@REVISION`; `None` for what is no such name.
pub fn repository(text: &str) -> Option<&str> {
    PREFIXES.iter().find_map(|prefix| text.strip_prefix(prefix))
}

/// The folder of `repository` in the cache that the environment names: `HF_HUB_CACHE`, else `HUGGINGFACE_HUB_CACHE`, else
/// `hub` in `HF_HOME`, else in `XDG_CACHE_HOME/huggingface`, else in `~/.cache/huggingface`.
///
/// # Errors
/// [`HubError::Settings`] for what is no repository's name, [`HubError::NotCached`] where it is not there.
pub fn cached(repository: &str) -> Result<PathBuf, HubError> {
    let (name, revision) = repository.split_once('@').unwrap_or((repository, "main"));
    let plain = |part: &str| {
        !part.is_empty()
            && part != ".."
            && part != "."
            && part.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
    };
    let parts: Vec<&str> = name.split('/').collect();
    if parts.is_empty() || parts.len() > 2 || !parts.iter().all(|part| plain(part)) || !revision.split('/').all(plain) {
        return Err(HubError::Settings(format!(
            "'{repository}' is no name of a Hugging Face repository: write hf-hub:ORG/NAME, or hf-hub:ORG/NAME@REVISION"
        )));
    }
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    let cache = folder(set, std::env::home_dir())
        .ok_or_else(|| HubError::Settings("no home folder is known; set HF_HOME to a folder for weights".into()))?;
    let stored = cache.join(format!("models--{}", parts.join("--")));
    snapshot(&stored, revision).ok_or_else(|| HubError::NotCached {
        repository: name.to_owned(),
        revision: revision.to_owned(),
        folder: stored.display().to_string(),
    })
}

fn folder(set: impl Fn(&str) -> Option<OsString>, home: Option<PathBuf>) -> Option<PathBuf> {
    if let Some(cache) = set("HF_HUB_CACHE").or_else(|| set("HUGGINGFACE_HUB_CACHE")) {
        return Some(PathBuf::from(cache));
    }
    let base = match (set("HF_HOME"), set("XDG_CACHE_HOME")) {
        (Some(home), _) => PathBuf::from(home),
        (None, Some(cache)) => Path::new(&cache).join("huggingface"),
        (None, None) => home?.join(".cache").join("huggingface"),
    };
    Some(base.join("hub"))
}

/// The snapshot that `revision` means: by `refs`, or by its commit.
fn snapshot(stored: &Path, revision: &str) -> Option<PathBuf> {
    let reference = onnx_file::open::read_text(&stored.join("refs").join(revision), 256).ok();
    let commit = reference.map_or_else(|| revision.to_owned(), |text| text.trim().to_owned());
    let plain = !commit.is_empty() && commit.bytes().all(|byte| byte.is_ascii_alphanumeric());
    let folder = stored.join("snapshots").join(&commit);
    (plain && folder.is_dir()).then_some(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folder_is_hugging_faces_own() {
        let of = |variables: &[(&str, &str)]| {
            let set =
                |name: &str| variables.iter().find(|(own, _)| *own == name).map(|(_, value)| OsString::from(*value));
            folder(set, Some("/home/u".into())).unwrap()
        };
        assert_eq!(of(&[]), Path::new("/home/u/.cache/huggingface/hub"));
        assert_eq!(of(&[("XDG_CACHE_HOME", "/c")]), Path::new("/c/huggingface/hub"));
        assert_eq!(of(&[("HF_HOME", "/h"), ("XDG_CACHE_HOME", "/c")]), Path::new("/h/hub"));
        assert_eq!(of(&[("HUGGINGFACE_HUB_CACHE", "/g"), ("HF_HOME", "/h")]), Path::new("/g"));
        assert_eq!(of(&[("HF_HUB_CACHE", "/f"), ("HUGGINGFACE_HUB_CACHE", "/g")]), Path::new("/f"));
    }

    #[test]
    fn names_that_lead_elsewhere_are_refused() {
        for name in ["", "a/b/c", "../x", "a/..", "/a", "a/b@../../x", "a b/c", "a\\b"] {
            assert!(matches!(cached(name), Err(HubError::Settings(_))), "{name}");
        }
        assert_eq!(repository("hf-hub:timm/x"), Some("timm/x"));
        assert_eq!(repository("timm/x"), None);
    }
}
