//! The same image under two classes: one of the two is wrong, and no model can be right about both.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use onnx_file::digest;

use super::labelled::Labelled;
use crate::input::folders::again;

/// Groups of files with the same content that are of different classes. Only files of one size are read.
pub(crate) fn of_two_classes(images: &[Labelled]) -> Vec<Vec<PathBuf>> {
    // A link is told as such.
    let again: BTreeSet<&Path> = again(images.iter().map(AsRef::as_ref)).into_iter().map(|(_, path)| path).collect();
    let mut sizes: BTreeMap<u64, Vec<&Labelled>> = BTreeMap::new();
    for image in images.iter().filter(|image| !again.contains(image.path.as_path())) {
        // What cannot be looked at is told when it is read.
        if let Ok(about) = std::fs::metadata(&image.path) {
            sizes.entry(about.len()).or_default().push(image);
        }
    }
    let several = |images: &[&Labelled]| images.iter().map(|image| image.class).collect::<BTreeSet<_>>().len() > 1;
    let mut groups = Vec::new();
    for (_, images) in sizes.into_iter().filter(|(size, images)| *size > 0 && several(images)) {
        let mut same: BTreeMap<String, Vec<&Labelled>> = BTreeMap::new();
        for image in images.iter().filter(|image| !again.contains(image.path.as_path())) {
            if let Ok(digest) = digest::file(&image.path) {
                same.entry(digest).or_default().push(image);
            }
        }
        let groups_here = same.into_values().filter(|images| several(images));
        groups.extend(groups_here.map(|images| images.into_iter().map(|image| image.path.clone()).collect()));
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_the_same_content_are_told_where_their_classes_differ() {
        let folder = tempfile::tempdir().unwrap();
        let image = |name: &str, content: &str, class: usize| {
            let path = folder.path().join(name);
            std::fs::write(&path, content).unwrap();
            Labelled { path, class }
        };
        let images =
            [image("a", "one", 0), image("b", "two", 1), image("c", "one", 1), image("d", "two", 1), image("e", "", 0)];
        let found = of_two_classes(&images);
        assert_eq!(found, [vec![images[0].path.clone(), images[2].path.clone()]]);
    }
}
