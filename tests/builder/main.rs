//! `resnext-build` as a program: what it writes, what it says, how it refuses; and what the workspace depends on.

#[path = "../common"]
mod common {
    pub(crate) mod as_people_have;
    pub(crate) mod forged;
    pub(crate) mod home;
    pub(crate) mod models;
    pub(crate) mod program;
    pub(crate) mod server;
    pub(crate) mod snapshot;
}

mod answers;
mod as_people_have;
mod bundle;
mod check;
mod checkpoints;
mod dependencies;
mod ends;
mod faults;
mod forms;
mod half;
#[cfg(unix)]
mod hostile;
mod inspected;
mod int8;
mod lowering;
mod optimize;
mod optimize_described;
mod optimize_types;
mod outputs_as_json;
mod program;
mod reproducible;
mod verified;
mod verify;
mod weights_addresses;
mod weights_download;
mod weights_encrypted;
mod weights_hub;
mod weights_kept;
mod weights_names;
