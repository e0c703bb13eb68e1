//! Triton's model repository: `NAME/config.pbtxt`, `NAME/1/model.onnx`, labels.
//!
//! The configuration has no `name`, so that the folder may be renamed. What depends on the server's hardware stands in
//! it as comments: a server without a GPU refuses instances that want one.
//! <https://docs.nvidia.com/deeplearning/triton-inference-server/user-guide/docs/user_guide/model_configuration.html>

use std::fmt::Write as _;

use onnx_file::element::ElementType;
use onnx_file::port::Port;

use super::subject::Subject;

/// Most images that a server puts together, and takes in one request: `eval` sends as many unless told otherwise.
const MOST_BATCH: usize = 64;
/// Extent of the warm-up's images where it is open and nothing says.
const USUAL: usize = 224;

/// The text of `config.pbtxt`, or why a server could not take the model.
pub(super) fn config(subject: &Subject, has_labels: bool) -> Result<String, String> {
    let batches = subject.batches();
    let mut text = String::from("backend: \"onnxruntime\"\n");
    let _ = writeln!(text, "max_batch_size: {}", if batches { MOST_BATCH } else { 0 });
    let classes = subject.classes().map(|(name, ..)| name);
    for (list, ports) in [("input", &subject.inputs), ("output", &subject.outputs)] {
        for port in ports {
            let labels = list == "output" && has_labels && classes == Some(port.name.as_str());
            let labels = if labels { "\n    label_filename: \"labels.txt\"" } else { "" };
            let (kind, dims) = (kind(port)?, dims(port, batches)?);
            let name = quoted(&port.name);
            let _ = writeln!(
                text,
                "{list} [\n  {{\n    name: {name}\n    data_type: {kind}\n    dims: [ {dims} ]{labels}\n  }}\n]"
            );
        }
    }
    if batches {
        text.push_str("# Requests that wait are run together.\ndynamic_batching { }\n");
    }
    warmup(&mut text, subject, batches)?;
    text.push_str(
        "# On GPUs, as many instances as their memory allows:
# instance_group [ { kind: KIND_GPU, count: 1 } ]
# Accelerators of the onnxruntime backend, where the server was built with them:
# optimization { execution_accelerators { gpu_execution_accelerator [ { name: \"tensorrt\" } ] } }
# optimization { execution_accelerators { cpu_execution_accelerator [ { name: \"openvino\" } ] } }
",
    );
    Ok(text)
}

/// Zeros through the model before the first request, so that it is not the one that waits for the kernels.
fn warmup(text: &mut String, subject: &Subject, batches: bool) -> Result<(), String> {
    let mut inputs = String::new();
    for port in &subject.inputs {
        let shape = port.shape.as_deref().unwrap_or_default();
        let shape = if batches { &shape[1..] } else { shape };
        let side = subject.preprocess.map_or(USUAL, |says| says.crop.shorter() as usize);
        let dims: Vec<String> = shape.iter().map(|extent| extent.unwrap_or(side).to_string()).collect();
        let (name, kind, dims) = (quoted(&port.name), kind(port)?, dims.join(", "));
        let _ = write!(
            inputs,
            "    inputs {{\n      key: {name}\n      value {{ data_type: {kind} dims: [ {dims} ] zero_data: true }}\n    }}\n"
        );
    }
    // Without a batch of the server's own making its size is 0.
    let size = if batches { "\n    batch_size: 1" } else { "" };
    let _ = writeln!(text, "model_warmup [\n  {{\n    name: \"zeros\"{size}\n{inputs}  }}\n]");
    Ok(())
}

fn kind(port: &Port) -> Result<&'static str, String> {
    Ok(match port.element_type {
        Some(ElementType::F32) => "TYPE_FP32",
        Some(ElementType::F16) => "TYPE_FP16",
        Some(ElementType::BF16) => "TYPE_BF16",
        Some(ElementType::F64) => "TYPE_FP64",
        Some(ElementType::U8) => "TYPE_UINT8",
        Some(ElementType::I8) => "TYPE_INT8",
        Some(ElementType::U16) => "TYPE_UINT16",
        Some(ElementType::I16) => "TYPE_INT16",
        Some(ElementType::U32) => "TYPE_UINT32",
        Some(ElementType::I32) => "TYPE_INT32",
        Some(ElementType::U64) => "TYPE_UINT64",
        Some(ElementType::I64) => "TYPE_INT64",
        Some(ElementType::Bool) => "TYPE_BOOL",
        None => return Err(format!("'{}' is no tensor of a type that servers know", port.name)),
    })
}

fn dims(port: &Port, batches: bool) -> Result<String, String> {
    let shape = port.shape.as_deref().ok_or_else(|| format!("'{}' has no shape in the file", port.name))?;
    let shape = if batches { &shape[1..] } else { shape };
    if shape.is_empty() {
        return Err(format!("'{}' has no extents besides the batch", port.name));
    }
    let extents: Vec<String> = shape.iter().map(|extent| extent.map_or("-1".into(), |n| n.to_string())).collect();
    Ok(extents.join(", "))
}

/// A string of protobuf's text format.
fn quoted(text: &str) -> String {
    let escaped: String = text
        .bytes()
        .map(|byte| match byte {
            b'"' | b'\\' => format!("\\{}", char::from(byte)),
            b' '..=b'~' => char::from(byte).to_string(),
            _ => format!("\\{byte:03o}"),
        })
        .collect();
    format!("\"{escaped}\"")
}
