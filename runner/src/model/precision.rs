//! The arithmetic of a model.

use onnx_file::element::ElementType;
use onnx_file::proto::GraphProto;
use serde::Serialize;

/// Arithmetic carried by a file, coarser last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// 24 bits of significand or more.
    F32,
    /// Tensor-core arithmetic with 11 bits on f32 operands.
    Tf32,
    /// 11 bits.
    F16,
    /// 8 bits.
    Bf16,
    /// Quantized to 8-bit integers.
    Int8,
}

impl std::fmt::Display for Precision {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Precision::F32 => "f32",
            Precision::Tf32 => "tf32",
            Precision::F16 => "f16",
            Precision::Bf16 => "bf16",
            Precision::Int8 => "int8",
        })
    }
}

impl Precision {
    /// The coarsest found in `graph`.
    pub fn of(graph: &GraphProto) -> Precision {
        let quantized =
            |op: &str| op.starts_with("QLinear") || matches!(op, "QuantizeLinear" | "ConvInteger" | "MatMulInteger");
        if graph.node.iter().any(|node| quantized(&node.op_type)) {
            return Precision::Int8;
        }
        let carried = |kind: Option<ElementType>| match kind {
            Some(ElementType::BF16) => Precision::Bf16,
            Some(ElementType::F16) => Precision::F16,
            _ => Precision::F32,
        };
        let weights = graph.initializer.iter().map(|tensor| carried(ElementType::from_proto(tensor.data_type)));
        weights.max().unwrap_or(Precision::F32)
    }

    /// The precision that an option switches on, such as `use_tf32=1`, `trt_fp16_enable=1`, `precision=bf16`.
    pub fn of_option(key: &str, value: &str) -> Option<Self> {
        let (key, value) = (key.to_ascii_lowercase(), value.to_ascii_lowercase());
        let on = matches!(value.as_str(), "1" | "true" | "on" | "yes");
        let named = |text: &str| {
            if text.contains("bf16") || text.contains("bfloat16") {
                Some(Self::Bf16)
            } else if text.contains("f16") || text.contains("fp16") || text.contains("float16") {
                Some(Self::F16)
            } else if text.contains("tf32") {
                Some(Self::Tf32)
            } else if text.contains("int8") {
                Some(Self::Int8)
            } else {
                None
            }
        };
        if key.contains("precision") || key.contains("load_config") {
            named(&value)
        } else if on {
            named(&key)
        } else {
            None
        }
    }
}
