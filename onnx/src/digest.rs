//! SHA-256 of files and streams, as they are read or written.

use std::fmt::Write as _;
use std::io::{self, Read, Write};
use std::path::Path;

use sha2::{Digest, Sha256};

use crate::open;

/// Bytes asked of the reader at a time.
const BUFFER: usize = 1 << 20;

/// SHA-256 of everything `reader` yields, through a 1 MiB buffer; `sha2` uses the processor's SHA instructions where
/// it has them.
///
/// # Errors
///
/// Any error of `reader`, except that an interrupted read is retried.
pub fn sha256(mut reader: impl Read) -> io::Result<[u8; 32]> {
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; BUFFER];
    loop {
        match reader.read(&mut buffer) {
            Ok(0) => return Ok(hasher.finalize().into()),
            Ok(read) => hasher.update(&buffer[..read]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// SHA-256 of the regular file at `path`, as lower-case hexadecimal.
///
/// # Errors
///
/// As for [`open::file`], and any error of reading.
pub fn file(path: &Path) -> io::Result<String> {
    Ok(hex(&sha256(open::file(path)?)?))
}

/// `bytes` as lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        let _ = write!(text, "{byte:02x}"); // writing to a String cannot fail
        text
    })
}

/// A writer that hashes what passes through.
#[derive(Debug)]
pub struct Hashing<W> {
    inner: W,
    hash: Sha256,
}

impl<W> Hashing<W> {
    /// Hashes from the next byte on.
    pub fn new(inner: W) -> Self {
        Self { inner, hash: Sha256::new() }
    }

    /// The writer, and the digest of all that went through it.
    pub fn finish(self) -> (W, [u8; 32]) {
        (self.inner, self.hash.finalize().into())
    }
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.hash.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_of_abc_is_the_one_in_fips_180() {
        let digest = sha256(&b"abc"[..]).unwrap();
        assert_eq!(hex(&digest), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }

    #[test]
    fn a_reader_that_gives_one_byte_at_a_time_hashes_the_same() {
        struct Drip<'a>(&'a [u8]);
        impl Read for Drip<'_> {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                let take = self.0.len().min(1);
                buffer[..take].copy_from_slice(&self.0[..take]);
                self.0 = &self.0[take..];
                Ok(take)
            }
        }
        let data = vec![7; 3000];
        assert_eq!(sha256(Drip(&data)).unwrap(), sha256(&data[..]).unwrap());
    }

    #[test]
    fn data_longer_than_the_buffer_hashes_as_one_piece() {
        let data = vec![1; BUFFER + 12_345];
        assert_eq!(sha256(&data[..]).unwrap(), <[u8; 32]>::from(Sha256::digest(&data)));
    }
}
