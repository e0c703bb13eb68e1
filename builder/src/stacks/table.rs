//! The stacks that were tried, with the version and what it refused; `tests/interop/run.sh` tries some of them again.

use super::rules::Condition;
use super::rules::Condition::{
    DefaultDomain, Domains, FixedBatch, FixedPlane, InputName, MostBytes, MostIr, NoF16, NoF16Ends, NoF16Gemm, OneFile,
    OpenBatchUngrouped, Opset, OutputName, PlainImages, UnpaddedPool, UnreadOutputs, Without,
};
use super::stack::{Stack, Standing};

/// The day of the trials.
const TRIED: Standing = Standing::Tried("2026-11-25");
/// The day the documentation was read.
const READ: Standing = Standing::Documented("2026-11-25");

/// Operator sets that onnxruntime brings of its own.
const MICROSOFT: [&str; 5] =
    ["com.microsoft", "ai.onnx.ml", "com.microsoft.nchwc", "ai.onnx.training", "com.ms.internal.nhwc"];

const fn tried(
    name: &'static str,
    title: &'static str,
    version: &'static str,
    rules: &'static [Condition],
    hints: &'static [Condition],
) -> Stack {
    Stack { name, title, version, standing: TRIED, rules, hints }
}

/// All of them, the most used first.
pub const STACKS: &[Stack] = &[
    tried("onnxruntime", "onnxruntime", "1.32.0", &[MostIr(14), Opset(1, 28), Domains(&MICROSOFT)], &[]),
    tried(
        "onnxruntime-web",
        "onnxruntime-web (wasm)",
        "1.31.0-dev",
        &[MostIr(13), Opset(1, 26), Domains(&MICROSOFT), MostBytes(2_000_000_000)],
        &[OneFile],
    ),
    tried("onnxruntime-node", "onnxruntime-node", "1.30.0", &[MostIr(13), Opset(1, 26), Domains(&MICROSOFT)], &[]),
    Stack {
        name: "triton",
        title: "Triton with onnxruntime 1.19",
        version: "24.10",
        standing: READ,
        rules: &[MostIr(10), Opset(1, 21), Domains(&MICROSOFT)],
        hints: &[NoF16Ends],
    },
    tried("openvino", "OpenVINO", "2026.4.1", &[DefaultDomain], &[]),
    Stack {
        name: "tensorrt",
        title: "TensorRT",
        version: "10",
        standing: READ,
        rules: &[DefaultDomain],
        hints: &[FixedPlane],
    },
    tried("optimum", "optimum-onnx", "0.1.0", &[InputName("pixel_values"), OutputName("logits"), PlainImages], &[]),
    tried(
        "transformers.js",
        "transformers.js",
        "4.3.1",
        &[InputName("pixel_values"), OutputName("logits"), PlainImages, MostIr(13)],
        &[OneFile],
    ),
    tried("opencv", "OpenCV DNN, new engine", "5.0.0", &[DefaultDomain], &[]),
    tried("opencv4", "OpenCV DNN of Debian 12", "4.6.0", &[DefaultDomain, NoF16, OneFile], &[]),
    tried("ncnn", "ncnn through pnnx", "1.0.20261020", &[DefaultDomain, NoF16, OneFile], &[FixedBatch, FixedPlane]),
    tried("mnn", "MNN", "3.6.1", &[DefaultDomain], &[]),
    tried("tvm", "TVM Relax", "0.27.0", &[DefaultDomain], &[NoF16]),
    tried("iree", "IREE", "3.13.0", &[DefaultDomain], &[]),
    tried("onnx2torch", "onnx2torch", "1.5.15", &[DefaultDomain, Opset(9, 20)], &[]),
    tried("tinygrad", "tinygrad", "0.14.0", &[DefaultDomain], &[]),
    tried("jaxonnxruntime", "jaxonnxruntime", "0.3.0", &[DefaultDomain, Opset(14, 20)], &[]),
    tried("onnx2tf", "onnx2tf to TFLite", "1.29.24", &[DefaultDomain, OpenBatchUngrouped], &[]),
    tried("tract", "tract", "0.23.9", &[DefaultDomain, NoF16Gemm], &[]),
    tried("rten", "rten", "0.27.0", &[DefaultDomain], &[NoF16]),
    tried("candle", "candle-onnx", "0.11.1", &[DefaultDomain, UnpaddedPool, Without(&["GlobalAveragePool"])], &[]),
    tried("burn", "burn-onnx", "0.23.0-pre.1", &[DefaultDomain, Opset(1, 25)], &[]),
    tried("float16", "onnxconverter_common.float16", "1.16.0", &[NoF16, UnreadOutputs], &[]),
    Stack { name: "migraphx", title: "MIGraphX", version: "6", standing: READ, rules: &[Opset(1, 19)], hints: &[] },
    Stack {
        name: "coreml",
        title: "onnxruntime's CoreML provider",
        version: "1.32.0",
        standing: READ,
        rules: &[MostIr(14), Without(&["Loop", "Scan"])],
        hints: &[FixedBatch, FixedPlane],
    },
];
