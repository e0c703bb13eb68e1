//! Findings of `doctor` as comma-separated values.

use crate::backend::onnxruntime::examination::Findings;
use crate::report::csv::{kebab, render, strings};
use crate::report::document::one_line;
use crate::report::note::sentences;

/// A line for each provider.
pub fn csv(findings: &Findings) -> String {
    let heading = strings(&["provider", "state", "library", "reason", "hint"]);
    let lines = findings.providers.iter().map(|found| {
        let library = found.library.clone().unwrap_or_default();
        let reason = found.reason.as_ref().map(|reason| one_line(&reason.to_string())).unwrap_or_default();
        let hint = sentences(&found.hints).join("; ");
        vec![found.provider.name().to_owned(), kebab(&found.state), library, reason, hint]
    });
    render(std::iter::once(heading).chain(lines))
}
