//! A folder that appears whole or not at all, with the digest of every file.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use onnx_file::atomic;
use onnx_file::bundle::{SUMS, is_bundle, strangers, sums_text};
use onnx_file::digest;
use onnx_file::temporary::Temporary;
use onnx_file::text::shown;

use super::error::BundleError;

/// What names of bundles on their way begin with.
const PREFIX: &str = ".resnext-bundle-";
/// Most names that a refusal lists.
const MOST_NAMES: usize = 5;

/// A bundle on its way to its place. Dropped without [`Folder::commit`] it leaves nothing.
pub(super) struct Folder {
    destination: PathBuf,
    /// Beside the destination, so that renaming moves nothing.
    temporary: Temporary,
    root: PathBuf,
    digests: BTreeMap<String, String>,
    bytes: u64,
}

/// Why no bundle can go to `path`, as a sentence. What is replaced is a bundle with nothing else in it,
/// never another folder.
pub(super) fn refusal(path: &Path, force: bool) -> Option<String> {
    let there = fs::symlink_metadata(path).ok()?;
    let path_is = |what: &str| Some(format!("{} {what}; give another -o", path.display()));
    match (there.is_dir(), is_bundle(path)) {
        (false, _) => path_is("is there and no folder"),
        (true, false) if fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_none()) => None,
        (true, false) => path_is("is a folder that holds something else than a bundle"),
        (true, true) if !force => Some(format!("{} exists; give another -o, or --force to replace it", path.display())),
        (true, true) => match strangers(path) {
            Ok(names) if names.is_empty() => None,
            Ok(names) => {
                let more = if names.len() > MOST_NAMES { " and more" } else { "" };
                let names: Vec<_> = names.iter().take(MOST_NAMES).map(|name| shown(name)).collect();
                let names = names.join(", ");
                path_is(&format!("holds what is not of the bundle, which --force would delete: {names}{more}"))
            }
            Err(error) => path_is(&format!("cannot be told from what is not of the bundle: {error}")),
        },
    }
}

impl Folder {
    pub(super) fn create(destination: &Path) -> io::Result<Self> {
        let parent = destination.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let temporary = Temporary::folder(parent, PREFIX)?;
        // A folder in it has the permissions that new folders have.
        let root = temporary.path().join("bundle");
        fs::create_dir(&root)?;
        Ok(Self { destination: destination.to_owned(), temporary, root, digests: BTreeMap::new(), bytes: 0 })
    }

    /// Writes a file by its name in the bundle, with `/` between folders.
    pub(super) fn write(&mut self, name: &str, content: &[u8]) -> io::Result<()> {
        if atomic::stopped() {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let path = self.root.join(name);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        let mut file = fs::File::create_new(&path)?;
        file.write_all(content)?;
        self.bytes += content.len() as u64;
        self.digests.insert(name.to_owned(), digest::hex(&digest::sha256(content)?));
        Ok(())
    }

    /// Names and digests so far.
    pub(super) fn digests(&self) -> &BTreeMap<String, String> {
        &self.digests
    }

    /// Adds the digests, and gives the folder its name; returns what it holds and its bytes. With `force` a bundle that is
    /// there makes way, if nothing else has come into it.
    pub(super) fn commit(mut self, force: bool) -> Result<(BTreeMap<String, String>, u64), BundleError> {
        let path = self.destination.clone();
        let failed = |source| BundleError::Output { path: path.clone(), source };
        let text = sums_text(&self.digests);
        fs::write(self.root.join(SUMS), &text).map_err(failed)?;
        self.bytes += text.len() as u64;
        // Making a bundle takes minutes, in which others may have written there.
        if let Some(reason) = refusal(&self.destination, force) {
            return Err(BundleError::Request(reason));
        }
        let Self { destination, temporary, root, digests, bytes } = self;
        if !(force && is_bundle(&destination)) {
            // This fails where a folder with something in it has appeared.
            fs::rename(&root, &destination).map_err(failed)?;
            return Ok((digests, bytes));
        }
        let aside = aside(temporary.path());
        fs::rename(&destination, &aside).map_err(failed)?;
        if let Err(error) = fs::rename(&root, &destination) {
            let told = match fs::rename(&aside, &destination) {
                Ok(()) => error,
                Err(_) => io::Error::new(error.kind(), format!("{error}; the old bundle is in {}", aside.display())),
            };
            return Err(failed(told));
        }
        // The new one is in place; what cannot be removed of the old one is no reason to say otherwise.
        let _ = fs::remove_dir_all(&aside);
        Ok((digests, bytes))
    }
}

/// Where an old bundle waits until the new one is in place: beside it, by a name that nothing sweeps, so that a process
/// that is killed between the two leaves it.
fn aside(temporary: &Path) -> PathBuf {
    let name = temporary.file_name().unwrap_or_default().to_string_lossy();
    temporary.with_file_name(format!(".replaced{name}"))
}

/// Refuses to write to `output` where one of `inputs` lies in it.
pub(super) fn apart<'a>(output: &Path, inputs: impl IntoIterator<Item = &'a PathBuf>) -> Result<(), BundleError> {
    let Ok(output_path) = fs::canonicalize(output) else { return Ok(()) };
    let lies_in = |input: &&PathBuf| fs::canonicalize(input).is_ok_and(|path| path.starts_with(&output_path));
    let inside: Vec<String> = inputs.into_iter().filter(lies_in).map(|path| path.display().to_string()).collect();
    if inside.is_empty() {
        return Ok(());
    }
    let (inside, output) = (inside.join(", "), output.display());
    Err(BundleError::Request(format!("{inside}: in {output}, which would be replaced; give another -o")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use onnx_file::bundle::MANIFEST;

    fn new(destination: &Path) -> Folder {
        let mut folder = Folder::create(destination).unwrap();
        folder.write(MANIFEST, b"{}").unwrap();
        folder
    }

    fn names(path: &Path) -> Vec<String> {
        let entries = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<String> = entries.collect();
        names.sort();
        names
    }

    #[test]
    fn what_appears_while_it_works_stays() {
        let parent = tempfile::tempdir().unwrap();
        let at = parent.path().join("b");
        for force in [false, true] {
            let folder = new(&at);
            fs::create_dir(&at).unwrap();
            fs::write(at.join("thesis.tex"), "x").unwrap();
            assert!(matches!(folder.commit(force), Err(BundleError::Request(_))), "{force}");
            assert_eq!((names(&at), names(parent.path())), (vec!["thesis.tex".into()], vec!["b".into()]));
            fs::remove_dir_all(&at).unwrap();
        }
        let (one, two, three) = (new(&at), new(&at), new(&at));
        one.commit(false).unwrap();
        assert!(matches!(two.commit(false), Err(BundleError::Request(_))));
        fs::write(at.join("notes.txt"), "x").unwrap();
        assert!(three.commit(true).is_err_and(|error| error.to_string().contains("notes.txt")));
        fs::remove_file(at.join("notes.txt")).unwrap();
        new(&at).commit(true).unwrap();
        assert_eq!((names(&at), names(parent.path())), (vec![SUMS.into(), MANIFEST.into()], vec!["b".into()]));
    }

    #[test]
    fn an_old_bundle_waits_where_no_sweep_takes_it() {
        let parent = tempfile::tempdir().unwrap();
        let folder = new(&parent.path().join("b"));
        let aside = aside(folder.temporary.path());
        assert_eq!(aside.parent(), Some(parent.path()));
        assert!(!aside.file_name().unwrap().to_str().unwrap().starts_with(PREFIX));
    }
}
