//! Which module uses which, drawn from the text of the sources: `use` declarations and paths in code, tests aside.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs;
use std::path::Path;

use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// A module that uses another, or another crate.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Arrow {
    pub(crate) from: String,
    pub(crate) to: String,
}

impl fmt::Display for Arrow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} -> {}", self.from, self.to)
    }
}

/// A file.
pub(crate) struct Source {
    /// The module that it is, as a path from the crate's name on.
    pub(crate) module: String,
    pub(crate) text: String,
}

/// The files of a crate.
pub(crate) struct Crate {
    name: String,
    sources: Vec<Source>,
}

impl Crate {
    /// The files below `folder`.
    pub(crate) fn read(name: &str, folder: &Path) -> Crate {
        let mut sources = Vec::new();
        let mut folders = vec![(folder.to_owned(), name.to_owned())];
        while let Some((folder, module)) = folders.pop() {
            for entry in fs::read_dir(&folder).expect("a folder of sources") {
                let path = entry.expect("an entry").path();
                let stem = path.file_stem().expect("a name").to_string_lossy().into_owned();
                let inner = if stem == "lib" { module.clone() } else { format!("{module}::{stem}") };
                if path.is_dir() {
                    folders.push((path, inner));
                } else if path.extension().is_some_and(|extension| extension == "rs") {
                    sources.push(Source { module: inner, text: fs::read_to_string(&path).expect("a source") });
                }
            }
        }
        Crate { name: name.to_owned(), sources }
    }

    /// A crate of planted files.
    pub(crate) fn planted(name: &str, sources: Vec<Source>) -> Crate {
        Crate { name: name.to_owned(), sources }
    }
}

/// A module, or a block of one.
#[derive(Default)]
struct Scope {
    /// The file that it stands in.
    file: String,
    /// Paths that it names, as they are written.
    named: Vec<Vec<String>>,
    /// What it imports, by the name that it gives it.
    aliases: BTreeMap<String, Vec<String>>,
}

/// Everything that was read.
#[derive(Default)]
struct Scopes {
    all: BTreeMap<String, Scope>,
    /// Modules that are compiled for tests alone.
    tests: Vec<String>,
    crates: BTreeSet<String>,
}

/// The arrows of several crates.
pub(crate) struct Imports {
    modules: BTreeSet<String>,
    arrows: BTreeSet<Arrow>,
}

impl Imports {
    /// Draws the arrows.
    pub(crate) fn of(crates: &[Crate]) -> Imports {
        let mut scopes = Scopes { crates: crates.iter().map(|one| one.name.clone()).collect(), ..Scopes::default() };
        for source in crates.iter().flat_map(|one| &one.sources) {
            let tokens: TokenStream = source.text.parse().unwrap_or_else(|error| panic!("{}: {error}", source.module));
            Reader { scopes: &mut scopes, file: &source.module }.items(tokens, &source.module);
        }
        let tests = std::mem::take(&mut scopes.tests);
        scopes.all.retain(|module, _| !tests.iter().any(|test| is_below(module, test)));
        let modules = scopes.all.values().map(|scope| scope.file.clone()).collect();
        let mut arrows = BTreeSet::new();
        for (module, scope) in &scopes.all {
            for path in &scope.named {
                let to = scopes.target(module, path, 0).filter(|to| *to != scope.file);
                arrows.extend(to.map(|to| Arrow { from: scope.file.clone(), to }));
            }
        }
        Imports { modules, arrows }
    }

    /// The modules that have a file, tests aside.
    pub(crate) fn modules(&self) -> &BTreeSet<String> {
        &self.modules
    }

    pub(crate) fn arrows(&self) -> impl Iterator<Item = &Arrow> {
        self.arrows.iter()
    }

    /// Sets of modules that use each other, directly or through others, each in order of name.
    pub(crate) fn circles(&self) -> Vec<Vec<String>> {
        let mut next: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        self.arrows.iter().for_each(|arrow| next.entry(&arrow.from).or_default().push(&arrow.to));
        let reached: BTreeMap<&str, BTreeSet<&str>> =
            next.keys().map(|module| (*module, reached_from(module, &next))).collect();
        let mut circles = BTreeSet::new();
        for (module, others) in &reached {
            let comes_back = |other: &&&str| reached.get(**other).is_some_and(|reached| reached.contains(module));
            let circle: Vec<String> = others.iter().filter(comes_back).map(|other| (*other).to_owned()).collect();
            circles.extend((!circle.is_empty()).then_some(circle));
        }
        circles.into_iter().collect()
    }

    /// The arrows of a circle.
    pub(crate) fn describe(&self, circle: &[String]) -> String {
        let within = |arrow: &&Arrow| circle.contains(&arrow.from) && circle.contains(&arrow.to);
        self.arrows.iter().filter(within).map(|arrow| format!("  {arrow}\n")).collect()
    }
}

/// Whether a module is `folder` or below it.
pub(crate) fn is_below(module: &str, folder: &str) -> bool {
    module.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

fn reached_from<'m>(module: &str, next: &BTreeMap<&'m str, Vec<&'m str>>) -> BTreeSet<&'m str> {
    let mut reached = BTreeSet::new();
    let mut open: Vec<&'m str> = next.get(module).into_iter().flatten().copied().collect();
    while let Some(module) = open.pop() {
        if reached.insert(module) {
            open.extend(next.get(module).into_iter().flatten().copied());
        }
    }
    reached
}

/// Most steps that a chain of re-exports has.
const MOST_STEPS: usize = 8;

impl Scopes {
    /// The file, or the other crate, that defines what `path` names in `module`; nothing for what is defined there itself
    /// or by the language.
    fn target(&self, module: &str, path: &[String], steps: usize) -> Option<String> {
        let (first, rest) = path.split_first()?;
        let child = |name: &str| format!("{module}::{name}");
        let mut absolute = match first.as_str() {
            "crate" => vec![module.split("::").next()?.to_owned()],
            "self" => module.split("::").map(str::to_owned).collect(),
            "super" => {
                let (parent, _) = module.rsplit_once("::")?;
                return self.target(parent, &[&["self".to_owned()], rest].concat(), steps);
            }
            name if self.all.contains_key(&child(name)) => child(name).split("::").map(str::to_owned).collect(),
            name => match self.all.get(module).and_then(|scope| scope.aliases.get(name)) {
                Some(origin) if steps < MOST_STEPS && origin.first() != Some(first) => {
                    return self.target(module, &[origin, rest].concat(), steps + 1);
                }
                _ if self.crates.contains(name) => vec![name.to_owned()],
                // A type, a variant or a function of this file, or of the language.
                _ => return name.starts_with(char::is_lowercase).then(|| name.to_owned()),
            },
        };
        absolute.extend(rest.iter().filter(|word| *word != "self").cloned());
        // `self::super::x` and the like.
        if let Some(at) = absolute.iter().position(|word| word == "super") {
            let above = absolute[..at.checked_sub(1)?].join("::");
            return self.target(&above, &[&["self".to_owned()], &absolute[at + 1..]].concat(), steps);
        }
        let length = (1..=absolute.len()).rev().find(|&n| self.all.contains_key(&absolute[..n].join("::")))?;
        let module = absolute[..length].join("::");
        let scope = self.all.get(&module)?;
        match absolute.get(length).filter(|name| steps < MOST_STEPS && scope.aliases.contains_key(*name)) {
            Some(_) => self.target(&module, &absolute[length..], steps + 1),
            None => Some(scope.file.clone()),
        }
    }
}

/// Reads the tokens of a file.
struct Reader<'s> {
    scopes: &'s mut Scopes,
    file: &'s str,
}

impl Reader<'_> {
    /// Items, or any other code, of a module.
    fn items(&mut self, tokens: TokenStream, module: &str) {
        self.scope(module);
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        let mut at = 0;
        while at < tokens.len() {
            at += match &tokens[at] {
                TokenTree::Punct(punct) if punct.as_char() == '#' => self.attribute(&tokens[at..], module),
                TokenTree::Ident(word) if *word == "use" => {
                    let length = length_to(&tokens[at..], |token| is_punct(token, ';'));
                    self.use_tree(&tokens[at + 1..at + length], &[], module);
                    length
                }
                TokenTree::Ident(word) if *word == "mod" => match tokens.get(at + 2) {
                    Some(TokenTree::Group(body)) => {
                        self.items(body.stream(), &format!("{module}::{}", tokens[at + 1]));
                        3
                    }
                    _ => 2,
                },
                TokenTree::Ident(_) => self.path(&tokens[at..], module),
                TokenTree::Group(group) => {
                    self.items(group.stream(), module);
                    1
                }
                _ => 1,
            };
        }
    }

    fn scope(&mut self, module: &str) -> &mut Scope {
        let scope = self.scopes.all.entry(module.to_owned()).or_default();
        scope.file = self.file.to_owned();
        scope
    }

    /// An attribute; with it the item, where that is compiled for tests alone. Returns how many tokens that are.
    fn attribute(&mut self, tokens: &[TokenTree], module: &str) -> usize {
        let Some(TokenTree::Group(group)) = tokens.get(1) else { return 1 };
        let inner: Vec<TokenTree> = group.stream().into_iter().collect();
        let text: String = inner.iter().map(|token| token.to_string().replace(' ', "")).collect();
        if text != "cfg(test)" && !text.starts_with("cfg(all(test,") {
            // serde's attributes name functions in strings; documentation names what it likes.
            let paths = inner.iter().map(ToString::to_string).flat_map(|text| strings(&text));
            let paths = paths.filter(|path| path.starts_with("crate::") && !text.starts_with("doc="));
            let named = paths.map(|path| path.split("::").map(str::to_owned).collect());
            self.scope(module).named.extend(named);
            return 2;
        }
        let ends = |token: &TokenTree| match token {
            TokenTree::Group(group) => group.delimiter() == Delimiter::Brace,
            other => is_punct(other, ';'),
        };
        let item = &tokens[2..];
        let length = length_to(item, ends);
        let is_word = |token: &TokenTree, text: &str| matches!(token, TokenTree::Ident(word) if *word == text);
        let head = &item[..length.min(item.len())];
        if let Some(at) = head.iter().position(|token| is_word(token, "mod")) {
            self.scopes.tests.push(format!("{module}::{}", item[at + 1]));
        }
        let is_use = head.iter().any(|token| is_word(token, "use"));
        2 + 1 + if is_use { length_to(item, |token| is_punct(token, ';')) } else { length }
    }

    /// `a::{b, c::*, d as e}`, after what stands before it.
    fn use_tree(&mut self, tokens: &[TokenTree], before: &[String], module: &str) {
        for tree in tokens.split(|token| is_punct(token, ',')) {
            let (mut path, mut alias) = (before.to_vec(), None);
            let mut rest = tree.iter();
            while let Some(token) = rest.next() {
                match token {
                    TokenTree::Ident(word) if *word == "as" => alias = rest.next().map(ToString::to_string),
                    TokenTree::Ident(word) if *word == "self" && !path.is_empty() => {}
                    TokenTree::Ident(word) => path.push(word.to_string()),
                    TokenTree::Group(group) => {
                        let inner: Vec<TokenTree> = group.stream().into_iter().collect();
                        self.use_tree(&inner, &std::mem::take(&mut path), module);
                    }
                    _ => {}
                }
            }
            if let Some(last) = path.last().cloned() {
                let scope = self.scope(module);
                scope.named.push(path.clone());
                scope.aliases.insert(alias.unwrap_or(last), path);
            }
        }
    }

    /// A path in code, or a single word; returns how many tokens it has.
    fn path(&mut self, tokens: &[TokenTree], module: &str) -> usize {
        let mut path = vec![tokens[0].to_string()];
        let mut length = 1;
        while let [colon, other, TokenTree::Ident(word), ..] = &tokens[length..]
            && is_punct(colon, ':')
            && is_punct(other, ':')
        {
            path.push(word.to_string());
            length += 3;
        }
        if path.len() > 1 {
            self.scope(module).named.push(path);
        }
        length
    }
}

fn is_punct(token: &TokenTree, what: char) -> bool {
    matches!(token, TokenTree::Punct(punct) if punct.as_char() == what)
}

/// How many tokens stand before the first that is `wanted`.
fn length_to(tokens: &[TokenTree], wanted: impl Fn(&TokenTree) -> bool) -> usize {
    tokens.iter().position(wanted).unwrap_or(tokens.len())
}

/// What stands between quotation marks.
fn strings(text: &str) -> Vec<String> {
    text.split('"').skip(1).step_by(2).map(str::to_owned).collect()
}
