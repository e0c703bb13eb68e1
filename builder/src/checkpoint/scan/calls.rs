//! Globals, and what calling them would give. Nothing is called: an OrderedDict is an empty dictionary, a rebuilt
//! tensor is a note of its arguments, a Parameter is its tensor, and what is passed over is a note of its class.

use super::machine::{MAX_STEPS, Machine};
use super::value::{Node, Object, Storage, Tensor, Unknown, Value, type_name};
use crate::checkpoint::error::Fault;
use crate::checkpoint::globals::{Element, Global, Verdict, builds_its_argument, look_up};
use crate::checkpoint::pickle::Source;

/// Arguments of a call, fields of a persistent id: none has more.
const MAX_ARGUMENTS: usize = 8;
/// Length of a storage's key: decimal numbers in practice.
const MAX_KEY: usize = 256;

/// Length of a global's name with its module; longer ones are refused unread.
const MAX_NAME: usize = 1024;
/// Different classes passed over, and unknown ones: no file has more.
const MAX_CLASSES: usize = 4096;

impl Machine<'_> {
    /// The global `module.name`: one of the weights' own, or one to pass over.
    pub(super) fn resolve(&mut self, source: &Source<'_>, module: &str, name: &str) -> Result<Value, Fault> {
        let long = module.len() + name.len() > MAX_NAME;
        // Looked up once, however often a pickle has it.
        let known = if long { None } else { self.resolved.get(&(module.to_owned(), name.to_owned())) };
        if let Some(index) = known {
            return Ok(Value::Class(*index));
        }
        let verdict = if long { Verdict::Malicious } else { look_up(module, name) };
        if let Verdict::Allowed(global) = verdict {
            return Ok(Value::Global(global));
        }
        let place = source.place(self.at);
        // While a dictionary is filled, its current key lies just below what is built for it.
        let key = self.top(source).ok().and_then(|top| self.str(top)).map(str::to_owned);
        let global = format!("{module}.{name}");
        match verdict {
            Verdict::Kind(kind, fix) => {
                let tensor = key.unwrap_or_else(|| place.to_string());
                return Err(Fault::TensorKind { tensor, kind: kind.to_owned(), fix });
            }
            Verdict::Malicious => return Err(Fault::Global { place, global, key, offer: Vec::new() }),
            Verdict::Unknown { module } if !self.skip.contains(&global) => {
                self.unknown.push(Unknown { place, global, key, module });
            }
            _ => {}
        }
        self.class(source, module, name)
    }

    /// The class `module.name`, to be passed over.
    fn class(&mut self, source: &Source<'_>, module: &str, name: &str) -> Result<Value, Fault> {
        let both = (module.to_owned(), name.to_owned());
        if let Some(index) = self.resolved.get(&both) {
            return Ok(Value::Class(*index));
        }
        let index = self.classes.len();
        if index >= MAX_CLASSES {
            let place = source.place(self.at);
            return Err(Fault::PickleLimit { place, what: "classes", limit: MAX_CLASSES as u64 });
        }
        self.classes.push(format!("{module}.{name}"));
        self.resolved.insert(both, index as u32);
        Ok(Value::Class(index as u32))
    }

    /// An object of the built-in class `name`, made from `parts`.
    pub(super) fn skipped(&mut self, source: &Source<'_>, name: &str, parts: &[Value]) -> Result<(), Fault> {
        let class = self.class(source, "builtins", name)?;
        self.passed_over(source, class, parts).map(|_| ())
    }

    /// Notes an object in place of a call of `callable` with `parts`, where that is a class to pass over.
    pub(super) fn passed_over(&mut self, source: &Source<'_>, callable: Value, parts: &[Value]) -> Result<bool, Fault> {
        let Value::Class(mut class) = callable else { return Ok(false) };
        let name = self.classes.get(class as usize).and_then(|class| class.rsplit_once('.'));
        if name.is_some_and(|(module, name)| builds_its_argument(module, name))
            && let Some(Node::Tuple(arguments)) = parts.first().and_then(|part| self.node(*part))
            && let Some(Value::Class(built)) = arguments.first()
        {
            class = *built;
        }
        // Its depth and the number of its values count as a tuple's would.
        self.push(source, Node::Tuple(parts.to_vec()))?;
        if let Some(node) = self.nodes.last_mut() {
            *node = Node::Skipped(Box::new(Object { class, parts: parts.to_vec() }));
        }
        Ok(true)
    }

    /// Whether `object` is passed over, and `items` with it: what is set in it, appended to it, or its state.
    pub(super) fn absorbed(&mut self, source: &Source<'_>, object: Value, items: &[Value]) -> Result<bool, Fault> {
        let Value::Node(index) = object else { return Ok(false) };
        if !matches!(self.nodes.get(index), Some(Node::Skipped(_))) {
            return Ok(false);
        }
        self.extents[index] = self.grown(source, self.extents[index], items)?;
        if let Some(Node::Skipped(object)) = self.nodes.get_mut(index) {
            object.parts.extend(items);
        }
        Ok(true)
    }

    /// Describes what `callable(*arguments)` would be; nothing is called.
    pub(super) fn call(&mut self, source: &Source<'_>, callable: Value, arguments: &[Value]) -> Result<(), Fault> {
        if self.passed_over(source, callable, arguments)? {
            return Ok(());
        }
        let Value::Global(global) = callable else {
            let what = format!("a {} is called", type_name(&self.nodes, callable));
            return Err(self.malformed(source, &what));
        };
        match (global, arguments) {
            (Global::OrderedDict, []) => self.push(source, Node::Dict(Vec::new())),
            (Global::OrderedDict, &[pairs]) => {
                let items = self.pairs(source, pairs)?;
                self.charge(source, items.len())?;
                self.push(source, Node::Dict(Vec::new()))?;
                self.set_items(source, &items)
            }
            (
                Global::RebuildTensorV2,
                &[storage, offset, size, stride, _, _] | &[storage, offset, size, stride, _, _, _],
            ) => self.tensor(source, [storage, offset, size, stride], None, &arguments[4..]),
            (
                Global::RebuildTensorV3,
                &[storage, offset, size, stride, _, _, dtype] | &[storage, offset, size, stride, _, _, dtype, _],
            ) => match dtype {
                Value::Global(Global::Dtype(element)) => {
                    self.tensor(source, [storage, offset, size, stride], Some(element), &arguments[4..])
                }
                _ => Err(self.malformed(source, "a tensor without a torch.dtype")),
            },
            (Global::RebuildParameter, &[data, _, _]) | (Global::Parameter, &[data] | &[data, _]) => {
                if !matches!(self.node(data), Some(Node::Tensor(_))) {
                    return Err(self.malformed(source, "a Parameter without a tensor"));
                }
                self.attributes.extend(arguments[1..].iter().map(|other| (data, *other)));
                self.stack.push(data);
                Ok(())
            }
            (Global::Size, &[size]) => {
                if !matches!(self.node(size), Some(Node::Tuple(_))) {
                    return Err(self.malformed(source, "a torch.Size that is not made of a tuple"));
                }
                self.stack.push(size);
                Ok(())
            }
            (Global::Device, [_] | [_, _]) => {
                self.stack.push(Value::Other("device"));
                Ok(())
            }
            _ => {
                let what = format!("{global:?} is called with {} arguments", arguments.len());
                Err(self.malformed(source, &what))
            }
        }
    }

    /// `[[key, value], ...]` as keys and values in turn: how Python 2 wrote an OrderedDict.
    fn pairs(&self, source: &Source<'_>, pairs: Value) -> Result<Vec<Value>, Fault> {
        let bad = || self.malformed(source, "an OrderedDict that is not made of pairs");
        let Some(Node::List(pairs) | Node::Tuple(pairs)) = self.node(pairs) else { return Err(bad()) };
        if self.steps + pairs.len() as u64 > MAX_STEPS {
            return Err(Fault::PickleLimit { place: source.place(self.at), what: "steps", limit: MAX_STEPS });
        }
        let mut items = Vec::new();
        for pair in pairs {
            match self.node(*pair) {
                Some(Node::List(pair) | Node::Tuple(pair)) if pair.len() == 2 => items.extend(pair),
                _ => return Err(bad()),
            }
        }
        Ok(items)
    }

    fn tensor(
        &mut self,
        source: &Source<'_>,
        arguments: [Value; 4],
        dtype: Option<Element>,
        others: &[Value],
    ) -> Result<(), Fault> {
        let [storage, storage_offset, size, stride] = arguments;
        let Value::Node(storage) = storage else { return Err(self.malformed(source, "a tensor without a storage")) };
        if !matches!(self.nodes.get(storage), Some(Node::Storage(_))) {
            return Err(self.malformed(source, "a tensor without a storage"));
        }
        let others = others.to_vec();
        let tensor = Tensor { storage, storage_offset, size, stride, dtype, others };
        self.push(source, Node::Tensor(Box::new(tensor)))
    }

    /// `BUILD` sets attributes: the `_metadata` of an OrderedDict, the flags of a Parameter. No weight depends on them.
    pub(super) fn build(&mut self, source: &Source<'_>) -> Result<(), Fault> {
        let parts = self.pop_many(source, 2)?;
        if self.absorbed(source, parts[0], &parts[1..])? {
            self.stack.push(parts[0]);
            return Ok(());
        }
        if !matches!(self.node(parts[0]), Some(Node::Dict(_) | Node::Tensor(_))) {
            let what = format!("BUILD of a {}", type_name(&self.nodes, parts[0]));
            return Err(self.malformed(source, &what));
        }
        self.attributes.push((parts[0], parts[1]));
        self.stack.push(parts[0]);
        Ok(())
    }

    pub(super) fn persistent_id(&mut self, source: &Source<'_>) -> Result<(), Fault> {
        let id = self.pop(source)?;
        let fields = self.arguments(source, id)?;
        // Legacy files say which source text a class came from: ('module', class, file, text).
        if fields.first().is_some_and(|tag| self.str(*tag) == Some("module")) {
            let class = match fields.get(1) {
                Some(Value::Class(index)) => self.classes.get(*index as usize).cloned(),
                _ => None,
            };
            let class = class.unwrap_or_else(|| "module".to_owned());
            return Err(Fault::WholeModule { place: source.place(self.at), class });
        }
        let (&[tag, class, key, _location, numel] | &[tag, class, key, _location, numel, Value::None]) = &fields[..]
        else {
            return Err(self.malformed(source, "a persistent id that is no storage, or a view of a storage"));
        };
        match (self.str(tag), class, self.str(key)) {
            (Some("storage"), Value::Global(Global::Storage(element)), Some(key)) if key.len() <= MAX_KEY => {
                let storage = Storage { element, key: key.to_owned(), numel, offset: self.at };
                self.push(source, Node::Storage(Box::new(storage)))
            }
            _ => Err(self.malformed(source, "a persistent id that is no storage")),
        }
    }

    /// The items of a short tuple: arguments of a call, or fields of a persistent id.
    pub(super) fn arguments(&self, source: &Source<'_>, value: Value) -> Result<Vec<Value>, Fault> {
        match self.node(value) {
            Some(Node::Tuple(items)) if items.len() <= MAX_ARGUMENTS => Ok(items.clone()),
            _ => Err(self.malformed(source, "arguments that are no tuple, or too many of them")),
        }
    }
}
