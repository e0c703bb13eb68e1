//! What a worker prints: kept, since it is shown when the worker dies, and passed on where that was asked for.

use std::collections::VecDeque;
use std::io::{self, Read};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use onnx_file::text::Terminal;

/// How much of what a worker prints is kept.
const KEPT: usize = 4096;

/// The end of what a worker printed, kept up to date by a thread.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tail {
    kept: Arc<Mutex<VecDeque<u8>>>,
    /// Disconnected once the pipe has ended.
    ended: Option<Arc<Mutex<Receiver<()>>>>,
}

impl Tail {
    /// Reads what comes through `pipe`, and shows it on standard error too where `show` is set.
    pub(crate) fn of(mut pipe: io::PipeReader, show: bool) -> Tail {
        let (end, ended) = mpsc::channel::<()>();
        let kept = Arc::new(Mutex::new(VecDeque::new()));
        let tail = Tail { kept: Arc::clone(&kept), ended: Some(Arc::new(Mutex::new(ended))) };
        thread::spawn(move || {
            let _end = end;
            let mut buffer = [0; KEPT];
            let mut shown = show.then(|| Terminal::new(io::stderr()));
            while let Ok(read @ 1..) = pipe.read(&mut buffer) {
                // Where standard error is closed, the end is still kept.
                let _ = shown.as_mut().map(|shown| io::Write::write_all(shown, &buffer[..read]));
                let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
                kept.extend(&buffer[..read]);
                let surplus = kept.len().saturating_sub(KEPT);
                kept.drain(..surplus);
            }
        });
        tail
    }

    /// What was printed, as the last part of a message about a process that has ended.
    pub(crate) fn end(&self) -> String {
        if let Some(ended) = &self.ended {
            // The last words may still be in the pipe; a grandchild that holds it open must not hold this up.
            let ended = ended.lock().unwrap_or_else(PoisonError::into_inner);
            let _ = ended.recv_timeout(Duration::from_millis(500));
        }
        let kept: Vec<u8> = self.kept.lock().unwrap_or_else(PoisonError::into_inner).iter().copied().collect();
        let text = String::from_utf8_lossy(&kept);
        if text.trim().is_empty() {
            return String::new();
        }
        // Indented, since what it prints is not this program's word.
        let lines: String = text.trim().lines().map(|line| format!("\n  {line}")).collect();
        format!("; it printed:{lines}")
    }
}
