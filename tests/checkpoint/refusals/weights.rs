//! Dictionaries and tensors that are no sound weights.

use super::{refused_fixture, says};
use crate::common::checkpoint_files::*;
use resnext_builder::checkpoint::{Checkpoint, Fault};

#[test]
fn a_duplicate_key_is_refused_wherever_it_is() {
    let twice = Pickle::new().raw(b"}(").str("conv1.weight").plain("0").str("conv1.weight").plain("0").raw(b"u").stop();
    says(&assert_fault!(refused(&zipped(&twice)), Fault::DuplicateKey { .. }), &["`conv1.weight`", "offset"]);
    // Set one by one, in an OrderedDict from Python 2, beside the weights, and as numbers that Python holds for equal.
    let one_by_one = Pickle::new().raw(b"}").str("a").plain("0").raw(b"s").str("a").raw(b"Ns").stop();
    let pairs =
        |p: Pickle| p.global("collections", "OrderedDict").raw(b"](](").str("a").raw(b"Ne](").str("a").raw(b"Nee\x85R");
    let beside = weight_and(|p| p.raw(b"}(").str("k").raw(b"N").str("k").raw(b"Nu"));
    let numbers = weight_and(|p| p.raw(b"}(K\x01N\x88Nu"));
    for pickle in [one_by_one, weight_and(pairs), beside, numbers] {
        assert_fault!(refused(&zipped(&pickle)), Fault::DuplicateKey { .. });
    }
}

#[test]
fn a_key_that_is_no_string_is_refused() {
    let error = refused_fixture("integer_key.pth");
    says(&assert_fault!(*error.fault, Fault::KeyNotString { .. }), &["the int 1", "offset"]);
}

#[test]
fn a_dictionary_without_known_keys_is_refused_with_its_keys() {
    let pickle = Pickle::new().raw(b"}(").str("epoch").raw(b"K\x03").str("generator").raw(b"}").str("conv1.weight");
    let pickle = pickle.plain("0").raw(b"s").str("optimizer").raw(b"}u").stop();
    says(
        &assert_fault!(refused(&zipped(&pickle)), Fault::NoWeights { .. }),
        &["`epoch`, `generator`, `optimizer`", "torch.load(file)[KEY]"],
    );
}

#[test]
fn only_the_first_of_many_keys_are_listed() {
    let pickle = (0..500).fold(Pickle::new().raw(b"}("), |p, i| p.str(&format!("key {i}")).raw(b"N")).raw(b"u").stop();
    says(&assert_fault!(refused(&zipped(&pickle)), Fault::NoWeights { .. }), &["`key 19`", "and 480 more"]);
}

#[test]
fn an_empty_dictionary_and_a_lone_tensor_are_refused() {
    assert_fault!(*refused_fixture("nothing.pth").fault, Fault::NoWeights { .. });
    says(
        &assert_fault!(*refused_fixture("tensor.pth").fault, Fault::NotADictionary { .. }),
        &["a tensor", "state_dict"],
    );
}

#[test]
fn a_dictionary_that_holds_itself_is_refused() {
    // {"state_dict": <itself>}
    let pickle = Pickle::new().raw(b"}q\x00").str("state_dict").raw(b"h\x00s").stop();
    assert_fault!(refused(&zipped(&pickle)), Fault::NoWeights { .. });
}

#[test]
fn a_whole_model_is_refused() {
    for name in ["module_zip.pth", "module_legacy.pth", "module_nested.pth"] {
        let error = refused_fixture(name);
        let parts = ["torch.nn.modules.container.Sequential", "model.state_dict()"];
        says(&assert_fault!(*error.fault, Fault::WholeModule { .. }), &parts);
    }
    let own_class = Pickle::new().global("__main__", "Net").raw(b")\x81}b").stop();
    assert_fault!(refused(&zipped(&own_class)), Fault::WholeModule { .. });
}

#[test]
fn tensors_that_are_no_plain_real_numbers_are_refused_by_name() {
    for (name, kind, hint) in [
        ("sparse.pth", "sparse", ".to_dense()"),
        ("sparse_csr.pth", "sparse", ".to_dense()"),
        ("quantized.pth", "quantized", ".dequantize()"),
        ("complex.pth", "complex64", ".real"),
        ("float8.pth", "float8", ".float()"),
        ("meta.pth", "meta", "load the weights"),
    ] {
        let error = refused_fixture(name);
        says(&assert_fault!(*error.fault, Fault::TensorKind { .. }), &["`fc.weight`", kind, hint]);
    }
}

#[test]
fn a_weight_of_integers_is_refused_when_it_is_read() {
    let checkpoint = Checkpoint::open(&fixture("hostile/integer.pth")).unwrap();
    let error = checkpoint.read_f32("fc.weight").unwrap_err();
    says(&assert_fault!(*error.fault, Fault::IntegerTensor { .. }), &["`fc.weight`", "i32", ".float()"]);
}

#[test]
fn a_quantized_storage_is_refused_even_in_an_ordinary_tensor() {
    let pickle = one_weight(|p| p.tensor("QInt8Storage", "0", 24, 0, &[24], &[1]));
    assert_fault!(refused(&zipped(&pickle)), Fault::TensorKind { .. });
}

#[test]
fn a_missing_storage_is_refused() {
    let pickle = one_weight(|p| p.plain("7"));
    says(
        &assert_fault!(refused(&zipped(&pickle)), Fault::StorageMissing { .. }),
        &["`conv1.weight`", "`archive/data/7`"],
    );
}

#[test]
fn a_storage_of_another_length_than_declared_is_refused() {
    for numel in [5, 7, 1 << 40] {
        let pickle = one_weight(|p| p.tensor("FloatStorage", "0", numel, 0, &[2], &[1]));
        let fault = assert_fault!(refused(&zipped(&pickle)), Fault::StorageLength { found: 24, .. });
        says(&fault, &["`conv1.weight`", "`archive/data/0`", &format!("{} bytes", numel * 4)]);
    }
}

#[test]
fn sizes_strides_and_offsets_that_make_no_sense_are_refused() {
    let huge = i64::MAX;
    let geometries: [(i64, &[i64], &[i64], &str); 9] = [
        (0, &[-2, 3], &[3, 1], "-2 is negative"),
        (0, &[2, 3], &[-3, 1], "-3 is negative"),
        (-1, &[2, 3], &[3, 1], "-1 is negative"),
        (0, &[huge, huge], &[3, 1], "overflow"),
        (0, &[huge], &[huge], "overflow"),
        (huge, &[huge], &[1], "overflow"),
        (0, &[2, 3], &[3], "2 sizes but 1 strides"),
        (0, &[6], &[1, 1], "1 sizes but 2 strides"),
        (0, &[1; 65], &[1; 65], "65 dimensions"),
    ];
    for (offset, size, stride, what) in geometries {
        let pickle = one_weight(|p| p.tensor("FloatStorage", "0", 6, offset, size, stride));
        says(&assert_fault!(refused(&zipped(&pickle)), Fault::Geometry { .. }), &["`conv1.weight`", what]);
    }
    // Beyond 64 bits, and no numbers at all.
    let wide = |p: Pickle| p.raw(b"\x8a\x09\0\0\0\0\0\0\0\0\x01\x85");
    for dims in [wide, |p: Pickle| p.raw(b"N\x85"), |p: Pickle| p.raw(b"N")] {
        let pickle = one_weight(|p| {
            let p = p.global("torch._utils", "_rebuild_tensor_v2").raw(b"(").storage("FloatStorage", "0", 6).int(0);
            dims(dims(p)).raw(b"\x89NtR")
        });
        assert_fault!(refused(&zipped(&pickle)), Fault::Geometry { .. });
    }
    // A negative number of elements in a storage.
    let pickle = one_weight(|p| p.tensor("FloatStorage", "0", -6, 0, &[2], &[1]));
    assert_fault!(refused(&zipped(&pickle)), Fault::Geometry { .. });
}

#[test]
fn a_view_beyond_its_storage_is_refused() {
    let views: [(i64, &[i64], &[i64], u64); 5] = [
        (0, &[7], &[1], 7),
        (1, &[2, 3], &[3, 1], 7),
        (0, &[2, 3], &[4, 1], 7),
        (0, &[2], &[1 << 40], (1 << 40) + 1),
        (7, &[0], &[1], 7),
    ];
    for (offset, size, stride, reach) in views {
        let pickle = one_weight(|p| p.tensor("FloatStorage", "0", 6, offset, size, stride));
        let fault = assert_fault!(refused(&zipped(&pickle)), Fault::BeyondStorage { has: 6, .. });
        says(&fault, &["`conv1.weight`", "`0`", &format!("needs {reach} elements")]);
    }
}

#[test]
fn a_view_that_repeats_elements_is_refused() {
    for name in ["expanded.pth", "overlapping_view.pth"] {
        let error = refused_fixture(name);
        says(&assert_fault!(*error.fault, Fault::SelfOverlap { .. }), &["`fc.weight`", "[3, 4]", ".contiguous()"]);
    }
    // A huge tensor out of one number.
    let pickle = one_weight(|p| p.tensor("FloatStorage", "0", 6, 0, &[1 << 20, 1 << 20], &[0, 0]));
    assert_fault!(refused(&zipped(&pickle)), Fault::SelfOverlap { .. });
}

#[test]
fn weights_that_share_a_storage_are_refused() {
    for name in ["tied.pth", "halves.pth"] {
        let error = refused_fixture(name);
        let parts = ["`fc.weight`", "`head.weight`", "`3`", "clone()"];
        says(&assert_fault!(*error.fault, Fault::SharedStorage { .. }), &parts);
    }
}

#[test]
fn a_storage_declared_in_two_ways_is_refused() {
    let pickle = Pickle::new().raw(b"}(").str("conv1.weight").plain("0").str("other").storage("DoubleStorage", "0", 3);
    let file = legacy(&pickle.raw(b"u").stop(), &["0"], &[(6, six_floats())]);
    says(&assert_fault!(refused(&file), Fault::StorageRedeclared { .. }), &["`0`", "offset"]);
}

#[test]
fn a_tensor_whose_dtype_is_not_that_of_its_storage_is_refused() {
    let pickle = one_weight(|p| {
        let p = p.global("torch._utils", "_rebuild_tensor_v3").raw(b"(").storage("FloatStorage", "0", 6);
        p.int(0).ints(&[3]).ints(&[1]).raw(b"\x89N").global("torch", "float64").raw(b"tR")
    });
    assert_fault!(refused(&zipped(&pickle)), Fault::Geometry { .. });
    let untyped = one_weight(|p| p.tensor("UntypedStorage", "0", 24, 0, &[6], &[1]));
    assert_fault!(refused(&zipped(&untyped)), Fault::Geometry { .. });
}

#[test]
fn nan_and_infinity_are_refused_with_their_place() {
    for (name, value, index) in [
        ("nan.pth", "NaN", 6),
        ("inf.pth", "-inf", 6),
        // [3, 4] transposed: element (1, 2) is element (2, 1) of [4, 3].
        ("nan_f16_strided.pth", "NaN", 7),
        ("inf_f16_strided.pth", "-inf", 7),
    ] {
        let error = refused_fixture(name);
        says(
            &assert_fault!(*error.fault, Fault::NotFinite { .. }),
            &["`fc.weight`", value, &format!("element {index} ")],
        );
    }
}

#[test]
fn a_value_beyond_f32_is_refused_as_f32_but_not_as_f64() {
    let checkpoint = Checkpoint::open(&fixture("hostile/beyond_f32.pth")).unwrap();
    assert_eq!(checkpoint.read_f64("fc.weight").unwrap(), [1.0, -1e300]);
    let error = checkpoint.read_f32("fc.weight").unwrap_err();
    says(&assert_fault!(*error.fault, Fault::BeyondF32 { index: 1, .. }), &["`fc.weight`", "-1e300", "f32"]);
}

#[test]
fn a_negative_variance_is_refused() {
    let error = refused_fixture("negative_variance.pth");
    says(&assert_fault!(*error.fault, Fault::NegativeVariance { index: 2, .. }), &["`bn1.running_var`", "element 2"]);
}

#[test]
fn a_name_that_is_not_there_is_an_error() {
    let checkpoint = Checkpoint::open(&fixture("mini_zip.pth")).unwrap();
    assert_fault!(*checkpoint.read_f32("conv2.weight").unwrap_err().fault, Fault::NoSuchTensor { .. });
}
