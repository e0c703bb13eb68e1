//! The map of the modules, drawn from the sources: no circles, and arrows only where the architecture has them.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::OnceLock;

use super::imports::{Arrow, Crate, Imports, Source, is_below};

/// The crates by the names that code calls them.
const CRATES: [(&str, &str); 3] =
    [("onnx_file", "onnx/src"), ("resnext_builder", "builder/src"), ("resnext_runner", "runner/src")];

/// A rule that arrows keep.
struct Rule {
    /// Modules that it binds, with all below them.
    from: &'static [&'static str],
    /// What they may not use: modules with all below them, or other crates.
    never: &'static [&'static str],
    /// Arrows that are allowed nevertheless, by where they end.
    unless: &'static [&'static str],
    /// Why.
    why: &'static str,
}

const RULES: [Rule; 9] = [
    Rule {
        from: &["onnx_file"],
        never: &["resnext_builder", "resnext_runner"],
        unless: &[],
        why: "the file knows neither program",
    },
    Rule {
        from: &["resnext_builder"],
        never: &["resnext_runner"],
        unless: &[],
        why: "the runner may use the builder, never the reverse",
    },
    Rule {
        from: &["resnext_runner::model"],
        never: &["resnext_runner::backend", "resnext_runner::verb", "ort"],
        unless: &[],
        why: "the seam names no runtime and no verb",
    },
    Rule {
        from: &["resnext_runner::backend"],
        never: &["resnext_runner::verb", "resnext_runner::report", "resnext_runner::input"],
        unless: &[],
        why: "a backend formats nothing and knows no image",
    },
    Rule {
        from: &["resnext_runner::report"],
        never: &["resnext_runner::verb", "resnext_runner::backend"],
        unless: &[],
        why: "renderers know no verb",
    },
    Rule {
        from: &["resnext_runner::stats"],
        never: &["resnext_runner::backend", "resnext_runner::verb", "resnext_runner::model", "ort"],
        unless: &[],
        why: "statistics are arithmetic on samples",
    },
    Rule {
        from: &["resnext_runner::verb", "resnext_runner::input", "resnext_runner::host", "resnext_runner::terminal"],
        never: &["ort"],
        unless: &[],
        why: "only the backend of onnxruntime names its library",
    },
    Rule {
        from: &["resnext_builder::passes", "resnext_builder::shape", "resnext_builder::validate"],
        never: &["resnext_builder"],
        unless: &BELOW_PASSES,
        why: "passes, shapes and validation know the graph and nothing around it",
    },
    Rule {
        from: &["resnext_builder::checkpoint"],
        never: &["resnext_builder::graph", "resnext_builder::passes", "resnext_builder::weights"],
        unless: &[],
        why: "a checkpoint is read without knowing what it is for",
    },
];

/// What passes, shapes and validation may use.
const BELOW_PASSES: [&str; 7] = [
    "resnext_builder::graph",
    "resnext_builder::passes",
    "resnext_builder::shape",
    "resnext_builder::validate",
    "resnext_builder::weight",
    "resnext_builder::precision",
    "resnext_builder::suggest",
];

/// Where verbs are.
const VERBS: &str = "resnext_runner::verb";
/// Verbs that run others: they see what those are asked and what they find, not their flags or their words.
const RUN_OTHERS: [&str; 3] = ["tune", "quickstart", "quantize"];
/// Modules of a verb that are its own, whoever asks.
const OWN: [&str; 3] = ["args", "document", "csv"];
/// The module of a verb that any other may read.
const RESULT: &str = "result";

/// Folders in which there are still circles. One without any must leave the list.
const CIRCLES: [&str; 0] = [];

fn imports() -> &'static Imports {
    static IMPORTS: OnceLock<Imports> = OnceLock::new();
    IMPORTS.get_or_init(|| {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let crates = CRATES.map(|(name, folder)| Crate::read(name, &root.join(folder)));
        Imports::of(&crates)
    })
}

impl Rule {
    fn broken<'a>(&self, arrows: impl Iterator<Item = &'a Arrow>) -> Vec<String> {
        let any = |of: &[&str], module: &str| of.iter().any(|folder| is_below(module, folder));
        let breaks =
            |arrow: &&Arrow| any(self.from, &arrow.from) && any(self.never, &arrow.to) && !any(self.unless, &arrow.to);
        arrows.filter(breaks).map(|arrow| format!("{arrow}: {}", self.why)).collect()
    }
}

/// The verb that a module belongs to, and its place within.
fn verb(module: &str, verbs: &BTreeSet<String>) -> Option<(String, String)> {
    let rest = module.strip_prefix(VERBS)?.strip_prefix("::")?;
    let (verb, inner) = rest.split_once("::").unwrap_or((rest, ""));
    verbs.contains(verb).then(|| (verb.to_owned(), inner.to_owned()))
}

/// Arrows between verbs that are not allowed.
fn between_verbs<'a>(arrows: impl Iterator<Item = &'a Arrow>, verbs: &BTreeSet<String>) -> Vec<String> {
    let refused = |arrow: &&Arrow| {
        let (Some((from, _)), Some((to, inner))) = (verb(&arrow.from, verbs), verb(&arrow.to, verbs)) else {
            return false;
        };
        let first = inner.split("::").next().unwrap_or_default();
        let allowed = first == RESULT || (RUN_OTHERS.contains(&from.as_str()) && !OWN.contains(&first));
        from != to && !allowed
    };
    arrows.filter(refused).map(|arrow| format!("{arrow}: a verb does not use another")).collect()
}

/// The folders of verbs: what has flags of its own.
fn verbs(imports: &Imports) -> BTreeSet<String> {
    let of = |module: &String| {
        let verb = module.strip_prefix(VERBS)?.strip_prefix("::")?.strip_suffix("::args")?;
        Some(verb.to_owned())
    };
    imports.modules().iter().filter_map(of).collect()
}

#[test]
fn modules_use_each_other_in_no_circle() {
    let circles = imports().circles();
    let is_in = |circle: &[String], folder: &str| circle.iter().all(|module| is_below(module, folder));
    let is_known = |circle: &[String]| CIRCLES.iter().any(|folder| is_in(circle, folder));
    let new: Vec<String> =
        circles.iter().filter(|circle| !is_known(circle)).map(|circle| imports().describe(circle)).collect();
    assert!(new.is_empty(), "modules in a circle; a type that both need is a leaf of its own:\n{}", new.join("\n"));
    for folder in CIRCLES {
        let there = circles.iter().any(|circle| is_in(circle, folder));
        assert!(there, "there is no circle in {folder} any more: take it off the list");
    }
}

#[test]
fn modules_keep_to_the_architecture() {
    let imports = imports();
    let verbs = verbs(imports);
    assert!(verbs.len() >= 8 && RUN_OTHERS.iter().all(|verb| verbs.contains(*verb)), "{verbs:?}");
    let mut broken: Vec<String> = RULES.iter().flat_map(|rule| rule.broken(imports.arrows())).collect();
    broken.extend(between_verbs(imports.arrows(), &verbs));
    assert!(broken.is_empty(), "\n{}", broken.join("\n"));
    for rule in &RULES {
        for module in rule.from {
            assert!(imports.modules().contains(*module), "{module} is no module: the rule about it binds nothing");
        }
    }
}

/// The arrows of a crate `c` of these files.
fn drawn(files: &[(&str, &str)]) -> Imports {
    let source = |&(module, text): &(&str, &str)| Source { module: module.into(), text: text.into() };
    Imports::of(&[Crate::planted("c", files.iter().map(source).collect())])
}

fn ends(imports: &Imports, from: &str) -> Vec<String> {
    imports.arrows().filter(|arrow| arrow.from == from).map(|arrow| arrow.to.clone()).collect()
}

#[test]
fn every_way_of_naming_a_module_is_an_arrow() {
    let lib = ("c", "mod a; mod b; mod d;");
    let (b, e) = (("c::b", "pub struct B; pub fn f() {}"), ("c::d::e", "pub struct E;"));
    let of = |text: &str| {
        let imports = drawn(&[lib, ("c::a", text), b, ("c::d", "pub mod e; pub use e::E;"), e]);
        ends(&imports, "c::a")
    };
    for text in [
        "use crate::b::B;",
        "use super::b;",
        "use super::{b::{self, B as Other}};",
        "fn f() -> crate::b::B { todo() }",
        "fn f() { println!(\"{:?}\", super::b::f()); }",
        "use crate::b::*;",
        "mod inner { use super::super::b::B; }",
        "use crate::b as other; fn f() { other::f() }",
    ] {
        assert_eq!(of(text), ["c::b"], "{text}");
    }
    assert_eq!(of("use crate::d::E;"), ["c::d::e"], "a name is where it is defined, not where it is exported from");
    assert_eq!(of("use crate::{b::B, d::e::E};"), ["c::b", "c::d::e"]);
    assert_eq!(of("use ort::session::Session; fn f() { std::fs::read(ort::x()) }"), ["ort", "std"]);
    assert_eq!(of("#[serde(with = \"crate::b::f\")] struct S;"), ["c::b"]);
    for none in [
        "// use crate::b::B;",
        "const TEXT: &str = \"crate::b::B\";",
        "#[cfg(test)] mod tests { use super::super::b::B; }",
        "#[cfg(test)] use crate::b::{B, f};",
        "/// [`crate::b::B`]\nfn f() {}",
    ] {
        assert!(of(none).is_empty(), "{none}: {:?}", of(none));
    }
}

#[test]
fn a_planted_circle_is_found_and_a_declaration_is_no_arrow() {
    let circle = drawn(&[
        ("c", "mod parent; mod other;"),
        ("c::parent", "pub mod child; pub struct P; use child::C;"),
        ("c::parent::child", "pub struct C; use super::P;"),
        ("c::other", "use crate::parent::P;"),
    ]);
    assert_eq!(circle.circles(), [["c::parent", "c::parent::child"]]);
    let none = drawn(&[
        ("c", "mod parent;"),
        ("c::parent", "pub mod child; pub struct P;"),
        ("c::parent::child", "pub struct C; use super::P;"),
    ]);
    assert!(none.circles().is_empty());
    let long = drawn(&[
        ("c", "mod x; mod y; mod z;"),
        ("c::x", "use crate::y;"),
        ("c::y", "fn f() { crate::z::g() }"),
        ("c::z", "pub fn g() { super::x::h() }"),
    ]);
    assert_eq!(long.circles(), [["c::x", "c::y", "c::z"]]);
}

#[test]
fn planted_arrows_break_the_rules_that_they_should() {
    let arrow = |from: &str, to: &str| Arrow { from: from.into(), to: to.into() };
    let broken = |from: &str, to: &str| {
        let arrow = arrow(from, to);
        let verbs = ["bench", "tune", "compare"].map(str::to_owned).into();
        let rules = RULES.iter().flat_map(|rule| rule.broken(std::iter::once(&arrow))).count();
        rules + between_verbs(std::iter::once(&arrow), &verbs).len()
    };
    for (from, to) in [
        ("resnext_runner::model::opened", "ort"),
        ("resnext_runner::model", "resnext_runner::backend::onnxruntime::worker"),
        ("resnext_runner::report::text", "resnext_runner::verb::bench::rows"),
        ("resnext_runner::stats::range", "ort"),
        ("resnext_runner::verb::compare::metrics", "ort"),
        ("resnext_builder::export", "resnext_runner::note"),
        ("resnext_builder::passes::fold", "resnext_builder::checkpoint"),
        ("resnext_builder::validate", "resnext_builder::export"),
        ("resnext_runner::verb::bench::run", "resnext_runner::verb::compare::run"),
        ("resnext_runner::verb::tune::document", "resnext_runner::verb::bench::document"),
        ("resnext_runner::verb::tune::run", "resnext_runner::verb::compare::args"),
    ] {
        assert_eq!(broken(from, to), 1, "{from} -> {to}");
    }
    for (from, to) in [
        ("resnext_runner::verb::tune::search", "resnext_runner::verb::bench::measurement"),
        ("resnext_runner::verb::bench::run", "resnext_runner::verb::compare::result"),
        ("resnext_runner::verb::bench::run", "resnext_runner::verb::bench::args"),
        ("resnext_runner::verb::bench::run", "resnext_runner::verb::publish"),
        ("resnext_builder::passes::fold", "resnext_builder::graph::op"),
        ("resnext_runner::modelling", "ort"),
    ] {
        assert_eq!(broken(from, to), 0, "{from} -> {to}");
    }
}
