//! The peak of a process's memory, and tests in a process of their own, so that the peak is theirs.

use std::process::Command;

/// Set in the process that [`alone`] starts.
const ALONE: &str = "TEST_RUNS_ALONE";

/// Runs `body` in a process that runs nothing but `test`, the full name of the test that calls this.
#[track_caller]
pub(crate) fn alone(test: &str, body: impl FnOnce()) {
    if std::env::var_os(ALONE).is_some() {
        return body();
    }
    let program = std::env::current_exe().expect("this program");
    let output = Command::new(program).args(["--exact", test, "--nocapture"]).env(ALONE, "1").output();
    let output = output.expect("this program starts again");
    let shown = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    assert!(output.status.success() && shown.contains("1 passed"), "{test} alone: {shown}");
}

/// Fails if this process has ever had more than `limit` KiB in memory, where the system tells.
#[track_caller]
pub(crate) fn assert_peak_below(limit: u64, what: &str) {
    let Ok(status) = std::fs::read_to_string("/proc/self/status") else { return };
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).expect("a peak");
    let peak: u64 = line.split_whitespace().nth(1).expect("a number").parse().expect("a number");
    assert!(peak < limit, "{what}: peak of {peak} KiB");
}
