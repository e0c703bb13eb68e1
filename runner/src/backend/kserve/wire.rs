//! Tensors on the wire: JSON, and behind it bytes, little-endian and row-major.

use std::borrow::Cow;

use half::f16;
use onnx_file::element::ElementType;
use onnx_file::port::Port;
use onnx_file::text::Shown;
use serde::Deserialize;
use serde_json::{Value, json};

use super::address::Address;
use super::client::{Answer, refusal};
use crate::model::opened::{ModelError, Ports};
use crate::model::tensor::{Data, Tensor};

/// How tensors travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Binary,
    Json,
}

/// The protocol's name of a type.
const NAMES: [(&str, ElementType); 13] = [
    ("FP32", ElementType::F32),
    ("FP16", ElementType::F16),
    ("BF16", ElementType::BF16),
    ("FP64", ElementType::F64),
    ("UINT8", ElementType::U8),
    ("INT8", ElementType::I8),
    ("UINT16", ElementType::U16),
    ("INT16", ElementType::I16),
    ("UINT32", ElementType::U32),
    ("INT32", ElementType::I32),
    ("UINT64", ElementType::U64),
    ("INT64", ElementType::I64),
    ("BOOL", ElementType::Bool),
];

fn element(name: &str) -> Option<ElementType> {
    NAMES.iter().find(|(known, _)| *known == name).map(|(_, element)| *element)
}

fn name(element: ElementType) -> &'static str {
    NAMES.iter().find(|(_, known)| *known == element).map_or("BYTES", |(name, _)| name)
}

#[derive(Deserialize)]
struct Metadata {
    name: String,
    inputs: Vec<Described>,
    outputs: Vec<Described>,
}

#[derive(Deserialize)]
struct Described {
    name: String,
    datatype: String,
    shape: Vec<i64>,
}

/// Most extents of a tensor.
const MOST_EXTENTS: usize = 16;
/// Most values in the JSON of an answer, each of which takes some 30 bytes of memory: 1,000 classes of 16,000 images.
const MOST_VALUES: usize = 16_000_000;

/// What a server says of the model at `address`.
pub(super) fn metadata(said: &Value, address: &Address) -> Result<Ports, ModelError> {
    let bad =
        |reason: String| ModelError::BadModel(format!("{address} describes its model wrongly: {}", Shown(reason)));
    let said = Metadata::deserialize(said).map_err(|error| bad(error.to_string()))?;
    if said.name != address.name {
        return Err(bad(format!("it is called '{}'", said.name)));
    }
    let ports = |described: Vec<Described>| {
        let port = |one: Described| {
            if one.shape.len() > MOST_EXTENTS {
                return Err(bad(format!("'{}' has {} extents", one.name, one.shape.len())));
            }
            let shape = Some(one.shape.iter().map(|&extent| usize::try_from(extent).ok()).collect());
            Ok(Port { name: one.name, element_type: element(&one.datatype), shape })
        };
        described.into_iter().map(port).collect::<Result<Vec<Port>, ModelError>>()
    };
    Ok(Ports { inputs: ports(said.inputs)?, outputs: ports(said.outputs)? })
}

/// A request, and how many bytes of it are JSON where bytes of tensors follow.
pub(super) fn request(inputs: &[Tensor], outputs: &[Port], form: Form) -> Result<(Option<usize>, Vec<u8>), ModelError> {
    let described = |input: &Tensor| {
        let (name, datatype) = (&input.name, name(input.data.element_type()));
        match form {
            Form::Binary => Ok(json!({
                "name": name, "shape": input.shape, "datatype": datatype,
                "parameters": { "binary_data_size": bytes(&input.data).len() },
            })),
            Form::Json => Ok(json!({
                "name": name, "shape": input.shape, "datatype": datatype, "data": numbers(&input.data)?,
            })),
        }
    };
    let inputs_json = inputs.iter().map(described).collect::<Result<Vec<Value>, ModelError>>()?;
    let wanted: Vec<Value> = outputs
        .iter()
        .map(|port| match form {
            Form::Binary => json!({ "name": port.name, "parameters": { "binary_data": true } }),
            Form::Json => json!({ "name": port.name }),
        })
        .collect();
    let mut body = json!({ "inputs": inputs_json, "outputs": wanted }).to_string().into_bytes();
    if form == Form::Json {
        return Ok((None, body));
    }
    let header = body.len();
    inputs.iter().for_each(|input| body.extend(bytes(&input.data).iter()));
    Ok((Some(header), body))
}

fn bytes(data: &Data) -> Cow<'_, [u8]> {
    Cow::Borrowed(match data {
        Data::F32(values) => bytemuck::cast_slice(values),
        Data::F16(values) => bytemuck::cast_slice(values),
        Data::F64(values) => bytemuck::cast_slice(values),
        Data::I64(values) => bytemuck::cast_slice(values),
        Data::I32(values) => bytemuck::cast_slice(values),
        Data::I8(values) => bytemuck::cast_slice(values),
        Data::U8(values) => values,
        Data::Bool(values) => return values.iter().map(|&value| u8::from(value)).collect(),
    })
}

fn numbers(data: &Data) -> Result<Value, ModelError> {
    Ok(match data {
        Data::F32(values) => json!(values),
        Data::F64(values) => json!(values),
        Data::I64(values) => json!(values),
        Data::U8(values) => json!(values),
        Data::I8(values) => json!(values),
        Data::I32(values) => json!(values),
        Data::Bool(values) => json!(values),
        Data::F16(_) => {
            let text = "the server takes no bytes, and JSON has no f16: serve a model built with --keep-io-types";
            return Err(ModelError::BadInput(text.into()));
        }
    })
}

#[derive(Deserialize)]
struct Said {
    outputs: Vec<Output>,
}

#[derive(Deserialize)]
struct Output {
    name: String,
    datatype: String,
    shape: Vec<i64>,
    #[serde(default)]
    data: Option<Value>,
    #[serde(default)]
    parameters: Parameters,
}

#[derive(Default, Deserialize)]
struct Parameters {
    binary_data_size: Option<usize>,
}

/// The outputs in an answer, in the order of `ports`, each of the name, type and shape that the server declared.
pub(super) fn answer(answer: Answer, ports: &[Port]) -> Result<Vec<Tensor>, ModelError> {
    let Answer { status, body, header } = answer;
    if status != 200 {
        return Err(ModelError::Failed(refusal(status, &body)));
    }
    let bad = |reason: String| ModelError::Failed(format!("the server's answer is refused: {}", Shown(reason)));
    let (text, mut rest) = body.split_at_checked(header.unwrap_or(body.len())).ok_or_else(|| {
        bad(format!("its JSON is said to have {} bytes, and all of it has {}", header.unwrap_or(0), body.len()))
    })?;
    let values = text.iter().filter(|byte| matches!(byte, b',' | b'[' | b'{' | b':')).count();
    if values > MOST_VALUES {
        return Err(bad(format!("its JSON holds more than {MOST_VALUES} values")));
    }
    let said: Said = serde_json::from_slice(text).map_err(|error| bad(error.to_string()))?;
    let mut found: Vec<Tensor> = Vec::new();
    for output in said.outputs {
        let Some(port) = ports.iter().find(|port| port.name == output.name) else {
            return Err(bad(format!("it holds '{}', which the server did not declare", output.name)));
        };
        if found.iter().any(|other| other.name == output.name) {
            return Err(bad(format!("it holds '{}' twice", output.name)));
        }
        let shape = shape(&output, port).map_err(bad)?;
        let count = shape.iter().try_fold(1usize, |count, &extent| count.checked_mul(extent));
        let count = count.ok_or_else(|| bad(format!("'{}' is larger than memory", output.name)))?;
        let kind = element(&output.datatype).ok_or_else(|| bad(format!("'{}' is {}", output.name, output.datatype)))?;
        let data = match (output.parameters.binary_data_size, output.data) {
            (Some(size), None) => {
                let (own, after) = rest.split_at_checked(size).ok_or_else(|| {
                    bad(format!("'{}' is said to have {size} bytes, and {} are left", output.name, rest.len()))
                })?;
                rest = after;
                of_bytes(own, kind, count)
            }
            (None, Some(data)) => of_json(&data, kind, count),
            _ => Err("it comes as bytes and as JSON, or as neither".to_owned()),
        };
        let data = data.map_err(|reason| bad(format!("'{}': {reason}", output.name)))?;
        found.push(Tensor { name: output.name, shape, data });
    }
    if !rest.is_empty() {
        return Err(bad(format!("{} bytes are left over", rest.len())));
    }
    let order = |port: &Port| {
        let at = found.iter().position(|output| output.name == port.name);
        at.map(|at| found[at].clone()).ok_or_else(|| bad(format!("it has no '{}'", port.name)))
    };
    ports.iter().map(order).collect()
}

fn shape(output: &Output, port: &Port) -> Result<Vec<usize>, String> {
    let name = &output.name;
    if element(&output.datatype) != port.element_type {
        let declared = port.element_type.map_or("another type", ElementType::name);
        return Err(format!("'{name}' is {}, and {declared} was declared", output.datatype));
    }
    let shape: Option<Vec<usize>> = output.shape.iter().map(|&extent| usize::try_from(extent).ok()).collect();
    let shape = shape.ok_or_else(|| format!("'{name}' has the shape {:?}", output.shape))?;
    let declared = port.shape.as_deref().unwrap_or_default();
    let fits = declared.len() == shape.len()
        && declared.iter().zip(&shape).all(|(declared, extent)| declared.is_none_or(|declared| declared == *extent));
    if fits { Ok(shape) } else { Err(format!("'{name}' has the shape {shape:?}, which is none of {port}")) }
}

fn of_bytes(bytes: &[u8], kind: ElementType, count: usize) -> Result<Data, String> {
    if count.checked_mul(kind.size()) != Some(bytes.len()) {
        return Err(format!("{} bytes for {count} numbers of {}", bytes.len(), kind.name()));
    }
    Ok(match kind {
        ElementType::F32 => Data::F32(bytes.as_chunks::<4>().0.iter().map(|&b| f32::from_le_bytes(b)).collect()),
        ElementType::F16 => Data::F16(bytes.as_chunks::<2>().0.iter().map(|&b| f16::from_le_bytes(b)).collect()),
        ElementType::F64 => Data::F64(bytes.as_chunks::<8>().0.iter().map(|&b| f64::from_le_bytes(b)).collect()),
        ElementType::I64 => Data::I64(bytes.as_chunks::<8>().0.iter().map(|&b| i64::from_le_bytes(b)).collect()),
        ElementType::I32 => {
            Data::I64(bytes.as_chunks::<4>().0.iter().map(|&b| i64::from(i32::from_le_bytes(b))).collect())
        }
        ElementType::U8 => Data::U8(bytes.to_vec()),
        ElementType::I8 => Data::I8(bytes.iter().map(|&byte| byte as i8).collect()),
        ElementType::Bool => Data::Bool(bytes.iter().map(|&byte| byte != 0).collect()),
        other => return Err(format!("{} is no type that is read", other.name())),
    })
}

/// Numbers in JSON, in lists of any depth: the protocol allows both.
fn of_json(data: &Value, kind: ElementType, count: usize) -> Result<Data, String> {
    let mut numbers: Vec<&Value> = Vec::new();
    flatten(data, 0, &mut numbers)?;
    if numbers.len() != count {
        return Err(format!("{} numbers where its shape calls for {count}", numbers.len()));
    }
    let real = |value: &&Value| value.as_f64().ok_or_else(|| format!("{value} is no number"));
    let whole = |value: &&Value| value.as_i64().ok_or_else(|| format!("{value} is no integer"));
    Ok(match kind {
        ElementType::F32 => Data::F32(numbers.iter().map(|v| real(v).map(|v| v as f32)).collect::<Result<_, _>>()?),
        ElementType::F16 => Data::F16(numbers.iter().map(|v| real(v).map(f16::from_f64)).collect::<Result<_, _>>()?),
        ElementType::F64 => Data::F64(numbers.iter().map(real).collect::<Result<_, _>>()?),
        ElementType::I64 | ElementType::I32 => Data::I64(numbers.iter().map(whole).collect::<Result<_, _>>()?),
        ElementType::U8 => {
            let byte = |v: &&Value| whole(v).and_then(|v| u8::try_from(v).map_err(|_| format!("{v} is no u8")));
            Data::U8(numbers.iter().map(byte).collect::<Result<_, _>>()?)
        }
        ElementType::I8 => {
            let small = |v: &&Value| whole(v).and_then(|v| i8::try_from(v).map_err(|_| format!("{v} is no i8")));
            Data::I8(numbers.iter().map(small).collect::<Result<_, _>>()?)
        }
        ElementType::Bool => {
            // Servers differ: JSON's own, or 0 and 1.
            let truth = |v: &&Value| match (v.as_bool(), v.as_i64()) {
                (Some(value), _) => Ok(value),
                (None, Some(number @ (0 | 1))) => Ok(number == 1),
                _ => Err(format!("{v} is neither true nor false")),
            };
            Data::Bool(numbers.iter().map(truth).collect::<Result<_, _>>()?)
        }
        other => return Err(format!("{} is no type that is read", other.name())),
    })
}

fn flatten<'v>(value: &'v Value, depth: usize, numbers: &mut Vec<&'v Value>) -> Result<(), String> {
    match value {
        Value::Array(values) if depth < MOST_EXTENTS => {
            values.iter().try_for_each(|value| flatten(value, depth + 1, numbers))
        }
        Value::Array(_) => Err("its lists are too deep".into()),
        number => {
            numbers.push(number);
            Ok(())
        }
    }
}
