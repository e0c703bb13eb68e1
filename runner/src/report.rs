//! Results for people and programs: the only place that formats.
//!
//! Each result becomes a [`Document`](document::Document), headings, tables and lists, which [`text`], [`markdown`] and, with
//! plots, [`html`] write out; [`json`]
//! and [`csv`] write the result itself.

pub mod csv;
pub mod document;
pub mod html;
pub mod json;
pub mod markdown;
pub mod next;
pub mod note;
pub mod number;
pub mod plot;
pub mod ratio;
pub mod text;

use std::collections::BTreeMap;
use std::path::Path;

use crate::host::environment::Environment;
use crate::input::broken::Broken;
use crate::model::opened::Loaded;

/// Classes, confusions, images that a list shows; all are in the JSON.
pub(crate) const SHOWN: usize = 20;

/// Number of nodes by provider, the most first.
pub(crate) fn placement(loaded: &Loaded) -> String {
    let mut placed: Vec<(&String, &usize)> = loaded.placement.iter().collect();
    placed.sort_by(|a, b| b.1.cmp(a.1).then(a.0.cmp(b.0)));
    let said = |(provider, count): &(&String, &usize)| {
        format!("{} {count}", provider.strip_suffix("ExecutionProvider").unwrap_or(provider))
    };
    placed.iter().map(said).collect::<Vec<_>>().join(", ")
}

/// The first of a list, and how many more there are.
pub(crate) fn shown(mut items: Vec<String>) -> Vec<String> {
    let more = items.len().saturating_sub(SHOWN);
    if more > 0 {
        items.truncate(SHOWN);
        items.push(format!("and {more} more"));
    }
    items
}

/// Images that could not be read, and why.
pub(crate) fn broken(images: &[Broken]) -> Vec<String> {
    shown(images.iter().map(|broken| format!("{}: {}", broken.path, broken.reason)).collect())
}

/// Names for model files: the file name alone where no two files share it, the path otherwise.
pub(crate) fn short_names<'a>(paths: impl Iterator<Item = &'a str>) -> BTreeMap<&'a str, String> {
    let file_name = |path: &str| {
        Path::new(path).file_name().map_or_else(|| path.to_owned(), |name| name.to_string_lossy().into_owned())
    };
    let paths: std::collections::BTreeSet<&str> = paths.collect();
    let shared = |name: &str| paths.iter().filter(|path| file_name(path) == name).count() > 1;
    let short = |path: &&'a str| {
        let name = file_name(path);
        (*path, if shared(&name) { (*path).to_owned() } else { name })
    };
    paths.iter().map(short).collect()
}

/// A word for a shell: a file may be called anything, and a model file may call its nodes so.
pub(crate) fn shell_word(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._/-:".contains(c);
    if word.chars().all(plain) { word.to_owned() } else { format!("'{}'", word.replace('\'', r"'\''")) }
}

/// The machine in one line.
pub(crate) fn machine(environment: &Environment) -> String {
    let host = &environment.host;
    let processor = host.processor.as_deref().unwrap_or("unknown processor");
    let mut parts = vec![processor.to_owned(), format!("{} processors", host.usable_processors)];
    parts.extend(host.gpus.iter().map(|gpu| gpu.name.clone()));
    parts.push(host.platform.clone());
    if environment.virtual_machine == Some(true) {
        parts.push("virtual machine".to_owned());
    }
    parts.extend(environment.governor.as_ref().map(|governor| format!("governor {governor}")));
    parts.extend(environment.load_average.map(|load| format!("load {:.2}", load[0])));
    parts.join(", ")
}
