//! What the runner's tests share: the onnxruntime library, obtained once through `setup`'s own code, small networks
//! made in memory, and ways to start workers.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use onnx_file::proto::{
    AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto, TensorShapeProto, TypeProto,
    ValueInfoProto, attribute_proto::AttributeType, tensor_proto::DataType, tensor_shape_proto, type_proto,
};
use prost::Message;
use resnext_runner::backend::onnxruntime::provider::{Kind, Provider};
use resnext_runner::backend::onnxruntime::runtime::find::{Library, Search};
use resnext_runner::backend::onnxruntime::runtime::install;
use resnext_runner::backend::onnxruntime::runtime::install::Source as Wheels;
use resnext_runner::backend::onnxruntime::runtime::package::Package;
use resnext_runner::backend::onnxruntime::spec::{SessionOptions, Source, Spec};
use resnext_runner::backend::onnxruntime::worker::Launcher;
use resnext_runner::model::tensor::{Data, Tensor};

/// The folder that tests install to: `RESNEXT_ORT_DIR`, or `runtime` in the target folder.
pub(crate) fn root() -> PathBuf {
    match std::env::var_os("RESNEXT_ORT_DIR") {
        Some(folder) if !folder.is_empty() => PathBuf::from(folder),
        _ => Path::new(env!("CARGO_TARGET_TMPDIR")).join("../runtime"),
    }
}

/// The library of a package set, installed on first use; without a network the error says how to fix that.
pub(crate) fn library(package: Package) -> Library {
    let installed = install::install(package, &root(), Wheels::Pip { show: false }).unwrap_or_else(|error| {
        panic!("these tests need onnxruntime: {error}\nhint: RESNEXT_ORT_DIR names a folder where `resnext-run setup` has put it")
    });
    let search = Search { flag: Some(installed.folder), ..Search::default() };
    search.libraries().expect("an installed library").remove(0)
}

/// The program under test.
pub(crate) fn program() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_resnext-run"))
}

/// Runs the program on the installed library.
pub(crate) fn run(arguments: &[&str]) -> Output {
    Command::new(program()).args(arguments).output().expect("the program starts")
}

/// Runs the program in `folder` on the CPU package; its exit code and what it wrote.
pub(crate) fn run_in(folder: &Path, arguments: &[&str]) -> (Option<i32>, Output) {
    let mut command = Command::new(program());
    command.args(arguments).arg("--ort-lib").arg(library(Package::Cpu).path).current_dir(folder);
    let output = command.output().expect("the program starts");
    (output.status.code(), output)
}

/// The JSON that a finished program wrote to standard output.
pub(crate) fn parsed(output: &Output) -> serde_json::Value {
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {} {}", stdout(output), stderr(output)))
}

/// Standard error of a finished program.
pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Standard output of a finished program.
pub(crate) fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Workers of the program under test, with limits that only a hang exceeds.
pub(crate) fn launcher() -> Launcher {
    let limit = Duration::from_secs(120);
    Launcher {
        program: program().to_path_buf(),
        load_limit: limit,
        run_limit: limit,
        memory: 4 << 30,
        show_output: false,
    }
}

/// A model on a provider with its default options, on one thread.
pub(crate) fn spec(library: Library, kind: Kind, model: &Path) -> Spec {
    Spec {
        library,
        provider: Provider::new(kind),
        session: SessionOptions { intra_op_threads: 1, inter_op_threads: 1, config: Default::default() },
        model: Source::File(model.to_path_buf()),
        outputs: None,
        shapes: Default::default(),
        allow_fallback: false,
        verbose: false,
    }
}

/// A network of the family in miniature, `[N, 3, 32, 32]` to `[N, 10]`: a strided convolution, a grouped one, an
/// addition around it, pooling and a fully connected layer.
pub(crate) fn small_network() -> Vec<u8> {
    let ints = |name: &str, values: &[i64]| AttributeProto {
        name: name.to_owned(),
        r#type: AttributeType::Ints as i32,
        ints: values.to_vec(),
        ..AttributeProto::default()
    };
    let int = |name: &str, value: i64| AttributeProto {
        name: name.to_owned(),
        r#type: AttributeType::Int as i32,
        i: value,
        ..AttributeProto::default()
    };
    let nodes = vec![
        node("Conv", &["input", "conv1.weight"], "c1", vec![ints("strides", &[2, 2]), ints("pads", &[1, 1, 1, 1])]),
        node("Relu", &["c1"], "r1", vec![]),
        node("Conv", &["r1", "conv2.weight"], "c2", vec![ints("pads", &[1, 1, 1, 1]), int("group", 4)]),
        node("Add", &["c2", "r1"], "a", vec![]),
        node("Relu", &["a"], "r2", vec![]),
        node("GlobalAveragePool", &["r2"], "p", vec![]),
        node("Flatten", &["p"], "f", vec![]),
        node("Gemm", &["f", "fc.weight", "fc.bias"], "logits", vec![int("transB", 1)]),
    ];
    let initializers = vec![
        weight("conv1.weight", &[8, 3, 3, 3]),
        weight("conv2.weight", &[8, 2, 3, 3]),
        weight("fc.weight", &[10, 8]),
        weight("fc.bias", &[10]),
    ];
    model(nodes, initializers, value_info("input", &[-1, 3, 32, 32]), value_info("logits", &[-1, 10]))
}

/// Writes a model to a file in a folder.
pub(crate) fn write(folder: &Path, name: &str, model: &[u8]) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, model).expect("written");
    path
}

/// Writes a program for a shell. Another process does it: while this one has a file open for writing, a program that
/// another test starts may inherit it, and then the system refuses to run the file.
#[cfg(unix)]
pub(crate) fn script(path: &Path, text: &str) {
    let mut writer = Command::new("sh");
    writer.args(["-c", "printf %s \"$1\" >\"$0\" && chmod 755 \"$0\""]).arg(path).arg(text);
    assert!(writer.status().expect("sh starts").success(), "{} cannot be written", path.display());
}

/// Synthetic values for [`small_network`].
pub(crate) fn input(batch: usize) -> Tensor {
    let count = batch * 3 * 32 * 32;
    let data = (0..count).map(|index| ((index * 7919) % 1000) as f32 / 500.0 - 1.0).collect();
    Tensor { name: "input".to_owned(), shape: vec![batch, 3, 32, 32], data: Data::F32(data) }
}

/// The f32 elements of a tensor.
pub(crate) fn floats(tensor: &Tensor) -> &[f32] {
    match &tensor.data {
        Data::F32(data) => data,
        other => panic!("not f32: {other:?}"),
    }
}

/// A model of these parts, opset 17.
pub(crate) fn model(
    node: Vec<NodeProto>,
    initializer: Vec<TensorProto>,
    input: ValueInfoProto,
    output: ValueInfoProto,
) -> Vec<u8> {
    let model = ModelProto {
        ir_version: 8,
        opset_import: vec![OperatorSetIdProto { domain: String::new(), version: 17 }],
        graph: Some(GraphProto {
            name: "test".to_owned(),
            node,
            initializer,
            input: vec![input],
            output: vec![output],
            ..GraphProto::default()
        }),
        ..ModelProto::default()
    };
    model.encode_to_vec()
}

/// A node named after its output.
pub(crate) fn node(op: &str, inputs: &[&str], output: &str, attribute: Vec<AttributeProto>) -> NodeProto {
    NodeProto {
        op_type: op.to_owned(),
        name: format!("node_{output}"),
        input: inputs.iter().map(|name| (*name).to_owned()).collect(),
        output: vec![output.to_owned()],
        attribute,
        ..NodeProto::default()
    }
}

/// Weights between -0.5 and 0.5.
pub(crate) fn weight(name: &str, dims: &[i64]) -> TensorProto {
    let count: i64 = dims.iter().product();
    let data = (0..count).map(|index| ((index * 37 + 11) % 101) as f32 / 101.0 - 0.5);
    TensorProto {
        name: name.to_owned(),
        dims: dims.to_vec(),
        data_type: DataType::Float as i32,
        raw_data: data.flat_map(f32::to_le_bytes).collect::<Vec<u8>>().into(),
        ..TensorProto::default()
    }
}

/// A tensor of f32; a negative extent is any.
pub(crate) fn value_info(name: &str, shape: &[i64]) -> ValueInfoProto {
    value_info_of(name, shape, DataType::Float)
}

/// As [`value_info`], of another element type.
pub(crate) fn value_info_of(name: &str, shape: &[i64], element: DataType) -> ValueInfoProto {
    use tensor_shape_proto::{Dimension, dimension::Value};
    let value = |&extent: &i64| match extent {
        0.. => Value::DimValue(extent),
        _ => Value::DimParam("batch".to_owned()),
    };
    let dim = shape.iter().map(|extent| Dimension { value: Some(value(extent)), ..Dimension::default() }).collect();
    let tensor = type_proto::Tensor { elem_type: element as i32, shape: Some(TensorShapeProto { dim }) };
    let r#type = TypeProto { value: Some(type_proto::Value::TensorType(tensor)), ..TypeProto::default() };
    ValueInfoProto { name: name.to_owned(), r#type: Some(r#type), ..ValueInfoProto::default() }
}
