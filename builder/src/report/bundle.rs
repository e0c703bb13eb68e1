//! Lines after a bundle.

use onnx_file::text::Lines;

use crate::bundle::Bundled;

/// What is in a bundle, and what could not be.
pub fn bundled(done: &Bundled) -> String {
    let mut text = Lines::default();
    for model in &done.models {
        let told = match &model.unchecked {
            None => {
                format!("{} golden cases by the reference in f64, tolerance {:e}", model.cases.len(), model.tolerance)
            }
            Some(reason) => format!("no golden cases: {reason}"),
        };
        let _ = writeln!(text, "{}: {}, {told}", model.path, model.dtype);
    }
    for (format, reason) in &done.left_out {
        let _ = writeln!(text, "left out: {format}: {reason}");
    }
    let files = done.files.len() + 1;
    let megabytes = done.bytes as f64 / 1e6;
    let _ = writeln!(
        text,
        "{}: {files} files, {megabytes:.1} MB; sha256sum -c SHA256SUMS checks them",
        done.folder.display()
    );
    text.into()
}
