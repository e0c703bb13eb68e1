//! How onnxruntime takes options: as pairs of text.

use std::collections::BTreeMap;

/// Typed settings with the user's verbatim ones laid over them.
pub(crate) fn overlaid<const N: usize>(
    settings: [(&str, String); N],
    verbatim: &BTreeMap<String, String>,
) -> BTreeMap<String, String> {
    let mut all: BTreeMap<_, _> = settings.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
    all.extend(verbatim.clone());
    all
}

/// onnxruntime's spelling of a switch.
pub(crate) fn switch(on: bool) -> String {
    if on { "1" } else { "0" }.to_owned()
}
