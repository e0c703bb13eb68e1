//! Lines that builds and rewrites share: what for, what was done to inputs and outputs, where it went.

use std::path::PathBuf;

use onnx_file::text::Lines;

use crate::ends::Change;
use crate::target::Purpose;

/// What was done to inputs and outputs.
pub(super) fn ends(text: &mut Lines, changes: &[Change]) {
    for change in changes {
        let (end, from, to) = match change {
            Change::Input { from, to } => ("input", from, to),
            Change::Output { from, to } => ("output", from, to),
        };
        let _ = writeln!(text, "{end}: {from} -> {to}");
    }
}

/// What the passes were chosen for, and why.
pub(super) fn lowering(text: &mut Lines, target: &Purpose, reasons: &[String]) {
    if *target != Purpose::default() {
        let _ = writeln!(text, "target {target}");
    }
    for reason in reasons {
        let _ = writeln!(text, "  {reason}");
    }
}

/// Where a model went.
pub(super) fn target(files: &[PathBuf]) -> String {
    let files: Vec<String> = files.iter().map(|file| file.display().to_string()).collect();
    if files.is_empty() { "standard output".into() } else { files.join(", ") }
}
