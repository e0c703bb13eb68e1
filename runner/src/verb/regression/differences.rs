//! In what two measurements differ besides their times.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::limits::{Aspect, Limits};
use super::pairs::Pair;
use crate::host::environment::Environment;
use crate::model::opened::Loaded;
use crate::record::bench::{Bench, Input};
use crate::report::number;

/// Options that say how many threads a session has.
const THREADS: [&str; 4] = ["intra_op_num_threads", "inter_op_num_threads", "execution_mode", "num_of_threads"];

/// Something that is not the same in both.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Difference {
    /// Of what kind it is.
    pub aspect: Aspect,
    /// What it is: a field of the environment, an option.
    pub what: String,
    /// Its value before.
    pub before: String,
    /// And now.
    pub now: String,
    /// Whether times are compared all the same.
    pub allowed: bool,
}

/// What differs, each once.
pub fn between(before: &Bench, now: &Bench, pairs: &[Pair<'_>], limits: &Limits) -> Vec<Difference> {
    let mut found = BTreeSet::new();
    let mut add = |aspect: Aspect, what: &str, before: String, now: String| {
        if before != now {
            let allowed = limits.allowed.contains(&aspect);
            found.insert(Difference { aspect, what: what.to_owned(), before, now, allowed });
        }
    };
    for (what, of) in HARDWARE {
        add(Aspect::Hardware, what, of(&before.environment), of(&now.environment));
    }
    for pair in pairs {
        let Some(earlier) = pair.before else { continue };
        add(Aspect::Scope, "scope", format!("{:?}", earlier.scope), format!("{:?}", pair.now.scope));
        // Names may differ: a model exported anew has the same work to do.
        if let (Some(inputs_before), Some(inputs_now)) = (&earlier.inputs, &pair.now.inputs) {
            add(Aspect::Inputs, "input shapes", shapes(inputs_before), shapes(inputs_now));
        }
        let (Some(loaded_before), Some(loaded_now)) = (before.loaded(earlier), now.loaded(pair.now)) else { continue };
        let version = |loaded: &Loaded| loaded.library_version.clone();
        add(Aspect::Library, "library version", version(loaded_before), version(loaded_now));
        let keys: BTreeSet<&String> = loaded_before.options.keys().chain(loaded_now.options.keys()).collect();
        for key in keys {
            let aspect = if THREADS.contains(&key.as_str()) { Aspect::Threads } else { Aspect::Options };
            let value = |loaded: &Loaded| loaded.options.get(key).cloned().unwrap_or_else(|| "not set".to_owned());
            add(aspect, key, value(loaded_before), value(loaded_now));
        }
    }
    found.into_iter().collect()
}

fn shapes(inputs: &[Input]) -> String {
    inputs.iter().map(|input| number::shape(&input.shape)).collect::<Vec<_>>().join(", ")
}

/// A field of an environment, as text.
type Field = (&'static str, fn(&Environment) -> String);

/// What of a machine a time depends on.
const HARDWARE: [Field; 8] = [
    ("platform", |environment| environment.host.platform.clone()),
    ("processor", |environment| told(environment.host.processor.clone())),
    ("instruction sets", |environment| environment.host.instruction_sets.join(" ")),
    ("usable processors", |environment| environment.host.usable_processors.to_string()),
    ("processors allowed by the control group", |environment| told(environment.cgroup_processors)),
    ("frequency governor", |environment| told(environment.governor.clone())),
    ("boost", |environment| told(environment.boost)),
    ("GPUs", |environment| environment.host.gpus.iter().map(|gpu| gpu.name.as_str()).collect::<Vec<_>>().join(", ")),
];

fn told(value: Option<impl ToString>) -> String {
    value.map_or_else(|| "not told".to_owned(), |value| value.to_string())
}
