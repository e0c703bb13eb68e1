//! Data sets of others: which class a folder or a line stands for, and what is said of the files left out.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use crate::common::runner::{library, model, node, program, stderr, stdout, value_info, weight, write};
use image::{Rgb, RgbImage};
use resnext_runner::backend::onnxruntime::runtime::package::Package;
use serde_json::Value;

/// A model of `classes` classes, in which the mean of the first channel of an image is the class: an image of level `10 c`
/// is of class `c`, for it is nearest to that. It names no classes.
fn by_level(folder: &Path, classes: usize) {
    // Of -(x - c)^2 that part which differs by class: 2 c x - c^2, where x is the class that the level stands for.
    let floats = |name: &str, dims: &[i64], values: Vec<f32>| {
        let mut tensor = weight(name, dims);
        tensor.raw_data = values.into_iter().flat_map(f32::to_le_bytes).collect::<Vec<u8>>().into();
        tensor
    };
    let count = classes as i64;
    let class = || (0..classes).map(|class| class as f32);
    let mut factors: Vec<f32> = class().map(|class| 2.0 * class * 25.5).collect();
    factors.resize(3 * classes, 0.0);
    let weights = vec![
        floats("w", &[3, count], factors),
        floats("b", &[count], class().map(|class| -class * class).collect()),
        floats("scale", &[3, 1, 1], vec![0.229; 3]),
        floats("mean", &[3, 1, 1], vec![0.485; 3]),
    ];
    let nodes = vec![
        node("Mul", &["input", "scale"], "scaled", vec![]),
        node("Add", &["scaled", "mean"], "pixels", vec![]),
        node("GlobalAveragePool", &["pixels"], "pooled", vec![]),
        node("Flatten", &["pooled"], "means", vec![]),
        node("Gemm", &["means", "w", "b"], "logits", vec![]),
    ];
    let bytes = model(nodes, weights, value_info("input", &[-1, 3, 16, 16]), value_info("logits", &[-1, count]));
    write(folder, "model.onnx", &bytes);
}

/// An image of class `class`, at a path below the folder.
fn image(folder: &Path, name: &str, class: usize) {
    let path = folder.join(name);
    fs::create_dir_all(path.parent().expect("a folder")).expect("created");
    RgbImage::from_pixel(20, 20, Rgb([10 * class as u8, 0, 0])).save(path).expect("saved");
}

fn eval(folder: &Path, more: &[&str]) -> (Option<i32>, Output) {
    let mut command = Command::new(program());
    command.args(["eval", "model.onnx"]).args(more).arg("--ort-lib").arg(library(Package::Cpu).path);
    let output = command.current_dir(folder).output().expect("the program starts");
    (output.status.code(), output)
}

/// How many images there are, the fraction that is right, and the notes.
fn result(folder: &Path, more: &[&str]) -> (u64, f64, String) {
    let (code, output) = eval(folder, &[more, &["--json"]].concat());
    assert_eq!(code, Some(0), "{}", stderr(&output));
    let result: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let candidate = &result["candidates"][0];
    let top1 = candidate["top1"]["proportion"].as_f64().expect("an accuracy");
    (candidate["images"].as_u64().expect("a count"), top1, result["notes"].to_string())
}

#[test]
fn numbered_folders_that_can_be_read_in_two_ways_are_asked_about_and_both_answers_are_followed() {
    let folder = tempfile::tempdir().expect("temporary folder");
    by_level(folder.path(), 12);
    (0..12).for_each(|class| image(folder.path(), &format!("set/{class}/a.png"), class));
    let (code, output) = eval(folder.path(), &["set"]);
    assert_eq!(code, Some(3), "{}", stdout(&output));
    for said in [
        "(class 0 is 0, 1 is 1, 2 is 10",
        "(class 0 is 0, 1 is 1, 2 is 2",
        "--class-order name or --class-order number",
    ] {
        assert!(stderr(&output).contains(said), "{said}: {}", stderr(&output));
    }
    assert_eq!(result(folder.path(), &["set", "--class-order", "number"]).1, 1.0);
    // By ImageFolder's order, folder 10 is class 2: a network trained so has its images there.
    assert!(result(folder.path(), &["set", "--class-order", "name"]).1 < 0.3);
}

#[test]
fn a_missing_or_an_empty_class_folder_shifts_no_other() {
    let folder = tempfile::tempdir().expect("temporary folder");
    by_level(folder.path(), 3);
    for (class, name) in ["ant", "bee", "cat"].iter().enumerate() {
        image(folder.path(), &format!("set/{name}/a.png"), class);
    }
    let (images, top1, notes) = result(folder.path(), &["set"]);
    assert_eq!((images, top1), (3, 1.0), "{notes}");
    assert!(notes.contains("in order of name"), "{notes}");
    fs::remove_file(folder.path().join("set/ant/a.png")).expect("removed");
    fs::write(folder.path().join("set/ant/a.avif"), b"").expect("written");
    let (images, top1, notes) = result(folder.path(), &["set"]);
    assert_eq!((images, top1), (2, 1.0), "{notes}");
    assert!(notes.contains("1 class folder holds no images that are read: ant"), "{notes}");
    assert!(notes.contains("1 .avif (set/ant/a.avif)"), "{notes}");
    fs::remove_dir_all(folder.path().join("set/ant")).expect("removed");
    let (code, output) = eval(folder.path(), &["set"]);
    assert_eq!(code, Some(3));
    assert!(stderr(&output).contains("order of 2 folders does not tell which of its 3 classes"), "{}", stderr(&output));
    assert_eq!(eval(folder.path(), &["set", "--class-order", "name"]).0, Some(3));
    fs::write(folder.path().join("names.txt"), "ant\nbee\ncat\n").expect("written");
    assert_eq!(result(folder.path(), &["set", "--labels", "names.txt"]).1, 1.0);
}

#[test]
fn imagenets_folders_are_known_to_a_model_that_names_nothing() {
    let folder = tempfile::tempdir().expect("temporary folder");
    by_level(folder.path(), 1000);
    for (class, id) in [(0, "n01440764"), (1, "n01443537"), (7, "n01514668")] {
        image(folder.path(), &format!("val/{id}/ILSVRC2012_val_0000000{class}.JPEG.png"), class);
    }
    let (images, top1, notes) = result(folder.path(), &["val"]);
    assert_eq!((images, top1), (3, 1.0), "{notes}");
    assert!(notes.contains("taken for ImageNet's in their usual order"), "{notes}");
}

#[test]
fn the_development_kits_numbers_are_mapped_or_refused_and_never_taken_for_classes() {
    let folder = tempfile::tempdir().expect("temporary folder");
    by_level(folder.path(), 1000);
    // The kit's number 7 is the first class of a network, and its number 3 the eighth.
    for (place, class) in [(1, 0), (2, 7), (4, 0)] {
        image(folder.path(), &format!("val/ILSVRC2012_val_0000000{place}.png"), class);
    }
    let truth = "val/ILSVRC2012_validation_ground_truth.txt";
    fs::write(folder.path().join(truth), "7\n3\n1\n7\n").expect("written");
    let (code, output) = eval(folder.path(), &["val"]);
    assert_eq!(code, Some(3));
    assert!(
        stderr(&output).contains("which no network has") && stderr(&output).contains("map_clsloc.txt"),
        "{}",
        stderr(&output)
    );
    let map = "n02119789 1 kit_fox\nn01514668 3 cock\nn01440764 7 tench\n";
    fs::write(folder.path().join("val/map_clsloc.txt"), map).expect("written");
    let (images, top1, _) = result(folder.path(), &["val"]);
    assert_eq!((images, top1), (3, 1.0), "one image is not there, and shifts no other");
}

#[test]
fn lists_of_several_programs_are_read() {
    let folder = tempfile::tempdir().expect("temporary folder");
    by_level(folder.path(), 3);
    (0..3).for_each(|class| image(folder.path(), &format!("set/images/{class}.png"), class));
    for (name, text) in [
        ("val_annotations.txt", "0.png\tn03444034\t0\t32\n1.png\tn04067472\t5\t1\n2.png\tn04070727\t0\t0\n"),
        ("metadata.csv", "fold,label,file_name\n1,bird,images/0.png\n1,cat,images/1.png\n2,dog,images/2.png\n"),
        (
            "metadata.jsonl",
            "{\"file_name\":\"images/0.png\",\"label\":0}\n{\"file_name\":\"images/2.png\",\"label\":2}\n",
        ),
        ("labels.txt", "0\n1\n2\n"),
    ] {
        let path = folder.path().join("set").join(name);
        fs::write(&path, text).expect("written");
        let (images, top1, notes) = result(folder.path(), &["set"]);
        assert!(images >= 2 && top1 == 1.0, "{name}: {images} images, {top1}: {notes}");
        fs::remove_file(path).expect("removed");
    }
}

#[test]
fn an_image_under_two_classes_and_images_that_lie_on_a_side_are_told() {
    let folder = tempfile::tempdir().expect("temporary folder");
    by_level(folder.path(), 2);
    image(folder.path(), "set/ant/a.png", 0);
    image(folder.path(), "set/bee/b.png", 1);
    fs::copy(folder.path().join("set/ant/a.png"), folder.path().join("set/bee/c.png")).expect("copied");
    let turned = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/images/source/orientation_6.jpg");
    fs::copy(turned, folder.path().join("set/bee/d.jpg")).expect("copied");
    let (_, _, notes) = result(folder.path(), &["set"]);
    assert!(notes.contains("the same image under several classes (1 in all): set/ant/a.png, set/bee/c.png"), "{notes}");
    assert!(notes.contains("not turned, as torchvision does not") && notes.contains("set/bee/d.jpg"), "{notes}");
    let (_, _, notes) = result(folder.path(), &["set", "--exif", "apply"]);
    assert!(notes.contains("turned as"), "{notes}");
}

#[test]
fn every_verb_that_reads_images_tells_of_those_that_lie_on_a_side_and_leaves_them_if_asked() {
    let folder = tempfile::tempdir().expect("temporary folder");
    by_level(folder.path(), 2);
    let turned = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/images/source/orientation_6.jpg");
    fs::copy(turned, folder.path().join("d.jpg")).expect("copied");
    for verb in [&["infer", "model.onnx", "d.jpg"][..], &["compare", "model.onnx"], &["calibrate", "model.onnx"]] {
        let images = if verb.contains(&"d.jpg") { &[][..] } else { &["--images", "d.jpg"] };
        for (exif, told) in [(&[][..], "turned as"), (&["--exif", "ignore"], "not turned")] {
            let mut command = Command::new(program());
            command.args(verb).args(images).args(exif).arg("--json").arg("--ort-lib").arg(library(Package::Cpu).path);
            let output = command.current_dir(folder.path()).output().expect("the program starts");
            let text = stdout(&output);
            assert_eq!(output.status.code(), Some(0), "{verb:?}: {}", stderr(&output));
            assert!(text.contains(told) && text.contains("d.jpg"), "{verb:?} {exif:?}: {text}");
        }
    }
}
