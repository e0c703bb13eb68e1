//! Constants: as recipes over the tensors of a source, and as the bytes that recipes make.

mod bytes;
mod integer;
mod recipe;
mod rounding;

pub(crate) use bytes::{BytesError, WeightBytes, materialize};
pub use integer::{PAIR_LIMIT, Part, WeightRange, largest_pair};
pub use recipe::{Integers, Norm, Read, Weight};
pub use rounding::{Rounding, to_half};
