//! What was found out about a library on a processor, kept: the answer does not change before one of them does.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use onnx_file::atomic::AtomicFile;
use onnx_file::{digest, open};
use sha2::{Digest as _, Sha256};

use super::Kernels;
use crate::backend::onnxruntime::runtime::find::Library;
use crate::host::cache;
use crate::host::machine::Host;

/// What was found out about `library` on this processor; nothing where it was not asked yet.
pub fn look_up(library: &Library, host: &Host) -> Option<Kernels> {
    read(&place(&folder()?, library, host).ok()?)
}

/// Keeps what was found out. Where it cannot be kept it is found out again.
pub fn keep(library: &Library, host: &Host, kernels: &Kernels) {
    let kept = || write(&place(&folder().ok_or(io::ErrorKind::NotFound)?, library, host)?, kernels);
    if let Err(error) = kept() {
        tracing::debug!(%error, "the answers of the kernels are not kept");
    }
}

fn folder() -> Option<PathBuf> {
    cache::folder().map(|folder| folder.join("kernels"))
}

/// The file of this library, by its content, on this processor, by what kernels are chosen by, for this program.
fn place(folder: &Path, library: &Library, host: &Host) -> io::Result<PathBuf> {
    let processor = (host.processor.as_deref(), &host.platform, &host.instruction_sets);
    let key = format!("{} {processor:?} {}", digest::file(&library.path)?, env!("CARGO_PKG_VERSION"));
    Ok(folder.join(format!("{:x}.json", Sha256::digest(key.as_bytes()))))
}

fn read(path: &Path) -> Option<Kernels> {
    serde_json::from_str(&open::read_text(path, open::SMALL).ok()?).ok()
}

fn write(path: &Path, kernels: &Kernels) -> io::Result<()> {
    path.parent().map_or(Ok(()), std::fs::create_dir_all)?;
    let mut file = AtomicFile::create(path)?;
    file.write_all(&serde_json::to_vec(kernels)?)?;
    file.commit()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::onnxruntime::runtime::find::Origin;

    #[test]
    fn answers_are_kept_for_this_library_and_this_processor() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("library");
        std::fs::write(&path, "one").unwrap();
        let library = Library { path: path.clone(), origin: Origin::Flag };
        let host = Host::read();
        let place_now = |host: &Host| place(folder.path(), &library, host).unwrap();
        let kernels = Kernels { library: "one".into(), answers: vec![], error: None, seconds: 0.5 };
        let first = place_now(&host);
        assert_eq!(read(&first), None);
        write(&first, &kernels).unwrap();
        assert_eq!(read(&place_now(&host)), Some(kernels));
        assert_ne!(place_now(&Host { processor: Some("another".into()), ..host.clone() }), first);
        assert_ne!(place_now(&Host { instruction_sets: vec!["amx-int8".into()], ..host.clone() }), first);
        std::fs::write(&path, "two").unwrap();
        assert_ne!(place_now(&host), first);
        std::fs::write(&first, "not ours").unwrap();
        assert_eq!(read(&first), None);
    }
}
