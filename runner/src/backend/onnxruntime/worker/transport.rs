//! The stream between parent and worker.
//!
//! On Unix a socket pair: one end is the child's standard input, which carries both directions, so that standard output
//! stays free for whatever libraries print there. Elsewhere standard input and output themselves.

use std::io::{self, Read, Write};
use std::process::{Child, Command};

use crate::host::child;

#[cfg(unix)]
mod imp {
    use super::{Child, Command, child, io};
    use std::fs::File;
    use std::os::fd::{AsFd, OwnedFd};
    use std::os::unix::net::UnixStream;
    use std::process::Stdio;
    use std::thread;
    use std::time::Duration;

    use rustix::event::{PollFd, PollFlags, poll};

    pub(crate) type Stream = UnixStream;

    pub(crate) fn spawn(mut command: Command) -> io::Result<(Child, Stream)> {
        let (ours, theirs) = UnixStream::pair()?;
        command.stdin(Stdio::from(OwnedFd::from(theirs)));
        let child = child::spawn(command)?;
        Ok((child, ours))
    }

    pub(crate) fn in_worker() -> io::Result<(File, File)> {
        let stream = File::from(io::stdin().as_fd().try_clone_to_owned()?);
        watch(stream.try_clone()?)?;
        Ok((stream.try_clone()?, stream))
    }

    /// Ends this process soon after its parent has gone, whatever it is doing: a run inside onnxruntime may never end, and
    /// only between two requests would the end of the stream be read.
    fn watch(stream: File) -> io::Result<()> {
        let watch = move || {
            // No event is asked for: that the other end is closed is told unasked.
            let gone = PollFlags::HUP | PollFlags::ERR | PollFlags::NVAL;
            loop {
                let mut polled = [PollFd::new(&stream, PollFlags::empty())];
                let answer = poll(&mut polled, None);
                if answer.is_ok() && polled[0].revents().intersects(gone) {
                    break;
                }
            }
            thread::sleep(GRACE);
            // Not `exit`, which runs what onnxruntime has registered and may wait for the run in progress.
            let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
        };
        thread::Builder::new().name("watch".to_owned()).spawn(watch).map(drop)
    }

    /// How long a worker that is between two requests has to leave by itself.
    const GRACE: Duration = Duration::from_millis(600);
}

#[cfg(not(unix))]
mod imp {
    use super::{Child, Command, Read, Write, child, io};
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

    pub(crate) fn spawn(mut command: Command) -> io::Result<(Child, Stream)> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = child::spawn(command)?;
        match (child.stdin.take(), child.stdout.take()) {
            (Some(input), Some(output)) => Ok((child, Stream(input, output))),
            _ => Err(io::Error::other("the child has no pipes")),
        }
    }

    pub(crate) fn in_worker() -> io::Result<(io::Stdin, io::Stdout)> {
        Ok((io::stdin(), io::stdout()))
    }
}

/// Starts the command with a stream to it. The command is dropped here, and with it this process's copies of the pipes
/// it was given: their reader must see the end when the child's are gone.
pub(crate) fn spawn(command: Command) -> io::Result<(Child, imp::Stream)> {
    imp::spawn(command)
}

/// The worker's end of the stream, to read and to write.
pub(crate) fn in_worker() -> io::Result<(impl Read, impl Write)> {
    imp::in_worker()
}
