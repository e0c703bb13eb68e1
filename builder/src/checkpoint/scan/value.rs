//! What a scanned pickle describes: values in an arena, referring to each other by index.

use std::collections::{BTreeSet, HashMap};

use crate::checkpoint::error::Place;
use crate::checkpoint::globals::{Element, Global};

/// A value of the machine.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Value {
    None,
    Bool(bool),
    Int(i64),
    Global(Global),
    /// A class or function that is passed over: an index into [`Pickle::classes`].
    Class(u32),
    /// A `bytearray`: the offset of its opcode.
    ByteArray(u64),
    /// A value that no tensor depends on: its type.
    Other(&'static str),
    /// An index into [`Pickle::nodes`].
    Node(usize),
}

/// Key, value, and offset of the opcode that set them.
pub(crate) type Items = [(Value, Value, u64)];

/// A value with contents.
#[derive(Debug)]
pub(crate) enum Node {
    Str(String),
    /// An integer of more than 64 bits: two's complement, little-endian.
    Long(Vec<u8>),
    Tuple(Vec<Value>),
    List(Vec<Value>),
    /// Key, value, offset of the opcode that set them.
    Dict(Vec<(Value, Value, u64)>),
    /// Contents of a `bytes` or `bytearray`, where they are wanted.
    Bytes(Vec<u8>),
    Storage(Box<Storage>),
    Tensor(Box<Tensor>),
    /// An object that was not built.
    Skipped(Box<Object>),
}

/// `('storage', class, key, location, numel)`: a storage outside the pickle.
#[derive(Debug)]
pub(crate) struct Storage {
    /// `None`: untyped, counted in bytes.
    pub(crate) element: Option<Element>,
    pub(crate) key: String,
    pub(crate) numel: Value,
    pub(crate) offset: u64,
}

/// The arguments of `_rebuild_tensor_v2` or `_v3`, yet to be checked: the name that messages need is known later.
#[derive(Debug)]
pub(crate) struct Tensor {
    /// Index of its [`Node::Storage`].
    pub(crate) storage: usize,
    pub(crate) storage_offset: Value,
    pub(crate) size: Value,
    pub(crate) stride: Value,
    pub(crate) dtype: Option<Element>,
    /// The arguments that no number depends on.
    pub(crate) others: Vec<Value>,
}

/// An object that is passed over.
#[derive(Debug)]
pub(crate) struct Object {
    /// Its class, an index into [`Pickle::classes`].
    pub(crate) class: u32,
    /// What it would be made from: arguments, then states, items and elements in the order of the pickle.
    pub(crate) parts: Vec<Value>,
}

/// A global that nothing is known of.
#[derive(Debug)]
pub(crate) struct Unknown {
    pub(crate) place: Place,
    pub(crate) global: String,
    /// The key of the dictionary whose value was being built.
    pub(crate) key: Option<String>,
    /// Whether it is a class of modules, or one defined in a script.
    pub(crate) module: bool,
}

/// What can be reached from a value.
pub(crate) struct Reach {
    /// Whether each node can be, texts and numbers left out, which nobody can change.
    pub(crate) nodes: Vec<bool>,
    /// Classes of what is passed over.
    pub(crate) classes: BTreeSet<String>,
}

/// A pickle that passed the scan.
#[derive(Debug)]
pub(crate) struct Pickle {
    pub(crate) name: String,
    pub(crate) nodes: Vec<Node>,
    pub(crate) root: Value,
    /// `module.name` of whatever is passed over.
    pub(crate) classes: Vec<String>,
    /// What `BUILD` set on plain values: the value, the state.
    pub(crate) attributes: Vec<(Value, Value)>,
    /// Globals that nothing is known of, each once. Whoever uses the pickle has to refuse it for them.
    pub(crate) unknown: Vec<Unknown>,
}

impl Pickle {
    /// What can be reached through the objects that are passed over.
    pub(crate) fn reach_of_objects(&self) -> Reach {
        let parts = self.nodes.iter().filter_map(|node| match node {
            Node::Skipped(object) => Some(&object.parts),
            _ => None,
        });
        self.reach(parts.flatten().copied())
    }

    /// What can be reached from `start`.
    pub(crate) fn reach(&self, start: impl IntoIterator<Item = Value>) -> Reach {
        let mut attributes: HashMap<usize, Vec<Value>> = HashMap::new();
        for (value, state) in &self.attributes {
            if let Value::Node(index) = value {
                attributes.entry(*index).or_default().push(*state);
            }
        }
        let mut reached = vec![false; self.nodes.len()];
        let mut classes = BTreeSet::new();
        let mut open: Vec<Value> = start.into_iter().collect();
        while let Some(value) = open.pop() {
            if let Some(class) = self.class(value) {
                classes.insert(class.to_owned());
            }
            let Value::Node(index) = value else { continue };
            let Some(node) =
                self.nodes.get(index).filter(|node| !matches!(node, Node::Str(_) | Node::Long(_) | Node::Bytes(_)))
            else {
                continue;
            };
            if std::mem::replace(&mut reached[index], true) {
                continue;
            }
            open.extend(attributes.get(&index).into_iter().flatten());
            match node {
                Node::Tuple(items) | Node::List(items) => open.extend(items),
                Node::Dict(items) => open.extend(items.iter().flat_map(|(key, value, _)| [*key, *value])),
                Node::Tensor(tensor) => {
                    open.extend([Value::Node(tensor.storage), tensor.storage_offset, tensor.size, tensor.stride]);
                    open.extend(&tensor.others);
                }
                Node::Str(_) | Node::Long(_) | Node::Bytes(_) | Node::Storage(_) | Node::Skipped(_) => {}
            }
        }
        Reach { nodes: reached, classes }
    }

    /// The class of what is passed over, where `value` is that.
    pub(crate) fn class(&self, value: Value) -> Option<&str> {
        let index = match (value, self.node(value)) {
            (Value::Class(index), _) => index,
            (_, Some(Node::Skipped(object))) => object.class,
            _ => return None,
        };
        self.classes.get(index as usize).map(String::as_str)
    }

    /// The string that `value` is.
    pub(crate) fn str(&self, value: Value) -> Option<&str> {
        match self.node(value)? {
            Node::Str(text) => Some(text),
            _ => None,
        }
    }

    /// The contents of `value`.
    pub(crate) fn node(&self, value: Value) -> Option<&Node> {
        match value {
            Value::Node(index) => self.nodes.get(index),
            _ => None,
        }
    }

    /// A key as Python would print it, near enough for a message.
    pub(crate) fn shown(&self, key: Value) -> String {
        match key {
            Value::Int(value) => format!("the int {value}"),
            Value::Bool(value) => format!("the bool {value}"),
            _ => self.str(key).map_or_else(|| format!("a {}", self.type_name(key)), str::to_owned),
        }
    }

    /// The Python type of `value`.
    pub(crate) fn type_name(&self, value: Value) -> &'static str {
        type_name(&self.nodes, value)
    }
}

/// The Python type of `value`.
pub(super) fn type_name(nodes: &[Node], value: Value) -> &'static str {
    match value {
        Value::None => "None",
        Value::Bool(_) => "bool",
        Value::Int(_) => "int",
        Value::Global(_) | Value::Class(_) => "class or function",
        Value::ByteArray(_) => "bytearray",
        Value::Other(name) => name,
        Value::Node(index) => match nodes.get(index) {
            Some(Node::Str(_)) => "str",
            Some(Node::Long(_)) => "int",
            Some(Node::Tuple(_)) => "tuple",
            Some(Node::List(_)) => "list",
            Some(Node::Dict(_)) => "dict",
            Some(Node::Bytes(_)) => "bytes",
            Some(Node::Storage(_)) => "storage",
            Some(Node::Tensor(_)) => "tensor",
            Some(Node::Skipped(_)) => "object",
            None => "value",
        },
    }
}
