//! `-`: a model that goes to standard output.

use std::io::{self, IsTerminal as _, Write as _};
use std::path::PathBuf;

use onnx_file::temporary::Temporary;

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
