//! Nearly valid pickles from any bytes, one opcode a byte, with objects that are passed over among them; and a second
//! machine that says what such a pickle means, so that a reader can be held to it.
//!
//! The machine follows Python's own `pickle._Unpickler` and keeps what an object would be made of. It shares nothing with
//! the reader, not even the order in which it looks at things: it builds a graph first and asks of it afterwards.

use std::collections::{BTreeMap, HashSet};

/// Keys and other texts.
const TEXTS: [&str; 8] = ["model", "conv1.weight", "bn1.weight", "extra", "state_dict", "fc.bias", "lr", "optimizer"];

/// Classes that are passed over.
const CLASSES: [(&str, &str); 4] =
    [("argparse", "Namespace"), ("collections", "Counter"), ("collections", "deque"), ("numpy", "dtype")];

/// What a byte stands for: the operation in its lower five bits, which text, class, entry or storage in the upper three.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token {
    Mark,
    Pop,
    PopMark,
    Dup,
    Number(u8),
    Text(u8),
    EmptyTuple,
    Tuple,
    TupleOf(u8),
    EmptyList,
    List,
    EmptyDict,
    Dict,
    Append,
    Appends,
    SetItem,
    SetItems,
    Get(u8),
    Put(u8),
    Class(u8),
    StackGlobal(u8),
    OrderedDict,
    Reduce,
    NewObj,
    NewObjEx,
    Obj,
    Inst(u8),
    Build,
    EmptySet,
    Extension(u8),
    Tensor(u8),
    Parameter,
}

impl Token {
    fn of(byte: u8) -> Self {
        let which = byte >> 5;
        match byte & 31 {
            0 => Self::Mark,
            1 => Self::Pop,
            2 => Self::PopMark,
            3 => Self::Dup,
            4 => Self::Number(which),
            5 => Self::Text(which),
            6 => Self::EmptyTuple,
            7 => Self::Tuple,
            8 => Self::TupleOf(1 + which % 3),
            9 => Self::EmptyList,
            10 => Self::List,
            11 => Self::EmptyDict,
            12 => Self::Dict,
            13 => Self::Append,
            14 => Self::Appends,
            15 => Self::SetItem,
            16 => Self::SetItems,
            17 => Self::Get(which),
            18 => Self::Put(which),
            19 => Self::Class(which % 4),
            20 => Self::StackGlobal(which % 4),
            21 => Self::OrderedDict,
            22 => Self::Reduce,
            23 => Self::NewObj,
            24 => Self::NewObjEx,
            25 => Self::Obj,
            26 => Self::Inst(which % 4),
            27 => Self::Build,
            28 => Self::EmptySet,
            // One in eight: a pickle with an extension is refused whole.
            29 if which == 7 => Self::Extension(0),
            29 => Self::Get(which),
            30 => Self::Tensor(which),
            _ => Self::Parameter,
        }
    }

    fn encode(self, out: &mut Vec<u8>) {
        let global = |out: &mut Vec<u8>, (module, name): (&str, &str)| {
            out.extend(format!("c{module}\n{name}\n").as_bytes());
        };
        let text = |out: &mut Vec<u8>, text: &str| {
            out.push(b'X');
            out.extend((text.len() as u32).to_le_bytes());
            out.extend(text.as_bytes());
        };
        let class = |which: u8| CLASSES[usize::from(which)];
        match self {
            Self::Mark => out.push(b'('),
            Self::Pop => out.push(b'0'),
            Self::PopMark => out.push(b'1'),
            Self::Dup => out.push(b'2'),
            Self::Number(number) => out.extend([b'K', number]),
            Self::Text(which) => text(out, TEXTS[usize::from(which)]),
            Self::EmptyTuple => out.push(b')'),
            Self::Tuple => out.push(b't'),
            Self::TupleOf(count) => out.push(0x84 + count),
            Self::EmptyList => out.push(b']'),
            Self::List => out.push(b'l'),
            Self::EmptyDict => out.push(b'}'),
            Self::Dict => out.push(b'd'),
            Self::Append => out.push(b'a'),
            Self::Appends => out.push(b'e'),
            Self::SetItem => out.push(b's'),
            Self::SetItems => out.push(b'u'),
            Self::Get(entry) => out.extend([b'h', entry]),
            Self::Put(entry) => out.extend([b'q', entry]),
            Self::Class(which) => global(out, class(which)),
            Self::StackGlobal(which) => {
                text(out, class(which).0);
                text(out, class(which).1);
                out.push(0x93);
            }
            Self::OrderedDict => global(out, ("collections", "OrderedDict")),
            Self::Reduce => out.push(b'R'),
            Self::NewObj => out.push(0x81),
            Self::NewObjEx => out.push(0x92),
            Self::Obj => out.push(b'o'),
            Self::Inst(which) => {
                let (module, name) = class(which);
                out.extend(format!("i{module}\n{name}\n").as_bytes());
            }
            Self::Build => out.push(b'b'),
            Self::EmptySet => out.push(0x8f),
            Self::Extension(code) => out.extend([0x82, code + 1]),
            Self::Tensor(storage) => {
                let pickle = super::checkpoint_files::Pickle::default().plain(&storage.to_string());
                out.extend(pickle.0);
            }
            Self::Parameter => global(out, ("torch._utils", "_rebuild_parameter")),
        }
    }
}

/// A pickle of the operations that `bytes` stand for.
pub(crate) fn pickle(bytes: &[u8]) -> Vec<u8> {
    let mut pickle = vec![0x80, 2];
    for byte in bytes {
        Token::of(*byte).encode(&mut pickle);
    }
    pickle.push(b'.');
    pickle
}

/// The storages that such a pickle mentions, each once.
pub(crate) fn storages(bytes: &[u8]) -> Vec<u8> {
    let mut found = Vec::new();
    for byte in bytes {
        if let Token::Tensor(storage) = Token::of(*byte)
            && !found.contains(&storage)
        {
            found.push(storage);
        }
    }
    found
}

/// The bytes of these operations, for a corpus to begin with.
pub(crate) fn bytes(text: &str) -> Vec<u8> {
    text.split_whitespace()
        .map(|word| {
            let at = word.find(|c: char| c.is_ascii_digit()).unwrap_or(word.len());
            let which: u8 = word[at..].parse().unwrap_or(0);
            let operation = match &word[..at] {
                "(" => 0,
                "pop" => 1,
                "popmark" => 2,
                "dup" => 3,
                "int" => 4,
                "str" => 5,
                ")" => 6,
                "tuple" => 7,
                "tupleof" => 8,
                "list" => 9,
                "dict" => 11,
                "append" => 13,
                "appends" => 14,
                "set" => 15,
                "sets" => 16,
                "get" => 17,
                "put" => 18,
                "class" => 19,
                "stackglobal" => 20,
                "ordered" => 21,
                "reduce" => 22,
                "new" => 23,
                "newex" => 24,
                "obj" => 25,
                "inst" => 26,
                "build" => 27,
                "emptyset" => 28,
                "tensor" => 30,
                "parameter" => 31,
                other => panic!("{other}"),
            };
            which << 5 | operation
        })
        .collect()
}

/// Which value.
pub(crate) type Id = usize;

/// A value with what it is made of.
#[derive(Debug)]
enum Node {
    Plain,
    Text(u8),
    Tuple(Vec<Id>),
    List(Vec<Id>),
    Dict(Vec<(Id, Id)>),
    Tensor(u8),
    Class,
    OrderedDict,
    Parameter,
    /// An object of a class that is passed over.
    Opaque,
}

/// What a pickle means, where it means anything.
pub(crate) struct Meaning {
    nodes: Vec<Node>,
    /// What each value was given besides: arguments, states, elements.
    parts: BTreeMap<Id, Vec<Id>>,
    root: Id,
}

impl Meaning {
    /// What the operations of `bytes` build; `None` for what Python would not load, or would call something for.
    pub(crate) fn of(bytes: &[u8]) -> Option<Self> {
        let mut machine = Machine::default();
        for byte in bytes {
            machine.step(Token::of(*byte))?;
        }
        let root = machine.pop()?;
        Some(Self { nodes: machine.nodes, parts: machine.parts, root })
    }

    /// The tensors in the dictionary that `keys` lead to, by name: which value each is, and its storage.
    pub(crate) fn tensors(&self, keys: &[&str]) -> Option<BTreeMap<&'static str, (Id, u8)>> {
        let mut found = self.root;
        for key in keys {
            found = self.items(found)?.iter().rev().find(|(own, _)| self.text(*own) == Some(key))?.1;
        }
        let tensors = self.items(found)?.iter().filter_map(|(key, value)| match self.nodes[*value] {
            Node::Tensor(storage) => Some((self.text(*key)?, (*value, storage))),
            _ => None,
        });
        Some(tensors.collect())
    }

    /// The values that are a part of an object that is passed over, however deep.
    pub(crate) fn inside(&self) -> HashSet<Id> {
        let opaque = (0..self.nodes.len()).filter(|id| matches!(self.nodes[*id], Node::Opaque));
        let mut open: Vec<Id> = opaque.flat_map(|id| self.parts.get(&id).into_iter().flatten().copied()).collect();
        let mut seen = HashSet::new();
        while let Some(id) = open.pop() {
            if !seen.insert(id) {
                continue;
            }
            open.extend(self.parts.get(&id).into_iter().flatten());
            match &self.nodes[id] {
                Node::Tuple(items) | Node::List(items) => open.extend(items),
                Node::Dict(items) => open.extend(items.iter().flat_map(|(key, value)| [*key, *value])),
                _ => {}
            }
        }
        seen
    }

    fn items(&self, id: Id) -> Option<&[(Id, Id)]> {
        match &self.nodes[id] {
            Node::Dict(items) => Some(items),
            _ => None,
        }
    }

    fn text(&self, id: Id) -> Option<&'static str> {
        match self.nodes[id] {
            Node::Text(which) => Some(TEXTS[usize::from(which)]),
            _ => None,
        }
    }
}

#[derive(Default)]
struct Machine {
    nodes: Vec<Node>,
    parts: BTreeMap<Id, Vec<Id>>,
    /// The stack, and those that marks have put aside.
    stack: Vec<Id>,
    aside: Vec<Vec<Id>>,
    memo: BTreeMap<u8, Id>,
}

impl Machine {
    fn push(&mut self, node: Node) -> Option<()> {
        self.stack.push(self.nodes.len());
        self.nodes.push(node);
        Some(())
    }

    fn pop(&mut self) -> Option<Id> {
        self.stack.pop()
    }

    fn pop_to_mark(&mut self) -> Option<Vec<Id>> {
        let before = self.aside.pop()?;
        Some(std::mem::replace(&mut self.stack, before))
    }

    fn give(&mut self, id: Id, parts: impl IntoIterator<Item = Id>) {
        self.parts.entry(id).or_default().extend(parts);
    }

    fn step(&mut self, token: Token) -> Option<()> {
        match token {
            Token::Mark => self.aside.push(std::mem::take(&mut self.stack)),
            Token::Pop => {
                if self.stack.pop().is_none() {
                    self.pop_to_mark()?;
                }
            }
            Token::PopMark => drop(self.pop_to_mark()?),
            Token::Dup => self.stack.push(*self.stack.last()?),
            Token::Number(_) => self.push(Node::Plain)?,
            Token::Text(which) => self.push(Node::Text(which))?,
            Token::EmptyTuple => self.push(Node::Tuple(Vec::new()))?,
            Token::Tuple => {
                let items = self.pop_to_mark()?;
                self.push(Node::Tuple(items))?;
            }
            Token::TupleOf(count) => {
                let from = self.stack.len().checked_sub(usize::from(count))?;
                let items = self.stack.split_off(from);
                self.push(Node::Tuple(items))?;
            }
            Token::EmptyList => self.push(Node::List(Vec::new()))?,
            Token::List => {
                let items = self.pop_to_mark()?;
                self.push(Node::List(items))?;
            }
            Token::EmptyDict => self.push(Node::Dict(Vec::new()))?,
            Token::Dict => {
                let items = pairs(&self.pop_to_mark()?)?;
                self.push(Node::Dict(items))?;
            }
            Token::Append => {
                let item = self.pop()?;
                self.append(&[item])?;
            }
            Token::Appends => {
                let items = self.pop_to_mark()?;
                self.append(&items)?;
            }
            Token::SetItem => {
                let (value, key) = (self.pop()?, self.pop()?);
                self.set(&[key, value])?;
            }
            Token::SetItems => {
                let items = self.pop_to_mark()?;
                self.set(&items)?;
            }
            Token::Get(entry) => self.stack.push(*self.memo.get(&entry)?),
            Token::Put(entry) => {
                self.memo.insert(entry, *self.stack.last()?);
            }
            Token::Class(_) | Token::StackGlobal(_) => self.push(Node::Class)?,
            Token::OrderedDict => self.push(Node::OrderedDict)?,
            Token::Parameter => self.push(Node::Parameter)?,
            Token::Reduce | Token::NewObj => {
                let (arguments, callable) = (self.pop()?, self.pop()?);
                self.call(callable, arguments)?;
            }
            Token::NewObjEx => {
                let (keywords, arguments, callable) = (self.pop()?, self.pop()?, self.pop()?);
                let empty = matches!(&self.nodes[keywords], Node::Dict(items) if items.is_empty());
                self.call(callable, arguments)?;
                let made = *self.stack.last()?;
                match self.nodes[made] {
                    Node::Opaque => self.give(made, [keywords]),
                    _ if empty => {}
                    _ => return None,
                }
            }
            Token::Obj => {
                let parts = self.pop_to_mark()?;
                let (callable, arguments) = parts.split_first()?;
                self.push(Node::Tuple(arguments.to_vec()))?;
                let arguments = self.pop()?;
                self.call(*callable, arguments)?;
            }
            Token::Inst(_) => {
                let arguments = self.pop_to_mark()?;
                self.push(Node::Opaque)?;
                self.give(self.nodes.len() - 1, arguments);
            }
            Token::Build => {
                let state = self.pop()?;
                self.give(*self.stack.last()?, [state]);
            }
            Token::EmptySet => self.push(Node::Opaque)?,
            // Nobody has registered any.
            Token::Extension(_) => return None,
            Token::Tensor(storage) => self.push(Node::Tensor(storage))?,
        }
        Some(())
    }

    fn append(&mut self, items: &[Id]) -> Option<()> {
        let list = *self.stack.last()?;
        match &mut self.nodes[list] {
            Node::List(own) => own.extend(items),
            Node::Opaque => self.give(list, items.iter().copied()),
            _ => return None,
        }
        Some(())
    }

    fn set(&mut self, items: &[Id]) -> Option<()> {
        let items = pairs(items)?;
        let dict = *self.stack.last()?;
        match &mut self.nodes[dict] {
            Node::Dict(own) => own.extend(items),
            Node::Opaque => self.give(dict, items.into_iter().flat_map(|(key, value)| [key, value])),
            _ => return None,
        }
        Some(())
    }

    /// The items of a dictionary that is made of another, or of a sequence of pairs.
    fn items_of(&self, source: Id) -> Option<Vec<(Id, Id)>> {
        let pair = |id: &Id| match &self.nodes[*id] {
            Node::List(pair) | Node::Tuple(pair) if pair.len() == 2 => Some((pair[0], pair[1])),
            _ => None,
        };
        match &self.nodes[source] {
            Node::Dict(items) => Some(items.clone()),
            Node::List(pairs) | Node::Tuple(pairs) => pairs.iter().map(pair).collect(),
            _ => None,
        }
    }

    fn call(&mut self, callable: Id, arguments: Id) -> Option<()> {
        match (&self.nodes[callable], &self.nodes[arguments]) {
            (Node::Class, _) => {
                self.push(Node::Opaque)?;
                self.give(self.nodes.len() - 1, [arguments]);
            }
            (Node::OrderedDict, Node::Tuple(none)) if none.is_empty() => self.push(Node::Dict(Vec::new()))?,
            (Node::OrderedDict, Node::Tuple(one)) if one.len() == 1 => {
                let items = self.items_of(one[0])?;
                self.push(Node::Dict(items))?;
            }
            (Node::Parameter, Node::Tuple(parts)) => {
                let [data, others @ ..] = &parts[..] else { return None };
                let (data, others) = (*data, others.to_vec());
                matches!(self.nodes[data], Node::Tensor(_)).then_some(())?;
                self.give(data, others);
                self.stack.push(data);
            }
            _ => return None,
        }
        Some(())
    }
}

fn pairs(items: &[Id]) -> Option<Vec<(Id, Id)>> {
    let pairs = items.chunks_exact(2);
    pairs.remainder().is_empty().then(|| pairs.map(|pair| (pair[0], pair[1])).collect())
}
