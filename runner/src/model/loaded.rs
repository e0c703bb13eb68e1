//! What loaded models have in common.

use super::opened::Loaded;

/// Says so where not every result comes from one version of the library.
pub(crate) fn library_note<'a>(loaded: impl Iterator<Item = &'a Loaded>) -> Option<String> {
    let mut versions: Vec<(&str, &str)> =
        loaded.map(|loaded| (loaded.provider.as_str(), loaded.library_version.as_str())).collect();
    versions.sort_unstable();
    versions.dedup();
    if versions.iter().all(|(_, version)| *version == versions[0].1) {
        return None;
    }
    let named: Vec<String> = versions.iter().map(|(provider, version)| format!("{provider} {version}")).collect();
    Some(format!("the library versions differ ({}): so may the results", named.join(", ")))
}
