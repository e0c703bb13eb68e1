//! What ends a program from outside: an interrupt from the keyboard, a request to terminate, a terminal that is gone.
//!
//! All three are told to the program, which gives up what is half done and exits as a shell expects; an interrupt while it
//! does so ends it at once, whatever it waits for. A signal that whoever started the program has it ignore (`nohup`, a job in the
//! background of a script) stays ignored.

use std::io;
#[cfg(unix)]
use std::path::Path;
use std::sync::atomic::{AtomicU8, Ordering};

use crate::exit::Exit;
#[cfg(unix)]
use crate::open;

/// What was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// From the keyboard, `SIGINT`.
    Interrupt,
    /// `SIGTERM`.
    Terminate,
    /// The terminal is gone, `SIGHUP`.
    HangUp,
}

impl Signal {
    /// What a shell reports of a program that this signal ended.
    pub fn exit(self) -> Exit {
        match self {
            Self::HangUp => Exit::HungUp,
            Self::Interrupt => Exit::Interrupted,
            Self::Terminate => Exit::Terminated,
        }
    }

    fn number(self) -> u8 {
        match self {
            Self::HangUp => 1,
            Self::Interrupt => 2,
            Self::Terminate => 15,
        }
    }
}

/// Number of the first signal that came, 0 before.
static RECEIVED: AtomicU8 = AtomicU8::new(0);

/// The first signal that came since [`handle`].
pub fn received() -> Option<Signal> {
    let number = RECEIVED.load(Ordering::SeqCst);
    [Signal::Interrupt, Signal::Terminate, Signal::HangUp].into_iter().find(|signal| signal.number() == number)
}

fn receive(signal: Signal) {
    // Only the first one counts.
    let _ = RECEIVED.compare_exchange(0, signal.number(), Ordering::SeqCst, Ordering::SeqCst);
}

/// Calls `handler` with each signal, in a thread of its own; an interrupt while `handler` runs ends the process at once.
///
/// # Errors
/// Where the system allows no handler; the signals then do what they always do.
#[cfg(unix)]
pub fn handle(mut handler: impl FnMut(Signal) + Send + 'static) -> io::Result<()> {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
    use std::sync::Arc;
    use std::sync::atomic::AtomicBool;

    let ignored = ignored();
    let wanted = [SIGHUP, SIGINT, SIGTERM].into_iter().filter(|signal| ignored >> (signal - 1) & 1 == 0);
    // Up while the handler runs, which may hang as a disk does; one that has returned is told of the next signal.
    let busy = Arc::new(AtomicBool::new(false));
    if wanted.clone().any(|signal| signal == SIGINT) {
        // Before the iterator: actions run in the order of their registration, and the thread below, once woken, may be
        // busy before the rest of them has run; the first interrupt would then be taken for the second.
        let code = i32::from(Signal::Interrupt.exit());
        signal_hook::flag::register_conditional_shutdown(SIGINT, code, Arc::clone(&busy))?;
    }
    let mut signals = signal_hook::iterator::Signals::new(wanted)?;
    let listen = move || {
        for number in signals.forever() {
            let signal = match number {
                SIGINT => Signal::Interrupt,
                SIGHUP => Signal::HangUp,
                _ => Signal::Terminate,
            };
            receive(signal);
            busy.store(true, Ordering::SeqCst);
            handler(signal);
            busy.store(false, Ordering::SeqCst);
        }
    };
    std::thread::Builder::new().name("signals".into()).spawn(listen).map(drop)
}

/// As on Unix, where the system knows nothing but the interrupt.
///
/// # Errors
/// Where the system allows no handler.
#[cfg(not(unix))]
pub fn handle(mut handler: impl FnMut(Signal) + Send + 'static) -> io::Result<()> {
    let listen = move || {
        receive(Signal::Interrupt);
        handler(Signal::Interrupt);
    };
    ctrlc::set_handler(listen).map_err(io::Error::other)
}

/// Makes a write beyond the limit of a file's size an error like any other; otherwise the system ends the process in the
/// middle of it.
pub fn survive_size_limit() {
    #[cfg(unix)]
    {
        // Whatever the handler does, that there is one is enough. Without one the old behaviour remains.
        let _ = signal_hook::flag::register(signal_hook::consts::SIGXFSZ, std::sync::Arc::default());
    }
}

/// The signals that this process was started to ignore, one bit each.
#[cfg(unix)]
fn ignored() -> u64 {
    // Only Linux has the file, and elsewhere nothing safe tells.
    let status = open::read_text(Path::new("/proc/self/status"), open::SMALL).unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_are_those_of_a_shell() {
        for signal in [Signal::HangUp, Signal::Interrupt, Signal::Terminate] {
            assert_eq!(signal.exit().code(), 128 + signal.number());
        }
    }

    /// Set in the process that is to be interrupted.
    #[cfg(unix)]
    const CHILD: &str = "TEST_IS_INTERRUPTED";

    #[cfg(unix)]
    #[test]
    fn the_first_signal_is_handled_and_a_second_interrupt_ends_the_process_at_once() {
        use std::io::{BufRead as _, BufReader};
        use std::process::{Command, Stdio};
        use std::time::{Duration, Instant};
        if std::env::var_os(CHILD).is_some() {
            // A handler that hangs, as one that waits for a disk does.
            handle(|signal| {
                println!("\ngot {signal:?}, {:?}", received());
                std::thread::sleep(Duration::from_secs(60));
            })
            .unwrap();
            println!("\nready");
            std::thread::sleep(Duration::from_secs(60));
            return;
        }
        let test = "interrupt::tests::the_first_signal_is_handled_and_a_second_interrupt_ends_the_process_at_once";
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", test, "--nocapture"]).env(CHILD, "1").stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let interrupt = |id: u32| Command::new("kill").args(["-INT", &id.to_string()]).status().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut wait_for = |text: &str| lines.by_ref().find(|line| line.as_ref().unwrap().contains(text)).unwrap();
        wait_for("ready").unwrap();
        interrupt(child.id());
        wait_for("got Interrupt, Some(Interrupt)").unwrap();
        let start = Instant::now();
        interrupt(child.id());
        assert_eq!(child.wait().unwrap().code(), Some(130));
        assert!(start.elapsed() < Duration::from_secs(20));
    }
}
