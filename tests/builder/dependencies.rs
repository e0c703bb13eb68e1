//! Every dependency has a licence, a source and a single version that deny.toml admits.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

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

/// The quoted strings of a list in deny.toml, from the line that starts with `key` to its closing bracket.
fn list(key: &str) -> BTreeSet<String> {
    let text = std::fs::read_to_string(root().join("deny.toml")).unwrap();
    let start = text.find(&format!("\n{key} = [")).unwrap_or_else(|| panic!("deny.toml has no list '{key}'"));
    let body = &text[start + key.len() + 5..];
    let end = body.find("\n]").or(body.find("}]\n")).unwrap();
    body[..end].split('"').skip(1).step_by(2).map(str::to_owned).collect()
}

/// Whether an SPDX expression can be met with the licences in `allowed`.
fn is_met(expression: &str, allowed: &BTreeSet<String>) -> bool {
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let tokens: Vec<&str> = spaced.split_whitespace().collect();
    let mut at = 0;
    let met = any(&tokens, &mut at, allowed);
    assert_eq!(at, tokens.len(), "not an SPDX expression: {expression}");
    met
}

fn any(tokens: &[&str], at: &mut usize, allowed: &BTreeSet<String>) -> bool {
    let mut met = all(tokens, at, allowed);
    while tokens.get(*at) == Some(&"OR") {
        *at += 1;
        met |= all(tokens, at, allowed);
    }
    met
}

fn all(tokens: &[&str], at: &mut usize, allowed: &BTreeSet<String>) -> bool {
    let mut met = one(tokens, at, allowed);
    while tokens.get(*at) == Some(&"AND") {
        *at += 1;
        met &= one(tokens, at, allowed);
    }
    met
}

fn one(tokens: &[&str], at: &mut usize, allowed: &BTreeSet<String>) -> bool {
    let token = tokens[*at];
    *at += 1;
    if token == "(" {
        let met = any(tokens, at, allowed);
        assert_eq!(tokens.get(*at), Some(&")"));
        *at += 1;
        return met;
    }
    // A licence with an exception must be named with it.
    if tokens.get(*at) == Some(&"WITH") {
        *at += 2;
        return allowed.contains(&format!("{token} WITH {}", tokens[*at - 1]));
    }
    allowed.contains(token)
}

#[test]
fn every_licence_is_allowed() {
    let allowed = list("allow");
    let exceptions = list("exceptions");
    let mut refused = Vec::new();
    for package in packages() {
        let (name, licence) = (package["name"].as_str().unwrap(), package["license"].as_str().unwrap_or("none"));
        let mut allowed = allowed.clone();
        if exceptions.contains(name) {
            allowed.extend(exceptions.iter().filter(|entry| *entry != name).cloned());
        }
        if !is_met(licence, &allowed) {
            refused.push(format!("{name}: {licence}"));
        }
    }
    assert!(refused.is_empty(), "licences that deny.toml does not allow: {refused:?}");
}

#[test]
fn every_duplicate_is_known_and_every_known_one_is_there() {
    let mut versions: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for package in packages() {
        let text = |key: &str| package[key].as_str().unwrap().to_owned();
        versions.entry(text("name")).or_default().insert(text("version"));
    }
    let known = list("skip");
    let newest = |versions: &BTreeSet<String>| {
        let number = |version: &&String| -> Vec<u64> {
            version.split(['.', '-', '+']).map(|part| part.parse().unwrap_or(0)).collect()
        };
        versions.iter().max_by_key(number).cloned()
    };
    let older = versions.iter().flat_map(|(name, versions)| {
        let newest = newest(versions);
        versions.iter().filter(move |version| Some(*version) != newest.as_ref()).map(move |v| format!("{name}@{v}"))
    });
    let older: BTreeSet<String> = older.collect();
    assert_eq!(older, known, "left: older versions in Cargo.lock; right: those that deny.toml skips");
}

#[test]
fn deny_toml_looks_at_what_the_tests_here_look_at() {
    let text = std::fs::read_to_string(root().join("deny.toml")).unwrap();
    let section = |name: &str| text.split("\n[").find(|part| part.starts_with(name)).unwrap();
    let says = |name: &str, line: &str| section(name).lines().any(|found| found == line);
    assert!(says("graph]", "all-features = true"));
    assert!(says("licenses]", "include-dev = true"));
    assert!(says("bans]", "multiple-versions-include-dev = true"));
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

#[test]
fn the_declared_rust_version_is_enough_for_every_dependency() {
    let number = |version: &str| -> Vec<u64> { version.split('.').map(|part| part.parse().unwrap_or(0)).collect() };
    let packages = packages();
    let ours = packages.iter().find(|package| package["name"] == "resnext-builder").unwrap();
    let ours = ours["rust_version"].as_str().expect("a rust-version");
    for package in &packages {
        if let Some(needed) = package["rust_version"].as_str() {
            assert!(number(needed) <= number(ours), "{} needs Rust {needed}, we say {ours}", package["name"]);
        }
    }
}

#[test]
fn licence_expressions_are_read_as_spdx_means_them() {
    let allowed: BTreeSet<String> = ["MIT", "ISC"].map(str::to_owned).into();
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
