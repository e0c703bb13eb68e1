//! The allow-list scan: an abstract pickle machine. It follows stack, marks and memo exactly as an unpickler would, so
//! that it sees what would be called and not what the bytes look like, and it refuses every opcode and global that a
//! file of weights has no use for, used or not. Objects that are known to be harmless are passed over: the machine notes
//! that one stands there and what it was made from, and builds nothing. What it builds are descriptions (this tensor lies there, in that
//! shape), so the scan that judges a file and the reading that follows are one: there is no second parser whose view
//! could differ.
//!
//! Values live in an arena and refer to each other by index. A memo lookup copies an index, so a pickle that shares
//! values a billion times over costs nothing here; it is refused all the same.

mod calls;
mod value;

use super::error::Fault;
use super::pickle::{BYTEARRAY8, Op, Source, refused_name};
use std::collections::HashMap;
use value::type_name;
pub(super) use value::{Node, Object, Pickle, Storage, Tensor, Unknown, Value};

/// Steps per pickle: opcodes, and values that a call copies. A checkpoint of a network of a hundred layers with its
/// optimizer state takes some 50,000; a step costs at most about 100 bytes of memory.
const MAX_STEPS: u64 = 1 << 21;
/// How deep values may be nested: Python's own recursion limit.
const MAX_DEPTH: u32 = 1000;
/// Values that a pickle may stand for, shared ones counted wherever they occur.
const MAX_EXPANDED: u64 = 1 << 24;

/// How a pickle is scanned.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// Plain values only: the headers of a legacy file.
    Literal,
    /// Whatever the allow-list lets through.
    Full,
    /// As full, with the contents of `bytes` values, which arrays are made of.
    Arrays,
}

/// Scans one pickle, up to and with its `STOP`. Objects of the classes `skip`, exact `module.name`s, are passed over as
/// those known to be harmless are.
///
/// # Errors
///
/// At the first opcode or global that is not allowed, and wherever the pickle breaks its own rules or a limit. Globals
/// that nothing is known of are no error yet: what they are part of decides what to say of them.
pub(super) fn scan(source: &mut Source<'_>, mode: Mode, skip: &[String]) -> Result<Pickle, Fault> {
    let mut machine = Machine::new(mode, skip);
    loop {
        machine.at = source.offset();
        let stepped = machine.charge(source, 1).and_then(|()| source.next());
        match stepped.and_then(|op| machine.step(source, op)) {
            Ok(None) => {}
            Ok(Some(root)) => return Ok(machine.finish(source, root)),
            // What a pickle of unknown classes does next says less than that it has them, but for what is worse.
            Err(fault) => {
                let worse =
                    matches!(fault, Fault::Global { .. } | Fault::TensorKind { .. } | Fault::WholeModule { .. });
                return Err(if worse { fault } else { refuse_unknown(&machine.unknown, false).err().unwrap_or(fault) });
            }
        }
    }
}

/// Refuses a pickle that has `unknown` globals. Where no weights are found beside them, and one of them is a class of
/// modules, the file is a `whole` model.
pub(super) fn refuse_unknown(unknown: &[Unknown], whole: bool) -> Result<(), Fault> {
    let Some(first) = unknown.first() else { return Ok(()) };
    if let Some(model) = unknown.iter().find(|unknown| unknown.module && whole) {
        return Err(Fault::WholeModule { place: model.place.clone(), class: model.global.clone() });
    }
    let offer = unknown.iter().map(|unknown| unknown.global.clone()).collect();
    Err(Fault::Global { place: first.place.clone(), global: first.global.clone(), key: first.key.clone(), offer })
}

/// How much a node holds: depth of nesting and number of values, shared ones counted wherever they occur.
#[derive(Clone, Copy)]
struct Extent {
    depth: u32,
    values: u64,
}

struct Machine<'a> {
    mode: Mode,
    /// Classes to pass over beside those known to be harmless.
    skip: &'a [String],
    classes: Vec<String>,
    /// Indices into `classes`, by module and name.
    judged: HashMap<(String, String), u32>,
    attributes: Vec<(Value, Value)>,
    unknown: Vec<Unknown>,
    nodes: Vec<Node>,
    extents: Vec<Extent>,
    stack: Vec<Value>,
    /// Stack heights at the open marks.
    marks: Vec<usize>,
    memo: HashMap<u32, Value>,
    /// Offset of the current opcode.
    at: u64,
    /// Steps taken so far.
    steps: u64,
}

impl<'a> Machine<'a> {
    fn new(mode: Mode, skip: &'a [String]) -> Self {
        Self {
            mode,
            skip,
            classes: Vec::new(),
            judged: HashMap::new(),
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

    fn finish(self, source: &Source<'_>, root: Value) -> Pickle {
        let Self { nodes, classes, attributes, unknown, .. } = self;
        Pickle { name: source.place(0).pickle, nodes, root, classes, attributes, unknown }
    }

    /// Counts `steps`, up to the limit.
    fn charge(&mut self, source: &Source<'_>, steps: usize) -> Result<(), Fault> {
        self.steps = self.steps.saturating_add(steps as u64);
        if self.steps > MAX_STEPS {
            return Err(Fault::PickleLimit { place: source.place(self.at), what: "steps", limit: MAX_STEPS });
        }
        Ok(())
    }

    /// Executes `op`; the root value after `STOP`.
    fn step(&mut self, source: &Source<'_>, op: Op) -> Result<Option<Value>, Fault> {
        if self.mode == Mode::Literal
            && let Some(what) = beyond_literals(&op)
        {
            return Err(Fault::NotLiteral { place: source.place(self.at), what });
        }
        match op {
            Op::Proto(version) if version > 5 => {
                return Err(Fault::PickleProtocol { place: source.place(self.at), version });
            }
            Op::Proto(_) | Op::Frame => {}
            Op::Stop => return self.pop(source).map(Some),
            Op::Mark => self.marks.push(self.stack.len()),
            // As in CPython: with nothing above a mark, POP takes the mark.
            Op::Pop if self.marks.last() == Some(&self.stack.len()) => {
                self.marks.pop();
            }
            Op::Pop => {
                self.pop(source)?;
            }
            Op::PopMark => {
                self.pop_to_mark(source)?;
            }
            Op::Dup => self.stack.push(self.top(source)?),
            Op::None => self.stack.push(Value::None),
            Op::Bool(value) => self.stack.push(Value::Bool(value)),
            Op::Int(value) => self.stack.push(Value::Int(value)),
            Op::Float => self.stack.push(Value::Other("float")),
            Op::Bytes(bytes) | Op::ByteArray(bytes) if self.mode == Mode::Arrays => {
                self.push(source, Node::Bytes(bytes))?;
            }
            Op::Bytes(_) => self.stack.push(Value::Other("bytes")),
            Op::ByteArray(_) => self.stack.push(Value::ByteArray(self.at)),
            Op::EmptySet => self.skipped(source, "set", &[])?,
            Op::FrozenSet => {
                let items = self.pop_to_mark(source)?;
                self.skipped(source, "frozenset", &items)?;
            }
            Op::AddItems => {
                let items = self.pop_to_mark(source)?;
                let top = self.top(source)?;
                if !self.absorbed(source, top, &items)? {
                    let what = format!("items are added to a {}", type_name(&self.nodes, top));
                    return Err(self.malformed(source, &what));
                }
            }
            Op::Long(bytes) => self.push(source, Node::Long(bytes))?,
            Op::Str(text) => self.push(source, Node::Str(text))?,
            Op::EmptyTuple => self.push(source, Node::Tuple(Vec::new()))?,
            Op::Tuple => {
                let items = self.pop_to_mark(source)?;
                self.push(source, Node::Tuple(items))?;
            }
            Op::TupleOf(count) => {
                let items = self.pop_many(source, count)?;
                self.push(source, Node::Tuple(items))?;
            }
            Op::EmptyList => self.push(source, Node::List(Vec::new()))?,
            Op::List => {
                let items = self.pop_to_mark(source)?;
                self.refuse_byte_arrays(source, &items)?;
                self.push(source, Node::List(items))?;
            }
            Op::Append => {
                let items = self.pop_many(source, 1)?;
                self.append(source, items)?;
            }
            Op::Appends => {
                let items = self.pop_to_mark(source)?;
                self.append(source, items)?;
            }
            Op::EmptyDict => self.push(source, Node::Dict(Vec::new()))?,
            Op::Dict => {
                let items = self.pop_to_mark(source)?;
                self.push(source, Node::Dict(Vec::new()))?;
                self.set_items(source, &items)?;
            }
            Op::SetItem => {
                let items = self.pop_many(source, 2)?;
                self.set_items(source, &items)?;
            }
            Op::SetItems => {
                let items = self.pop_to_mark(source)?;
                self.set_items(source, &items)?;
            }
            Op::Get(index) => {
                let value = self.memo.get(&index).copied();
                let value =
                    value.ok_or_else(|| self.malformed(source, &format!("memo entry {index} was never set")))?;
                self.stack.push(value);
            }
            Op::Put(index) => {
                let value = self.top(source)?;
                self.memo.insert(index, value);
            }
            Op::Memoize => {
                let value = self.top(source)?;
                self.memo.insert(self.memo.len() as u32, value); // opcodes, so memo entries, are far fewer than 2^32
            }
            Op::Global { module, name } => {
                let global = self.judge(source, &module, &name)?;
                self.stack.push(global);
            }
            Op::StackGlobal => {
                let names = self.pop_many(source, 2)?;
                let (Some(module), Some(name)) = (self.str(names[0]), self.str(names[1])) else {
                    return Err(self.malformed(source, "STACK_GLOBAL without two strings"));
                };
                let (module, name) = (module.to_owned(), name.to_owned());
                let global = self.judge(source, &module, &name)?;
                self.stack.push(global);
            }
            Op::Inst { module, name } => {
                let arguments = self.pop_to_mark(source)?;
                let global = self.judge(source, &module, &name)?;
                self.call(source, global, &arguments)?;
            }
            Op::Obj => {
                let parts = self.pop_to_mark(source)?;
                let Some((&callable, arguments)) = parts.split_first() else {
                    return Err(self.malformed(source, "OBJ without a class"));
                };
                self.call(source, callable, arguments)?;
            }
            Op::Reduce | Op::NewObj => {
                let parts = self.pop_many(source, 2)?;
                if self.passed_over(source, parts[0], &parts[1..])? {
                    return Ok(None);
                }
                let arguments = self.arguments(source, parts[1])?;
                self.call(source, parts[0], &arguments)?;
            }
            Op::NewObjEx => {
                let parts = self.pop_many(source, 3)?;
                if self.passed_over(source, parts[0], &parts[1..])? {
                    return Ok(None);
                }
                if !matches!(self.node(parts[2]), Some(Node::Dict(items)) if items.is_empty()) {
                    return Err(self.malformed(source, "NEWOBJ_EX with keyword arguments"));
                }
                let arguments = self.arguments(source, parts[1])?;
                self.call(source, parts[0], &arguments)?;
            }
            Op::Build => self.build(source)?,
            Op::PersId => self.persistent_id(source)?,
        }
        Ok(None)
    }

    // ---- Stack ----

    fn top(&self, source: &Source<'_>) -> Result<Value, Fault> {
        let floor = self.marks.last().copied().unwrap_or(0);
        self.stack.get(floor..).and_then(<[_]>::last).copied().ok_or_else(|| self.underflow(source))
    }

    fn pop(&mut self, source: &Source<'_>) -> Result<Value, Fault> {
        let value = self.top(source)?;
        self.stack.pop();
        Ok(value)
    }

    /// The `count` topmost values, in the order in which they were pushed.
    fn pop_many(&mut self, source: &Source<'_>, count: usize) -> Result<Vec<Value>, Fault> {
        let floor = self.marks.last().copied().unwrap_or(0);
        if self.stack.len() - floor < count {
            return Err(self.underflow(source));
        }
        Ok(self.stack.split_off(self.stack.len() - count))
    }

    fn pop_to_mark(&mut self, source: &Source<'_>) -> Result<Vec<Value>, Fault> {
        let mark = self.marks.pop().ok_or_else(|| self.malformed(source, "no MARK on the stack (stack underflow)"))?;
        Ok(self.stack.split_off(mark))
    }

    /// Adds `node` to the arena and puts it on the stack.
    fn push(&mut self, source: &Source<'_>, node: Node) -> Result<(), Fault> {
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
    fn grown(&self, source: &Source<'_>, mut extent: Extent, items: &[Value]) -> Result<Extent, Fault> {
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

    fn append(&mut self, source: &Source<'_>, items: Vec<Value>) -> Result<(), Fault> {
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
    fn set_items(&mut self, source: &Source<'_>, items: &[Value]) -> Result<(), Fault> {
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
    fn refuse_byte_arrays(&self, source: &Source<'_>, items: &[Value]) -> Result<(), Fault> {
        let array = items.iter().find_map(|item| match item {
            Value::ByteArray(at) => Some(*at),
            _ => None,
        });
        let name = refused_name(BYTEARRAY8);
        array.map_or(Ok(()), |at| Err(Fault::Opcode { place: source.place(at), opcode: BYTEARRAY8, name }))
    }

    // ---- Helpers ----

    fn node(&self, value: Value) -> Option<&Node> {
        match value {
            Value::Node(index) => self.nodes.get(index),
            _ => None,
        }
    }

    fn str(&self, value: Value) -> Option<&str> {
        match self.node(value)? {
            Node::Str(text) => Some(text),
            _ => None,
        }
    }

    fn malformed(&self, source: &Source<'_>, what: &str) -> Fault {
        Fault::Malformed { place: source.place(self.at), what: what.to_owned() }
    }

    fn underflow(&self, source: &Source<'_>) -> Fault {
        self.malformed(source, "stack underflow")
    }
}

/// What `op` would do that a plain value cannot.
fn beyond_literals(op: &Op) -> Option<String> {
    Some(match op {
        Op::Global { module, name } | Op::Inst { module, name } => format!("`{module}.{name}`"),
        Op::StackGlobal => "STACK_GLOBAL".to_owned(),
        Op::Reduce | Op::Obj | Op::NewObj | Op::NewObjEx => "a call".to_owned(),
        Op::Build => "BUILD".to_owned(),
        Op::PersId => "a persistent id".to_owned(),
        _ => return None,
    })
}
