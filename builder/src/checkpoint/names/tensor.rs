//! A tensor between its name in the file and torchvision's.

use onnx_file::element::ElementType;

use crate::checkpoint::tensor::TensorInfo;
use crate::checkpoint::values::Data;

/// A tensor on its way.
pub(super) struct Tensor {
    /// Its name in the file.
    pub(super) file: String,
    /// Its name without the prefix; where it lies outside, the name in the file.
    pub(super) name: String,
    /// Whether it has the prefix.
    pub(super) inside: bool,
    /// Whether it is a part of stem or stages, by torchvision's name.
    pub(super) body: bool,
    pub(super) info: TensorInfo,
    pub(super) data: Data,
}

/// Takes the `unwanted` of `tensors` out, and notes their names in the file.
pub(super) fn leave_out(tensors: &mut Vec<Tensor>, left_out: &mut Vec<String>, unwanted: impl Fn(&Tensor) -> bool) {
    tensors.retain(|tensor| {
        let unwanted = unwanted(tensor);
        if unwanted {
            left_out.push(tensor.file.clone());
        }
        !unwanted
    });
}

/// A tensor that the file does not hold and that needs none.
pub(super) fn constant(name: String, shape: &[usize], value: f64) -> Tensor {
    let info = TensorInfo { name: name.clone(), dtype: ElementType::F64, shape: shape.to_vec() };
    let data = Data::Constant { value, elements: shape.iter().product() };
    Tensor { file: name.clone(), name, inside: true, body: true, info, data }
}
