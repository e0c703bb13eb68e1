//! `recheck`: judges kept results again, with the limits they were judged by or others.

pub mod args;
pub mod document;
pub mod judge;
pub mod outputs;
pub mod result;
pub mod run;
