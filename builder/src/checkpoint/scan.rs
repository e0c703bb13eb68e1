//! The allow-list scan: an abstract pickle machine. It follows stack, marks and memo exactly as an unpickler would, so
//! that it sees what would be called and not what the bytes look like, and it refuses every opcode and global that a
//! file of weights has no use for, used or not. Objects that are known to be harmless are passed over: the machine notes
//! that one stands there and what it was made from, and builds nothing. What it builds are descriptions (this tensor lies there, in that
//! shape), so the scan that admits a file and the reading that follows are one: there is no second parser whose view
//! could differ.

mod calls;
mod machine;
mod value;

use super::error::Fault;
use super::pickle::{Op, Source};
use machine::Machine;
pub(super) use machine::Mode;
use value::type_name;
pub(super) use value::{Items, Node, Object, Pickle, Storage, Tensor, Unknown, Value};

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

impl Machine<'_> {
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
                let global = self.resolve(source, &module, &name)?;
                self.stack.push(global);
            }
            Op::StackGlobal => {
                let names = self.pop_many(source, 2)?;
                let (Some(module), Some(name)) = (self.str(names[0]), self.str(names[1])) else {
                    return Err(self.malformed(source, "STACK_GLOBAL without two strings"));
                };
                let (module, name) = (module.to_owned(), name.to_owned());
                let global = self.resolve(source, &module, &name)?;
                self.stack.push(global);
            }
            Op::Inst { module, name } => {
                let arguments = self.pop_to_mark(source)?;
                let global = self.resolve(source, &module, &name)?;
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
