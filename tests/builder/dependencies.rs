//! Every dependency has a licence, a source and a single version that deny.toml admits.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use semver::Version;
use serde::Deserialize;
use serde_json::Value;

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// All packages of Cargo.lock, for every platform.
fn packages() -> Vec<Value> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--locked"])
        .current_dir(root())
        .output()
        .expect("cargo");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    metadata["packages"].as_array().unwrap().clone()
}

/// What deny.toml says, as far as these tests hold it.
#[derive(Deserialize)]
struct Deny {
    graph: Graph,
    licenses: Licenses,
    bans: Bans,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Graph {
    all_features: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Licenses {
    include_dev: bool,
    allow: Vec<Licensee>,
    exceptions: Vec<Exception>,
}

#[derive(Deserialize)]
struct Exception {
    allow: Vec<Licensee>,
    #[serde(rename = "crate")]
    name: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Bans {
    multiple_versions_include_dev: bool,
    skip: Vec<Skip>,
}

#[derive(Deserialize)]
struct Skip {
    #[serde(rename = "crate")]
    package: String,
}

/// A licence, with its exception where it has one.
#[derive(Deserialize)]
#[serde(try_from = "String")]
struct Licensee(spdx::Licensee);

impl TryFrom<String> for Licensee {
    type Error = spdx::ParseError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        spdx::Licensee::parse(&text).map(Licensee)
    }
}

fn deny() -> Deny {
    let text = std::fs::read_to_string(root().join("deny.toml")).expect("deny.toml");
    toml::from_str(&text).unwrap_or_else(|error| panic!("deny.toml: {error}"))
}

/// Whether a package's licence, an SPDX expression or as old manifests write it, can be met with what is allowed.
fn is_met(licence: &str, allowed: &[&Licensee]) -> bool {
    let expression = spdx::Expression::parse_mode(licence, spdx::ParseMode::LAX);
    let expression = expression.unwrap_or_else(|error| panic!("'{licence}': {error}"));
    expression.evaluate(|asked| allowed.iter().any(|licensee| licensee.0.satisfies(asked)))
}

#[test]
fn every_licence_is_allowed() {
    let Licenses { allow, exceptions, .. } = deny().licenses;
    let packages = packages();
    let refused = packages.iter().filter(|package| {
        let name = package["name"].as_str().unwrap();
        let excepted = exceptions.iter().filter(|exception| exception.name == name).flat_map(|e| &e.allow);
        let allowed: Vec<&Licensee> = allow.iter().chain(excepted).collect();
        !package["license"].as_str().is_some_and(|licence| is_met(licence, &allowed))
    });
    let refused: Vec<String> = refused.map(|package| format!("{} {}", package["name"], package["license"])).collect();
    assert!(refused.is_empty(), "licences that deny.toml does not allow: {refused:?}");
}

#[test]
fn every_exception_is_needed() {
    let Licenses { allow, exceptions, .. } = deny().licenses;
    let packages = packages();
    let allow: Vec<&Licensee> = allow.iter().collect();
    for Exception { name, .. } in &exceptions {
        let package = packages.iter().find(|package| package["name"] == name.as_str());
        let licence = package.unwrap_or_else(|| panic!("{name} is no dependency"))["license"].as_str().unwrap();
        assert!(!is_met(licence, &allow), "{name} ({licence}) needs no exception");
    }
}

#[test]
fn every_duplicate_is_known_and_every_known_one_is_there() {
    let mut versions: BTreeMap<String, BTreeSet<Version>> = BTreeMap::new();
    for package in packages() {
        let version = Version::parse(package["version"].as_str().unwrap()).expect("a version");
        versions.entry(package["name"].as_str().unwrap().to_owned()).or_default().insert(version);
    }
    let older = versions
        .iter()
        .flat_map(|(name, versions)| versions.iter().rev().skip(1).map(move |version| format!("{name}@{version}")));
    let older: BTreeSet<String> = older.collect();
    let known: BTreeSet<String> = deny().bans.skip.into_iter().map(|skip| skip.package).collect();
    assert_eq!(older, known, "left: older versions in Cargo.lock; right: those that deny.toml skips");
}

#[test]
fn deny_toml_looks_at_what_the_tests_here_look_at() {
    let Deny { graph, licenses, bans } = deny();
    assert!(graph.all_features && licenses.include_dev && bans.multiple_versions_include_dev);
}

#[test]
fn everything_comes_from_the_registry_or_from_here() {
    for package in packages() {
        let source = package["source"].as_str();
        // Cargo's own registry has its index there; another registry or a git address would look different.
        let known = |source: &str| source.starts_with("registry+https://github.com/rust-lang/");
        assert!(source.is_none_or(known), "{}: {source:?}", package["name"]);
        let asked = package["dependencies"].as_array().unwrap();
        let wild = asked.iter().filter(|d| d["req"] == "*" && d["path"].is_null() && package["source"].is_null());
        assert_eq!(wild.count(), 0, "{} asks for any version of something", package["name"]);
    }
}

/// A `rust-version`, whose last number may be left out.
fn rust_version(text: &str) -> Version {
    let whole = if text.matches('.').count() < 2 { format!("{text}.0") } else { text.to_owned() };
    Version::parse(&whole).unwrap_or_else(|error| panic!("rust-version {text}: {error}"))
}

#[test]
fn the_declared_rust_version_is_enough_for_every_dependency() {
    let packages = packages();
    let ours = packages.iter().find(|package| package["name"] == "resnext-builder").unwrap();
    let ours = rust_version(ours["rust_version"].as_str().expect("a rust-version"));
    for package in &packages {
        if let Some(needed) = package["rust_version"].as_str() {
            assert!(rust_version(needed) <= ours, "{} needs Rust {needed}, we say {ours}", package["name"]);
        }
    }
}

#[test]
fn licence_expressions_are_read_as_spdx_means_them() {
    let allowed = ["MIT", "ISC"].map(|name| Licensee::try_from(name.to_owned()).unwrap());
    let allowed: Vec<&Licensee> = allowed.iter().collect();
    for (expression, met) in [
        ("MIT", true),
        ("MPL-2.0", false),
        ("MPL-2.0 OR MIT", true),
        ("MIT/Apache-2.0", true),
        ("MIT AND Apache-2.0", false),
        ("(Apache-2.0 OR MIT) AND ISC", true),
        ("Apache-2.0 WITH LLVM-exception OR MIT", true),
        ("MIT WITH LLVM-exception", false),
    ] {
        assert_eq!(is_met(expression, &allowed), met, "{expression}");
    }
}
