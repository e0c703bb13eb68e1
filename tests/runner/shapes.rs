//! The shape of every result's JSON: names and types of fields, from real runs. It is kept under the schema's version: a
//! shape that changes needs another version, or a mismatch stays.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use image::{Rgb, RgbImage};
use resnext_builder::build::{Destination, Plan, Weights, build};
use resnext_builder::graph::Dim;
use resnext_builder::variant::Variant;
use resnext_runner::backend::onnxruntime::runtime::package::Package;
use serde_json::Value;

use crate::common::runner::{library, program, stderr};
use crate::common::snapshot::assert_as_kept;

/// Fields that hold what the machine happens to be, or how it happened to behave: their names are kept alone.
const OF_THE_MACHINE: [&str; 6] = ["notes", "warnings", "gpus", "load_average_after", "outliers", "hints"];
/// Fields of which each field is of that kind.
const DESCRIPTIONS: [&str; 2] = ["environment", "host"];
/// Fields that hold names of somebody else's choice.
const MAPS: [&str; 2] = ["options", "placement"];

/// What a value is.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Shape {
    /// Nothing of it was seen.
    Nothing,
    Scalar(&'static str),
    List(Box<Shape>),
    Fields(BTreeMap<String, Shape>),
    /// Several of these.
    Either(Vec<Shape>),
}

impl Shape {
    fn of(value: &Value) -> Shape {
        match value {
            Value::Null => Shape::Scalar("null"),
            Value::Bool(_) => Shape::Scalar("bool"),
            Value::Number(_) => Shape::Scalar("number"),
            Value::String(_) => Shape::Scalar("string"),
            Value::Array(items) => Shape::List(Box::new(items.iter().map(Shape::of).fold(Shape::Nothing, Shape::or))),
            Value::Object(fields) => {
                let shape = |(name, value): (&String, &Value)| {
                    let shape = match name.as_str() {
                        name if OF_THE_MACHINE.contains(&name) => Shape::Scalar("of the machine"),
                        name if MAPS.contains(&name) => Shape::Scalar("a map"),
                        name if DESCRIPTIONS.contains(&name) => Shape::named(value),
                        _ => Shape::of(value),
                    };
                    (name.clone(), shape)
                };
                Shape::Fields(fields.iter().map(shape).collect())
            }
        }
    }

    /// The fields of a value by their names alone.
    fn named(value: &Value) -> Shape {
        let fields = value.as_object().into_iter().flatten();
        let shape = |(name, value): (&String, &Value)| {
            let is_description = DESCRIPTIONS.contains(&name.as_str());
            let shape = if is_description { Shape::named(value) } else { Shape::Scalar("of the machine") };
            (name.clone(), shape)
        };
        Shape::Fields(fields.map(shape).collect())
    }

    /// What is the one or the other; a field that only some have is `null` in the rest.
    fn or(self, other: Shape) -> Shape {
        match (self, other) {
            (Shape::Nothing, one) | (one, Shape::Nothing) => one,
            (one, other) if one == other => one,
            (Shape::List(one), Shape::List(other)) => Shape::List(Box::new(one.or(*other))),
            (Shape::Fields(mut one), Shape::Fields(other)) => {
                for (_, shape) in one.iter_mut().filter(|(name, _)| !other.contains_key(*name)) {
                    *shape = std::mem::replace(shape, Shape::Nothing).or(Shape::Scalar("absent"));
                }
                for (name, shape) in other {
                    let known = one.remove(&name).unwrap_or(Shape::Scalar("absent"));
                    one.insert(name, known.or(shape));
                }
                Shape::Fields(one)
            }
            (Shape::Either(kinds), other) => kinds.into_iter().fold(other, Shape::beside),
            (one, other) => other.beside(one),
        }
    }

    /// Adds a kind that is not among those there yet.
    fn beside(self, kind: Shape) -> Shape {
        let mut kinds = match self {
            Shape::Either(kinds) => kinds,
            one => vec![one],
        };
        let alike = |known: &Shape| std::mem::discriminant(known) == std::mem::discriminant(&kind);
        match kinds.iter().position(|known| *known == kind || (alike(known) && !matches!(known, Shape::Scalar(_)))) {
            Some(at) => kinds[at] = kinds[at].clone().or(kind),
            None => kinds.push(kind),
        }
        kinds.sort_by_key(|kind| format!("{kind:?}"));
        if kinds.len() == 1 { kinds.remove(0) } else { Shape::Either(kinds) }
    }

    /// A line for each field that is no object itself: its path and its types.
    fn lines(&self, path: &str, text: &mut String) {
        match self {
            Shape::Nothing => drop(writeln!(text, "{path}: nothing")),
            Shape::Scalar(kind) => drop(writeln!(text, "{path}: {kind}")),
            Shape::List(inner) => inner.lines(&format!("{path}[]"), text),
            Shape::Fields(fields) => {
                fields.iter().for_each(|(name, shape)| shape.lines(&format!("{path}.{name}"), text));
            }
            Shape::Either(kinds) => kinds.iter().for_each(|kind| kind.lines(path, text)),
        }
    }
}

fn expect_shape(name: &str, json: &Value) {
    let (kind, version) = (json["kind"].as_str().expect("a kind"), json["schema_version"].as_u64().expect("a version"));
    for field in ["environment", "notes", "interrupted"] {
        assert!(!json[field].is_null(), "{name} has no {field}");
    }
    let mut text = format!("kind: {kind}\nschema_version: {version}\n");
    Shape::of(json).lines("", &mut text);
    assert_as_kept(&format!("shape-{name}-v{version}"), &text);
}

/// What a verb prints as JSON, whatever it thinks of it.
fn printed(arguments: &[&str]) -> Value {
    let library = library(Package::Cpu).path.display().to_string();
    let output = Command::new(program())
        .args(arguments)
        .args(["--json", "--ort-lib", &library])
        .output()
        .expect("the program starts");
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{arguments:?}: {error}: {}", stderr(&output)))
}

/// A network of two stages on small images.
fn network(folder: &Path, seed: u64) -> String {
    let path = folder.join(format!("m{seed}.onnx"));
    let variant = Variant::parse_with("50_16x4d", &[1, 1]).expect("a variant");
    let mut plan = Plan::new(Some(variant), Weights::Random { seed }, Destination::File(path.clone()));
    plan.image = Some([Dim::Fixed(32), Dim::Fixed(32)]);
    plan.classes = Some(8);
    build(&plan, &mut |_| {}).expect("built");
    path.display().to_string()
}

/// Two classes of two images, one of which is broken.
fn images(folder: &Path) -> PathBuf {
    let root = folder.join("images");
    for class in ["0", "1"] {
        std::fs::create_dir_all(root.join(class)).expect("created");
        for index in 0..2 {
            let path = root.join(class).join(format!("{index}.png"));
            RgbImage::from_pixel(40, 40, Rgb([200, 10, 90])).save(path).expect("saved");
        }
    }
    std::fs::write(root.join("1/1.png"), "").expect("written");
    root
}

#[test]
fn the_shape_of_every_result_is_the_one_of_its_schema_version() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let (first, second) = (&network(folder.path(), 0), &network(folder.path(), 1));
    let (images, tuned) = (images(folder.path()).display().to_string(), folder.path().join("t.onnx"));
    let tuned = tuned.display().to_string();
    let short = ["--intra-op-threads", "1", "--processes", "3"];
    expect_shape("infer", &printed(&["infer", first, &images]));
    expect_shape("compare", &printed(&["compare", first, second, "-b", "2"]));
    expect_shape("compare-layers", &printed(&["compare", first, second, "-b", "2", "--layers"]));
    expect_shape(
        "bench",
        &printed(&[&["bench", first, second, "--warmup", "1", "--iterations", "30"], &short[..]].concat()),
    );
    expect_shape("eval", &printed(&["eval", first, second, &images]));
    expect_shape(
        "tune",
        &printed(&[&["tune", first, "-o", &tuned, "--widths", "8", "--duration", "0.01"], &short[..]].concat()),
    );
    expect_shape("calibrate", &printed(&["calibrate", first, "--images", &images]));
    expect_shape("doctor", &printed(&["doctor"]));
}

#[test]
fn a_field_that_comes_goes_or_changes_its_type_is_another_shape() {
    let lines = |json: &str| {
        let mut text = String::new();
        Shape::of(&serde_json::from_str(json).expect("JSON")).lines("", &mut text);
        text
    };
    let known = lines(r#"{"a":1,"b":[{"c":"x"},{"c":null,"d":true}]}"#);
    assert_eq!(known, ".a: number\n.b[].c: null\n.b[].c: string\n.b[].d: absent\n.b[].d: bool\n");
    assert_eq!(lines(r#"{"a":7,"b":[{"c":null,"d":false},{"c":"y"}]}"#), known, "values and order are no matter");
    for other in
        [r#"{"a":1}"#, r#"{"a":"1","b":[{"c":"x"},{"c":null,"d":true}]}"#, r#"{"a":1,"b":[{"c":"x","d":true}]}"#]
    {
        assert_ne!(lines(other), known);
    }
}
