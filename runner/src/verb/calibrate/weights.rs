//! The weights of a model file: how large they are, and how many f16 cannot hold in full.

use std::path::Path;

use onnx_file::element::ElementType;
use onnx_file::read::{self, ReadError};
use onnx_file::tensor::{extent, to_f64};
use serde::Serialize;

use crate::stats::range::Range;

/// The floating-point weights of a file.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Weights {
    /// Their number.
    pub count: u64,
    /// Largest magnitude of a finite one; `None` without weights.
    pub max_abs: Option<f64>,
    /// The tensor that holds it.
    pub largest: Option<String>,
    /// Those not zero and below the smallest normal number of f16, where it has fewer digits.
    pub below_f16_normal: u64,
    /// Tensors with weights that are too large for f16.
    pub overflowing: Vec<String>,
    /// Tensors with weights that are NaN or infinite.
    pub not_finite: Vec<String>,
}

impl Weights {
    /// Reads the weights of the model at `path`. The file is in memory meanwhile; data beside it, a tensor at a time.
    ///
    /// # Errors
    /// [`ReadError`] where the file or its external data is damaged.
    pub fn read(path: &Path) -> Result<Weights, ReadError> {
        let damaged = |source| ReadError::Tensor { path: path.to_owned(), source };
        let mut weights = Weights::default();
        for mut tensor in read::read(path)?.graph.unwrap_or_default().initializer {
            let floating = match ElementType::from_proto(tensor.data_type) {
                Some(ElementType::F32 | ElementType::F16 | ElementType::BF16 | ElementType::F64) => true,
                Some(_) | None => false,
            };
            if !floating {
                continue;
            }
            extent(&tensor).map_err(damaged)?;
            read::load_external(path, &mut tensor)?;
            let values = to_f64(&tensor).map_err(damaged)?;
            weights.add(&tensor.name, &Range::of(&values, |value| value));
        }
        Ok(weights)
    }

    fn add(&mut self, name: &str, range: &Range) {
        self.count += range.count;
        self.below_f16_normal += range.below_normal;
        if range.max_abs().is_some_and(|largest| self.max_abs.is_none_or(|known| largest > known)) {
            self.max_abs = range.max_abs();
            self.largest = Some(name.to_owned());
        }
        if range.max_abs().is_some_and(|largest| largest > ElementType::F16.max_finite()) {
            self.overflowing.push(name.to_owned());
        }
        if range.non_finite > 0 {
            self.not_finite.push(name.to_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use onnx_file::proto::{GraphProto, ModelProto, OperatorSetIdProto, TensorProto};
    use prost::Message;

    use super::*;

    fn tensor(name: &str, values: &[f32]) -> TensorProto {
        let raw: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        TensorProto {
            name: name.into(),
            data_type: ElementType::F32.to_proto(),
            dims: vec![values.len() as i64],
            raw_data: raw.into(),
            ..Default::default()
        }
    }

    fn read(initializer: Vec<TensorProto>) -> Result<Weights, ReadError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("m.onnx");
        let model = ModelProto {
            graph: Some(GraphProto { initializer, ..Default::default() }),
            opset_import: vec![OperatorSetIdProto { version: 17, ..Default::default() }],
            ..Default::default()
        };
        std::fs::write(&path, model.encode_to_vec()).unwrap();
        Weights::read(&path)
    }

    #[test]
    fn the_largest_weight_is_named_and_small_and_overflowing_ones_are_counted() {
        let shape = TensorProto {
            name: "shape".into(),
            data_type: ElementType::I64.to_proto(),
            dims: vec![1],
            int64_data: vec![100_000],
            ..Default::default()
        };
        let tensors =
            vec![tensor("a", &[1.0, -3.0, 0.0, 1e-5]), shape, tensor("b", &[2.0, -1e6]), tensor("c", &[f32::NAN])];
        let found = read(tensors).unwrap();
        assert_eq!((found.count, found.max_abs, found.largest.as_deref()), (7, Some(1e6), Some("b")));
        assert_eq!(found.below_f16_normal, 1);
        assert_eq!((found.overflowing, found.not_finite), (vec!["b".to_owned()], vec!["c".to_owned()]));
        assert_eq!(read(vec![]).unwrap(), Weights::default());
    }

    #[test]
    fn the_largest_number_of_f16_does_not_overflow_it() {
        let found = read(vec![tensor("edge", &[65504.0, -65504.0]), tensor("over", &[-65505.0])]).unwrap();
        assert_eq!(found.overflowing, ["over"]);
    }

    #[test]
    fn a_damaged_tensor_is_named() {
        let mut cut = tensor("cut", &[1.0, 2.0]);
        cut.dims = vec![3];
        assert!(read(vec![cut]).unwrap_err().to_string().contains("cut"));
    }
}
