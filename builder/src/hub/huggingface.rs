//! Repositories of Hugging Face's, in its own cache, so that its programs and this one share one copy.
//!
//! Weights that are in the cache are taken without asking anybody. What is not there, a configuration beside them included, is downloaded into it as `huggingface_hub` would: the
//! contents under their digest in `blobs`, links to them in `snapshots/COMMIT`, the commit that a branch means in `refs`.
//! The weights' link comes last, so that a snapshot with weights is whole; but another program may have left it without the
//! configuration that says how the weights are meant. Which files a repository does not have is noted in `.no_exist`, as
//! `huggingface_hub` does, so that no file is asked for twice.

mod cache;
mod metadata;
mod place;
mod plain;

use std::path::{Path, PathBuf};

pub use place::Place;

use super::by_hand::ByHand;
use super::cached::{Fetched, Unasked, obtain};
use super::error::{HubError, Kept};
use super::request::{Event, Hub, Length, Wanted};
use crate::checkpoint::{WEIGHT_FILES, is_index, shard_names, weights_in};
use crate::sidecar::SIDECARS;
use cache::Stored;
use metadata::{Answer, Metadata};
use plain::is_plain_text;

/// What a repository's name begins with on the command line.
const PREFIXES: [&str; 2] = ["hf-hub:", "hf_hub:"];

/// A repository at one of its revisions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repository {
    /// `ORG/NAME`, or for the oldest `NAME`.
    pub name: String,
    /// A branch, a tag or a commit.
    pub revision: String,
}

impl Repository {
    /// The repository that `text` names, `hf-hub:ORG/NAME` or `hf-hub:ORG/NAME@REVISION`; `None` for what is no such name.
    ///
    /// # Errors
    /// [`HubError::Settings`] for what begins like one and leads elsewhere.
    pub fn parse(text: &str) -> Result<Option<Self>, HubError> {
        let Some(rest) = PREFIXES.iter().find_map(|prefix| text.strip_prefix(prefix)) else { return Ok(None) };
        let (name, revision) = rest.split_once('@').unwrap_or((rest, "main"));
        let parts: Vec<&str> = name.split('/').collect();
        if parts.len() > 2 || !parts.iter().all(|part| is_plain_text(part)) || !revision.split('/').all(is_plain_text) {
            return Err(HubError::Settings(format!(
                "'{rest}' is no name of a Hugging Face repository: write hf-hub:ORG/NAME, or hf-hub:ORG/NAME@REVISION"
            )));
        }
        Ok(Some(Self { name: name.to_owned(), revision: revision.to_owned() }))
    }
}

/// The folder of `repository` in the cache of `place`, its weights in it: as it is, or downloaded.
///
/// # Errors
/// [`HubError`]; nothing that was in the cache is changed.
pub(super) fn fetch(
    repository: &Repository,
    place: &Place,
    hub: &Hub,
    on: &mut dyn FnMut(Event<'_>),
) -> Result<Fetched, HubError> {
    let stored = Stored::new(&place.cache, &repository.name);
    if let Some(commit) = stored.commit(&repository.revision).filter(|commit| is_whole(&stored.folder_of(commit))) {
        let path = stored.folder_of(&commit);
        let unasked = complete(repository, place, hub, on, stored, &commit);
        return Ok(Fetched { path, downloaded: false, unasked });
    }
    if let Some(variable) = place.offline {
        return Err(HubError::NotCached {
            repository: repository.name.clone(),
            revision: repository.revision.clone(),
            folder: stored.folder().display().to_string(),
            variable,
        });
    }
    Fetch { repository, place, hub, stored, on }.run()
}

/// Fetches what may lie beside the weights of the snapshot of `commit` and was never asked for; what is unknown still. The
/// weights are there, so that a server out of reach is no failure.
fn complete(
    repository: &Repository,
    place: &Place,
    hub: &Hub,
    on: &mut dyn FnMut(Event<'_>),
    stored: Stored,
    commit: &str,
) -> Option<Unasked> {
    let files: Vec<&str> = SIDECARS.into_iter().filter(|file| !stored.is_known(commit, file)).collect();
    let reason = match place.offline {
        _ if files.is_empty() => return None,
        Some(variable) => format!("{variable} forbids to ask for it"),
        None => match (Fetch { repository, place, hub, stored, on }).sidecars(commit, &files) {
            Ok(()) => return None,
            Err(HubError::Download { reason, .. }) => reason,
            Err(error) => error.to_string(),
        },
    };
    Some(Unasked { files, reason })
}

/// Whether a snapshot has weights, and all shards of them where they are in several.
fn is_whole(folder: &Path) -> bool {
    let Some(weights) = weights_in(folder) else { return false };
    // What is no index has no shards, and is whole by itself.
    !is_index(&weights) || shard_names(&weights).is_ok_and(|names| names.iter().all(|name| folder.join(name).is_file()))
}

struct Fetch<'a> {
    repository: &'a Repository,
    place: &'a Place,
    hub: &'a Hub,
    stored: Stored,
    on: &'a mut dyn FnMut(Event<'_>),
}

impl Fetch<'_> {
    fn run(mut self) -> Result<Fetched, HubError> {
        let (name, found) = self.weights()?;
        let commit = found.commit.clone().unwrap_or_else(|| self.repository.revision.replace('/', "-"));
        self.sidecars(&commit, &SIDECARS)?;
        if is_index(Path::new(name)) {
            let index = self.blob(&found)?;
            for shard in self.shards(&index)? {
                match self.ask(&shard, &commit)? {
                    Answer::Found(found) => self.file(&shard, &commit, &found)?,
                    Answer::Absent(reason) => return Err(self.failed(&shard, &commit, reason)),
                }
            }
        }
        self.file(name, &commit, &found)?;
        if found.commit.as_ref().is_some_and(|commit| *commit != self.repository.revision) {
            self.stored.set_reference(&self.repository.revision, &commit)?;
        }
        Ok(Fetched { path: self.stored.folder_of(&commit), downloaded: true, unasked: None })
    }

    /// Downloads those of `files` that the repository has at `commit`.
    fn sidecars(&mut self, commit: &str, files: &[&'static str]) -> Result<(), HubError> {
        // A server that names no commit knows the revision alone.
        let named = commit == self.repository.revision.replace('/', "-");
        let revision = if named { self.repository.revision.as_str() } else { commit };
        for file in files {
            match self.ask(file, revision)? {
                Answer::Found(found) => self.file(file, commit, &found)?,
                Answer::Absent(_) => self.stored.set_absent(commit, file),
            }
        }
        Ok(())
    }

    /// The first of the usual names that the repository has.
    fn weights(&self) -> Result<(&'static str, Metadata), HubError> {
        for name in WEIGHT_FILES {
            if let Answer::Found(found) = self.ask(name, &self.repository.revision)? {
                return Ok((name, found));
            }
        }
        Err(HubError::NoWeights {
            repository: self.repository.name.clone(),
            revision: self.repository.revision.clone(),
            names: WEIGHT_FILES.to_vec(),
            endpoint: self.place.endpoint.clone(),
        })
    }

    fn ask(&self, file: &str, revision: &str) -> Result<Answer, HubError> {
        let url = self.url(file, revision);
        metadata::ask(&url, self.place.token.as_ref(), self.hub)
            .map_err(|reason| self.failed(file, revision, self.explained(reason)))
    }

    fn url(&self, file: &str, revision: &str) -> String {
        // A revision is one part of the path, as `refs/pr/1` is one.
        let revision = revision.replace('/', "%2F");
        format!("{}/{}/resolve/{revision}/{file}", self.place.endpoint, self.repository.name)
    }

    /// Downloads `file` and links it into the snapshot of `commit`.
    fn file(&mut self, file: &str, commit: &str, found: &Metadata) -> Result<(), HubError> {
        let blob = self.blob(found)?;
        self.stored.link(commit, file, &blob)
    }

    /// Downloads the contents of the file that was `found`.
    fn blob(&mut self, found: &Metadata) -> Result<PathBuf, HubError> {
        let wanted = Wanted {
            url: found.url.clone(),
            token: self.place.token.clone().filter(|_| found.authorized),
            sha256: found.sha256().map(str::to_owned),
            length: found.bytes.map_or(Length::Unknown, Length::Exactly),
            by_hand: self.by_hand(),
        };
        obtain(&wanted, &self.stored.blob(&found.tag()), self.hub, self.on).map(|fetched| fetched.path)
    }

    fn shards(&self, index: &Path) -> Result<Vec<String>, HubError> {
        let wrong = |reason: String| HubError::Index { path: index.display().to_string(), reason };
        let names = shard_names(index).map_err(|error| wrong(error.to_string()))?;
        match names.iter().find(|name| !is_plain_text(name)) {
            Some(name) => Err(wrong(format!("'{name}' is no plain name of a file"))),
            None => Ok(names),
        }
    }

    /// A refusal, with what a user can do about it.
    fn explained(&self, refused: metadata::Refused) -> String {
        let metadata::Refused { reason, needs_token } = refused;
        match (needs_token, &self.place.token) {
            (false, _) => reason,
            (true, None) => format!(
                "{reason}; there is no such repository, or it is private or gated: accept its terms on its page and set HF_TOKEN to a token of yours"
            ),
            (true, Some(_)) => format!(
                "{reason}; the token of HF_TOKEN or of `hf auth login` was sent: it must belong to somebody who may read the repository and has accepted its terms"
            ),
        }
    }

    fn failed(&self, file: &str, revision: &str, reason: String) -> HubError {
        let (url, by_hand) = (self.url(file, revision), Box::new(self.by_hand()));
        HubError::Download { url, reason, kept: Kept::default().into(), by_hand }
    }

    fn by_hand(&self) -> ByHand {
        ByHand::Repository { name: self.repository.name.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_lead_elsewhere_are_refused() {
        for name in ["", "a/b/c", "../x", "a/..", "/a", "a/b@../../x", "a b/c", "a\\b", "a/b@", "a/.b"] {
            let parsed = Repository::parse(&format!("hf-hub:{name}"));
            assert!(matches!(parsed, Err(HubError::Settings(_))), "{name}");
        }
        let found = Repository::parse("hf_hub:timm/x@refs/pr/1").unwrap().unwrap();
        assert_eq!((found.name.as_str(), found.revision.as_str()), ("timm/x", "refs/pr/1"));
        assert_eq!(Repository::parse("timm/x").unwrap(), None);
    }
}
