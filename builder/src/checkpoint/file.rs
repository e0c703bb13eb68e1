//! Positional reads: no shared cursor, so that several threads can read one file; and no memory map, so that pages
//! read once do not count as memory in use.

use super::error::Fault;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use onnx_file::open;

/// An open file and its length when it was opened.
pub(super) struct Source {
    file: File,
    len: u64,
}

impl Source {
    /// Opens the regular file `path`.
    pub(super) fn open(path: &Path) -> Result<Self, Fault> {
        let io = |error: io::Error| match error.kind() {
            io::ErrorKind::InvalidInput | io::ErrorKind::IsADirectory => Fault::NotAFile,
            _ => Fault::Io { action: "open it", error },
        };
        let file = open::file(path).map_err(io)?;
        let len = file.metadata().map_err(io)?.len();
        Ok(Self { file, len })
    }

    /// Length in bytes.
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// Fills `buffer` with the bytes from `offset` on.
    pub(super) fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<(), Fault> {
        let result = match offset.checked_add(buffer.len() as u64) {
            Some(end) if end <= self.len => self.read_there(buffer, offset),
            _ => Err(io::ErrorKind::UnexpectedEof.into()),
        };
        result.map_err(|error| Fault::Io { action: "read it", error })
    }

    /// As [`Source::read_at`], where the file had bytes when it was opened.
    fn read_there(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        read_exact_at(&self.file, buffer, offset).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => io::Error::new(
                error.kind(),
                "it became shorter while it was read; wait until it is whole, and start again",
            ),
            _ => error,
        })
    }

    /// The `N` bytes from `offset` on.
    pub(super) fn array_at<const N: usize>(&self, offset: u64) -> Result<[u8; N], Fault> {
        let mut array = [0; N];
        self.read_at(&mut array, offset)?;
        Ok(array)
    }

    /// The bytes from `offset` to `end` as a stream.
    pub(super) fn stream(&self, offset: u64, end: u64) -> Stream<'_> {
        Stream { source: self, offset, end: end.min(self.len) }
    }
}

/// A stretch of a file, read from front to back.
pub(super) struct Stream<'a> {
    source: &'a Source,
    offset: u64,
    end: u64,
}

impl Read for Stream<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.end.saturating_sub(self.offset)).unwrap_or(usize::MAX);
        let take = left.min(buffer.len());
        self.source.read_there(&mut buffer[..take], self.offset)?;
        self.offset += take as u64;
        Ok(take)
    }
}

#[cfg(unix)]
fn read_exact_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, buffer, offset)
}

#[cfg(windows)]
fn read_exact_at(file: &File, mut buffer: &mut [u8], mut offset: u64) -> io::Result<()> {
    use std::os::windows::fs::FileExt;
    // `seek_read` moves the cursor too, which nothing here depends on.
    while !buffer.is_empty() {
        match file.seek_read(buffer, offset) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(read) => {
                buffer = &mut buffer[read..];
                offset += read as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
