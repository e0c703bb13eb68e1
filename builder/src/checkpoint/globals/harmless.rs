//! What training scripts store beside the weights and what is known to be harmless: exact pairs of module and name. No
//! prefixes and no wildcards, so that nobody gets in by a name that merely begins alike. All of it is passed over
//! unbuilt.

/// Whether `module.name` is on the list.
pub(super) fn is_harmless(module: &str, name: &str) -> bool {
    HARMLESS.iter().any(|(modules, names)| modules.contains(&module) && names.contains(&name))
}

/// The functions by which pickles of the older protocols, or of arrays, build an object of the class that is their
/// first argument.
pub(super) fn builds_its_argument(module: &str, name: &str) -> bool {
    matches!((module, name), ("copyreg" | "copy_reg", "_reconstructor" | "__newobj__" | "__newobj_ex__"))
}

/// Each name is in each of the modules beside it: a class moves, and its old pickles keep the old module.
const HARMLESS: &[(&[&str], &[&str])] = &[
    (&["argparse"], &["Namespace"]),
    // Types of plain values: called for sets and the like, named as a defaultdict's factory or by protocols 0 and 1.
    (
        &["builtins", "__builtin__"],
        &[
            "object",
            "set",
            "frozenset",
            "slice",
            "complex",
            "range",
            "bytearray",
            "list",
            "dict",
            "tuple",
            "int",
            "float",
            "str",
            "bool",
            "bytes",
        ],
    ),
    (&["__builtin__"], &["long", "unicode", "xrange"]),
    (&["copyreg", "copy_reg"], &["_reconstructor", "__newobj__", "__newobj_ex__"]),
    // Protocols before 3 write bytes as text and this function.
    (&["_codecs"], &["encode"]),
    (&["collections"], &["Counter", "OrderedDict", "defaultdict", "deque"]),
    (&["datetime"], &["date", "datetime", "time", "timedelta", "timezone"]),
    (&["decimal"], &["Decimal"]),
    (&["fractions"], &["Fraction"]),
    (
        &["pathlib", "pathlib._local"],
        &["Path", "PosixPath", "PurePath", "PurePosixPath", "PureWindowsPath", "WindowsPath"],
    ),
    (&["uuid"], &["SafeUUID", "UUID"]),
    (&["typing"], &["Any"]),
    // numpy: scalars, arrays, types, random states.
    (&["numpy.core.multiarray", "numpy._core.multiarray"], &["_reconstruct", "scalar"]),
    (&["numpy.core.numeric", "numpy._core.numeric"], &["_frombuffer"]),
    (
        &["numpy"],
        &[
            "bool",
            "bool_",
            "bytes_",
            "complex128",
            "complex64",
            "datetime64",
            "dtype",
            "float16",
            "float32",
            "float64",
            "int16",
            "int32",
            "int64",
            "int8",
            "longdouble",
            "longlong",
            "ndarray",
            "object_",
            "str_",
            "timedelta64",
            "uint16",
            "uint32",
            "uint64",
            "uint8",
            "ulonglong",
        ],
    ),
    (
        &["numpy.dtypes"],
        &[
            "BoolDType",
            "BytesDType",
            "Complex128DType",
            "Complex64DType",
            "DateTime64DType",
            "Float16DType",
            "Float32DType",
            "Float64DType",
            "Int16DType",
            "Int32DType",
            "Int64DType",
            "Int8DType",
            "LongDoubleDType",
            "LongLongDType",
            "ObjectDType",
            "StrDType",
            "TimeDelta64DType",
            "UInt16DType",
            "UInt32DType",
            "UInt64DType",
            "UInt8DType",
            "ULongLongDType",
        ],
    ),
    (&["numpy.random._pickle"], &["__bit_generator_ctor", "__generator_ctor", "__randomstate_ctor"]),
    (&["numpy.random"], &["__RandomState_ctor"]),
    (&["numpy.random._mt19937"], &["MT19937"]),
    (&["numpy.random._pcg64"], &["PCG64", "PCG64DXSM"]),
    (&["numpy.random._philox"], &["Philox"]),
    (&["numpy.random._sfc64"], &["SFC64"]),
    (&["numpy.random.bit_generator"], &["SeedSequence", "__pyx_unpickle_SeedSequence"]),
    (&["torch.torch_version"], &["TorchVersion"]),
    // Configurations.
    (&["omegaconf.dictconfig"], &["DictConfig"]),
    (&["omegaconf.listconfig"], &["ListConfig"]),
    (&["omegaconf.base"], &["ContainerMetadata", "Metadata", "SCMode"]),
    (
        &["omegaconf.nodes"],
        &[
            "AnyNode",
            "BooleanNode",
            "BytesNode",
            "EnumNode",
            "FloatNode",
            "IntegerNode",
            "InterpolationResultNode",
            "PathNode",
            "StringNode",
        ],
    ),
    (&["yacs.config", "fvcore.common.config", "detectron2.config.config"], &["CfgNode"]),
    (&["easydict"], &["EasyDict"]),
    (&["addict", "addict.addict"], &["Dict"]),
    (&["mmcv.utils.config", "mmengine.config", "mmengine.config.config"], &["Config", "ConfigDict"]),
    (&["mmengine.logging.history_buffer"], &["HistoryBuffer"]),
    (
        &["ml_collections.config_dict.config_dict", "ml_collections.config_dict", "ml_collections"],
        &["ConfigDict", "FieldReference", "FrozenConfigDict"],
    ),
    (
        &[
            "pytorch_lightning.utilities.parsing",
            "lightning.pytorch.utilities.parsing",
            "lightning_fabric.utilities.data",
            "lightning.fabric.utilities.data",
        ],
        &["AttributeDict"],
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_exact_pairs_are_on_the_list() {
        assert!(is_harmless("argparse", "Namespace"));
        for (module, name) in [
            ("argparse", "Namespace.__init__"),
            ("argparse.Namespace", ""),
            ("argparse", "FileType"),
            ("argparse ", "Namespace"),
            ("builtins", "eval"),
            ("builtins", "getattr"),
            ("builtins", "type"),
            ("__builtin__", "file"),
            ("pathlib", "os.system"),
            ("collections", "namedtuple"),
            ("numpy", "load"),
            ("datetime", "sys"),
        ] {
            assert!(!is_harmless(module, name), "{module}.{name}");
        }
    }

    #[test]
    fn nothing_on_the_list_is_a_path_into_a_module() {
        for (modules, names) in HARMLESS {
            assert!(!modules.is_empty() && names.iter().all(|name| !name.contains(['.', '*'])), "{modules:?}");
        }
    }
}
