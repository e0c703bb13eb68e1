//! `-`: a model that comes from standard input, or goes to standard output.

use std::fs::File;
use std::io::{self, IsTerminal as _, Read, Write};
use std::path::{Path, PathBuf};

use onnx_file::temporary::Temporary;

/// Whether `path` stands for a stream.
pub(crate) fn is_stream(path: &Path) -> bool {
    path == Path::new("-")
}

/// A file to read, which standard input was copied to where that was meant: models are read out of order.
pub(crate) struct Source {
    path: PathBuf,
    copy: Option<Temporary>,
}

impl Source {
    /// The file at `path`, or what standard input holds.
    pub(crate) fn of(path: &Path) -> io::Result<Self> {
        if !is_stream(path) {
            return Ok(Self { path: path.to_owned(), copy: None });
        }
        if io::stdin().is_terminal() {
            return Err(io::Error::other("it is a terminal; pipe a model into it, or name a file"));
        }
        // In a folder of its own: beside it nobody can put what the model then takes for its data.
        let folder = Temporary::folder(&std::env::temp_dir(), ".resnext-build-")?;
        let path = folder.path().join("model.onnx");
        copy(&mut io::stdin().lock(), &mut File::create_new(&path)?)?;
        Ok(Self { path, copy: Some(folder) })
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// How messages call it.
    pub(crate) fn name(&self) -> String {
        if self.copy.is_some() { "standard input".into() } else { self.path.display().to_string() }
    }
}

/// The most that a model's file holds: what protobuf can count.
const LARGEST: u64 = (1 << 31) - 1;

fn copy(from: &mut impl Read, to: &mut impl Write) -> io::Result<()> {
    match io::copy(&mut from.take(LARGEST + 1), to)? {
        ..=LARGEST => Ok(()),
        _ => Err(io::Error::other("it holds more than the 2 GiB that an ONNX file can; pipe a model into it")),
    }
}

/// A file for a model that then goes to standard output.
pub(crate) struct Sink(Temporary);

impl Sink {
    /// Refuses standard output where it is a terminal.
    pub(crate) fn check() -> io::Result<()> {
        if io::stdout().is_terminal() {
            return Err(io::Error::other("it is a terminal; pipe the model somewhere, or write to a file with -o"));
        }
        Ok(())
    }

    pub(crate) fn new() -> io::Result<Self> {
        Self::check()?;
        Ok(Self(Temporary::folder(&std::env::temp_dir(), ".resnext-build-")?))
    }

    /// Where the model is to be written.
    pub(crate) fn path(&self) -> PathBuf {
        self.0.path().join("model.onnx")
    }

    /// Sends what was written.
    pub(crate) fn send(self) -> io::Result<()> {
        let mut file = onnx_file::open::file(&self.path())?;
        let mut out = io::stdout().lock();
        io::copy(&mut file, &mut out)?;
        out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_without_end_is_given_up() {
        let error = copy(&mut io::repeat(0), &mut io::sink()).unwrap_err();
        assert!(error.to_string().contains("2 GiB"), "{error}");
        copy(&mut io::repeat(0).take(1 << 20), &mut io::sink()).unwrap();
    }
}
