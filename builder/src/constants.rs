//! The constants of a model: its initializers, and what its nodes compute of nothing else.
//!
//! Exporters leave many a weight behind a cast, a transposition or a dequantisation, biases behind an Expand, and shapes
//! behind a chain of small integers. What follows from the file alone is a constant, however it is written.

mod account;
mod compute;
mod known;
mod shapes;
mod value;

use std::collections::HashMap;

use onnx_file::element::ElementType;
use onnx_file::proto::{NodeProto, TensorProto};

use account::Account;
pub(crate) use account::TooLarge;
pub(crate) use known::Known;
pub(crate) use shapes::{flatten, reshape, squeeze, unsqueeze};

/// Constants by name.
#[derive(Debug, Default)]
pub(crate) struct Constants {
    tensors: HashMap<String, TensorProto>,
    /// What computed ones take: a small file must not ask for much memory.
    account: Account,
}

impl Constants {
    /// Those that are stored.
    pub(crate) fn of(stored: impl IntoIterator<Item = TensorProto>) -> Self {
        let mut constants = Self::default();
        for tensor in stored {
            constants.account.stored(&tensor);
            constants.insert(tensor);
        }
        constants
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
    ///
    /// # Errors
    ///
    /// [`TooLarge`] where it does, and memory for it is short.
    pub(crate) fn fold(&mut self, node: &NodeProto, known: &dyn Fn(&str) -> Known) -> Result<bool, TooLarge> {
        if !matches!(node.domain.as_str(), "" | "ai.onnx") {
            return Ok(false);
        }
        let Some(output) = node.output.first().filter(|name| !name.is_empty()) else { return Ok(false) };
        let made = compute::compute(node, &self.tensors, known, &mut self.account);
        self.account.done();
        let Some(made) = made? else { return Ok(false) };
        self.insert(TensorProto { name: output.clone(), ..made });
        Ok(true)
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
