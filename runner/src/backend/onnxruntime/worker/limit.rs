//! The memory that a worker may take. A model of a few hundred bytes can ask for more than the machine has, and what the
//! kernel then ends is not always the one that asked.
//!
//! The parent watches what the worker holds and ends it beyond the limit. On top of that the kernel refuses addresses
//! where that can be told apart from ordinary use: CUDA reserves more of them than any machine has memory.

use std::ffi::OsString;
use std::process::Child;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use onnx_file::budget::{self, Amount};

use crate::backend::onnxruntime::provider::Kind;
use crate::model::opened::ModelError;

/// Addresses that a worker takes without holding memory: libraries, arenas, and for each thread its stack and an arena.
const ADDRESSES: u64 = 2 << 30;
const ADDRESSES_A_THREAD: u64 = 160 << 20;

/// Limits of one worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limit {
    /// Bytes of memory that it may hold.
    pub(crate) bytes: u64,
    /// Bytes of addresses that it may have.
    pub(crate) addresses: Option<u64>,
}

impl Limit {
    /// For a worker with one provider and so many threads.
    pub(crate) fn of(bytes: u64, kind: Kind, threads: usize) -> Limit {
        let threads = (threads as u64).saturating_mul(ADDRESSES_A_THREAD);
        let addresses = bytes.saturating_add(ADDRESSES).saturating_add(threads);
        Limit { bytes, addresses: matches!(kind, Kind::Cpu | Kind::OpenVino).then_some(addresses) }
    }

    /// As a worker's arguments.
    pub(crate) fn arguments(self) -> [String; 2] {
        [self.bytes.to_string(), self.addresses.unwrap_or(0).to_string()]
    }

    /// From a worker's arguments, as far as they are there.
    pub(crate) fn parse(mut arguments: impl Iterator<Item = OsString>) -> Option<Limit> {
        let mut next = || arguments.next()?.to_str()?.parse::<u64>().ok();
        Some(Limit { bytes: next()?, addresses: Some(next()?).filter(|&bytes| bytes > 0) })
    }

    /// Puts it on this process.
    pub(crate) fn apply(self) {
        budget::set_limit(self.bytes);
        #[cfg(unix)]
        if let Some(bytes) = self.addresses {
            use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
            let before = getrlimit(Resource::As);
            let least = |limit: Option<u64>| Some(limit.map_or(bytes, |limit| limit.min(bytes)));
            // A system that knows no such limit leaves the parent's watch.
            let _ = setrlimit(Resource::As, Rlimit { current: least(before.current), maximum: before.maximum });
        }
    }

    /// What is said of a worker that asked for more.
    pub(crate) fn exceeded(self, name: &str, said: &str) -> ModelError {
        let limit = Amount(self.bytes);
        ModelError::OutOfMemory(format!(
            "the {name} worker needs more than the {limit} of memory that it may take{said}\nhint: --max-memory sets another \
             limit; smaller batches need less"
        ))
    }
}

/// Watches what a process holds, for as long as it lives.
#[derive(Clone, Debug, Default)]
pub(crate) struct Watch(Arc<AtomicU64>);

impl Watch {
    /// Ends `child` once it holds more than `limit`. Where the system does not tell what it holds, nothing is watched.
    pub(crate) fn over(child: &Child, limit: Limit) -> Watch {
        let watch = Watch::default();
        #[cfg(target_os = "linux")]
        linux::watch(child, limit, Arc::clone(&watch.0));
        #[cfg(not(target_os = "linux"))]
        let _ = (child, limit);
        watch
    }

    /// Whether it was ended for what it held.
    pub(crate) fn has_ended_it(&self) -> bool {
        self.0.load(Ordering::Acquire) > 0
    }
}

#[cfg(target_os = "linux")]
mod linux {
    use super::{Arc, AtomicU64, Child, Limit, Ordering};
    use std::fs::File;
    use std::io::{Read as _, Seek as _};
    use std::path::PathBuf;
    use std::thread;
    use std::time::Duration;

    use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

    /// How often it is looked at: a processor writes less than a gigabyte in this time.
    const EVERY: Duration = Duration::from_millis(100);

    pub(super) fn watch(child: &Child, limit: Limit, held: Arc<AtomicU64>) {
        // Both mean this very process, even after it has gone and its number is another's.
        let path = PathBuf::from(format!("/proc/{}/status", child.id()));
        let id = Pid::from_raw(child.id().cast_signed());
        let (Ok(mut status), Some(Ok(process))) =
            (onnx_file::open::file(&path), id.map(|id| pidfd_open(id, PidfdFlags::empty())))
        else {
            return;
        };
        let watch = move || {
            while let Some(bytes) = holds(&mut status) {
                if bytes > limit.bytes {
                    held.store(bytes, Ordering::Release);
                    let _ = pidfd_send_signal(&process, Signal::KILL);
                    return;
                }
                thread::sleep(EVERY);
            }
        };
        // Without a thread the limit on addresses remains.
        let _ = thread::Builder::new().name("memory".to_owned()).spawn(watch);
    }

    /// Bytes that a process holds, without the files that it maps; none once it has gone.
    fn holds(status: &mut File) -> Option<u64> {
        let mut text = String::new();
        status.rewind().ok()?;
        status.read_to_string(&mut text).ok()?;
        let of = |key: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(key))?;
            line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()
        };
        Some((of("RssAnon:")?.saturating_add(of("RssShmem:").unwrap_or(0))).saturating_mul(1024))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_survives_the_way_to_a_worker() {
        for kind in Kind::ALL {
            let limit = Limit::of(1 << 30, kind, 4);
            assert_eq!(limit.addresses.is_some(), matches!(kind, Kind::Cpu | Kind::OpenVino));
            assert_eq!(Limit::parse(limit.arguments().into_iter().map(OsString::from)), Some(limit));
        }
        assert_eq!(Limit::parse(["1".into()].into_iter()), None);
        assert_eq!(Limit::of(u64::MAX, Kind::Cpu, usize::MAX).addresses, Some(u64::MAX));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_process_that_holds_too_much_is_ended_and_another_is_not() {
        use std::process::{Command, Stdio};
        let start = || {
            // Doubles what it holds until somebody ends it, or half a gigabyte is reached.
            let script = "x=aaaaaaaaaaaaaaaa; for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24; \
                          do x=$x$x; done; sleep 600";
            Command::new("sh").args(["-c", script]).stdin(Stdio::null()).spawn().unwrap()
        };
        let mut greedy = start();
        let watch = Watch::over(&greedy, Limit { bytes: 100 << 20, addresses: None });
        assert!(!greedy.wait().unwrap().success() && watch.has_ended_it());
        let mut modest = Command::new("sleep").arg("0.5").spawn().unwrap();
        let watch = Watch::over(&modest, Limit { bytes: 100 << 20, addresses: None });
        assert!(modest.wait().unwrap().success() && !watch.has_ended_it());
    }
}
