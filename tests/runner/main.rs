//! `resnext-run` and its library on onnxruntime; and the chain from a checkpoint through the builder to the numbers that
//! onnxruntime computes.

#[path = "../common"]
mod common {
    pub(crate) mod as_people_have;
    pub(crate) mod runner;
    pub(crate) mod snapshot;
}

mod bundle;
mod calibrate;
mod classifiers;
mod coverage;
mod datasets;
mod endings;
mod eval;
mod exits;
mod extents;
mod fallback;
mod faults;
mod gate;
mod gpu;
mod hostile;
mod imports;
mod int8;
mod kserve;
mod layers;
mod library;
mod next;
mod precision;
mod recheck;
mod report;
mod setup;
mod shapes;
mod streams;
mod structure;
mod tune;
mod verbs;
mod worker;

#[path = "../chain"]
mod chain {
    mod as_people_have;
    mod checkpoints;
    mod ends;
    mod half;
    mod images;
    mod lowering;
    mod numbers;
    mod trained;
}
