//! A stack, what is known of it, and what it makes of a model.

use serde::Serialize;

use super::facts::Facts;
use super::rules::{Condition, Objection};

/// A program that reads ONNX files.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Stack {
    /// As `--for` names it.
    pub name: &'static str,
    /// What people call it.
    pub title: &'static str,
    /// The version that was tried.
    pub version: &'static str,
    /// How the rules are known.
    pub standing: Standing,
    /// What it refuses.
    pub rules: &'static [Condition],
    /// What it takes and makes less of.
    pub hints: &'static [Condition],
}

/// How what is said of a stack is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "known", content = "date")]
pub enum Standing {
    /// It was run on files of these programs on this day.
    Tried(&'static str),
    /// By its documentation of this day.
    Documented(&'static str),
}

/// What a stack makes of a model.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Answer {
    /// The stack, as `--for` names it.
    pub stack: &'static str,
    /// What people call it.
    pub title: &'static str,
    /// The version that the table is about.
    pub version: &'static str,
    /// How that is known.
    #[serde(flatten)]
    pub standing: Standing,
    /// Whether nothing is known that stands against it.
    pub takes: bool,
    /// What stands against it.
    pub objections: Vec<Objection>,
    /// What it takes and makes less of.
    pub hints: Vec<Objection>,
}

impl Stack {
    /// What it makes of a model.
    pub fn answer(&self, facts: &Facts) -> Answer {
        let of = |conditions: &[Condition]| -> Vec<Objection> {
            conditions.iter().filter_map(|condition| condition.against(facts)).collect()
        };
        let objections = of(self.rules);
        Answer {
            stack: self.name,
            title: self.title,
            version: self.version,
            standing: self.standing,
            takes: objections.is_empty(),
            objections,
            hints: of(self.hints),
        }
    }
}
