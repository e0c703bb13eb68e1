//! From weights that lie elsewhere to a file or folder of this machine, with the digest that was asked for.

use std::path::Path;

use onnx_file::digest;

use super::error::BuildError;
use super::plan::{Plan, Weights};
use super::summary::Progress;
use crate::hub::{self, Fetched, Unasked};
use crate::note::Note;

/// `plan` with its weights on this machine, and how they came to it.
pub(crate) fn obtained(plan: &Plan, progress: &mut dyn FnMut(Progress<'_>)) -> Result<(Plan, Vec<Note>), BuildError> {
    let mut plan = plan.clone();
    match &plan.weights {
        Weights::Remote { remote, hub } => {
            let fetched = hub::fetch_remote(remote, hub, &mut |event| progress(Progress::Fetching(event)))?;
            let sha256 = if fetched.path.is_dir() { None } else { Some(sha256(&fetched.path)?) };
            let (from, downloaded, file) = (remote.to_string(), fetched.downloaded, fetched.path.clone());
            let unasked = unasked(&fetched);
            plan.weights = Weights::File(fetched.path);
            let notes = [Note::RemoteWeights { from, downloaded, file, sha256 }].into_iter().chain(unasked);
            Ok((plan, notes.collect()))
        }
        Weights::File(path) => {
            check_sha256(path, plan.sha256.as_deref())?;
            Ok((plan, Vec::new()))
        }
        Weights::Published { .. } | Weights::Random { .. } => Ok((plan, Vec::new())),
    }
}

/// What is not known of what was fetched.
pub(crate) fn unasked(fetched: &Fetched) -> Option<Note> {
    let Unasked { files, reason } = fetched.unasked.clone()?;
    Some(Note::SidecarsUnasked { folder: fetched.path.clone(), files, reason })
}

/// Refuses the file at `path` where its digest does not begin with what is `expected`.
pub(crate) fn check_sha256(path: &Path, expected: Option<&str>) -> Result<(), BuildError> {
    let Some(expected) = expected else { return Ok(()) };
    if path.is_dir() {
        let text = "--sha256 is the digest of one file, and these weights are a folder; name the file in it";
        return Err(BuildError::Request(text.into()));
    }
    let found = sha256(path)?;
    if found.starts_with(expected) {
        return Ok(());
    }
    Err(BuildError::OtherDigest { path: path.display().to_string(), expected: expected.to_owned(), found })
}

fn sha256(path: &Path) -> Result<String, BuildError> {
    digest::file(path).map_err(|source| BuildError::Read { path: path.display().to_string(), source })
}
