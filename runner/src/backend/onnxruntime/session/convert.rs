//! Between this crate's tensors and onnxruntime's values.

use half::f16;
use onnx_file::element::ElementType;
use onnx_file::port::Port;
use ort::memory::DeviceType;
use ort::session::{HasSelectedOutputs, OutputSelector, RunOptions, Session, SessionInputValue};
use ort::value::{DynTensor, DynValue, PrimitiveTensorElementType, TensorElementType, TensorRef, ValueType};

use crate::backend::onnxruntime::runtime::said;
use crate::model::opened::{ModelError, OutputRange, Part, Ports};
use crate::model::tensor::{Data, Tensor};

/// The inputs in the order the model lists them.
///
/// # Errors
/// [`ModelError::BadInput`] for a missing or unknown name, another element type or another shape than the model takes.
pub(crate) fn session_inputs<'a>(
    session: &Session,
    inputs: &'a [Tensor],
) -> Result<Vec<SessionInputValue<'a>>, ModelError> {
    let declared = session.inputs();
    if let Some(unknown) = inputs.iter().find(|input| declared.iter().all(|outlet| outlet.name() != input.name)) {
        let names: Vec<_> = declared.iter().map(|outlet| format!("`{}`", outlet.name())).collect();
        return Err(bad(&unknown.name, &format!("the model has no such input; it has {}", names.join(", "))));
    }
    let mut values = Vec::with_capacity(declared.len());
    for outlet in declared {
        let input = inputs.iter().find(|input| input.name == outlet.name());
        let input = input.ok_or_else(|| bad(outlet.name(), "the model needs it and it was not given"))?;
        let ValueType::Tensor { ty, shape, .. } = outlet.dtype() else {
            return Err(bad(outlet.name(), "the model takes something that is not a tensor"));
        };
        if *ty != element_type(&input.data) {
            return Err(bad(outlet.name(), &format!("the model takes {ty}, not {}", element_type(&input.data))));
        }
        let fits = shape.len() == input.shape.len()
            && shape
                .iter()
                .zip(&input.shape)
                .all(|(&wanted, &given)| wanted < 0 || wanted.unsigned_abs() == given as u64);
        if !fits {
            let wanted: Vec<i64> = shape.iter().copied().collect();
            let reason = format!("the model takes shape {wanted:?} (-1 is any), not {:?}", input.shape);
            return Err(bad(outlet.name(), &reason));
        }
        values.push(view(input)?);
    }
    Ok(values)
}

fn bad(name: &str, reason: &str) -> ModelError {
    ModelError::BadInput(format!("input `{name}`: {reason}"))
}

/// onnxruntime's element type of this data.
pub(crate) fn element_type(data: &Data) -> TensorElementType {
    match data {
        Data::F32(_) => TensorElementType::Float32,
        Data::F16(_) => TensorElementType::Float16,
        Data::F64(_) => TensorElementType::Float64,
        Data::I64(_) => TensorElementType::Int64,
        Data::U8(_) => TensorElementType::Uint8,
        Data::I8(_) => TensorElementType::Int8,
        Data::I32(_) => TensorElementType::Int32,
        Data::Bool(_) => TensorElementType::Bool,
    }
}

/// Inputs and outputs as the session declares them.
pub(crate) fn ports(session: &Session) -> Ports {
    let port = |name: &str, dtype: &ValueType| {
        let (element_type, shape) = match dtype {
            ValueType::Tensor { ty, shape, .. } => {
                // An extent that is left open is -1.
                let extents = shape.iter().map(|&extent| usize::try_from(extent).ok()).collect();
                (declared_type(*ty), Some(extents))
            }
            _ => (None, None),
        };
        Port { name: name.to_owned(), element_type, shape }
    };
    Ports {
        inputs: session.inputs().iter().map(|outlet| port(outlet.name(), outlet.dtype())).collect(),
        outputs: session.outputs().iter().map(|outlet| port(outlet.name(), outlet.dtype())).collect(),
    }
}

/// A type of the runtime's by the name that it has in a file.
fn declared_type(ty: TensorElementType) -> Option<ElementType> {
    match ty {
        TensorElementType::Float32 => Some(ElementType::F32),
        TensorElementType::Float16 => Some(ElementType::F16),
        TensorElementType::Bfloat16 => Some(ElementType::BF16),
        TensorElementType::Float64 => Some(ElementType::F64),
        TensorElementType::Int64 => Some(ElementType::I64),
        TensorElementType::Int32 => Some(ElementType::I32),
        TensorElementType::Int8 => Some(ElementType::I8),
        TensorElementType::Uint8 => Some(ElementType::U8),
        TensorElementType::Bool => Some(ElementType::Bool),
        _ => None,
    }
}

/// The outputs that a run is to give: those asked for, or all that hold numbers. Maps, sequences and texts are of no use
/// to anybody here, and must not keep the rest from being used.
///
/// # Errors
/// [`ModelError::BadModel`] where there is none.
pub(crate) fn wanted_outputs(session: &Session, asked: Option<&[String]>) -> Result<Vec<String>, ModelError> {
    if let Some(asked) = asked {
        return Ok(asked.to_vec());
    }
    let is_moved = |dtype: &ValueType| match dtype {
        ValueType::Tensor { ty, .. } => moved(*ty),
        _ => false,
    };
    let outputs = session.outputs().iter().filter(|outlet| is_moved(outlet.dtype()));
    let wanted: Vec<String> = outputs.map(|outlet| outlet.name().to_owned()).collect();
    if wanted.is_empty() {
        let all: Vec<String> =
            session.outputs().iter().map(|outlet| format!("{} ({})", outlet.name(), outlet.dtype())).collect();
        return Err(ModelError::BadModel(format!("no output is a tensor of numbers; there are: {}", all.join(", "))));
    }
    Ok(wanted)
}

/// Options of a run that gives these outputs and no others.
pub(crate) fn run_options(outputs: &[String]) -> Result<RunOptions<HasSelectedOutputs>, ModelError> {
    let options = RunOptions::new().map_err(|error| ModelError::Failed(error.message().to_owned()))?;
    Ok(selecting(outputs, options))
}

/// Makes a run give these outputs and no others.
pub(crate) fn selecting(outputs: &[String], options: RunOptions) -> RunOptions<HasSelectedOutputs> {
    options.with_outputs(outputs.iter().fold(OutputSelector::no_default(), |all, name| all.with(name)))
}

/// Whether tensors of this type are moved.
fn moved(ty: TensorElementType) -> bool {
    use TensorElementType::{Bool, Float16, Float32, Float64, Int8, Int32, Int64, Uint8};
    matches!(ty, Float32 | Float16 | Float64 | Int32 | Int64 | Uint8 | Int8 | Bool)
}

/// The tensor's elements where they lie, as a value.
fn view(tensor: &Tensor) -> Result<SessionInputValue<'_>, ModelError> {
    fn make<'a, T: PrimitiveTensorElementType + std::fmt::Debug + Clone + 'static>(
        tensor: &Tensor,
        data: &'a [T],
    ) -> Result<SessionInputValue<'a>, ModelError> {
        fits(tensor, data.len())?;
        TensorRef::from_array_view((tensor.shape.clone(), data))
            .map(SessionInputValue::from)
            .map_err(|error| bad(&tensor.name, &said(&error)))
    }
    match &tensor.data {
        Data::F32(data) => make(tensor, data),
        Data::F16(data) => make(tensor, data),
        Data::F64(data) => make(tensor, data),
        Data::I64(data) => make(tensor, data),
        Data::U8(data) => make(tensor, data),
        Data::I8(data) => make(tensor, data),
        Data::I32(data) => make(tensor, data),
        Data::Bool(data) => make(tensor, data),
    }
}

/// Whether a tensor's shape holds as many elements as there are.
fn fits(tensor: &Tensor, elements: usize) -> Result<(), ModelError> {
    if tensor.shape.iter().try_fold(1usize, |product, &extent| product.checked_mul(extent)) != Some(elements) {
        return Err(bad(&tensor.name, &format!("shape {:?} does not hold {elements} elements", tensor.shape)));
    }
    Ok(())
}

/// A value on the host with a copy of the tensor's elements.
pub(crate) fn value(tensor: &Tensor) -> Result<DynTensor, ModelError> {
    fn make<T: PrimitiveTensorElementType + std::fmt::Debug + Clone + 'static>(
        tensor: &Tensor,
        data: &[T],
    ) -> Result<DynTensor, ModelError> {
        fits(tensor, data.len())?;
        ort::value::Tensor::from_array((tensor.shape.clone(), data.to_vec()))
            .map(|value| value.upcast())
            .map_err(|error| bad(&tensor.name, &said(&error)))
    }
    match &tensor.data {
        Data::F32(data) => make(tensor, data),
        Data::F16(data) => make(tensor, data),
        Data::F64(data) => make(tensor, data),
        Data::I64(data) => make(tensor, data),
        Data::U8(data) => make(tensor, data),
        Data::I8(data) => make(tensor, data),
        Data::I32(data) => make(tensor, data),
        Data::Bool(data) => make(tensor, data),
    }
}

/// A tensor with a copy of the elements of a value on the host; i32 become i64, which hold the same numbers.
///
/// # Errors
/// [`ModelError::Failed`] for element types that the harness does not move.
pub(crate) fn tensor(name: &str, value: &DynValue) -> Result<Tensor, ModelError> {
    fn take<T: PrimitiveTensorElementType + Clone>(value: &DynValue) -> Result<(Vec<usize>, Vec<T>), ort::Error> {
        let (shape, data) = value.try_extract_tensor::<T>()?;
        Ok((shape.iter().map(|&extent| usize::try_from(extent).unwrap_or(0)).collect(), data.to_vec()))
    }
    let taken = match value.dtype().tensor_type() {
        Some(TensorElementType::Float32) => take::<f32>(value).map(|(shape, data)| (shape, Data::F32(data))),
        Some(TensorElementType::Float16) => take::<f16>(value).map(|(shape, data)| (shape, Data::F16(data))),
        Some(TensorElementType::Float64) => take::<f64>(value).map(|(shape, data)| (shape, Data::F64(data))),
        Some(TensorElementType::Int64) => take::<i64>(value).map(|(shape, data)| (shape, Data::I64(data))),
        Some(TensorElementType::Int32) => {
            take::<i32>(value).map(|(shape, data)| (shape, Data::I64(data.into_iter().map(i64::from).collect())))
        }
        Some(TensorElementType::Uint8) => take::<u8>(value).map(|(shape, data)| (shape, Data::U8(data))),
        Some(TensorElementType::Int8) => take::<i8>(value).map(|(shape, data)| (shape, Data::I8(data))),
        Some(TensorElementType::Bool) => take::<bool>(value).map(|(shape, data)| (shape, Data::Bool(data))),
        _ => return Err(ModelError::Failed(format!("output `{name}` is {}, which is not moved", value.dtype()))),
    };
    let (shape, data) = taken.map_err(|error| ModelError::Failed(format!("output `{name}`: {}", said(&error))))?;
    Ok(Tensor { name: name.to_owned(), shape, data })
}

/// The range of the elements of a value on the host, which are looked at in place.
///
/// # Errors
/// [`ModelError::Failed`] where the runtime does not give them.
pub(crate) fn range(name: &str, value: &DynValue, part: Part) -> Result<OutputRange, ModelError> {
    fn look<T: PrimitiveTensorElementType + Copy>(
        name: &str,
        value: &DynValue,
        part: Part,
        exact: impl Fn(T) -> f64,
    ) -> Result<OutputRange, ort::Error> {
        let (shape, values) = value.try_extract_tensor::<T>()?;
        let shape: Vec<usize> = shape.iter().map(|&extent| usize::try_from(extent).unwrap_or(0)).collect();
        Ok(OutputRange::of_values(name, part.of(&shape, values), exact))
    }
    let looked = match value.dtype().tensor_type() {
        Some(TensorElementType::Float32) => look(name, value, part, |value: f32| f64::from(value)),
        Some(TensorElementType::Float16) => look(name, value, part, |value: f16| f64::from(value)),
        Some(TensorElementType::Float64) => look(name, value, part, |value: f64| value),
        _ => Ok(OutputRange { name: name.to_owned(), range: None, histogram: None }),
    };
    looked.map_err(|error| ModelError::Failed(format!("output `{name}`: {}", said(&error))))
}

/// The kind of hardware an OpenVINO device name means.
pub(crate) fn device_type(name: &str) -> Result<DeviceType, ort::Error> {
    match name.split('.').next() {
        Some("CPU") => Ok(DeviceType::CPU),
        Some("GPU") => Ok(DeviceType::GPU),
        Some("NPU") => Ok(DeviceType::NPU),
        _ => Err(ort::Error::new(format!("`{name}` is no OpenVINO device; there are CPU, GPU and NPU"))),
    }
}
