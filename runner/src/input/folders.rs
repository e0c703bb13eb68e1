//! The images in folders, links followed, each folder once.
//!
//! Links may lead in circles, or from each of many folders to all others: what was visited is known by the numbers that
//! the system gives it, not by the ways that lead there, of which there may be more than anybody can walk.

use std::collections::HashSet;
use std::fs::Metadata;
use std::io;
use std::path::{Path, PathBuf};

use super::decode::EXTENSIONS;

/// The images meant by `paths`: files as they are, folders as every image file below them in order of name. A folder that
/// is reached again is passed over.
///
/// # Errors
/// The path and the error where a folder or file cannot be looked at.
pub fn expand(paths: &[PathBuf]) -> Result<Vec<PathBuf>, (PathBuf, io::Error)> {
    find(paths).map(|found| found.images)
}

/// What is found below folders.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Images, in order of name.
    pub images: Vec<PathBuf>,
    /// Other files, hidden ones aside.
    pub left_out: Vec<PathBuf>,
}

/// As [`expand`], with the files that are left out.
///
/// # Errors
/// As for [`expand`].
pub fn find(paths: &[PathBuf]) -> Result<Found, (PathBuf, io::Error)> {
    let mut found = Found::default();
    let mut visited = HashSet::new();
    for path in paths {
        if path.is_dir() { walk(path, &mut visited, &mut found)? } else { found.images.push(path.clone()) }
    }
    Ok(found)
}

fn walk(folder: &Path, visited: &mut HashSet<Identity>, found: &mut Found) -> Result<(), (PathBuf, io::Error)> {
    // What is still to be looked at, the next one last; on a stack of its own, since depth is the folder's choice.
    let mut waiting = vec![folder.to_owned()];
    while let Some(path) = waiting.pop() {
        let told = |error| (path.clone(), error);
        // Links that lead nowhere are no folders.
        let about = std::fs::metadata(&path).ok().filter(Metadata::is_dir);
        let Some(about) = about else {
            let is_hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
            if is_image_name(&path) {
                found.images.push(path);
            } else if !is_hidden {
                found.left_out.push(path);
            }
            continue;
        };
        if !visited.insert(Identity::of(&path, &about).map_err(told)?) {
            continue;
        }
        let entries = std::fs::read_dir(&path).map_err(told)?;
        let mut entries =
            entries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<Vec<_>, _>>().map_err(told)?;
        entries.sort_unstable_by(|a, b| b.cmp(a));
        waiting.extend(entries);
    }
    Ok(())
}

/// What a file or folder is known by, whichever name leads to it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Identity(#[cfg(unix)] (u64, u64), #[cfg(not(unix))] PathBuf);

impl Identity {
    /// Of `path`, whose metadata are `about`.
    #[cfg(unix)]
    pub(crate) fn of(_path: &Path, about: &Metadata) -> io::Result<Identity> {
        use std::os::unix::fs::MetadataExt as _;
        Ok(Identity((about.dev(), about.ino())))
    }

    /// Of `path`, whose metadata are `about`.
    #[cfg(not(unix))]
    pub(crate) fn of(path: &Path, _about: &Metadata) -> io::Result<Identity> {
        path.canonicalize().map(Identity)
    }
}

/// Files among `paths` that an earlier one leads to as well: the earlier one, and itself.
pub(crate) fn again<'p>(paths: impl Iterator<Item = &'p Path>) -> Vec<(&'p Path, &'p Path)> {
    let mut first = std::collections::HashMap::new();
    let mut found = Vec::new();
    for path in paths {
        // What cannot be looked at is told where it is read.
        let identity = std::fs::metadata(path).and_then(|about| Identity::of(path, &about));
        let Ok(identity) = identity else { continue };
        match first.entry(identity) {
            std::collections::hash_map::Entry::Occupied(before) => found.push((*before.get(), path)),
            std::collections::hash_map::Entry::Vacant(new) => drop(new.insert(path)),
        }
    }
    found
}

/// Whether a file name ends like that of an image this program reads.
pub fn is_image_name(path: &Path) -> bool {
    let extension = path.extension().map(|extension| extension.to_string_lossy().to_ascii_lowercase());
    extension.is_some_and(|extension| EXTENSIONS.contains(&extension.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn folders_are_expanded_in_order_and_named_files_are_kept_whatever_their_name() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("b")).unwrap();
        for name in ["c.JPG", "b/z.png", "b/a.webp", "b.png", "notes.txt"] {
            fs::write(folder.path().join(name), b"").unwrap();
        }
        let notes = folder.path().join("notes.txt");
        let found = expand(&[notes.clone(), folder.path().to_owned()]).unwrap();
        let expected: Vec<PathBuf> =
            ["notes.txt", "b/a.webp", "b/z.png", "b.png", "c.JPG"].map(|name| folder.path().join(name)).to_vec();
        assert_eq!(found, expected);
        assert_eq!(find(&[folder.path().to_owned()]).unwrap().left_out, std::slice::from_ref(&notes));
        let none = folder.path().join("none");
        assert_eq!(expand(std::slice::from_ref(&none)).unwrap(), [none], "told where it is read");
    }

    #[cfg(unix)]
    #[test]
    fn folders_that_all_link_to_each_other_are_visited_once() {
        let folder = tempfile::tempdir().unwrap();
        const MANY: usize = 40;
        for i in 0..MANY {
            fs::create_dir(folder.path().join(format!("f{i}"))).unwrap();
            for j in 0..MANY {
                std::os::unix::fs::symlink(format!("../f{j}"), folder.path().join(format!("f{i}/to{j}"))).unwrap();
            }
            std::os::unix::fs::symlink("..", folder.path().join(format!("f{i}/up"))).unwrap();
        }
        fs::write(folder.path().join("f7/a.png"), b"").unwrap();
        fs::write(folder.path().join("f9/b.png"), b"").unwrap();
        assert_eq!(expand(&[folder.path().to_owned(), folder.path().join("f7")]).unwrap().len(), 2);
    }

    #[cfg(unix)]
    #[test]
    fn depth_costs_no_more_than_its_folders() {
        let root = tempfile::tempdir().unwrap();
        let mut path = root.path().to_owned();
        (0..1000).for_each(|_| path.push("d"));
        fs::create_dir_all(&path).unwrap();
        fs::write(path.join("a.png"), b"").unwrap();
        let start = std::time::Instant::now();
        assert_eq!(expand(&[root.path().to_owned()]).unwrap(), [path.join("a.png")]);
        assert!(start.elapsed() < std::time::Duration::from_secs(5), "{:?}", start.elapsed());
    }

    #[cfg(unix)]
    #[test]
    fn a_file_that_is_reached_again_is_told_by_whatever_link() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::write(at("a"), "x").unwrap();
        fs::write(at("b"), "x").unwrap();
        fs::hard_link(at("a"), at("hard")).unwrap();
        std::os::unix::fs::symlink("b", at("soft")).unwrap();
        let names = ["a", "b", "none", "hard", "soft"].map(at);
        let found = again(names.iter().map(PathBuf::as_path));
        assert_eq!(found, [(at("a").as_path(), at("hard").as_path()), (at("b").as_path(), at("soft").as_path())]);
    }
}
