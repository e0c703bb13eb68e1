//! `-`: a model that comes from standard input.

use std::fs::File;
use std::io::{self, IsTerminal as _, Read, Write};
use std::path::{Path, PathBuf};

use crate::temporary::Temporary;

/// How messages call what came from standard input.
pub const STANDARD_INPUT: &str = "standard input";

/// Whether `path` stands for a stream.
pub fn is_stream(path: &Path) -> bool {
    path == Path::new("-")
}

/// A file to read, which standard input was copied to where that was meant: models are read out of order.
#[derive(Debug)]
pub struct Source {
    path: PathBuf,
    copy: Option<Temporary>,
}

impl Source {
    /// The file at `path`, or what standard input holds.
    ///
    /// # Errors
    /// Where standard input is a terminal, holds more than a model's file can, or cannot be copied.
    pub fn of(path: &Path) -> io::Result<Self> {
        if !is_stream(path) {
            return Ok(Self { path: path.to_owned(), copy: None });
        }
        if io::stdin().is_terminal() {
            return Err(io::Error::other("it is a terminal; pipe a model into it, or name a file"));
        }
        // In a folder of its own: beside it nobody can put what the model then takes for its data.
        let folder = Temporary::folder(&std::env::temp_dir(), ".resnext-input-")?;
        let path = folder.path().join("model.onnx");
        copy(&mut io::stdin().lock(), &mut File::create_new(&path)?)?;
        Ok(Self { path, copy: Some(folder) })
    }

    /// Where it is, as long as this lives.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// How messages call it.
    pub fn name(&self) -> String {
        if self.copy.is_some() { STANDARD_INPUT.into() } else { self.path.display().to_string() }
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
