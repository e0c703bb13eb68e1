//! From the value that a pickle describes to named tensors: find the dictionary of weights, check every name, shape,
//! stride and storage of it. Other tensors of the file (optimizer state, say) are left alone; they are never read.

use super::error::{Fault, Place};
use super::globals::Element;
use super::layout::Layout;
use super::scan::{Items, Node, Pickle, Storage, Tensor, Value, refuse_unknown};
use super::select::{self, Alternative, Selected, select};
use super::tensor::{Skipped, TensorInfo};
use onnx_file::element::ElementType;
use std::collections::{HashMap, HashSet};

/// Most dimensions of a tensor: what torch's own kernels allow.
const MAX_RANK: usize = 64;

/// The tensors of a checkpoint and how they were found.
pub(super) struct Names<T> {
    /// In file order.
    pub(super) tensors: Vec<(TensorInfo, T)>,
    pub(super) nested_under: Option<String>,
    pub(super) alternatives: Vec<Alternative>,
    pub(super) skipped: Vec<Skipped>,
    /// Whether the file says that its network is torchvision's, under the names of another library.
    pub(super) from_torchvision: bool,
}

impl<T> Default for Names<T> {
    fn default() -> Self {
        let (tensors, alternatives, skipped) = (Vec::new(), Vec::new(), Vec::new());
        Self { tensors, nested_under: None, alternatives, skipped, from_torchvision: false }
    }
}

/// Whether a file in Detectron2's names says that it was converted from torchvision's.
pub(super) fn is_from_torchvision(pickle: &Pickle, root: &Items) -> bool {
    let says = |(key, value, _): &(Value, Value, _)| {
        pickle.str(*key) == Some("__author__") && pickle.str(*value) == Some("torchvision")
    };
    root.iter().any(says)
}

/// A tensor as the pickle describes it.
pub(super) struct View {
    /// The key of its storage.
    pub(super) storage: String,
    /// Bytes that the storage should have.
    pub(super) storage_bytes: u64,
    /// Where the elements lie in it.
    pub(super) layout: Layout,
}

/// Finds the weights in `pickle`.
///
/// # Errors
///
/// If there are none, or anything about their names, shapes or storages is not right.
pub(super) fn find(pickle: &Pickle, key: Option<&str>) -> Result<Names<View>, Fault> {
    refuse_duplicate_keys(pickle)?;
    let Some(Node::Dict(root)) = pickle.node(pickle.root) else {
        refuse_unknown(&pickle.unknown, true)?;
        return Err(Fault::NotADictionary { holds: pickle.type_name(pickle.root) });
    };
    let Some(Selected { path, dictionary, items: weights, alternatives }) = select(pickle, root, key)? else {
        refuse_unknown(&pickle.unknown, true)?;
        return Err(select::none(pickle, root));
    };
    refuse_unknown(&pickle.unknown, false)?;
    refuse_objects(pickle, weights, dictionary)?;
    let mut named = Vec::new();
    for (key, value, offset) in weights {
        let Some(name) = pickle.str(*key) else {
            return Err(Fault::KeyNotString { key: pickle.shown(*key), place: place(pickle, *offset) });
        };
        if let Some(Node::Tensor(tensor)) = pickle.node(*value) {
            named.push((name.to_owned(), tensor));
        }
    }
    let mut tensors = Vec::new();
    for (name, tensor) in named {
        let (info, view) = view(pickle, name, tensor)?;
        tensors.push((info, view));
    }
    refuse_shared_storages(&tensors)?;
    let nested_under = (!path.is_empty()).then(|| path.join("."));
    let from_torchvision = is_from_torchvision(pickle, root);
    Ok(Names { tensors, nested_under, alternatives, skipped: skipped(pickle, root), from_torchvision })
}

/// Every storage that the pickle mentions, by key: bytes per element and number of elements.
///
/// # Errors
///
/// If a storage is declared twice in different ways, or with a nonsensical number of elements.
pub(super) fn storages(pickle: &Pickle) -> Result<HashMap<&str, (usize, u64)>, Fault> {
    let mut storages: HashMap<&str, (&Storage, u64)> = HashMap::new();
    for node in &pickle.nodes {
        let Node::Storage(storage) = node else { continue };
        let numel = numel(storage).ok_or_else(|| Fault::Malformed {
            place: place(pickle, storage.offset),
            what: format!("storage `{}` has a number of elements that makes no sense", storage.key),
        })?;
        let (first, first_numel) = storages.entry(&storage.key).or_insert((storage, numel));
        if (first.element, *first_numel) != (storage.element, numel) {
            return Err(Fault::StorageRedeclared {
                place: place(pickle, storage.offset),
                storage: storage.key.clone(),
            });
        }
    }
    Ok(storages.into_iter().map(|(key, (storage, numel))| (key, (element_size(storage), numel))).collect())
}

fn element_size(storage: &Storage) -> usize {
    storage.element.map_or(1, Element::size)
}

/// The declared number of elements, where all their bytes can be counted.
fn numel(storage: &Storage) -> Option<u64> {
    let Value::Int(numel) = storage.numel else { return None };
    let numel = u64::try_from(numel).ok()?;
    numel.checked_mul(element_size(storage) as u64)?;
    Some(numel)
}

fn place(pickle: &Pickle, offset: u64) -> Place {
    Place { pickle: pickle.name.clone(), offset }
}

/// Python keeps the last of equal keys: what came before would be hidden from an unpickler, but not from a reader.
pub(super) fn refuse_duplicate_keys(pickle: &Pickle) -> Result<(), Fault> {
    #[derive(PartialEq, Eq, Hash)]
    enum Key<'a> {
        Str(&'a str),
        Int(i64),
    }
    for node in &pickle.nodes {
        let Node::Dict(items) = node else { continue };
        let mut seen = HashSet::new();
        for (key, _, offset) in items {
            let comparable = match *key {
                Value::Int(value) => Some(Key::Int(value)),
                Value::Bool(value) => Some(Key::Int(value.into())), // Python: True == 1
                other => pickle.str(other).map(Key::Str),
            };
            if comparable.is_some_and(|key| !seen.insert(key)) {
                return Err(Fault::DuplicateKey { key: pickle.shown(*key), place: place(pickle, *offset) });
            }
        }
    }
    Ok(())
}

/// Refuses objects that were passed over among the `weights`, and weights that are part of such an object: what that
/// would do to them nobody has looked at.
fn refuse_objects(pickle: &Pickle, weights: &Items, dictionary: Value) -> Result<(), Fault> {
    if pickle.classes.is_empty() {
        return Ok(());
    }
    let opaque = pickle.reach_of_objects().nodes;
    let shared = |inside: &[bool]| inside.iter().zip(&opaque).any(|(inside, opaque)| *inside && *opaque);
    let whole = pickle.reach([dictionary]);
    if whole.classes.is_empty() && !shared(&whole.nodes) {
        return Ok(());
    }
    for (key, value, _) in weights {
        let inside = pickle.reach([*key, *value]);
        if let Some(class) = inside.classes.into_iter().next() {
            return Err(Fault::ObjectAmongWeights { key: pickle.shown(*key), class });
        }
        if shared(&inside.nodes) {
            return Err(Fault::PartOfObject { key: pickle.shown(*key) });
        }
    }
    let key = "the dictionary".to_owned();
    match whole.classes.into_iter().next() {
        Some(class) => Err(Fault::ObjectAmongWeights { key, class }),
        None => Err(Fault::PartOfObject { key }),
    }
}

/// What is passed over, by the key of the outermost dictionary that it lies under.
fn skipped(pickle: &Pickle, root: &Items) -> Vec<Skipped> {
    if pickle.classes.is_empty() {
        return Vec::new();
    }
    let mut skipped = Vec::new();
    for (key, value, _) in root {
        for class in pickle.reach([*key, *value]).classes {
            skipped.push(Skipped { key: pickle.shown(*key), class });
        }
    }
    skipped
}

/// Checks one tensor.
fn view(pickle: &Pickle, name: String, tensor: &Tensor) -> Result<(TensorInfo, View), Fault> {
    let geometry = |what: String| Fault::Geometry { tensor: name.clone(), what };
    let Some(Node::Storage(storage)) = pickle.nodes.get(tensor.storage) else {
        return Err(geometry("no storage".to_owned()));
    };
    let dtype = match (storage.element, tensor.dtype) {
        (Some(stored), Some(wanted)) if stored != wanted => {
            return Err(geometry(format!("{wanted:?} in a storage of {stored:?}")));
        }
        (Some(element), _) | (None, Some(element)) => real(&name, element)?,
        (None, None) => return Err(geometry("an untyped storage and no dtype".to_owned())),
    };
    let numel = numel(storage).ok_or_else(|| geometry(format!("a storage of {:?} elements", storage.numel)))?;
    let storage_bytes = numel * element_size(storage) as u64;

    let shape = dimensions(pickle, tensor.size).map_err(|what| geometry(format!("size: {what}")))?;
    let stride = dimensions(pickle, tensor.stride).map_err(|what| geometry(format!("stride: {what}")))?;
    let offset = dimension(tensor.storage_offset).map_err(|what| geometry(format!("storage offset: {what}")))?;
    if shape.len() != stride.len() {
        return Err(geometry(format!("{} sizes but {} strides", shape.len(), stride.len())));
    }
    let layout = Layout::new(dtype, offset, shape.clone(), stride.clone())
        .ok_or_else(|| geometry(format!("size {shape:?}, stride {stride:?}, offset {offset} overflow")))?;
    let has = storage_bytes / dtype.size() as u64;
    if layout.end() > has {
        return Err(Fault::BeyondStorage { tensor: name, storage: storage.key.clone(), needs: layout.end(), has });
    }
    if layout.overlaps_itself() {
        return Err(Fault::SelfOverlap { tensor: name, shape, stride });
    }
    let view = View { storage: storage.key.clone(), storage_bytes, layout };
    Ok((TensorInfo { name, dtype, shape }, view))
}

/// The type of `element`, if it holds plain real numbers.
pub(super) fn real(tensor: &str, element: Element) -> Result<ElementType, Fault> {
    let (kind, fix) = match element {
        Element::Real(dtype) => return Ok(dtype),
        Element::Other(kind, _) if kind.starts_with("complex") => {
            (kind, "these networks have real weights; save the real part with .real.clone()")
        }
        Element::Other(kind, _) if kind.starts_with("quantized") => {
            (kind, "save the state_dict of the model from before quantization, or .dequantize() it")
        }
        Element::Other(kind, _) => (kind, "convert it with .float() and save it again"),
    };
    Err(Fault::TensorKind { tensor: tensor.to_owned(), kind: kind.to_owned(), fix })
}

/// A tuple of sizes or strides.
fn dimensions(pickle: &Pickle, value: Value) -> Result<Vec<usize>, String> {
    match pickle.node(value) {
        Some(Node::Tuple(items) | Node::List(items)) if items.len() <= MAX_RANK => {
            items.iter().map(|item| dimension(*item)).collect()
        }
        Some(Node::Tuple(items) | Node::List(items)) => Err(format!("{} dimensions", items.len())),
        _ => Err(format!("a {} instead of a tuple", pickle.type_name(value))),
    }
}

fn dimension(value: Value) -> Result<usize, String> {
    match value {
        Value::Int(value) => usize::try_from(value).map_err(|_| format!("{value} is negative")),
        Value::Node(_) => Err("a value that is no number, or one beyond 64 bits".to_owned()),
        other => Err(format!("{other:?} is no number")),
    }
}

/// Each weight has its own storage when torch saves a model; two in one storage would change together.
fn refuse_shared_storages(tensors: &[(TensorInfo, View)]) -> Result<(), Fault> {
    let mut owners: HashMap<&str, &str> = HashMap::new();
    for (info, view) in tensors.iter().filter(|(info, view)| info.dtype.is_float() && !view.layout.is_empty()) {
        if let Some(first) = owners.insert(&view.storage, &info.name) {
            return Err(Fault::SharedStorage {
                first: first.to_owned(),
                second: info.name.clone(),
                storage: view.storage.clone(),
            });
        }
    }
    Ok(())
}
