//! Data written as JSON together with its sentence.

use std::fmt;

use serde::ser::SerializeSeq;
use serde::{Serialize, Serializer};

/// Writes each item's code and fields, and its sentence as `text`: a program reads the one, a person the other.
///
/// # Errors
/// The serializer's.
pub fn with_text<T: Serialize + fmt::Display, S: Serializer>(items: &[T], serializer: S) -> Result<S::Ok, S::Error> {
    let mut list = serializer.serialize_seq(Some(items.len()))?;
    for data in items {
        list.serialize_element(&Both { data, text: data.to_string() })?;
    }
    list.end()
}

/// As [`with_text`], for one.
///
/// # Errors
/// The serializer's.
pub fn one_with_text<T: Serialize + fmt::Display, S: Serializer>(item: &T, serializer: S) -> Result<S::Ok, S::Error> {
    Both { data: item, text: item.to_string() }.serialize(serializer)
}

/// As [`with_text`], for one that may be missing.
///
/// # Errors
/// The serializer's.
pub fn maybe_with_text<T: Serialize + fmt::Display, S: Serializer>(
    item: &Option<T>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    item.as_ref().map(|data| Both { data, text: data.to_string() }).serialize(serializer)
}

#[derive(Serialize)]
struct Both<'a, T> {
    #[serde(flatten)]
    data: &'a T,
    text: String,
}
