//! Plain pickles of numpy arrays, as Caffe2's and Detectron2's model zoos hold them: a dictionary from names to arrays, by
//! itself or under `model` or `blobs`. The scan has passed over the arrays as the objects that they are; here their
//! descriptions are read, and nothing else of the file.

use std::sync::Arc;

use onnx_file::element::ElementType;

use super::choice::Choice;
use super::error::Fault;
use super::file::Source;
use super::layout::Layout;
use super::pickle;
use super::scan::{self, Items, Mode, Node, Object, Pickle, Value};
use super::state_dict::{self, Names};
use super::tensor::TensorInfo;
use super::values::{Blob, Stored};

/// Keys that lead to the arrays.
const NESTING: [&str; 2] = ["model", "blobs"];

/// The arrays of the plain pickle `source`; `None` where it holds none.
///
/// # Errors
///
/// If the pickle is not one of plain arrays and values.
pub(super) fn read(source: &Source, choice: &Choice) -> Result<Option<Names<Stored>>, Fault> {
    let mut input = std::io::BufReader::new(source.stream(0, source.len()));
    let mut pickled = pickle::Source::keeping_bytes(&mut input, "the pickle", source.len());
    let pickle = scan::scan(&mut pickled, Mode::Arrays, &choice.skip)?;
    let end = pickled.offset();
    if end < source.len() {
        let after = "the pickle".to_owned();
        return Err(Fault::TrailingBytes { after, offset: end, count: source.len() - end });
    }
    state_dict::refuse_duplicate_keys(&pickle)?;
    let Some(Node::Dict(root)) = pickle.node(pickle.root) else { return Ok(None) };
    let keys: Vec<&str> = choice.key.as_deref().map_or(NESTING.to_vec(), |key| vec![key]);
    let nested = keys.iter().find_map(|key| {
        let (_, value, _) = root.iter().find(|(own, ..)| pickle.str(*own) == Some(key))?;
        match pickle.node(*value) {
            Some(Node::Dict(items)) => Some(((*key).to_owned(), &items[..])),
            _ => None,
        }
    });
    if let (None, Some(key)) = (&nested, &choice.key) {
        let leads = |(own, value, _): &(Value, Value, _)| match pickle.node(*value) {
            Some(Node::Dict(items)) if !items.is_empty() => pickle.str(*own).map(str::to_owned),
            _ => None,
        };
        return Err(Fault::NoSuchKey { key: key.clone(), known: root.iter().filter_map(leads).collect() });
    }
    let (nested_under, items) = nested.map_or((None, &root[..]), |(key, items)| (Some(key), items));
    let tensors = arrays(&pickle, items)?;
    if tensors.is_empty() {
        return Ok(None);
    }
    scan::refuse_unknown(&pickle.unknown, false)?;
    let from_torchvision = state_dict::is_from_torchvision(&pickle, root);
    Ok(Some(Names { tensors, nested_under, from_torchvision, ..Names::default() }))
}

fn arrays(pickle: &Pickle, items: &Items) -> Result<Vec<(TensorInfo, Stored)>, Fault> {
    let mut tensors = Vec::new();
    for (key, value, _) in items {
        let (Some(name), Some(Node::Skipped(object))) = (pickle.str(*key), pickle.node(*value)) else { continue };
        let Some(array) = array(pickle, object) else {
            let class = pickle.class(*value).unwrap_or_default().to_owned();
            return Err(Fault::ObjectAmongWeights { key: name.to_owned(), class });
        };
        let odd = |what: &str| Fault::Geometry { tensor: name.to_owned(), what: what.to_owned() };
        let Array { dtype, shape, columns_first, bytes } = array;
        let stride = strides(&shape, columns_first).ok_or_else(|| odd("a shape that overflows"))?;
        let layout = Layout::new(dtype, 0, shape.clone(), stride).ok_or_else(|| odd("a shape that overflows"))?;
        if bytes.len() != layout.elements() * dtype.size() {
            return Err(odd(&format!("{} bytes do not go with shape {shape:?}", bytes.len())));
        }
        let len = bytes.len() as u64;
        let memory = Some(Arc::from(bytes));
        let blob = Blob { name: name.to_owned(), start: 0, stored: len, len, deflated: false, crc: None, memory };
        tensors.push((TensorInfo { name: name.to_owned(), dtype, shape }, Stored { file: 0, blob, layout }));
    }
    Ok(tensors)
}

struct Array {
    dtype: ElementType,
    shape: Vec<usize>,
    columns_first: bool,
    bytes: Vec<u8>,
}

/// The array that `object` describes: `_reconstruct(ndarray, (0,), b"b")` with the state `(1, shape, dtype, columns first,
/// bytes)`, or `_frombuffer(bytes, dtype, shape, order)`.
fn array(pickle: &Pickle, object: &Object) -> Option<Array> {
    let class = pickle.classes.get(object.class as usize)?;
    let tuple = |index: usize| match pickle.node(*object.parts.get(index)?) {
        Some(Node::Tuple(items)) => Some(&items[..]),
        _ => None,
    };
    match class.as_str() {
        "numpy.core.multiarray._reconstruct" | "numpy._core.multiarray._reconstruct" if object.parts.len() == 2 => {
            let [_, shape, dtype, columns, data] = tuple(1)? else { return None };
            let columns_first = matches!(columns, Value::Bool(true) | Value::Int(1));
            let (dtype, shape) = (element(pickle, *dtype)?, extents(pickle, *shape)?);
            Some(Array { dtype, shape, columns_first, bytes: bytes(pickle, *data)? })
        }
        "numpy.core.numeric._frombuffer" | "numpy._core.numeric._frombuffer" if object.parts.len() == 1 => {
            let [data, dtype, shape, order] = tuple(0)? else { return None };
            let (dtype, shape) = (element(pickle, *dtype)?, extents(pickle, *shape)?);
            let columns_first = pickle.str(*order) == Some("F");
            Some(Array { dtype, shape, columns_first, bytes: bytes(pickle, *data)? })
        }
        _ => None,
    }
}

/// `dtype("f4", ...)` with the state `(3, "<", ...)`.
fn element(pickle: &Pickle, value: Value) -> Option<ElementType> {
    let Some(Node::Skipped(object)) = pickle.node(value) else { return None };
    if pickle.classes.get(object.class as usize)? != "numpy.dtype" {
        return None;
    }
    let items = |index: usize| match pickle.node(*object.parts.get(index)?) {
        Some(Node::Tuple(items)) => Some(&items[..]),
        _ => None,
    };
    let name = pickle.str(*items(0)?.first()?)?;
    let order = items(1).and_then(|state| pickle.str(*state.get(1)?)).unwrap_or("<");
    if !matches!(order, "<" | "|" | "=") {
        return None;
    }
    Some(match name {
        "f2" => ElementType::F16,
        "f4" => ElementType::F32,
        "f8" => ElementType::F64,
        "i4" => ElementType::I32,
        "i8" => ElementType::I64,
        "u1" => ElementType::U8,
        _ => return None,
    })
}

fn extents(pickle: &Pickle, value: Value) -> Option<Vec<usize>> {
    let Some(Node::Tuple(items)) = pickle.node(value) else { return None };
    let extent = |item: &Value| match item {
        Value::Int(extent) => usize::try_from(*extent).ok(),
        _ => None,
    };
    items.iter().map(extent).collect()
}

/// Bytes as they are, as Python 2 wrote them, or as protocols before 3 do: `_codecs.encode(text, "latin1")`.
fn bytes(pickle: &Pickle, value: Value) -> Option<Vec<u8>> {
    match pickle.node(value)? {
        Node::Bytes(bytes) => Some(bytes.clone()),
        Node::Str(text) => Some(text.clone().into_bytes()),
        Node::Skipped(object) if pickle.classes.get(object.class as usize)? == "_codecs.encode" => {
            let Some(Node::Tuple(arguments)) = pickle.node(*object.parts.first()?) else { return None };
            let [text, codec] = arguments[..] else { return None };
            if pickle.str(codec) != Some("latin1") {
                return None;
            }
            pickle.str(text)?.chars().map(|character| u8::try_from(u32::from(character)).ok()).collect()
        }
        _ => None,
    }
}

fn strides(shape: &[usize], columns_first: bool) -> Option<Vec<usize>> {
    let mut stride = vec![0; shape.len()];
    let mut step = 1usize;
    let order: Vec<usize> = if columns_first { (0..shape.len()).collect() } else { (0..shape.len()).rev().collect() };
    for axis in order {
        stride[axis] = step;
        step = step.checked_mul(shape[axis])?;
    }
    Some(stride)
}
