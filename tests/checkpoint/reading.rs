//! Files that torch wrote are read: every container, every type, every way of storing the same weights. Two other
//! readers, the crates `pytorch-reader` and `safetensors`, must see the same tensors.

use crate::common::checkpoint_files::*;
use half::{bf16, f16};
use onnx_file::element::ElementType;
use resnext_builder::checkpoint::{Checkpoint, Format};
use std::collections::BTreeMap;

fn open(name: &str) -> Checkpoint {
    Checkpoint::open(&fixture(name)).unwrap_or_else(|error| panic!("{error}"))
}

/// Real-valued tensors by name, exact.
fn weights(name: &str) -> BTreeMap<String, Vec<f64>> {
    let tensors = contents(&open(name)).unwrap_or_else(|error| panic!("{error}"));
    tensors.into_iter().filter_map(|(name, _, values)| Some((name, values?))).collect()
}

/// The f32 weights of the network, by the safetensors crate.
fn reference() -> BTreeMap<String, Vec<f32>> {
    let bytes = fixture_bytes("resnext.safetensors");
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let tensors = file.iter().filter(|(_, view)| view.dtype() == safetensors::Dtype::F32);
    tensors.map(|(name, view)| (name.to_owned(), bytemuck::pod_collect_to_vec(view.data()))).collect()
}

fn rounded(round: impl Fn(f32) -> f64) -> BTreeMap<String, Vec<f64>> {
    reference().into_iter().map(|(name, values)| (name, values.into_iter().map(&round).collect())).collect()
}

#[test]
fn all_containers_and_memory_formats_hold_the_same_weights() {
    let expected = rounded(f64::from);
    for name in ["resnext_zip.pth", "resnext_legacy.pth", "resnext.safetensors", "resnext_channels_last.pth"] {
        assert_eq!(weights(name), expected, "{name}");
    }
}

#[test]
fn half_precision_weights_are_converted_exactly() {
    let half = rounded(|value| f16::from_f32(value).to_f64());
    for name in ["f16", "data_parallel", "nested", "no_counters", "parameters"] {
        assert_eq!(weights(&format!("resnext_{name}.pth")), half, "{name}");
    }
    assert_eq!(weights("resnext_bf16.pth"), rounded(|value| bf16::from_f32(value).to_f64()));
}

#[test]
fn mixed_storage_keeps_each_tensors_own_precision() {
    let checkpoint = open("resnext_mixed.pth");
    for (name, values) in reference() {
        let convolution = checkpoint.get(&name).unwrap().dtype == ElementType::F16;
        let exact = |value: f32| if convolution { f16::from_f32(value).to_f32() } else { value };
        assert_eq!(checkpoint.read_f32(&name).unwrap(), values.into_iter().map(exact).collect::<Vec<_>>(), "{name}");
    }
    assert_eq!(checkpoint.get("bn1.weight").unwrap().dtype, ElementType::F32);
}

#[test]
fn f64_weights_are_exact_as_f64_and_rounded_as_f32() {
    let checkpoint = open("resnext_f64.pth");
    let mut finer = 0;
    for (name, values) in weights("resnext_f64.pth") {
        let single: Vec<f32> = values.iter().map(|value| *value as f32).collect();
        assert_eq!(checkpoint.read_f32(&name).unwrap(), single);
        finer += values.iter().zip(&single).filter(|(exact, single)| f64::from(**single) != **exact).count();
    }
    assert!(finer > 20_000, "{finer} numbers finer than f32");
}

#[test]
fn an_independent_reader_sees_the_same_tensors_byte_for_byte() {
    for name in [
        "resnext_zip.pth",
        "resnext_legacy.pth",
        "resnext_channels_last.pth",
        "resnext_f16.pth",
        "resnext_bf16.pth",
        "resnext_f64.pth",
        "resnext_mixed.pth",
        "resnext_no_counters.pth",
        "resnext_parameters.pth",
        "basic.pth",
        "cifar.pth",
        "mini_zip.pth",
        "mini_zip64.pth",
        "mini_deflated.pth",
        "mini_no_crc.pth",
        "mini_protocol4.pth",
        "mini_legacy.pth",
        "mini_legacy_protocol1.pth",
    ] {
        let ours = open(name);
        let theirs = pytorch_reader::PytorchReader::new(fixture(name)).unwrap();
        assert_eq!(ours.tensors().len(), theirs.len(), "{name}");
        for info in ours.tensors() {
            let tensor = theirs.get(&info.name).unwrap_or_else(|| panic!("{name}: {}", info.name));
            assert_eq!(info.shape, tensor.shape(), "{name}: {}", info.name);
            let bytes = tensor.read().unwrap();
            let expected: Vec<f64> = match info.dtype {
                ElementType::F16 => bytes.chunks(2).map(|b| f16::from_le_bytes([b[0], b[1]]).to_f64()).collect(),
                ElementType::BF16 => bytes.chunks(2).map(|b| bf16::from_le_bytes([b[0], b[1]]).to_f64()).collect(),
                ElementType::F32 => bytes.chunks(4).map(|b| f32::from_le_bytes(b.try_into().unwrap()).into()).collect(),
                ElementType::F64 => bytes.chunks(8).map(|b| f64::from_le_bytes(b.try_into().unwrap())).collect(),
                other => {
                    assert_eq!((other, tensor.dtype()), (ElementType::I64, pytorch_reader::DType::I64));
                    continue;
                }
            };
            assert_eq!(ours.read_f64(&info.name).unwrap(), expected, "{name}: {}", info.name);
        }
    }
}

#[test]
fn tensors_come_in_the_order_of_the_state_dict() {
    for name in ["resnext_zip.pth", "resnext_legacy.pth", "resnext_nested.pth"] {
        let checkpoint = open(name);
        let names: Vec<&str> = checkpoint.tensors().iter().map(|info| info.name.as_str()).collect();
        let start = ["conv1.weight", "bn1.weight", "bn1.bias", "bn1.running_mean", "bn1.running_var"];
        assert_eq!(names[..5], start, "{name}");
        assert_eq!(names[5], "bn1.num_batches_tracked");
        assert_eq!(names[names.len() - 2..], ["fc.weight", "fc.bias"]);
    }
}

#[test]
fn what_a_file_is_can_be_asked() {
    for (name, format) in [
        ("resnext_zip.pth", Format::Zip),
        ("resnext_legacy.pth", Format::Legacy),
        ("resnext.safetensors", Format::Safetensors),
    ] {
        let checkpoint = open(name);
        assert_eq!(checkpoint.format(), format);
        assert_eq!(checkpoint.path(), fixture(name));
        assert_eq!(checkpoint.file_len(), fixture_bytes(name).len() as u64);
        assert_eq!((checkpoint.nested_under(), checkpoint.stripped_prefix()), (None, None));
        assert_eq!(checkpoint.get("layer1.0.conv2.weight").unwrap().shape, [8, 2, 3, 3]);
        assert_eq!(checkpoint.get("fc.bias").unwrap().dtype, ElementType::F32);
        assert!(checkpoint.get("module.fc.bias").is_none());
    }
}

#[test]
fn counters_are_listed_with_their_type_but_are_no_weights() {
    let checkpoint = open("resnext_zip.pth");
    let counter = checkpoint.get("bn1.num_batches_tracked").unwrap();
    assert_eq!((counter.dtype, counter.shape.as_slice()), (ElementType::I64, &[][..]));
    checkpoint.read_f32("bn1.num_batches_tracked").unwrap_err();
    assert!(open("resnext_no_counters.pth").get("bn1.num_batches_tracked").is_none());
}

#[test]
fn a_prefix_and_a_nesting_key_are_removed_and_told() {
    let parallel = open("resnext_data_parallel.pth");
    assert_eq!((parallel.nested_under(), parallel.stripped_prefix()), (None, Some("module.")));
    let nested = open("resnext_nested.pth");
    assert_eq!((nested.nested_under(), nested.stripped_prefix()), (Some("state_dict"), Some("module.")));
    assert_eq!(nested.tensors(), parallel.tensors());
}

#[test]
fn the_format_is_told_by_content_not_by_name() {
    let folder = tempfile::tempdir().unwrap();
    for (name, copy) in
        [("resnext.safetensors", "model.pth"), ("mini_zip.pth", "model.safetensors"), ("mini_legacy.pth", "model")]
    {
        let path = folder.path().join(copy);
        std::fs::copy(fixture(name), &path).unwrap();
        assert_eq!(Checkpoint::open(&path).unwrap().format(), open(name).format());
    }
}

#[test]
fn several_threads_read_one_checkpoint() {
    let expected = weights("resnext_channels_last.pth");
    let checkpoint = open("resnext_channels_last.pth");
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for (name, values) in &expected {
                    assert_eq!(checkpoint.read_f64(name).unwrap(), *values);
                }
            });
        }
    });
}

#[test]
fn a_file_replaced_while_it_is_open_is_read_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.pth");
    std::fs::copy(fixture("mini_zip.pth"), &path).unwrap();
    let checkpoint = Checkpoint::open(&path).unwrap();
    let before = contents(&checkpoint).unwrap();
    std::fs::remove_file(&path).unwrap();
    std::fs::copy(fixture("resnext_legacy.pth"), &path).unwrap();
    assert_eq!(contents(&checkpoint).unwrap(), before);
}

#[test]
fn a_file_that_shrinks_while_it_is_open_gives_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.pth");
    std::fs::copy(fixture("mini_legacy.pth"), &path).unwrap();
    let checkpoint = Checkpoint::open(&path).unwrap();
    std::fs::File::options().write(true).open(&path).unwrap().set_len(1000).unwrap();
    let error = contents(&checkpoint).unwrap_err();
    assert!(error.to_string().contains("cannot read it"), "{error}");
}

// ---- Older ways of writing the same, made here since no torch of today writes them ----

#[test]
fn an_ordered_dict_of_python_2_is_read() {
    let pair = |p: Pickle| p.raw(b"](U\x0cconv1.weight").plain("0").raw(b"e");
    let pickle = pair(Pickle::new().global("collections", "OrderedDict").raw(b"](")).raw(b"e\x85R").stop();
    assert_eq!(open_bytes(&zipped(&pickle)).unwrap().read_f32("conv1.weight").unwrap(), [0., 1., 2., 3., 4., 5.]);
}

#[test]
fn a_parameter_as_torch_0_3_wrote_it_is_read() {
    let parameter = |p: Pickle| p.global("torch.nn.parameter", "Parameter").plain("0").raw(b"\x85R(\x88\x89");
    let pickle = one_weight(|p| parameter(p).global("collections", "OrderedDict").raw(b")Rtb"));
    let file = legacy(&pickle, &["0"], &[(6, six_floats())]);
    assert_eq!(open_bytes(&file).unwrap().read_f32("conv1.weight").unwrap().len(), 6);
}

#[test]
fn an_averaged_model_of_a_parallel_model_is_read() {
    let pickle = Pickle::new().raw(b"}(").str("n_averaged").tensor("LongStorage", "1", 1, 0, &[], &[]);
    let pickle = pickle.str("module.module.conv1.weight").plain("0").raw(b"u").stop();
    let entries = [
        stored("archive/data.pkl", &pickle),
        stored("archive/data/0", &six_floats()),
        stored("archive/data/1", &[9, 0, 0, 0, 0, 0, 0, 0]),
    ];
    let checkpoint = open_bytes(&zip(&entries)).unwrap();
    assert_eq!(checkpoint.stripped_prefix(), Some("module.module."));
    let names: Vec<&str> = checkpoint.tensors().iter().map(|info| info.name.as_str()).collect();
    assert_eq!(names, ["n_averaged", "conv1.weight"]);
}

#[test]
fn keys_nested_in_one_another_and_their_order_of_preference() {
    let nest = |keys: &[&str]| {
        let open = keys.iter().fold(Pickle::new(), |p, key| p.raw(b"}").str(key));
        let weights = open.raw(b"}").str("conv1.weight").plain("0").raw(b"s");
        keys.iter().fold(weights, |p, _| p.raw(b"s")).stop()
    };
    for (keys, told) in [
        (&["model"][..], "model"),
        (&["ema"], "ema"),
        (&["model_ema"], "model_ema"),
        (&["model", "state_dict"], "model.state_dict"),
    ] {
        assert_eq!(open_bytes(&zipped(&nest(keys))).unwrap().nested_under(), Some(told));
    }
    // The trained weights come before their average, wherever they stand; what holds no tensors is passed over.
    let pickle = Pickle::new().raw(b"}(").str("model_ema").raw(b"}").str("a.weight").plain("0").raw(b"s");
    let pickle =
        pickle.str("state_dict").raw(b"}").str("model").raw(b"}").str("b.weight").plain("0").raw(b"ssu").stop();
    let checkpoint = open_bytes(&zipped(&pickle)).unwrap();
    assert_eq!(checkpoint.nested_under(), Some("state_dict.model"));
    assert!(checkpoint.get("b.weight").is_some());
}

#[test]
fn sizes_and_devices_and_empty_tensors_are_read() {
    let pickle = one_weight(|p| {
        let p = p.global("torch._utils", "_rebuild_tensor_v2").raw(b"(").storage("FloatStorage", "0", 6).int(0);
        let p = p.global("torch", "Size").ints(&[3, 0]).raw(b"\x85R").ints(&[1, 1]);
        p.raw(b"\x89").global("torch", "device").str("cpu").raw(b"\x85RtR")
    });
    let checkpoint = open_bytes(&zipped(&pickle)).unwrap();
    assert_eq!(checkpoint.get("conv1.weight").unwrap().shape, [3, 0]);
    assert_eq!(checkpoint.read_f32("conv1.weight").unwrap(), [0.0; 0]);
}

#[test]
fn a_tensor_without_a_typed_storage_is_read_by_its_dtype() {
    let pickle = one_weight(|p| {
        let p = p.global("torch._utils", "_rebuild_tensor_v3").raw(b"(");
        let p =
            p.raw(b"(").str("storage").global("torch.storage", "UntypedStorage").str("0").str("cpu").int(24).raw(b"tQ");
        p.int(2).ints(&[2, 2]).ints(&[1, 2]).raw(b"\x89N").global("torch", "float32").raw(b"tR")
    });
    assert_eq!(open_bytes(&zipped(&pickle)).unwrap().read_f32("conv1.weight").unwrap(), [2., 4., 3., 5.]);
}
