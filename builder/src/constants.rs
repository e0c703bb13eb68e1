//! The constants of a model: its initializers, and what its nodes compute of nothing else.
//!
//! Exporters leave many a weight behind a cast, a transposition or a dequantisation, biases behind an Expand, and shapes
//! behind a chain of small integers. What follows from the file alone is a constant, however it is written.

mod compute;
mod known;

use std::collections::HashMap;

use onnx_file::element::ElementType;
use onnx_file::proto::{NodeProto, TensorProto};
use onnx_file::raw;

pub(crate) use compute::{reshape, squeeze, unsqueeze};
pub(crate) use known::Known;

/// Constants by name.
#[derive(Debug, Default)]
pub(crate) struct Constants {
    tensors: HashMap<String, TensorProto>,
    /// Bytes that computed ones may still take: a small file must not ask for much memory.
    left: u64,
}

impl Constants {
    /// Those that are stored.
    pub(crate) fn of(stored: impl IntoIterator<Item = TensorProto>) -> Self {
        let tensors: HashMap<String, TensorProto> = stored.into_iter().map(|t| (t.name.clone(), t)).collect();
        let bytes = tensors.values().filter_map(|tensor| raw::len(tensor).ok()).fold(0, u64::saturating_add);
        // 4-bit integers become 32-bit numbers, and a transposed copy may follow.
        Self { tensors, left: bytes.saturating_mul(16).saturating_add(16 << 20) }
    }

    /// The constant called `name`.
    pub(crate) fn get(&self, name: &str) -> Option<&TensorProto> {
        self.tensors.get(name)
    }

    /// Adds one.
    pub(crate) fn insert(&mut self, tensor: TensorProto) {
        self.tensors.insert(tensor.name.clone(), tensor);
    }

    /// Computes what `node` makes, if that is one value which follows from constants and from what is `known` of other
    /// values; whether it does.
    pub(crate) fn fold(&mut self, node: &NodeProto, known: &dyn Fn(&str) -> Known) -> bool {
        if !matches!(node.domain.as_str(), "" | "ai.onnx") {
            return false;
        }
        let Some(output) = node.output.first().filter(|name| !name.is_empty()) else { return false };
        let Some(made) = compute::compute(node, &self.tensors, known, self.left) else { return false };
        let aliased = matches!(node.op_type.as_str(), "Identity" | "Constant" | "Dropout");
        if !aliased {
            self.left = self.left.saturating_sub(raw::len(&made).unwrap_or(u64::MAX));
        }
        self.insert(TensorProto { name: output.clone(), ..made });
        true
    }

    /// The integers of the constant called `name`.
    pub(crate) fn integers(&self, name: &str) -> Option<Vec<i64>> {
        compute::integers(self.get(name)?)
    }

    /// All of them.
    pub(crate) fn into_tensors(self) -> HashMap<String, TensorProto> {
        self.tensors
    }
}

/// A constant of numbers as they are, whatever type they are used in.
pub(crate) fn exact(name: &str, dims: &[usize], numbers: impl IntoIterator<Item = f64>) -> TensorProto {
    TensorProto {
        name: name.to_owned(),
        data_type: ElementType::F64.to_proto(),
        dims: dims.iter().map(|&n| n as i64).collect(),
        raw_data: numbers.into_iter().flat_map(f64::to_le_bytes).collect::<Vec<u8>>().into(),
        ..Default::default()
    }
}

#[cfg(test)]
mod tests;
