//! Which kernels onnxruntime runs a quantized model with: the graph that it runs, as it writes it, and the extents of one
//! recorded run.
//!
//! A session of its own, beside the one that is measured: recording costs time, and the graph is written to a file.

mod graph;
mod names;

use std::collections::BTreeMap;
use std::path::Path;

use onnx_file::open;
use onnx_file::outline::Outline;
use onnx_file::temporary::Temporary;
use ort::session::Session;
use ort::session::builder::SessionBuilder;
use serde::Deserialize;

use self::graph::{Extents, Optimised};
use self::names::Names;
use super::build;
use super::error::run_failed;
use super::{convert, probe};
use crate::backend::onnxruntime::provider::{Kind, Provider};
use crate::backend::onnxruntime::runtime::{Runtime, said};
use crate::backend::onnxruntime::spec::{Source, Spec};
use crate::model::coverage::Coverage;
use crate::model::opened::ModelError;

/// Most bytes of a recorded run: a node takes about a thousand.
const MOST_RECORDED: u64 = 256 << 20;
/// Weights larger than this many bytes are written apart from the graph.
const LARGE: &str = "64";

/// What onnxruntime's CPU provider makes of the model; nothing for a provider that keeps its kernels to itself.
pub(crate) fn coverage(runtime: &Runtime, spec: &Spec, provider: &Provider) -> Result<Option<Coverage>, ModelError> {
    let Source::File(model) = &spec.model else { return Ok(None) };
    if provider.kind() != Kind::Cpu {
        return Ok(None);
    }
    let failed =
        |error: std::io::Error| ModelError::Failed(format!("the graph that runs cannot be looked at: {error}"));
    let folder = Temporary::folder(&std::env::temp_dir(), "resnext-kernels-").map_err(failed)?;
    let written = folder.path().join("optimised.onnx");
    let recording = Recording { graph: &written, run: &folder.path().join("run") };
    let mut session = build::recorded(runtime, spec, provider, |builder| recording.of(builder))?;
    let inputs = probe::inputs(&session, &spec.shapes)?;
    run_once(&mut session, &inputs)?;
    let recorded = session.end_profiling().map_err(|error| ModelError::Failed(said(&error)))?;
    let extents = extents(&open::read_text(Path::new(&recorded), MOST_RECORDED).map_err(failed)?);
    let outline = |path: &Path| Outline::read(path).map_err(|error| ModelError::Failed(error.to_string()));
    let (file, optimised) = (outline(model)?.graph, outline(&written)?.graph);
    let off = OFF.iter().find(|(key, value)| spec.session.config.get(*key).is_some_and(|set| set == value));
    let off = off.map(|(key, value)| format!("{key}={value}"));
    Ok(Some(Optimised::of(&optimised).coverage(&Names::of(&file), &extents, off.as_deref())))
}

/// Options with which nothing becomes an integer kernel.
const OFF: [(&str, &str); 1] = [("session.disable_quant_qdq", "1")];

/// Where onnxruntime writes what it runs.
struct Recording<'a> {
    graph: &'a Path,
    run: &'a Path,
}

impl Recording<'_> {
    fn of(&self, builder: SessionBuilder) -> Result<SessionBuilder, ort::Error> {
        let builder = builder
            .with_optimized_model_path(self.graph)?
            .with_config_entry("session.optimized_model_external_initializers_file_name", "weights")?
            .with_config_entry("session.optimized_model_external_initializers_min_size_in_bytes", LARGE)?
            .with_profiling(self.run)?;
        Ok(builder)
    }
}

fn run_once(session: &mut Session, inputs: &[crate::model::tensor::Tensor]) -> Result<(), ModelError> {
    let values = convert::session_inputs(session, inputs)?;
    session.run(values.as_slice()).map(drop).map_err(|error| run_failed(&error))
}

/// One event of a recorded run.
#[derive(Deserialize)]
struct Event {
    #[serde(default)]
    cat: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    args: Args,
}

/// What is recorded of a node: types with extents, in lists of one entry each.
#[derive(Default, Deserialize)]
struct Args {
    #[serde(default)]
    input_type_shape: Vec<BTreeMap<String, Vec<u64>>>,
    #[serde(default)]
    output_type_shape: Vec<BTreeMap<String, Vec<u64>>>,
}

/// The nodes of a recorded run. What cannot be read is left out, and its multiply-adds are then not known.
fn extents(text: &str) -> Extents {
    let events: Vec<serde_json::Value> = serde_json::from_str(text).unwrap_or_default();
    let events = events.into_iter().filter_map(|event| serde_json::from_value::<Event>(event).ok());
    let first = |list: Vec<BTreeMap<String, Vec<u64>>>| list.into_iter().next()?.into_values().next();
    let node = |event: Event| {
        let name = event.name.strip_suffix("_kernel_time")?.to_owned();
        Some((name, [first(event.args.input_type_shape)?, first(event.args.output_type_shape)?]))
    };
    events.filter(|event| event.cat == "Node").filter_map(node).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extents_are_read_from_the_events_of_nodes_and_what_is_odd_is_left_out() {
        let text = r#"[
            {"cat":"Session","name":"model_run","args":{}},
            {"cat":"Node","name":"conv_kernel_time","args":{"op_name":"Conv","input_type_shape":[{"float":[1,3,4,4]},{"float":[8]}],"output_type_shape":[{"float":[1,8,4,4]}]}},
            {"cat":"Node","name":"odd_kernel_time","args":{"input_type_shape":[{"float":["x"]}]}},
            {"cat":"Node","name":"none_kernel_time","args":{"output_type_shape":[]}}]"#;
        let found = extents(text);
        assert_eq!(found.len(), 1);
        assert_eq!(found["conv"], [vec![1, 3, 4, 4], vec![1, 8, 4, 4]]);
        assert!(extents("nothing").is_empty());
    }
}
