//! Findings of `doctor` as comma-separated values.

use crate::backend::onnxruntime::examination::Findings;
use crate::report::csv::{kebab, render, strings};
use crate::report::document::one_line;

/// A line for each provider.
pub fn csv(findings: &Findings) -> String {
    let heading = strings(&["provider", "state", "library", "reason", "hint"]);
    let lines = findings.providers.iter().map(|found| {
        let [library, reason, hint] =
            [&found.library, &found.reason, &found.hint].map(|text| text.as_deref().map(one_line).unwrap_or_default());
        vec![found.provider.name().to_owned(), kebab(&found.state), library, reason, hint]
    });
    render(std::iter::once(heading).chain(lines))
}
