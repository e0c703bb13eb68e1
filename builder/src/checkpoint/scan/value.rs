//! What a scanned pickle describes: values in an arena, referring to each other by index.

use crate::checkpoint::globals::{Element, Global};

/// A value of the machine.
#[derive(Clone, Copy, Debug)]
pub(in crate::checkpoint) enum Value {
    None,
    Bool(bool),
    Int(i64),
    Global(Global),
    /// A value that no tensor depends on: its type.
    Other(&'static str),
    /// An index into [`Pickle::nodes`].
    Node(usize),
}

/// A value with contents.
#[derive(Debug)]
pub(in crate::checkpoint) enum Node {
    Str(String),
    /// An integer of more than 64 bits: two's complement, little-endian.
    Long(Vec<u8>),
    Tuple(Vec<Value>),
    List(Vec<Value>),
    /// Key, value, offset of the opcode that set them.
    Dict(Vec<(Value, Value, u64)>),
    Storage(Box<Storage>),
    Tensor(Box<Tensor>),
}

/// `('storage', class, key, location, numel)`: a storage outside the pickle.
#[derive(Debug)]
pub(in crate::checkpoint) struct Storage {
    /// `None`: untyped, counted in bytes.
    pub(in crate::checkpoint) element: Option<Element>,
    pub(in crate::checkpoint) key: String,
    pub(in crate::checkpoint) numel: Value,
    pub(in crate::checkpoint) offset: u64,
}

/// The arguments of `_rebuild_tensor_v2` or `_v3`, yet to be checked: the name that messages need is known later.
#[derive(Debug)]
pub(in crate::checkpoint) struct Tensor {
    /// Index of its [`Node::Storage`].
    pub(in crate::checkpoint) storage: usize,
    pub(in crate::checkpoint) storage_offset: Value,
    pub(in crate::checkpoint) size: Value,
    pub(in crate::checkpoint) stride: Value,
    pub(in crate::checkpoint) dtype: Option<Element>,
}

/// A pickle that passed the scan.
#[derive(Debug)]
pub(in crate::checkpoint) struct Pickle {
    pub(in crate::checkpoint) name: String,
    pub(in crate::checkpoint) nodes: Vec<Node>,
    pub(in crate::checkpoint) root: Value,
}

impl Pickle {
    /// The string that `value` is.
    pub(in crate::checkpoint) fn str(&self, value: Value) -> Option<&str> {
        match self.node(value)? {
            Node::Str(text) => Some(text),
            _ => None,
        }
    }

    /// The contents of `value`.
    pub(in crate::checkpoint) fn node(&self, value: Value) -> Option<&Node> {
        match value {
            Value::Node(index) => self.nodes.get(index),
            _ => None,
        }
    }

    /// The Python type of `value`.
    pub(in crate::checkpoint) fn type_name(&self, value: Value) -> &'static str {
        type_name(&self.nodes, value)
    }
}

/// The Python type of `value`.
pub(super) fn type_name(nodes: &[Node], value: Value) -> &'static str {
    match value {
        Value::None => "None",
        Value::Bool(_) => "bool",
        Value::Int(_) => "int",
        Value::Global(_) => "class or function",
        Value::Other(name) => name,
        Value::Node(index) => match nodes.get(index) {
            Some(Node::Str(_)) => "str",
            Some(Node::Long(_)) => "int",
            Some(Node::Tuple(_)) => "tuple",
            Some(Node::List(_)) => "list",
            Some(Node::Dict(_)) => "dict",
            Some(Node::Storage(_)) => "storage",
            Some(Node::Tensor(_)) => "tensor",
            None => "value",
        },
    }
}
