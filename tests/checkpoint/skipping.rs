//! What lies beside the weights: known to be harmless and passed over unbuilt, or refused; and the weights themselves
//! never a part of it.

use crate::common::checkpoint_files::*;
use resnext_builder::checkpoint::{Checkpoint, CheckpointError, Choice, Fault};

type Push = fn(Pickle) -> Pickle;

/// `{"model": {"conv1.weight": <six floats>}, "extra": <what `value` pushes>}`.
fn beside(value: impl FnOnce(Pickle) -> Pickle) -> Vec<u8> {
    let pickle = Pickle::new().raw(b"}(").str("model").raw(b"}").str("conv1.weight").plain("0").raw(b"s").str("extra");
    value(pickle).raw(b"u").stop()
}

/// The pickle in both containers.
fn files(pickle: &[u8]) -> [Vec<u8>; 2] {
    [zipped(pickle), legacy(pickle, &["0"], &[(6, six_floats())])]
}

fn open_skipping(bytes: &[u8], names: &[&str]) -> Result<Checkpoint, CheckpointError> {
    let file = scratch_file();
    std::fs::write(file.path(), bytes).unwrap();
    let skip = names.iter().map(ToString::to_string).collect();
    Checkpoint::open_with(file.path(), &Choice { skip, ..Choice::default() })
}

fn skipped(checkpoint: &Checkpoint) -> Vec<String> {
    checkpoint.skipped().iter().map(ToString::to_string).collect()
}

/// The ways in which a pickle builds an object of a class.
fn ways(module: &str, name: &str) -> Vec<(&'static str, Vec<u8>)> {
    let class = |p: Pickle| p.global(module, name);
    let state = |p: Pickle| p.raw(b"}").str("lr").raw(b"G?\xb9\x99\x99\x99\x99\x99\x9asb");
    let short =
        [&[0x8c, module.len() as u8][..], module.as_bytes(), &[0x8c, name.len() as u8], name.as_bytes()].concat();
    let inst = [b"(i", module.as_bytes(), b"\n", name.as_bytes(), b"\n"].concat();
    let pickle = Pickle::default;
    vec![
        ("named", class(pickle()).0),
        ("REDUCE", class(pickle()).raw(b")R").0),
        ("REDUCE and BUILD", state(class(pickle()).raw(b")R")).0),
        ("REDUCE with arguments", class(pickle()).raw(b"(K\x01N]}tR").0),
        ("NEWOBJ", state(class(pickle()).raw(b")\x81")).0),
        ("NEWOBJ_EX", class(pickle()).raw(b")}").str("x").raw(b"K\x01s\x92").0),
        ("STACK_GLOBAL", state(pickle().raw(&short).raw(b"\x93)\x81")).0),
        ("INST", state(pickle().raw(&inst)).0),
        ("OBJ", state(class(pickle().raw(b"(")).raw(b"K\x01o")).0),
        ("with items", class(pickle()).raw(b")R(K\x01K\x02K\x03K\x04u").0),
        ("with elements", class(pickle()).raw(b")R(K\x01K\x02e").0),
    ]
}

#[test]
fn harmless_objects_are_passed_over_however_they_are_built() {
    for (module, name) in
        [("argparse", "Namespace"), ("collections", "Counter"), ("omegaconf.dictconfig", "DictConfig")]
    {
        for (way, object) in ways(module, name) {
            for file in files(&beside(|p| p.raw(&object))) {
                let checkpoint = open_bytes(&file).unwrap_or_else(|error| panic!("{way}: {error}"));
                assert_eq!(skipped(&checkpoint), [format!("extra: {module}.{name}")], "{way}");
                assert_eq!(checkpoint.nested_under(), Some("model"));
                assert_eq!(checkpoint.read_f32("conv1.weight").unwrap(), [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
            }
        }
    }
}

#[test]
fn sets_of_protocol_4_are_passed_over() {
    for set in [&b"\x8f(K\x01K\x02\x90"[..], b"(K\x01K\x02\x91", b"\x8f"] {
        let checkpoint = open_bytes(&zipped(&beside(|p| p.raw(set)))).unwrap();
        assert!(skipped(&checkpoint)[0].starts_with("extra: builtins."), "{:?}", skipped(&checkpoint));
    }
}

#[test]
fn what_nothing_is_known_of_is_refused_with_its_name_and_passed_over_where_it_was_named() {
    for (way, object) in ways("mylib.config", "TrainArgs") {
        for file in files(&beside(|p| p.raw(&object))) {
            let error = open_bytes(&file).expect_err(way);
            let said = error.to_string();
            assert!(matches!(*error.fault, Fault::Global { .. }), "{way}: {said}");
            // Behind the mark of its arguments a class has no key in sight.
            assert!(said.contains("`extra`") || way == "OBJ", "{way}: {said}");
            assert!(said.contains("--skip-objects mylib.config.TrainArgs"), "{way}: {said}");
            let checkpoint = open_skipping(&file, &["mylib.config.TrainArgs"]).unwrap();
            assert_eq!(skipped(&checkpoint), ["extra: mylib.config.TrainArgs"]);
            for near in ["mylib.config", "mylib.config.Train", "mylib.config.TrainArgs.x", "config.TrainArgs"] {
                open_skipping(&file, &[near]).expect_err(near);
            }
        }
    }
}

#[test]
fn all_unknown_names_are_told_at_once() {
    let pickle = beside(|p| p.global("a.b", "C").raw(b")R").global("d", "E").raw(b")R").raw(b"\x86"));
    let said = open_bytes(&zipped(&pickle)).unwrap_err().to_string();
    assert!(said.contains("--skip-objects a.b.C,d.E "), "{said}");
    open_skipping(&zipped(&pickle), &["a.b.C"]).unwrap_err();
    let checkpoint = open_skipping(&zipped(&pickle), &["a.b.C", "d.E"]).unwrap();
    assert_eq!(skipped(&checkpoint), ["extra: a.b.C", "extra: d.E"]);
}

/// Names that run code, reach files or lead to what does.
const EVIL: [(&str, &str); 52] = [
    ("os", "system"),
    ("os", "popen"),
    ("os.path", "os.system"),
    ("posix", "system"),
    ("nt", "system"),
    ("subprocess", "Popen"),
    ("subprocess", "check_output"),
    ("sys", "exit"),
    ("sys", "modules"),
    ("builtins", "eval"),
    ("builtins", "exec"),
    ("builtins", "compile"),
    ("builtins", "getattr"),
    ("builtins", "setattr"),
    ("builtins", "open"),
    ("builtins", "__import__"),
    ("builtins", "print"),
    ("builtins", "type"),
    ("__builtin__", "eval"),
    ("__builtin__", "execfile"),
    ("__builtin__", "getattr"),
    ("__builtin__", "apply"),
    ("importlib", "import_module"),
    ("importlib.machinery", "SourceFileLoader"),
    ("runpy", "run_path"),
    ("pickle", "loads"),
    ("_pickle", "Unpickler"),
    ("marshal", "loads"),
    ("types", "FunctionType"),
    ("types", "CodeType"),
    ("operator", "attrgetter"),
    ("_operator", "methodcaller"),
    ("functools", "partial"),
    ("functools", "reduce"),
    ("itertools", "starmap"),
    ("ctypes", "CDLL"),
    ("socket", "create_connection"),
    ("shutil", "rmtree"),
    ("webbrowser", "open"),
    ("pty", "spawn"),
    ("code", "InteractiveInterpreter"),
    ("bdb", "Bdb"),
    ("pdb", "run"),
    ("timeit", "timeit"),
    ("cProfile", "run"),
    ("torch.hub", "load"),
    ("torch.storage", "_load_from_bytes"),
    ("torch.jit", "load"),
    ("torch.utils.cpp_extension", "load"),
    ("numpy.testing._private.utils", "runstring"),
    ("numpy.f2py.crackfortran", "getlincoef"),
    ("argparse", "Namespace.__init__.__globals__"),
];

#[test]
fn what_only_malice_needs_is_refused_even_where_it_was_named() {
    for (module, name) in EVIL {
        let global = format!("{module}.{name}");
        for (way, object) in ways(module, name) {
            for file in files(&beside(|p| p.raw(&object))) {
                for names in [&[][..], &[global.as_str()], &[global.as_str(), "os.system", "builtins.getattr"]] {
                    let error = open_skipping(&file, names).expect_err(&global);
                    let said = error.to_string();
                    let Fault::Global { global: found, offer, .. } = *error.fault else { panic!("{way}: {said}") };
                    assert!(found == global && offer.is_empty(), "{way}: {said}");
                }
            }
        }
    }
}

#[test]
fn malice_within_a_harmless_object_is_refused() {
    let wraps: [Push; 6] = [
        |p| p.global("argparse", "Namespace").raw(b")R}").str("x").global("os", "system").raw(b"sb"),
        |p| p.global("argparse", "Namespace").raw(b"(").global("os", "system").raw(b"tR"),
        |p| p.global("collections", "defaultdict").global("os", "system").raw(b"\x85R"),
        |p| p.global("collections", "defaultdict").raw(b")R").str("x").global("os", "system").raw(b"s"),
        |p| p.global("copy_reg", "_reconstructor").raw(b"(").global("os", "system").raw(b"NNtR"),
        |p| p.global("mylib", "C").raw(b")R}").str("x").global("os", "system").raw(b"sb"),
    ];
    for wrap in wraps {
        let error = open_skipping(&zipped(&beside(wrap)), &["mylib.C", "os.system"]).unwrap_err();
        assert!(matches!(&*error.fault, Fault::Global { global, .. } if global == "os.system"), "{error}");
    }
}

#[test]
fn an_object_that_was_passed_over_cannot_be_called() {
    let calls: [Push; 3] = [
        |p| p.global("argparse", "Namespace").raw(b")R)R"),
        |p| p.global("argparse", "Namespace").raw(b")R)\x81"),
        |p| p.raw(b"(").global("argparse", "Namespace").raw(b")Ro"),
    ];
    for call in calls {
        let error = open_bytes(&zipped(&beside(call))).unwrap_err();
        assert!(matches!(*error.fault, Fault::Malformed { .. }), "{error}");
    }
}

#[test]
fn an_object_among_the_weights_is_refused() {
    let objects: [Push; 6] = [
        |p| p.global("argparse", "Namespace").raw(b")R"),
        |p| p.global("argparse", "Namespace"),
        |p| p.raw(b"]").global("argparse", "Namespace").raw(b")Ra"),
        |p| p.raw(b"}").str("x").global("argparse", "Namespace").raw(b")Rs"),
        |p| p.raw(b"\x8f"),
        |p| p.global("mylib", "C").raw(b")R"),
    ];
    for object in objects {
        // In the outermost dictionary, and in one of its own.
        let flat = weight_and(object);
        let nested = Pickle::new().raw(b"}").str("model").raw(b"}(").str("conv1.weight").plain("0").str("fc.weight");
        let nested = object(nested).raw(b"us").stop();
        for pickle in [flat, nested] {
            let error = open_skipping(&zipped(&pickle), &["mylib.C"]).unwrap_err();
            assert!(matches!(*error.fault, Fault::ObjectAmongWeights { .. }), "{error}");
        }
    }
    // As an attribute of the dictionary, in a tensor's hooks, among a Parameter's.
    let attribute = Pickle::new().raw(b"}").str("model").raw(b"}").str("conv1.weight").plain("0").raw(b"s");
    let attribute = attribute.raw(b"}").str("x").global("argparse", "Namespace").raw(b")Rsbs").stop();
    let hooks = one_weight(|p| {
        let p = p.global("torch._utils", "_rebuild_tensor_v2").raw(b"(").storage("FloatStorage", "0", 6);
        p.int(0).ints(&[6]).ints(&[1]).raw(b"\x89").global("argparse", "Namespace").raw(b")RtR")
    });
    let parameter = one_weight(|p| {
        let p = p.global("torch._utils", "_rebuild_parameter").plain("0");
        p.raw(b"\x88").global("argparse", "Namespace").raw(b")R\x87R")
    });
    for pickle in [attribute, hooks, parameter] {
        let error = open_bytes(&zipped(&pickle)).unwrap_err();
        assert!(matches!(*error.fault, Fault::ObjectAmongWeights { .. }), "{error}");
    }
}

#[test]
fn nothing_within_an_object_becomes_weights() {
    let inside: Push = |p| {
        let state = p.global("argparse", "Namespace").raw(b")R}").str("state_dict").raw(b"}");
        state.str("conv1.weight").plain("0").raw(b"ssb")
    };
    // The only weights there are lie within it.
    let pickle = inside(Pickle::new().raw(b"}").str("model")).raw(b"s").stop();
    let error = open_bytes(&zipped(&pickle)).unwrap_err();
    assert!(matches!(*error.fault, Fault::NoWeights { .. }), "{error}");
    let error = open_bytes(&zipped(&inside(Pickle::new()).stop())).unwrap_err();
    assert!(matches!(*error.fault, Fault::NotADictionary { .. }), "{error}");
}

#[test]
fn weights_that_are_part_of_an_object_are_refused_whichever_came_first() {
    let namespace = |p: Pickle| p.global("argparse", "Namespace").raw(b")R}").str("w");
    let start = || Pickle::new().raw(b"}(");
    // The object first, then its tensor as a weight; and its dictionary as the weights.
    let tensor_after = namespace(start().str("args")).plain("0").raw(b"q\x09sb").str("model").raw(b"}");
    let tensor_after = tensor_after.str("conv1.weight").raw(b"h\x09su").stop();
    let dict_after = namespace(start().str("args")).raw(b"}q\x09").str("conv1.weight").plain("0").raw(b"ssb");
    let dict_after = dict_after.str("model").raw(b"h\x09u").stop();
    // The weights first, then the object that takes them.
    let tensor_before = start().str("model").raw(b"}").str("conv1.weight").plain("0").raw(b"q\x09s").str("args");
    let tensor_before = namespace(tensor_before).raw(b"h\x09sbu").stop();
    let dict_before = start().str("model").raw(b"}q\x09").str("conv1.weight").plain("0").raw(b"s").str("args");
    let dict_before = namespace(dict_before).raw(b"h\x09sbu").stop();
    // Through a list that is filled afterwards.
    let list = namespace(start().str("args")).raw(b"]q\x08sb").str("model").raw(b"}").str("conv1.weight").plain("0");
    let list = list.raw(b"q\x09s").str("more").raw(b"h\x08h\x09au").stop();
    for (index, pickle) in [tensor_after, dict_after, tensor_before, dict_before, list].into_iter().enumerate() {
        let error = open_bytes(&zipped(&pickle)).expect_err(&index.to_string());
        assert!(matches!(*error.fault, Fault::PartOfObject { .. }), "{index}: {error}");
    }
}

#[test]
fn texts_and_numbers_may_be_shared_with_an_object() {
    // 'cpu' and the tensor's own name occur in the arguments, and come from the memo afterwards.
    let pickle = Pickle::new().raw(b"}(").str("args").global("argparse", "Namespace").raw(b")R}");
    let pickle = pickle.str("name").str("conv1.weight").raw(b"q\x09sb").str("model").raw(b"}h\x09").plain("0");
    let checkpoint = open_bytes(&zipped(&pickle.raw(b"su").stop())).unwrap();
    assert_eq!(skipped(&checkpoint), ["args: argparse.Namespace"]);
    checkpoint.read_f32("conv1.weight").unwrap();
}

#[test]
fn files_of_torchs_that_were_refused_for_what_lies_beside_their_weights_are_read() {
    for (name, expected) in [
        ("namespace.pth", &["args: argparse.Namespace"][..]),
        ("numpy_scalar.pth", &["best_acc: numpy._core.multiarray.scalar"]),
    ] {
        let checkpoint = Checkpoint::open(&fixture(&format!("hostile/{name}"))).unwrap();
        assert_eq!(skipped(&checkpoint), expected);
        assert_eq!(contents(&checkpoint).unwrap().len(), 3);
    }
}

#[test]
fn bytes_are_accepted_where_an_array_is_rebuilt_and_nowhere_else() {
    let array = b"\x96\x02\0\0\0\0\0\0\0ab";
    let rebuilt = |p: Pickle| p.global("numpy._core.numeric", "_frombuffer").raw(b"(").raw(array).raw(b"NNNtR");
    open_bytes(&zipped(&beside(rebuilt))).unwrap();
    let error = open_bytes(&zipped(&beside(|p| p.raw(array)))).unwrap_err();
    assert!(matches!(*error.fault, Fault::Opcode { .. }), "{error}");
}
