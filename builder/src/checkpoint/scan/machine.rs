//! The state of the abstract pickle machine, and what moves values about in it.
//!
//! Values live in an arena and refer to each other by index. A memo lookup copies an index, so a pickle that shares
//! values a billion times over costs nothing here; it is refused all the same.

use std::collections::HashMap;

use super::value::{Node, Pickle, Unknown, Value, type_name};
use crate::checkpoint::error::Fault;
use crate::checkpoint::pickle::{BYTEARRAY8, Source, refused_name};

/// Steps per pickle: opcodes, and values that a call copies. A checkpoint of a network of a hundred layers with its
/// optimizer state takes some 50,000; a step costs at most about 100 bytes of memory.
pub(super) const MAX_STEPS: u64 = 1 << 21;
/// How deep values may be nested: Python's own recursion limit.
const MAX_DEPTH: u32 = 1000;
/// Values that a pickle may stand for, shared ones counted wherever they occur.
const MAX_EXPANDED: u64 = 1 << 24;

/// How a pickle is scanned.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Plain values only: the headers of a legacy file.
    Literal,
    /// Whatever the allow-list lets through.
    Full,
    /// As full, with the contents of `bytes` values, which arrays are made of.
    Arrays,
}

/// How much a node holds: depth of nesting and number of values, shared ones counted wherever they occur.
#[derive(Clone, Copy)]
pub(super) struct Extent {
    depth: u32,
    values: u64,
}

/// The abstract machine: stack, marks and memo as an unpickler has them, and an arena in place of objects.
pub(super) struct Machine<'a> {
    pub(super) mode: Mode,
    /// Classes to pass over beside those known to be harmless.
    pub(super) skip: &'a [String],
    pub(super) classes: Vec<String>,
    /// Indices into `classes`, by module and name.
    pub(super) resolved: HashMap<(String, String), u32>,
    pub(super) attributes: Vec<(Value, Value)>,
    pub(super) unknown: Vec<Unknown>,
    pub(super) nodes: Vec<Node>,
    pub(super) extents: Vec<Extent>,
    pub(super) stack: Vec<Value>,
    /// Stack heights at the open marks.
    pub(super) marks: Vec<usize>,
    pub(super) memo: HashMap<u32, Value>,
    /// Offset of the current opcode.
    pub(super) at: u64,
    /// Steps taken so far.
    pub(super) steps: u64,
}

impl<'a> Machine<'a> {
    pub(super) fn new(mode: Mode, skip: &'a [String]) -> Self {
        Self {
            mode,
            skip,
            classes: Vec::new(),
            resolved: HashMap::new(),
            attributes: Vec::new(),
            unknown: Vec::new(),
            nodes: Vec::new(),
            extents: Vec::new(),
            stack: Vec::new(),
            marks: Vec::new(),
            memo: HashMap::new(),
            at: 0,
            steps: 0,
        }
    }

    pub(super) fn finish(self, source: &Source<'_>, root: Value) -> Pickle {
        let Self { nodes, classes, attributes, unknown, .. } = self;
        Pickle { name: source.place(0).pickle, nodes, root, classes, attributes, unknown }
    }

    /// Counts `steps`, up to the limit.
    pub(super) fn charge(&mut self, source: &Source<'_>, steps: usize) -> Result<(), Fault> {
        self.steps = self.steps.saturating_add(steps as u64);
        if self.steps > MAX_STEPS {
            return Err(Fault::PickleLimit { place: source.place(self.at), what: "steps", limit: MAX_STEPS });
        }
        Ok(())
    }

    pub(super) fn top(&self, source: &Source<'_>) -> Result<Value, Fault> {
        let floor = self.marks.last().copied().unwrap_or(0);
        self.stack.get(floor..).and_then(<[_]>::last).copied().ok_or_else(|| self.underflow(source))
    }

    pub(super) fn pop(&mut self, source: &Source<'_>) -> Result<Value, Fault> {
        let value = self.top(source)?;
        self.stack.pop();
        Ok(value)
    }

    /// The `count` topmost values, in the order in which they were pushed.
    pub(super) fn pop_many(&mut self, source: &Source<'_>, count: usize) -> Result<Vec<Value>, Fault> {
        let floor = self.marks.last().copied().unwrap_or(0);
        if self.stack.len() - floor < count {
            return Err(self.underflow(source));
        }
        Ok(self.stack.split_off(self.stack.len() - count))
    }

    pub(super) fn pop_to_mark(&mut self, source: &Source<'_>) -> Result<Vec<Value>, Fault> {
        let mark = self.marks.pop().ok_or_else(|| self.malformed(source, "no MARK on the stack (stack underflow)"))?;
        Ok(self.stack.split_off(mark))
    }

    /// Adds `node` to the arena and puts it on the stack.
    pub(super) fn push(&mut self, source: &Source<'_>, node: Node) -> Result<(), Fault> {
        let items = match &node {
            Node::Tuple(items) | Node::List(items) => &items[..],
            _ => &[],
        };
        let extent = self.grown(source, Extent { depth: 0, values: 1 }, items)?;
        self.stack.push(Value::Node(self.nodes.len()));
        self.nodes.push(node);
        self.extents.push(extent);
        Ok(())
    }

    /// What a container of `extent` becomes when `items` are added.
    pub(super) fn grown(&self, source: &Source<'_>, mut extent: Extent, items: &[Value]) -> Result<Extent, Fault> {
        for item in items {
            let inner = match item {
                Value::Node(index) => self.extents.get(*index).copied(),
                _ => None,
            };
            let inner = inner.unwrap_or(Extent { depth: 0, values: 1 });
            extent.depth = extent.depth.max(inner.depth + 1);
            extent.values = extent.values.saturating_add(inner.values);
        }
        let place = || source.place(self.at);
        if extent.depth > MAX_DEPTH {
            return Err(Fault::PickleLimit { place: place(), what: "levels of nesting", limit: MAX_DEPTH.into() });
        }
        if extent.values > MAX_EXPANDED {
            return Err(Fault::PickleLimit {
                place: place(),
                what: "values, shared ones repeated",
                limit: MAX_EXPANDED,
            });
        }
        Ok(extent)
    }

    pub(super) fn append(&mut self, source: &Source<'_>, items: Vec<Value>) -> Result<(), Fault> {
        let top = self.top(source)?;
        if self.absorbed(source, top, &items)? {
            return Ok(());
        }
        self.refuse_byte_arrays(source, &items)?;
        if let Value::Node(index) = top
            && let Some(Node::List(_)) = self.nodes.get(index)
        {
            self.extents[index] = self.grown(source, self.extents[index], &items)?;
            if let Some(Node::List(list)) = self.nodes.get_mut(index) {
                list.extend(items);
            }
            return Ok(());
        }
        Err(self.malformed(source, &format!("items are appended to a {}", type_name(&self.nodes, top))))
    }

    /// Sets `items`, keys and values in turn, in the dictionary on top of the stack.
    pub(super) fn set_items(&mut self, source: &Source<'_>, items: &[Value]) -> Result<(), Fault> {
        let top = self.top(source)?;
        if !items.len().is_multiple_of(2) {
            return Err(self.malformed(source, "a dictionary key without a value"));
        }
        if self.absorbed(source, top, items)? {
            return Ok(());
        }
        self.refuse_byte_arrays(source, items)?;
        if let Value::Node(index) = top
            && let Some(Node::Dict(_)) = self.nodes.get(index)
        {
            self.extents[index] = self.grown(source, self.extents[index], items)?;
            if let Some(Node::Dict(dict)) = self.nodes.get_mut(index) {
                dict.extend(items.chunks_exact(2).map(|pair| (pair[0], pair[1], self.at)));
            }
            return Ok(());
        }
        Err(self.malformed(source, &format!("items are set in a {}", type_name(&self.nodes, top))))
    }

    /// A `bytearray` is an argument of what rebuilds an array, and nothing else.
    pub(super) fn refuse_byte_arrays(&self, source: &Source<'_>, items: &[Value]) -> Result<(), Fault> {
        let array = items.iter().find_map(|item| match item {
            Value::ByteArray(at) => Some(*at),
            _ => None,
        });
        let name = refused_name(BYTEARRAY8);
        array.map_or(Ok(()), |at| Err(Fault::Opcode { place: source.place(at), opcode: BYTEARRAY8, name }))
    }

    pub(super) fn node(&self, value: Value) -> Option<&Node> {
        match value {
            Value::Node(index) => self.nodes.get(index),
            _ => None,
        }
    }

    pub(super) fn str(&self, value: Value) -> Option<&str> {
        match self.node(value)? {
            Node::Str(text) => Some(text),
            _ => None,
        }
    }

    pub(super) fn malformed(&self, source: &Source<'_>, what: &str) -> Fault {
        Fault::Malformed { place: source.place(self.at), what: what.to_owned() }
    }

    pub(super) fn underflow(&self, source: &Source<'_>) -> Fault {
        self.malformed(source, "stack underflow")
    }
}
