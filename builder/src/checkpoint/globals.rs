//! What each `module.name` is to the scan: part of the weights' own description (the allow-list), known to be harmless
//! and passed over unbuilt, unknown, or of use to malice only. None is ever imported, looked up or called.

mod harmless;
mod malice;

use onnx_file::element::ElementType;

/// A global on the allow-list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Global {
    OrderedDict,
    /// `_rebuild_tensor_v2(storage, offset, size, stride, requires_grad, hooks[, metadata])`.
    RebuildTensorV2,
    /// `_rebuild_tensor_v3(storage, offset, size, stride, requires_grad, hooks, dtype[, metadata])`.
    RebuildTensorV3,
    /// `_rebuild_parameter(data, requires_grad, hooks)`.
    RebuildParameter,
    /// `Parameter(data[, requires_grad])`, from torch before 0.4.
    Parameter,
    /// A storage class; `None` is the untyped one.
    Storage(Option<Element>),
    /// A `torch.dtype`.
    Dtype(Element),
    Size,
    Device,
}

/// What a storage or `torch.dtype` holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Element {
    /// A type that can be read.
    Real(ElementType),
    /// A type that can be named and measured, but holds no plain real numbers: name, bytes per element.
    Other(&'static str, usize),
}

impl Element {
    /// Bytes per element.
    pub(super) fn size(self) -> usize {
        match self {
            Self::Real(dtype) => dtype.size(),
            Self::Other(_, size) => size,
        }
    }
}

/// What a global stands for.
pub(super) enum Verdict {
    Allowed(Global),
    /// Rebuilds a tensor of a kind that holds no plain numbers: the kind, and what to do.
    Kind(&'static str, &'static str),
    /// Known to be harmless beside the weights.
    Harmless,
    /// Nothing is known of it. `module`: a class of modules, or one defined in a script, so that the file may be a whole
    /// model.
    Unknown {
        module: bool,
    },
    /// Of no use but to malice.
    Malicious,
}

/// Whether the first argument of a call of `module.name` says what is built.
pub(super) fn builds_its_argument(module: &str, name: &str) -> bool {
    harmless::builds_its_argument(module, name)
}

/// Looks `module.name` up.
pub(super) fn look_up(module: &str, name: &str) -> Verdict {
    let global = match (module, name) {
        ("collections", "OrderedDict") => Some(Global::OrderedDict),
        ("torch._utils", "_rebuild_tensor_v2") => Some(Global::RebuildTensorV2),
        ("torch._utils", "_rebuild_tensor_v3") => Some(Global::RebuildTensorV3),
        ("torch._utils", "_rebuild_parameter") => Some(Global::RebuildParameter),
        ("torch.nn.parameter", "Parameter") => Some(Global::Parameter),
        ("torch", "Size") => Some(Global::Size),
        ("torch", "device") => Some(Global::Device),
        ("torch" | "torch.storage", "UntypedStorage" | "TypedStorage") => Some(Global::Storage(None)),
        ("torch", _) => name
            .strip_suffix("Storage")
            .and_then(storage)
            .map(|element| Global::Storage(Some(element)))
            .or_else(|| dtype(name).map(Global::Dtype)),
        _ => None,
    };
    match (global, module, name) {
        (Some(global), ..) => Verdict::Allowed(global),
        (None, "torch._utils", "_rebuild_sparse_tensor" | "_rebuild_sparse_csr_tensor") => {
            Verdict::Kind("sparse", "make it dense with .to_dense() and save the state_dict again")
        }
        (None, "torch._utils", "_rebuild_qtensor") => {
            Verdict::Kind("quantized", "save the state_dict of the model from before quantization, or .dequantize() it")
        }
        (None, "torch._utils", "_rebuild_nested_tensor") => {
            Verdict::Kind("nested", "save the weights as plain tensors")
        }
        (None, "torch._utils", "_rebuild_meta_tensor_no_storage") => {
            Verdict::Kind("without values (device meta)", "load the weights before saving the state_dict")
        }
        _ if harmless::is_harmless(module, name) => Verdict::Harmless,
        _ if malice::is_malicious(module, name) => Verdict::Malicious,
        // A model's own class comes from wherever its script had it; the script run by Python is `__main__`.
        (None, "__main__", _) => Verdict::Unknown { module: true },
        _ => Verdict::Unknown {
            module: ["torch.nn.", "torchvision.", "timm."].iter().any(|start| module.starts_with(start)),
        },
    }
}

/// The element of `torch.{kind}Storage`.
fn storage(kind: &str) -> Option<Element> {
    Some(match kind {
        "Half" => Element::Real(ElementType::F16),
        "BFloat16" => Element::Real(ElementType::BF16),
        "Float" => Element::Real(ElementType::F32),
        "Double" => Element::Real(ElementType::F64),
        "Bool" => Element::Real(ElementType::Bool),
        "Byte" => Element::Real(ElementType::U8),
        "Char" => Element::Real(ElementType::I8),
        "Short" => Element::Real(ElementType::I16),
        "Int" => Element::Real(ElementType::I32),
        "Long" => Element::Real(ElementType::I64),
        "ComplexFloat" => Element::Other("complex64", 8),
        "ComplexDouble" => Element::Other("complex128", 16),
        "QInt8" => Element::Other("quantized (qint8)", 1),
        "QUInt8" => Element::Other("quantized (quint8)", 1),
        "QInt32" => Element::Other("quantized (qint32)", 4),
        "QUInt4x2" => Element::Other("quantized (quint4x2)", 1),
        "QUInt2x4" => Element::Other("quantized (quint2x4)", 1),
        _ => return None,
    })
}

/// The element of `torch.{name}`, a `torch.dtype`.
fn dtype(name: &str) -> Option<Element> {
    Some(match name {
        "float16" | "half" => Element::Real(ElementType::F16),
        "bfloat16" => Element::Real(ElementType::BF16),
        "float32" | "float" => Element::Real(ElementType::F32),
        "float64" | "double" => Element::Real(ElementType::F64),
        "bool" => Element::Real(ElementType::Bool),
        "uint8" => Element::Real(ElementType::U8),
        "int8" => Element::Real(ElementType::I8),
        "uint16" => Element::Real(ElementType::U16),
        "int16" | "short" => Element::Real(ElementType::I16),
        "uint32" => Element::Real(ElementType::U32),
        "int32" | "int" => Element::Real(ElementType::I32),
        "uint64" => Element::Real(ElementType::U64),
        "int64" | "long" => Element::Real(ElementType::I64),
        "complex32" | "chalf" => Element::Other("complex32", 4),
        "complex64" | "cfloat" => Element::Other("complex64", 8),
        "complex128" | "cdouble" => Element::Other("complex128", 16),
        "qint8" => Element::Other("quantized (qint8)", 1),
        "quint8" => Element::Other("quantized (quint8)", 1),
        "qint32" => Element::Other("quantized (qint32)", 4),
        "quint4x2" => Element::Other("quantized (quint4x2)", 1),
        "quint2x4" => Element::Other("quantized (quint2x4)", 1),
        "float8_e4m3fn" | "float8_e4m3fnuz" | "float8_e5m2" | "float8_e5m2fnuz" | "float8_e8m0fnu" => {
            Element::Other("float8", 1)
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_near_the_allowed_ones_are_refused() {
        for (module, name) in [
            ("os", "system"),
            ("torch", "load"),
            ("torch", "Storage"),
            ("torch", "hub"),
            ("torch", "FloatStorage.__init__"),
            ("torch.storage", "_load_from_bytes"),
            ("torch._utils", "_rebuild_tensor_v2.__globals__"),
            ("collections", "OrderedDict.fromkeys"),
            ("builtins", "eval"),
            ("", ""),
        ] {
            assert!(matches!(look_up(module, name), Verdict::Malicious), "{module}.{name}");
        }
    }

    #[test]
    fn every_allowed_storage_knows_its_element_size() {
        for (kind, size) in [("Half", 2), ("BFloat16", 2), ("Float", 4), ("Double", 8), ("Long", 8), ("QInt32", 4)] {
            let name = format!("{kind}Storage");
            let Verdict::Allowed(Global::Storage(Some(element))) = look_up("torch", &name) else { panic!("{name}") };
            assert_eq!(element.size(), size);
        }
    }
}
