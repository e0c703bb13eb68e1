//! Texts that are kept in `tests/snapshots`; `cargo insta review` shows what changed and keeps it.

/// Compares a text with the one kept under this name.
#[track_caller]
pub(crate) fn assert_as_kept(name: &str, found: &str) {
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path("../snapshots");
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!(name, found));
}
