//! Checkpoints as training scripts, other libraries and hubs write them: what torch computed is what the file means here.

mod named;

use clap::Parser as _;
use ndarray::{Array4, Axis};
use resnext_builder::architecture::StrideIn;
use resnext_builder::checkpoint::{ChannelOrder, Checkpoint, CheckpointError, Choice, Fault, Naming, WeightsKind};
use resnext_builder::cli::Cli;
use resnext_builder::reference::{Activation, forward};
use resnext_builder::weights::{Origin, Source, inferred};
use safetensors::SafeTensors;

use crate::common::as_people_have::{Entry, entries, folder};
use crate::common::program::{run, text};

fn path(file: &str) -> String {
    folder().join(file).display().to_string()
}

/// What the command line with `flags` asks of a checkpoint.
fn choice(flags: &[String]) -> Choice {
    let start = ["resnext-build", "--weights", "w", "-o", "m"].map(str::to_owned);
    Cli::try_parse_from(start.iter().chain(flags)).unwrap().build.plan().unwrap().choice
}

fn open(file: &str, flags: &[&str]) -> Result<Checkpoint, CheckpointError> {
    let flags: Vec<String> = flags.iter().map(ToString::to_string).collect();
    let checkpoint = Checkpoint::open_with(&folder().join(file), &choice(&flags))?;
    checkpoint.decided().map(|()| checkpoint)
}

/// torch's image (f32) or logits (f64), with its shape.
fn expected(name: &str) -> (Vec<usize>, Vec<f64>) {
    let bytes = std::fs::read(folder().join("expected.safetensors")).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let view = file.tensor(name).unwrap();
    let values = match view.dtype() {
        safetensors::Dtype::F32 => {
            view.data().as_chunks::<4>().0.iter().map(|&b| f64::from(f32::from_le_bytes(b))).collect()
        }
        _ => view.data().as_chunks::<8>().0.iter().map(|&b| f64::from_le_bytes(b)).collect(),
    };
    (view.shape().to_vec(), values)
}

#[test]
fn each_of_them_computes_what_torch_computes() {
    let mut tried = 0;
    for Entry { file, network, flags } in entries() {
        let checkpoint = Checkpoint::open_with(&folder().join(&file), &choice(&flags))
            .unwrap_or_else(|error| panic!("{file} {flags:?}: {error}"));
        let found = inferred(&checkpoint).unwrap_or_else(|error| panic!("{file} {flags:?}: {error}"));
        let (shape, values) = expected(&format!("{network}.input"));
        let mut images = Array4::from_shape_vec([shape[0], shape[1], shape[2], shape[3]], values).unwrap();
        if checkpoint.channel_order() == ChannelOrder::Bgr {
            // torch's image is BGR, and the model takes RGB.
            images.invert_axis(Axis(1));
        }
        let mut source = Source::new(Origin::Checkpoint(&checkpoint));
        let outputs =
            forward(&found.variant, StrideIn::Conv3x3, &found.head(), &mut source, &images, Activation::Relu).unwrap();
        let logits = outputs.logits.unwrap_or_else(|| panic!("{file}: no logits"));
        let (shape, exact) = expected(&format!("{network}.logits"));
        assert_eq!(logits.shape(), shape, "{file}");
        let difference: f64 = logits.iter().zip(&exact).map(|(a, b)| (a - b).powi(2)).sum();
        let far = (difference / exact.iter().map(|v| v * v).sum::<f64>()).sqrt();
        // A pruned tensor is a product, and the variance of an affine layer 1 minus epsilon: f32 rounds both in torch.
        let rounded = matches!(network.as_str(), "pruned" | "affine");
        assert!(far <= if rounded { 1e-7 } else { 1e-12 }, "{file} {flags:?}: {far}");
        tried += 1;
    }
    assert!(tried > 65, "{tried}");
}

/// What a build of `file` says, once it has succeeded.
fn said(file: &str, flags: &[&str]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let path = path(file);
    let arguments = [&["--weights", path.as_str(), "-o", "m.onnx", "--image-size", "32"], flags].concat();
    let output = run(folder.path(), &arguments);
    let said = text(&output.stderr);
    assert!(output.status.success(), "{file}: {said}");
    // What was written computes what the checkpoint means.
    let selection: Vec<&str> = flags.iter().copied().filter(|flag| *flag != "--no-top").collect();
    let verified = run(folder.path(), &[&["verify", "m.onnx", "--weights", path.as_str()], &selection[..]].concat());
    assert!(verified.status.success(), "{file}: {}", text(&verified.stderr));
    said
}

#[track_caller]
fn holds(said: &str, parts: &[&str]) {
    for part in parts {
        assert!(said.contains(part), "`{part}` is not in: {said}");
    }
}

#[test]
fn what_was_taken_and_what_else_is_there_is_said() {
    holds(
        &said("torchvision_ema.pth", &[]),
        &[
            "under the key 'model'",
            "'model_ema' (EMA)",
            "usually the better",
            "--weights-key model_ema",
            "args: argparse.Namespace",
        ],
    );
    holds(&said("torchvision_ema.pth", &["--weights-key", "model_ema"]), &["under the key 'model_ema'", "'model'"]);
    holds(&said("dino.pth", &[]), &["'student'", "'teacher' (teacher)", "prefix 'module.backbone.'"]);
    holds(&said("prefix_ddp_compiled.pth", &[]), &["prefix 'module._orig_mod.' removed"]);
    holds(&said("head_mlp.pth", &[]), &["fc.0, fc.3, with ReLU between"]);
    holds(&said("head_unbiased.pth", &[]), &["without bias"]);
    for (file, layers) in [
        ("head_normalised.pth", "beside them: fc.1"),
        ("head_normalised_around.pth", "beside them: fc.0, fc.3"),
        ("caffe2_stem_bias.pkl", "beside them: conv1_b"),
        ("stem_bias.pth", "beside them: conv1.bias"),
    ] {
        holds(&said(file, &[]), &["folded", layers]);
    }
    holds(&said("head_extra.pth", &["--drop-head", "aux"]), &["left out", "aux.weight"]);
    holds(&said("transformers.safetensors", &[]), &["transformers' ResNet"]);
    holds(&said("head_dropout.pth", &["--no-top"]), &["left out", "fc.1.weight"]);
    assert!(!said("torchvision_references.pth", &[]).contains("other weights"));
}

#[test]
fn the_model_of_several_linear_layers_has_gemm_relu_gemm() {
    let folder = tempfile::tempdir().unwrap();
    let output = run(folder.path(), &["--weights", &path("head_mlp3.pth"), "-o", "m.onnx", "-q"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let graph = onnx_file::read::read(&folder.path().join("m.onnx")).unwrap().graph.unwrap();
    let last: Vec<&str> = graph.node.iter().rev().take(5).map(|node| node.op_type.as_str()).collect();
    assert_eq!(last, ["Gemm", "Relu", "Gemm", "Relu", "Gemm"]);
}

#[test]
fn what_is_not_clear_is_refused_with_what_there_is() {
    let error = open("moco.pth", &[]).unwrap_err();
    assert!(matches!(*error.fault, Fault::Prefixes { .. }), "{error}");
    holds(&error.to_string(), &["`encoder_q.`", "`encoder_k.`", "--prefix"]);
    let error = open("moco.pth", &["--prefix", "encoder_x."]).unwrap_err();
    assert!(matches!(*error.fault, Fault::NoSuchPrefix { .. }), "{error}");
    let error = open("head_extra.pth", &[]).unwrap_err();
    assert!(matches!(*error.fault, Fault::Heads { .. }), "{error}");
    holds(&error.to_string(), &["`fc (", "`aux (", "--drop-head"]);
    let error = open("head_extra.pth", &["--drop-head", "neck"]).unwrap_err();
    assert!(matches!(*error.fault, Fault::NoSuchHead { .. }), "{error}");
    let error = open("key_unusual.pth", &[]).unwrap_err();
    holds(&error.to_string(), &["the keys are `generator`, `epoch`", "--weights-key generator"]);
    let error = open("moco.pth", &["--prefix", "encoder_x."]).unwrap_err();
    holds(&error.to_string(), &["did you mean 'encoder_k.' or 'encoder_q.'?"]);
    let error = open("head_extra.pth", &["--drop-head", "auxx"]).unwrap_err();
    holds(&error.to_string(), &["did you mean 'aux'?"]);
    for (file, key, near) in [
        ("torchvision_ema.pth", "model_em", "did you mean 'model_ema'?"),
        ("prefix_model.safetensors", "modle", "did you mean 'model'?"),
        ("caffe2_blobs.pkl", "blob", "did you mean 'blobs'?"),
    ] {
        let error = open(file, &["--weights-key", key]).unwrap_err();
        holds(&error.to_string(), &[near]);
    }
    let error = open("torchvision_ema.pth", &["--weights-key", "ema"]).unwrap_err();
    holds(&error.to_string(), &["no weights under the key `ema`", "`model_ema`"]);
}

#[test]
fn a_normalising_layer_in_the_checkpoint_is_the_models_preprocessing() {
    let folder = tempfile::tempdir().unwrap();
    let output = run(folder.path(), &["--weights", &path("prefix_normalised.pth"), "-o", "m.onnx"]);
    holds(&text(&output.stderr), &["the checkpoint's own normalising layer", "left out", "0.mean"]);
    let model = onnx_file::read::read(&folder.path().join("m.onnx")).unwrap();
    let stored = model.metadata_props.iter().find(|entry| entry.key == "resnext.preprocess").unwrap();
    let stored: serde_json::Value = serde_json::from_str(&stored.value).unwrap();
    assert_eq!(stored["mean"], serde_json::json!([0.5, 0.5, 0.5]));
    assert!((stored["std"][0].as_f64().unwrap() - 0.2).abs() < 1e-6, "{stored}");
    // What a user gives counts.
    let output =
        run(folder.path(), &["--weights", &path("prefix_normalised.pth"), "-o", "n.onnx", "--preprocess", "v2"]);
    assert!(!text(&output.stderr).contains("normalising layer"), "{}", text(&output.stderr));
}

/// Preprocessing that a build of `file` stores, and what the build says.
fn stored_preprocessing(file: &str, flags: &[&str]) -> (serde_json::Value, String) {
    let (metadata, said) = metadata(file, flags);
    (serde_json::from_str(&metadata["resnext.preprocess"]).unwrap(), said)
}

#[track_caller]
fn near(found: &serde_json::Value, exact: [f64; 3]) {
    for (index, exact) in exact.into_iter().enumerate() {
        assert!((found[index].as_f64().unwrap() - exact).abs() < 1e-6, "{found}");
    }
}

#[test]
fn networks_of_bgr_images_become_models_of_rgb_images() {
    const MEAN: [f64; 3] = [0.485, 0.456, 0.406];
    const STD: [f64; 3] = [0.229, 0.224, 0.225];
    for file in ["caffe2_protocol4.pkl", "detectron2.pth"] {
        let (stored, text) = stored_preprocessing(file, &[]);
        holds(&text, &["takes BGR images", "takes RGB", "123.675, 116.28, 103.53, divided by 58.395, 57.12, 57.375"]);
        near(&stored["mean"], MEAN);
        near(&stored["std"], STD);
        said(file, &[]);
    }
    // The network's own layer goes before, its colours in the opposite order too.
    let (stored, text) = stored_preprocessing("detectron2_pixels.pth", &[]);
    holds(&text, &["takes BGR images", "own normalising layer"]);
    near(&stored["mean"], [123.675 / 255.0, 116.28 / 255.0, 103.53 / 255.0]);
    near(&stored["std"], [3.0 / 255.0, 2.0 / 255.0, 1.0 / 255.0]);
    // What says that it is torchvision's takes RGB, under whatever names, and so does what the user says.
    for (file, flags) in [("detectron2.pkl", &[][..]), ("detectron2.pth", &["--channel-order", "rgb"][..])] {
        let (_, text) = stored_preprocessing(file, flags);
        assert!(!text.contains("BGR"), "{file}: {text}");
        said(file, flags);
    }
    holds(&said("torchvision_references.pth", &["--channel-order", "bgr"]), &["takes BGR images"]);
    // Only three channels are colours.
    assert_eq!(open("grey.pth", &["--channel-order", "bgr"]).unwrap().channel_order(), ChannelOrder::Rgb);
}

#[test]
fn a_stem_is_reversed_by_whole_kernels() {
    let [plain, reversed] = ["rgb", "bgr"].map(|order| {
        let checkpoint = open("torchvision_references.pth", &["--channel-order", order]).unwrap();
        (checkpoint.read_f64("conv1.weight").unwrap(), checkpoint.read_f64("layer1.0.conv1.weight").unwrap())
    });
    assert_eq!(plain.1, reversed.1);
    let flipped: Vec<f64> = plain.0.chunks(3 * 49).flat_map(|of| of.chunks(49).rev().flatten().copied()).collect();
    assert_eq!(reversed.0, flipped);
    assert_ne!(reversed.0, plain.0);
}

#[test]
fn keys_of_safetensors_are_what_names_begin_with() {
    let checkpoint = open("prefix_model.safetensors", &["--weights-key", "model"]).unwrap();
    assert_eq!(checkpoint.nested_under(), Some("model"));
    assert!(checkpoint.get("conv1.weight").is_some());
    let error = open("prefix_model.safetensors", &["--weights-key", "ema"]).unwrap_err();
    holds(&error.to_string(), &["no weights under the key `ema`", "`model`"]);
}

#[test]
fn inspect_lists_what_is_to_be_chosen() {
    let inspected = |file: &str| {
        let folder = tempfile::tempdir().unwrap();
        let plain = run(folder.path(), &["inspect", &path(file)]);
        let json = run(folder.path(), &["inspect", "--json", &path(file)]);
        assert!(plain.status.success() && json.status.success(), "{}", text(&plain.stderr));
        (text(&plain.stdout), serde_json::from_slice::<serde_json::Value>(&json.stdout).unwrap())
    };
    let (plain, json) = inspected("moco.pth");
    holds(&plain, &["to choose", "--prefix encoder_q. or encoder_k."]);
    assert_eq!(json["undecided"]["code"], "prefixes");
    let (plain, json) = inspected("head_extra.pth");
    holds(&plain, &["to choose", "--drop-head", "aux (", "2x1d blocks 1,1,1,1"]);
    assert_eq!(json["undecided"]["known"].as_array().unwrap().len(), 2);
    let (plain, json) = inspected("timm_train.pth.tar");
    holds(&plain, &["other weights", "state_dict_ema"]);
    assert_eq!(json["others"][0]["key"], "state_dict_ema");
    let (plain, _) = inspected("transformers.safetensors");
    holds(&plain, &["transformers' ResNet", "classifier"]);
}

#[test]
fn what_a_checkpoint_says_of_itself_is_typed() {
    let both = open("torchvision_ema.pth", &[]).unwrap();
    let [other] = both.alternatives() else { panic!("{:?}", both.alternatives()) };
    assert_eq!((other.key.as_str(), other.kind), ("model_ema", WeightsKind::Ema));
    assert_eq!(open("transformers.bin", &[]).unwrap().naming(), Naming::Transformers);
    assert_eq!(open("sequential.pth", &[]).unwrap().naming(), Naming::Sequential { first: 4 });
    assert_eq!(open("head_last_linear.pth", &[]).unwrap().head().unwrap().layers, ["last_linear"]);
}

/// The metadata of the model that a build of `file` gives.
fn metadata(file: &str, flags: &[&str]) -> (std::collections::HashMap<String, String>, String) {
    let folder = tempfile::tempdir().unwrap();
    let path = path(file);
    let output = run(folder.path(), &[&["--weights", path.as_str(), "-o", "m.onnx"], flags].concat());
    let said = text(&output.stderr);
    assert!(output.status.success(), "{file}: {said}");
    let model = onnx_file::read::read(&folder.path().join("m.onnx")).unwrap();
    (model.metadata_props.into_iter().map(|entry| (entry.key, entry.value)).collect(), said)
}

#[test]
fn a_folder_gives_preprocessing_and_labels_and_says_so() {
    for file in ["timm_hub", "timm_hub/model.safetensors"] {
        let (metadata, said) = metadata(file, &[]);
        holds(&metadata["resnext.preprocess"], &["\"resize\":33", "\"crop\":32", "bicubic", "[0.5,0.5,0.5]", "[0.25,"]);
        assert_eq!(metadata["resnext.labels"], r#"["a","b","c","d","e"]"#);
        holds(&said, &["preprocessing taken from", "config.json", "5 labels taken from"]);
    }
    let (metadata, said) = metadata("transformers", &[]);
    holds(&metadata["resnext.preprocess"], &["\"resize\":36", "\"crop\":32", "bicubic", "[0.5,0.4,0.3]"]);
    holds(&metadata["resnext.labels"], &["class 0", "class 4"]);
    holds(&said, &["preprocessor_config.json", "config.json"]);
}

#[test]
fn flags_go_before_what_lies_beside_the_weights() {
    let (metadata, said) = metadata("timm_hub", &["--preprocess", "v1", "--no-top"]);
    holds(&metadata["resnext.preprocess"], &["bilinear", "0.485"]);
    assert!(!metadata.contains_key("resnext.labels") && !said.contains("taken from"), "{said}");
    // The same files as values of the flags.
    let config = path("timm_hub/config.json");
    let (metadata, _) = self::metadata("prefix_model.safetensors", &["--preprocess", &config, "--labels", &config]);
    holds(&metadata["resnext.preprocess"], &["\"resize\":33", "bicubic"]);
    assert_eq!(metadata["resnext.labels"], r#"["a","b","c","d","e"]"#);
}

#[test]
fn the_metadata_names_the_key_where_there_was_a_choice() {
    let (both, _) = metadata("torchvision_ema.pth", &[]);
    assert_eq!(both["resnext.weights_key"], "model");
    let (averaged, _) = metadata("torchvision_ema.pth", &["--weights-key", "model_ema"]);
    assert_eq!(averaged["resnext.weights_key"], "model_ema");
    let (one, _) = metadata("torchvision_references.pth", &[]);
    assert!(!one.contains_key("resnext.weights_key"));
    let (grey, said) = metadata("grey.pth", &[]);
    assert!(!grey.contains_key("resnext.preprocess") && said.contains("1 channels"), "{said}");
}

#[test]
fn shards_that_do_not_match_their_index_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let source = self::folder().join("sharded");
    for entry in std::fs::read_dir(&source).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), folder.path().join(entry.file_name())).unwrap();
    }
    let index = folder.path().join("model.safetensors.index.json");
    let good = std::fs::read_to_string(&index).unwrap();
    Checkpoint::open(folder.path()).unwrap();
    for (from, to) in [
        ("model-00001-of-00002.safetensors", "../model-00001-of-00002.safetensors"),
        ("model-00001-of-00002.safetensors", "/etc/passwd"),
        ("model-00001-of-00002.safetensors", ".."),
        ("\"bn1.bias\"", "\"bn1.bios\""),
        ("weight_map", "weights"),
    ] {
        std::fs::write(&index, good.replace(from, to)).unwrap();
        let error = Checkpoint::open(folder.path()).expect_err(to);
        assert!(matches!(*error.fault, Fault::Index { .. }), "{to}: {error}");
    }
    std::fs::write(&index, &good).unwrap();
    std::fs::remove_file(folder.path().join("model-00002-of-00002.safetensors")).unwrap();
    assert!(matches!(*Checkpoint::open(folder.path()).unwrap_err().fault, Fault::Io { .. }));
}

#[cfg(unix)]
#[test]
fn a_repository_in_hugging_faces_cache_is_found_through_its_links() {
    let home = tempfile::tempdir().unwrap();
    let stored = home.path().join("hub/models--timm--small");
    for folder in ["blobs", "refs", "snapshots/0123abcd"] {
        std::fs::create_dir_all(stored.join(folder)).unwrap();
    }
    std::fs::write(stored.join("refs/main"), "0123abcd").unwrap();
    for (blob, name) in [("aa", "model.safetensors"), ("bb", "config.json")] {
        std::fs::copy(folder().join("timm_hub").join(name), stored.join("blobs").join(blob)).unwrap();
        let link = stored.join("snapshots/0123abcd").join(name);
        std::os::unix::fs::symlink(format!("../../blobs/{blob}"), link).unwrap();
    }
    let build = |name: &str| {
        let mut command = crate::common::program::program();
        command.current_dir(home.path()).env("HF_HOME", home.path()).env_remove("HF_HUB_CACHE");
        command
            .env_remove("HUGGINGFACE_HUB_CACHE")
            .args(["--weights", name, "-o", "m.onnx", "--force"])
            .output()
            .unwrap()
    };
    for name in ["hf-hub:timm/small", "hf-hub:timm/small@0123abcd"] {
        let output = build(name);
        let said = text(&output.stderr);
        assert!(output.status.success(), "{said}");
        holds(&said, &["preprocessing taken from", "5 labels taken from"]);
    }
    assert_eq!(build("hf-hub:../other").status.code(), Some(2));
}
