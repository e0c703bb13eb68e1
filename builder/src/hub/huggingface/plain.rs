//! Names that are safe in a path and in an address.

/// A part of a name that leads nowhere else, in a path and in an address.
pub(super) fn is_plain_text(part: &str) -> bool {
    !part.is_empty() && !part.starts_with('.') && part.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
}
