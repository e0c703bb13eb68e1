//! What computing constants may take: of this process's memory, and beyond what the file holds.

use onnx_file::budget::{Amount, Budget, OverBudget};
use onnx_file::element::ElementType;
use onnx_file::proto::TensorProto;
use onnx_file::tensor;

/// 4-bit integers become 32-bit numbers, and a transposed copy may follow.
const GROWTH: u64 = 16;
/// What a file may have computed however small it is.
const LEAST: u64 = 16 << 20;
/// How often all numbers of a file may be computed on: a chain of a dozen nodes on each weight, and its copies.
const PASSES: u64 = 256;
/// Bytes that a file may have computed on however small it is: about a second's.
const LEAST_WORK: u64 = 1 << 30;
/// Bytes of a number on which is computed.
const NUMBER: u64 = 8;

/// Why a constant is not computed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TooLarge {
    #[error(transparent)]
    Memory(#[from] OverBudget),
    #[error(
        "what it computes of constants takes {} beside {} computed before it, where a file with {} of constants may ask for {}; fold constants first",
        Amount(*bytes), Amount(*made), Amount(*stored), Amount(*most)
    )]
    Growth { bytes: u64, made: u64, stored: u64, most: u64 },
    #[error(
        "its nodes on constants compute on more than {}, where a file with {} of constants may ask for no more; fold constants first",
        Amount(*most), Amount(*stored)
    )]
    Work { stored: u64, most: u64 },
}

/// The account of one model's constants.
#[derive(Debug, Default)]
pub(super) struct Account {
    memory: Budget,
    /// Bytes of constants in the file.
    stored: u64,
    /// Bytes of those computed.
    made: u64,
    /// Bytes that the node at hand takes until it is done.
    working: u64,
    /// Bytes that all nodes have computed on, which is what takes time.
    worked: u64,
}

impl Account {
    /// Counts a tensor of the file.
    pub(super) fn stored(&mut self, tensor: &TensorProto) {
        self.stored = self.stored.saturating_add(held(tensor));
    }

    /// Takes memory for the numbers of an operand, before they are read.
    pub(super) fn operand(&mut self, tensor: &TensorProto) -> Result<(), TooLarge> {
        // Two 4-bit integers are in each byte: extents that claim more are refused when they are read.
        let count = tensor::extent(tensor).map_or(0, |(_, count, _)| count).min(held(tensor).saturating_mul(2));
        self.work(count.saturating_mul(NUMBER))
    }

    /// Takes memory for a result with the extents `dims`, before it is computed.
    pub(super) fn result(&mut self, dims: &[usize], element: ElementType) -> Result<(), TooLarge> {
        // An array's extents other than 0 must have a product too, even where it holds nothing.
        let product = |n: u64, dim: &usize| n.saturating_mul((*dim).max(1) as u64);
        let extent = dims.iter().fold(1, product);
        let count = if dims.contains(&0) && extent <= isize::MAX as u64 / NUMBER { 0 } else { extent };
        let extents = NUMBER * dims.len() as u64;
        self.keep(count.saturating_mul(element.size() as u64).saturating_add(extents))?;
        // Broadcasting and another order of axes may each need a copy.
        self.work(count.saturating_mul(2 * NUMBER))
    }

    /// Takes memory for another tensor with the content of `tensor`, whose bytes in one block both share.
    pub(super) fn copy(&mut self, tensor: &TensorProto) -> Result<(), TooLarge> {
        let shared = tensor.raw_data.len() as u64;
        self.keep(held(tensor) - shared + NUMBER * tensor.dims.len() as u64)
    }

    /// Gives back what the node took that is done.
    pub(super) fn done(&mut self) {
        self.memory.give_back(std::mem::take(&mut self.working));
    }

    fn keep(&mut self, bytes: u64) -> Result<(), TooLarge> {
        let (made, stored) = (self.made, self.stored);
        let most = stored.saturating_mul(GROWTH).saturating_add(LEAST);
        if made.saturating_add(bytes) > most {
            return Err(TooLarge::Growth { bytes, made, stored, most });
        }
        self.memory.take("computing constants", bytes)?;
        self.made += bytes;
        Ok(())
    }

    /// Counts bytes that are computed on.
    pub(super) fn work(&mut self, bytes: u64) -> Result<(), TooLarge> {
        let stored = self.stored;
        let most = stored.saturating_mul(PASSES).saturating_add(LEAST_WORK);
        self.worked = self.worked.saturating_add(bytes);
        if self.worked > most {
            return Err(TooLarge::Work { stored, most });
        }
        self.memory.take("computing constants", bytes)?;
        self.working += bytes;
        Ok(())
    }
}

/// Bytes of data that `tensor` holds, whatever its extents claim.
fn held(tensor: &TensorProto) -> u64 {
    let narrow = tensor.float_data.len() + tensor.int32_data.len();
    let wide = tensor.int64_data.len() + tensor.double_data.len() + tensor.uint64_data.len();
    (tensor.raw_data.len() + 4 * narrow + 8 * wide) as u64
}
