//! A folder that appears whole or not at all, with the digest of every file.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use onnx_file::atomic;
use onnx_file::bundle::{SUMS, is_bundle, sums_text};
use onnx_file::digest;
use onnx_file::temporary::Temporary;

/// A bundle on its way to its place. Dropped without [`Folder::commit`] it leaves nothing.
pub(super) struct Folder {
    destination: PathBuf,
    /// Beside the destination, so that renaming moves nothing.
    temporary: Temporary,
    root: PathBuf,
    digests: BTreeMap<String, String>,
    bytes: u64,
}

/// Why no bundle can go to `path`, as a sentence. What is replaced is a bundle, never another folder.
pub(super) fn refusal(path: &Path, force: bool) -> Option<String> {
    let there = fs::symlink_metadata(path).ok()?;
    let path_is = |what: &str| Some(format!("{} {what}; give another -o", path.display()));
    match (there.is_dir(), is_bundle(path)) {
        (false, _) => path_is("is there and no folder"),
        (true, false) if fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_none()) => None,
        (true, false) => path_is("is a folder that holds something else than a bundle"),
        (true, true) if !force => Some(format!("{} exists; give another -o, or --force to replace it", path.display())),
        (true, true) => None,
    }
}

impl Folder {
    pub(super) fn create(destination: &Path) -> io::Result<Self> {
        let parent = destination.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let temporary = Temporary::folder(parent, ".resnext-bundle-")?;
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

    /// Adds the digests, and gives the folder its name; returns what it holds and its bytes.
    pub(super) fn commit(mut self) -> io::Result<(BTreeMap<String, String>, u64)> {
        let text = sums_text(&self.digests);
        fs::write(self.root.join(SUMS), &text)?;
        self.bytes += text.len() as u64;
        let Self { destination, temporary, root, digests, bytes } = self;
        let aside = temporary.path().join("old");
        let replaced = match fs::rename(&destination, &aside) {
            Ok(()) => true,
            Err(error) if error.kind() == io::ErrorKind::NotFound => false,
            Err(error) => return Err(error),
        };
        if let Err(error) = fs::rename(&root, &destination) {
            if replaced {
                // The error of the new one is the one to tell.
                let _ = fs::rename(&aside, &destination);
            }
            return Err(error);
        }
        Ok((digests, bytes))
    }
}
