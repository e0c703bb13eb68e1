//! Decoding and preprocessing against Pillow and torchvision, on the images of `fixtures/images` (see its
//! `make.py`).

use std::path::{Path, PathBuf};

use fast_image_resize::Resizer;
use image::RgbImage;
use onnx_file::metadata::{Crop, IMAGENET_V1, Interpolation, Preprocess};
use resnext_runner::input::arrays;
use resnext_runner::input::decode;
use resnext_runner::input::decode::ImageError;
use resnext_runner::input::preprocess::{crop, normalize};
use resnext_runner::model::tensor::{Data, Tensor};

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/images")
}

fn source(name: &str) -> PathBuf {
    fixtures().join("source").join(name)
}

fn preprocess(kind: &str) -> Preprocess {
    let (resize, crop, interpolation) = match kind {
        "v2" => (232, 224, Interpolation::Bilinear),
        "small" => (74, 64, Interpolation::Bilinear),
        "cubic" => (70, 64, Interpolation::Bicubic),
        "padded" => (48, 64, Interpolation::Bilinear),
        "squash" => (64, 64, Interpolation::Bicubic),
        other => panic!("no preprocessing is called {other}"),
    };
    Preprocess { resize, crop: Crop::Square(crop), interpolation, squash: kind == "squash", ..IMAGENET_V1 }
}

/// Largest and mean difference in levels, over all pixels and channels.
fn difference(found: &RgbImage, expected: &RgbImage) -> (u8, f64) {
    assert_eq!(found.dimensions(), expected.dimensions());
    let levels = found.as_raw().iter().zip(expected.as_raw()).map(|(a, b)| a.abs_diff(*b));
    let (largest, sum) = levels.fold((0, 0.0), |(largest, sum), level| (largest.max(level), sum + f64::from(level)));
    (largest, sum / found.as_raw().len() as f64)
}

/// Every expected image with the one we make of the same source: `(source, preprocessing, largest, mean)`.
fn differences() -> Vec<(String, String, u8, f64)> {
    let mut rows = Vec::new();
    let mut names: Vec<PathBuf> =
        std::fs::read_dir(fixtures().join("expected")).unwrap().map(|entry| entry.unwrap().path()).collect();
    names.sort();
    for path in names.iter().filter(|path| path.extension().is_some_and(|extension| extension == "png")) {
        let stem = path.file_stem().unwrap().to_str().unwrap();
        let (name, kind) = stem.rsplit_once('.').unwrap();
        let expected = decode::read(path).unwrap();
        let found = crop(&preprocess(kind), &decode::read(&source(name)).unwrap(), &mut Resizer::new()).unwrap();
        let (largest, mean) = difference(&found, &expected);
        rows.push((name.to_owned(), kind.to_owned(), largest, mean));
    }
    rows
}

#[test]
fn lossless_images_are_within_one_level_of_torchvision_and_jpegs_differ_by_one_on_average_at_most() {
    let rows = differences();
    let lossless = |name: &str| !name.ends_with(".jpg") && !name.contains("lossy");
    assert!(rows.len() >= 38, "{} expected images", rows.len());
    assert!(rows.iter().filter(|(name, ..)| lossless(name)).count() >= 18);
    for (name, kind, largest, mean) in rows {
        if lossless(&name) {
            assert!(largest <= 1, "{name} {kind}: a pixel differs by {largest} levels");
        } else {
            assert!(mean <= 1.0, "{name} {kind}: the mean difference is {mean:.3} levels");
        }
    }
}

#[test]
fn normalised_numbers_are_torchs_bit_for_bit() {
    let cropped = decode::read(&fixtures().join("expected/landscape.png.small.png")).unwrap();
    let found = normalize(&preprocess("small"), &cropped);
    let expected = arrays::load(&fixtures().join("expected/normalized.npz")).unwrap();
    assert_eq!(expected, [Tensor { name: "x".into(), shape: vec![1, 3, 64, 64], data: Data::F32(found) }]);
}

#[test]
fn every_orientation_shows_the_same_image_in_its_own_position() {
    let upright = decode::read(&source("orientation_1.jpg")).unwrap();
    let transposed = decode::read(&source("orientation_6.jpg")).unwrap();
    assert_eq!(upright.dimensions(), (41, 33));
    assert_eq!(transposed.dimensions(), (33, 41));
    assert_eq!(image::imageops::rotate90(&upright), transposed);
    let lossless = decode::read(&source("orientation_6.png")).unwrap();
    assert_eq!(lossless, decode::read(&source("orientation_6.webp")).unwrap());
    assert_eq!(lossless.dimensions(), (33, 41));
}

#[test]
fn a_damaged_or_hostile_image_is_refused_and_told_apart() {
    for (name, said) in [
        ("empty.jpg", "the file is empty"),
        ("huge_header.png", "30000x30000 pixels are more than the limit"),
        ("cut.jpg", "cut off"),
        ("cut_progressive.jpg", "cut off"),
        ("cut.png", "cut off"),
        ("cut.webp", "cut off"),
        ("cut.bmp", "cut off"),
        ("cut.gif", "cut"),
        ("cut.tif", "cut"),
        ("cut.ppm", "cut"),
        ("text.png", "not a JPEG, PNG, WebP"),
        ("no_such_file.png", "cannot read"),
    ] {
        let Err(error) = decode::read(&source(name)) else { panic!("{name} was read") };
        assert!(error.to_string().contains(said) && error.to_string().contains(name), "{name}: {error}");
    }
    assert!(matches!(decode::read(&source("")), Err(ImageError::Io { .. })), "a folder");
}

#[test]
fn an_image_cut_anywhere_is_an_error_or_whole_but_never_a_panic() {
    for name in ["orientation_1.jpg", "tiny.png", "orientation_6.webp"] {
        let bytes = std::fs::read(source(name)).unwrap();
        let whole = decode::decode(&bytes, Path::new(name)).unwrap();
        for length in (0..200).chain((200..bytes.len()).step_by(31)) {
            if let Ok(image) = decode::decode(&bytes[..length], Path::new(name)) {
                assert!(image == whole, "{name} cut at {length} was taken for an image");
            }
        }
    }
}

#[test]
fn arrays_written_by_numpy_and_safetensors_are_read() {
    let from_numpy = arrays::load(&fixtures().join("expected/arrays.npz")).unwrap();
    let from_safetensors = arrays::load(&fixtures().join("expected/arrays.safetensors")).unwrap();
    assert_eq!(format!("{from_numpy:?}"), format!("{from_safetensors:?}"));
    let find = |name: &str| from_numpy.iter().find(|tensor| tensor.name == name).unwrap();
    assert_eq!(find("i64").data, Data::I64(vec![-(1 << 40)]));
    assert_eq!(find("i64").shape, Vec::<usize>::new());
    assert_eq!((find("u8").shape.as_slice(), find("f32").shape.as_slice()), ([2, 3].as_slice(), [3, 1].as_slice()));
    assert_eq!(find("f64").data, Data::F64(vec![1e-300, -0.1, 3.0]));
}
