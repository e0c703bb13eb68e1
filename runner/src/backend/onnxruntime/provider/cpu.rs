//! onnxruntime's own kernels on the processor.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Options of the CPU provider; threads and spinning belong to the session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cpu {
    /// Keep freed memory for the next run. On, as in onnxruntime: off costs an allocation per node and run.
    pub arena: bool,
}

impl Default for Cpu {
    fn default() -> Cpu {
        Cpu { arena: true }
    }
}

impl Cpu {
    pub(crate) fn set(&mut self, key: &str, value: &str) -> Result<(), &'static str> {
        const ONLY: &str = "the one option is use_arena, 0 or 1";
        match (key, value) {
            ("use_arena", "0") => self.arena = false,
            ("use_arena", "1") => self.arena = true,
            _ => return Err(ONLY),
        }
        Ok(())
    }

    pub(crate) fn settings(&self) -> BTreeMap<String, String> {
        BTreeMap::from([("use_arena".to_owned(), super::setting::switch(self.arena))])
    }
}
