//! The stream between parent and worker.
//!
//! On Unix a socket pair: one end is the child's standard input, which carries both directions, so that standard output
//! stays free for whatever libraries print there. Elsewhere standard input and output themselves.

use std::io::{self, Read, Write};
use std::process::{Child, Command};

#[cfg(unix)]
mod imp {
    use super::{Child, Command, io};
    use std::fs::File;
    use std::os::fd::{AsFd, OwnedFd};
    use std::os::unix::net::UnixStream;
    use std::process::Stdio;

    pub(crate) type Stream = UnixStream;

    pub(crate) fn spawn(command: &mut Command) -> io::Result<(Child, Stream)> {
        let (ours, theirs) = UnixStream::pair()?;
        let child = command.stdin(Stdio::from(OwnedFd::from(theirs))).spawn()?;
        Ok((child, ours))
    }

    pub(crate) fn in_worker() -> io::Result<(File, File)> {
        let stream = File::from(io::stdin().as_fd().try_clone_to_owned()?);
        Ok((stream.try_clone()?, stream))
    }
}

#[cfg(not(unix))]
mod imp {
    use super::{Child, Command, Read, Write, io};
    use std::process::{ChildStdin, ChildStdout, Stdio};

    /// Both pipes of a child.
    pub(crate) struct Stream(ChildStdin, ChildStdout);

    impl Read for Stream {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.1.read(buffer)
        }
    }

    impl Write for Stream {
        fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
            self.0.write(buffer)
        }

        fn flush(&mut self) -> io::Result<()> {
            self.0.flush()
        }
    }

    pub(crate) fn spawn(command: &mut Command) -> io::Result<(Child, Stream)> {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        match (child.stdin.take(), child.stdout.take()) {
            (Some(input), Some(output)) => Ok((child, Stream(input, output))),
            _ => Err(io::Error::other("the child has no pipes")),
        }
    }

    pub(crate) fn in_worker() -> io::Result<(io::Stdin, io::Stdout)> {
        Ok((io::stdin(), io::stdout()))
    }
}

/// Starts the command with a stream to it.
pub(crate) fn spawn(command: &mut Command) -> io::Result<(Child, imp::Stream)> {
    imp::spawn(command)
}

/// The worker's end of the stream, to read and to write.
pub(crate) fn in_worker() -> io::Result<(impl Read, impl Write)> {
    imp::in_worker()
}
