//! The user's cache folder.

use std::path::PathBuf;

/// `resnext-onnx` in the user's cache folder (`XDG_CACHE_HOME` or `~/.cache`; on Windows `LOCALAPPDATA`); none where the
/// system names none.
pub fn folder() -> Option<PathBuf> {
    let set = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|folder| folder.is_absolute());
    let cache = if cfg!(windows) {
        set("LOCALAPPDATA")
    } else {
        set("XDG_CACHE_HOME").or_else(|| std::env::home_dir().map(|home| home.join(".cache")))
    };
    cache.map(|cache| cache.join("resnext-onnx"))
}
