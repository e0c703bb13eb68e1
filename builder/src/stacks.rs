//! Which stacks take a model, and why not: what each version that was tried refused, as rules about the file.
//!
//! A rule stands for a refusal that was seen or is documented, never for a guess; what no rule is about is not known to
//! fail. [`Standing::Documented`] says of a stack that its rules come from its documentation.

mod facts;
mod rules;
mod stack;
mod table;

pub use facts::Facts;
pub use rules::{Condition, Objection};
pub use stack::{Answer, Stack, Standing};
pub use table::STACKS;

/// The stack that `--for` names so.
pub fn named(name: &str) -> Option<&'static Stack> {
    STACKS.iter().find(|stack| stack.name == name)
}

#[cfg(test)]
mod tests;
