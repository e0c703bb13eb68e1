//! A model's file and, where its weights lie apart, their data file: both appear whole, or neither does.
//!
//! The data file's name holds its content's hash, so that an old model never meets new data. Two renames cannot be one:
//! the data file's comes first, since a model without its data would be broken. What a kill between the two leaves can
//! be told from all else: the model's partial file names the data file, and the data's own partial file is gone. The next
//! writer of the same output removes it. A name that was asked for has no hash: whoever replaces such a pair and is killed
//! between the renames leaves the old model with the new data.

mod name;

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, Write};
use std::path::{Path, PathBuf};

use onnx_file::atomic::{self, AtomicFile};
use onnx_file::open;
use onnx_file::proto::{ModelProto, TensorProto};
use onnx_file::read::{self, ReadError};
use onnx_file::write::{WriteError, place_externally, write_external};

use onnx_file::digest::{self, Hashing};

pub use name::DataName;

/// Hex digits of the content's hash in a data file's name.
const DIGITS: usize = 16;

/// When weights go into a file of their own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum External {
    /// Refuse models of 2 GiB and more
    Never,
    /// Where protobuf's limit of 2 GiB needs it
    #[default]
    Auto,
    /// Always
    Always,
}

/// Why no model can be written to `path`, as far as that shows before one is.
pub(crate) fn unwritable(path: &Path) -> Option<io::Error> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    if folder.is_some_and(|folder| !folder.is_dir()) {
        return Some(io::Error::new(io::ErrorKind::NotFound, "its folder does not exist"));
    }
    let is_folder = path.is_dir() || path.file_name().is_none();
    is_folder.then(|| io::Error::new(io::ErrorKind::IsADirectory, "it is a folder; add the name of a file"))
}

/// Why no model can go to `path`, as a sentence: a pipe or device, whose place a file would take, or without `force`
/// a file that is there. `streams` where the request could also be for standard output.
pub(crate) fn refusal(path: &Path, force: bool, streams: bool) -> Option<String> {
    let there = fs::metadata(path).ok()?;
    let path = path.display();
    if !there.is_file() {
        let other = if streams { format!("write to standard output, -o - > {path}") } else { "give another -o".into() };
        return Some(format!("{path} is a pipe or a device, and a model appears as a whole file; {other}"));
    }
    (!force).then(|| format!("{path} exists; give another -o, or --force to replace it"))
}

/// Why a data file cannot go to the name asked for beside the model at `path`, as a sentence.
pub(crate) fn data_refusal(path: &Path, name: Option<&DataName>, external: External, force: bool) -> Option<String> {
    let name = name?;
    if external != External::Always {
        return Some("--external-data-name goes with --external-data always".into());
    }
    let data = name.beside(path);
    if data == path || open::same(&data, path) {
        return Some("--external-data-name is the model's own name; give another".into());
    }
    refusal(&data, force, false)
}

/// The one of `inputs` that writing a model to `path` would destroy: `path` itself, or what is written before it has its
/// name, reached by whatever name or link.
pub(crate) fn overwritten<'a>(path: &Path, inputs: impl IntoIterator<Item = &'a PathBuf>) -> Option<&'a Path> {
    let partials = [atomic::partial(path).ok(), data_partial(path).ok()];
    let written: Vec<PathBuf> = partials.into_iter().flatten().chain([path.to_owned()]).collect();
    let hit = |input: &&PathBuf| written.iter().any(|file| open::same(file, input));
    inputs.into_iter().find(hit).map(PathBuf::as_path)
}

/// A model on its way to its file. Dropped without [`Output::commit`] it leaves nothing.
pub(crate) struct Output {
    path: PathBuf,
    model: AtomicFile,
    data: Option<Data>,
}

/// A whole data file, not yet under its name.
struct Data {
    file: AtomicFile,
    path: PathBuf,
    sha256: [u8; 32],
    len: u64,
}

impl Output {
    /// Claims `path`, and removes what a killed writer of it left.
    pub(crate) fn create(path: &Path) -> io::Result<Self> {
        let model = AtomicFile::create_over(path, |left| remove_orphans(path, left))?;
        // Not before the model's partial file is empty: together they tell that the data file was not renamed.
        let partial = data_partial(path)?;
        if fs::symlink_metadata(&partial).is_ok() {
            // Nobody else may take it before it is gone.
            let claimed = atomic::claim(&partial)?;
            if claimed.is_some() {
                fs::remove_file(&partial)?;
            }
        }
        Ok(Self { path: path.to_owned(), model, data: None })
    }

    /// Moves the weights of `model` to a data file, each with the bytes that `weights` gives. Where none is large enough
    /// to be moved there is no data file.
    pub(crate) fn write_data<E, B: AsRef<[u8]>>(
        &mut self,
        model: &mut ModelProto,
        name: Option<&DataName>,
        weights: impl FnMut(usize, &TensorProto) -> Result<B, E>,
    ) -> Result<(), WriteError<E>> {
        if place_externally(model, "data")? == 0 {
            return Ok(());
        }
        let file = AtomicFile::create_unnamed(&data_partial(&self.path)?)?;
        file.keep_mode_of(&self.path)?;
        let mut hashing = io::BufWriter::with_capacity(1 << 16, Hashing::new(file));
        let len = write_external(model, &mut hashing, weights)?;
        let (file, sha256) = hashing.into_inner().map_err(io::IntoInnerError::into_error)?.finish();
        let name = match name {
            Some(name) => name.to_string(),
            None => format!("{}-{}.data", base(&self.path), &digest::hex(&sha256)[..DIGITS]),
        };
        place_externally(model, &name)?;
        self.data = Some(Data { file, path: self.path.with_file_name(name), sha256, len });
        Ok(())
    }

    /// Where the model's own bytes go.
    pub(crate) fn model(&mut self) -> &mut impl Write {
        &mut self.model
    }

    /// What was written, read back from the files that do not have their names yet.
    pub(crate) fn read_back(&mut self) -> Result<ModelProto, ReadError> {
        let io = |path: &Path| {
            let path = path.to_owned();
            |source| ReadError::Io { path, source }
        };
        self.model.flush().map_err(io(&self.path))?;
        let partial = atomic::partial(&self.path).map_err(io(&self.path))?;
        let mut model = read::read(&partial)?;
        if let Some(data) = &mut self.data {
            data.file.flush().map_err(io(&data.path))?;
            let data = data_partial(&self.path).map_err(io(&self.path))?;
            let name = data.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let tensors = model.graph.iter_mut().flat_map(|graph| &mut graph.initializer);
            let locations = tensors.flat_map(|tensor| &mut tensor.external_data);
            locations.filter(|entry| entry.key == "location").for_each(|entry| entry.value.clone_from(&name));
        }
        Ok(read::whole(&partial, model)?.model)
    }

    /// Puts the files into place; returns them, the model last, and the bytes of the data file.
    pub(crate) fn commit(self) -> io::Result<(Vec<PathBuf>, u64)> {
        let Self { path, model, data } = self;
        let Some(Data { file, path: data, sha256, len }) = data else {
            model.commit()?;
            return Ok((vec![path], 0));
        };
        let there = fs::symlink_metadata(&data).ok();
        let same = |there: &fs::Metadata| there.is_file() && there.len() == len;
        if there.as_ref().is_some_and(same) && digest::sha256(open::file(&data)?)? == sha256 {
            // Another model may use it: it stays, and the partial file stays for as long as a kill must tell so.
            model.commit()?;
            drop(file);
            return Ok((vec![data, path], len));
        }
        file.commit_as(&data)?;
        if let Err(error) = model.commit() {
            if there.is_none() {
                // The model's own error is the one to tell.
                let _ = fs::remove_file(&data);
            }
            return Err(error);
        }
        Ok((vec![data, path], len))
    }
}

/// What the data files of the model at `path` are named after.
fn base(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.strip_suffix(".onnx").unwrap_or(&name).to_owned()
}

/// The data file before its content is known: `.NAME.partial.data`, after the whole name, so that it is this output's
/// alone; and no output's partial model ends so.
fn data_partial(path: &Path) -> io::Result<PathBuf> {
    let mut partial = atomic::partial(path)?.into_os_string();
    partial.push(".data");
    Ok(partial.into())
}

/// Removes a data file that a killed writer of `path` renamed into place for a model that never appeared; `left` is
/// its partial model.
fn remove_orphans(path: &Path, left: &File) -> io::Result<()> {
    let renamed = fs::symlink_metadata(data_partial(path)?).is_err();
    if !renamed || left.metadata()?.len() == 0 {
        return Ok(());
    }
    let base = base(path);
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let Some(name) = data_name(&entry.file_name(), &base) else { continue };
        // The models whose data files have such a name.
        let models = [base.clone(), format!("{base}.onnx")].map(|model| path.with_file_name(model));
        if mentions(left, &name)? && !models.iter().any(|model| is_used_by(model, &name)) {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// `name`, if it is one that [`Output::write_data`] gives.
fn data_name(name: &OsStr, base: &str) -> Option<String> {
    let name = name.to_str()?;
    let hash = name.strip_prefix(base)?.strip_prefix('-')?.strip_suffix(".data")?;
    let hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    (hash.len() == DIGITS && hash.bytes().all(hex)).then(|| name.to_owned())
}

/// Whether a model that is there names the data file, or cannot be asked.
fn is_used_by(model: &Path, data: &str) -> bool {
    match open::file(model) {
        Ok(file) => mentions(&file, data).unwrap_or(true),
        Err(error) => error.kind() != io::ErrorKind::NotFound,
    }
}

/// Whether `text` is anywhere in a file, of which little is in memory at a time.
fn mentions(mut file: &File, text: &str) -> io::Result<bool> {
    file.rewind()?;
    let mut window = Vec::new();
    loop {
        let kept = window.len().min(text.len() - 1);
        window.drain(..window.len() - kept);
        if file.take(1 << 16).read_to_end(&mut window)? == 0 {
            return Ok(false);
        }
        if window.windows(text.len()).any(|part| part == text.as_bytes()) {
            return Ok(true);
        }
    }
}

#[cfg(test)]
mod tests;
