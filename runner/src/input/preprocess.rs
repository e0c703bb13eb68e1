//! Images to the numbers a network was trained on: torchvision's classification preset.
//!
//! `Resize` (shorter side, Pillow's antialiased filter) -> `CenterCrop` -> `ToTensor` -> `Normalize`, with
//! torchvision's roundings. A wrong preprocessing costs 15 to 20 points of accuracy and gives no error, so where a
//! file does not say what it wants, the result says what was assumed.

use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer, images::Image, images::ImageRef};
use image::{Rgb, RgbImage, imageops};
use onnx_file::element::ElementType;
use onnx_file::metadata::{Crop, IMAGENET_V1, Interpolation, Preprocess};

use super::demand;
use crate::model::file::{ImageInput, MetadataError, ModelFile};
use crate::model::said::{AskedPreprocess, Source};
use crate::note::Note;

/// Why an image could not be brought to the size of the network's input.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot be resized: {0}")]
pub struct ResizeError(String);

/// What `file` asks for, with notes on whatever had to be assumed.
///
/// # Errors
/// [`MetadataError::Property`] where the file's preprocessing does not parse or makes no sense;
/// [`MetadataError::NotAnImageModel`] where it does not go with the extents that the input declares;
/// [`MetadataError::Budget`] where the images take more memory than this process may.
pub fn asked_by(file: &ModelFile, image: &ImageInput) -> Result<(Preprocess, Vec<Note>), MetadataError> {
    let mut notes = Vec::new();
    let side = image.height.into_iter().chain(image.width).min().unwrap_or(IMAGENET_V1.height_width().0);
    let mut preprocess = match (file.asked.preprocess, file.preprocess()?) {
        (Some(AskedPreprocess::Exactly(asked)), _) => asked,
        (Some(AskedPreprocess::Recipe(recipe)), _) => Preprocess::imagenet(recipe, side),
        (None, Some((said, source))) => {
            let from = |source: &Source| Note::PreprocessingFrom { model: file.name(), source: source.clone() };
            notes.extend(source.map(from));
            said
        }
        (None, None) => {
            notes.push(Note::PreprocessingAssumed { model: file.name() });
            IMAGENET_V1
        }
    };
    if image.element_type == ElementType::U8 {
        // The graph takes pixels as they are, and normalises them itself.
        (preprocess.mean, preprocess.std) = ([0.0; 3], [1.0; 3]);
    } else if image.channels == 1 {
        // Grey is normalised as a whole.
        let mean = |of: [f64; 3]| [of.iter().sum::<f64>() / 3.0; 3];
        (preprocess.mean, preprocess.std) = (mean(preprocess.mean), mean(preprocess.std));
    } else if image.channels == 4 {
        notes.push(Note::Opaque { model: file.name() });
    }
    let (crop_height, crop_width) = preprocess.crop.height_width();
    let fixed = |extent: Option<usize>, crop: u32| extent.map_or(crop, |n| u32::try_from(n).unwrap_or(u32::MAX));
    let (height, width) = (fixed(image.height, crop_height), fixed(image.width, crop_width));
    if (height, width) != (crop_height, crop_width) {
        let scaled =
            f64::from(preprocess.resize) * f64::from(height.min(width)) / f64::from(preprocess.crop.shorter().max(1));
        let (input, crop) = ([height, width], [crop_height, crop_width]);
        notes.push(Note::PreprocessingScaled { model: file.name(), input, crop, resize: scaled });
        preprocess.crop = Crop::of(height, width);
        preprocess.resize = scaled.round() as u32;
        preprocess.check().map_err(|limits| {
            file.not_an_image_model(format!("its input and its preprocessing do not go together: {limits}"))
        })?;
    }
    demand::check(file, preprocess.height_width(), image.batch.unwrap_or(1), 0)?;
    Ok((preprocess, notes))
}

/// Resizes and crops: the image as the network sees it, before normalisation.
///
/// # Errors
/// [`ResizeError`] where the image has no pixels or the resizer refuses it.
pub fn crop(preprocess: &Preprocess, image: &RgbImage, resizer: &mut Resizer) -> Result<RgbImage, ResizeError> {
    if image.width() == 0 || image.height() == 0 {
        // The resizer would leave the target black.
        return Err(ResizeError("it has no pixels".to_owned()));
    }
    let (crop_height, crop_width) = preprocess.crop.height_width();
    let shape = if preprocess.squash { (crop_width, crop_height) } else { image.dimensions() };
    let (width, height) = resized_extent(shape, preprocess.resize);
    let horizontal = Window::center(width, crop_width);
    let vertical = Window::center(height, crop_height);
    let kept = resample(image, (width, horizontal), (height, vertical), preprocess.interpolation, resizer)?;
    if kept.dimensions() == (crop_width, crop_height) {
        return Ok(kept);
    }
    let mut canvas = RgbImage::from_pixel(crop_width, crop_height, Rgb([0, 0, 0]));
    imageops::replace(&mut canvas, &kept, i64::from(horizontal.padding), i64::from(vertical.padding));
    Ok(canvas)
}

/// Normalises an already cropped image into `[3, H, W]`, row-major.
pub fn normalize(preprocess: &Preprocess, image: &RgbImage) -> Vec<f32> {
    let plane = image.len() / 3;
    let mut tensor = vec![0.0; 3 * plane];
    if plane == 0 {
        return tensor;
    }
    for (channel, out) in tensor.chunks_exact_mut(plane).enumerate() {
        // In f32 and in torch's order of operations, so that the numbers are torch's bit for bit.
        let (mean, std) = (preprocess.mean[channel] as f32, preprocess.std[channel] as f32);
        let table: [f32; 256] = std::array::from_fn(|level| (level as f32 / 255.0 - mean) / std);
        for (value, pixel) in out.iter_mut().zip(image.pixels()) {
            *value = table[usize::from(pixel.0[channel])];
        }
    }
    tensor
}

/// Height and width of the images that a model is given: as its file says, or as its input has them, or as ImageNet's
/// usual preprocessing crops.
///
/// # Errors
/// As for [`asked_by`].
pub fn extent(file: Option<&ModelFile>, image: &ImageInput) -> Result<(usize, usize), MetadataError> {
    match file {
        Some(file) => Ok(asked_by(file, image)?.0.height_width()),
        None => {
            let (height, width) = IMAGENET_V1.height_width();
            Ok((image.height.unwrap_or(height), image.width.unwrap_or(width)))
        }
    }
}

/// torchvision's `_compute_resized_output_size`: the shorter side becomes `side`, the longer one is truncated.
fn resized_extent((width, height): (u32, u32), side: u32) -> (u32, u32) {
    let longer = |long: u32, short: u32| {
        let longer = u64::from(side) * u64::from(long) / u64::from(short.max(1));
        u32::try_from(longer).unwrap_or(u32::MAX)
    };
    if width <= height { (side, longer(height, width)) } else { (longer(width, height), side) }
}

/// What a centre crop keeps of one side, as torchvision's `CenterCrop` does: offsets round half to even, and a side
/// shorter than the crop is padded with black before and after.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Window {
    /// First pixel kept.
    offset: u32,
    /// Pixels kept.
    kept: u32,
    /// Black pixels before them.
    padding: u32,
}

impl Window {
    fn center(side: u32, crop: u32) -> Self {
        Window {
            offset: half_to_even(side.saturating_sub(crop)),
            kept: side.min(crop),
            padding: crop.saturating_sub(side) / 2,
        }
    }
}

/// Resamples `image` to the extents of `horizontal` and `vertical`, but makes only their windows: the same numbers as
/// resampling the whole and cropping, without the work, and without the memory that a long strip would need.
///
/// Two passes, rows first, as Pillow does it: in between, levels are rounded and clipped to 8 bits, and where the
/// filter overshoots, the order shows.
fn resample(
    image: &RgbImage,
    (width, horizontal): (u32, Window),
    (height, vertical): (u32, Window),
    interpolation: Interpolation,
    resizer: &mut Resizer,
) -> Result<RgbImage, ResizeError> {
    let filter = match interpolation {
        Interpolation::Bilinear => FilterType::Bilinear,
        Interpolation::Bicubic => FilterType::CatmullRom,
    };
    let span = |window: Window, resized: u32, source: u32| {
        let scale = f64::from(source) / f64::from(resized.max(1));
        let start = f64::from(window.offset) * scale;
        (start, (f64::from(window.kept) * scale).min(f64::from(source) - start))
    };
    let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(filter)).use_alpha(false);
    let mut pass = |source: &RgbImage, (left, top, across, down): (f64, f64, f64, f64), width: u32, height: u32| {
        let options = options.crop(left, top, across, down);
        let mut target = Image::new(width, height, PixelType::U8x3);
        let refused = |error: &dyn std::fmt::Display| ResizeError(error.to_string());
        let source = ImageRef::new(source.width(), source.height(), source.as_raw(), PixelType::U8x3);
        let source = source.map_err(|error| refused(&error))?;
        resizer.resize(&source, &mut target, Some(&options)).map_err(|error| refused(&error))?;
        RgbImage::from_raw(width, height, target.into_vec()).ok_or_else(|| refused(&"it came out in another size"))
    };
    let (left, across) = span(horizontal, width, image.width());
    let (top, down) = span(vertical, height, image.height());
    let rows = f64::from(image.height());
    let narrowed = pass(image, (left, 0.0, across, rows), horizontal.kept, image.height())?;
    pass(&narrowed, (0.0, top, f64::from(horizontal.kept), down), horizontal.kept, vertical.kept)
}

/// Python's `round(n / 2)`.
fn half_to_even(n: u32) -> u32 {
    let half = n / 2;
    if n % 2 == 1 && half % 2 == 1 { half + 1 } else { half }
}

#[cfg(test)]
mod tests {
    use onnx_file::metadata::Key;
    use onnx_file::proto::tensor_proto::DataType;

    use super::*;
    use crate::model::file::tests::{file, value};

    #[test]
    fn the_longer_side_is_truncated_as_by_torchvision() {
        assert_eq!(resized_extent((320, 240), 232), (309, 232));
        assert_eq!(resized_extent((240, 320), 232), (232, 309));
        assert_eq!(resized_extent((500, 375), 256), (341, 256));
        assert_eq!(resized_extent((7, 7), 256), (256, 256));
    }

    #[test]
    fn crop_offsets_round_half_to_even() {
        let found: Vec<u32> = (0..10).map(half_to_even).collect();
        assert_eq!(found, [0, 0, 1, 2, 2, 2, 3, 4, 4, 4]);
    }

    #[test]
    fn an_image_smaller_than_the_crop_is_padded_with_black() {
        let white = RgbImage::from_pixel(3, 5, Rgb([255, 255, 255]));
        let wide = Preprocess { resize: 3, crop: Crop::Rectangle([4, 6]), ..IMAGENET_V1 };
        let cropped = crop(&wide, &white, &mut Resizer::new()).unwrap();
        let row: Vec<u8> = (0..6).map(|x| cropped.get_pixel(x, 0).0[0]).collect();
        assert_eq!((cropped.dimensions(), row), ((6, 4), vec![0, 255, 255, 255, 0, 0]));
    }

    #[test]
    fn making_only_the_window_is_the_same_as_cropping_the_whole() {
        let image = RgbImage::from_fn(97, 61, |x, y| Rgb([(x * 5) as u8, (y * 7) as u8, (x * y) as u8]));
        let mut resizer = Resizer::new();
        let whole = Preprocess { resize: 40, crop: Crop::Rectangle([40, 63]), ..IMAGENET_V1 };
        let window = Preprocess { crop: Crop::Rectangle([30, 20]), ..whole };
        let expected = imageops::crop_imm(&crop(&whole, &image, &mut resizer).unwrap(), 22, 5, 20, 30).to_image();
        let found = crop(&window, &image, &mut resizer).unwrap();
        let worst = found.as_raw().iter().zip(expected.as_raw()).map(|(a, b)| a.abs_diff(*b)).max();
        assert!(worst <= Some(1), "{worst:?}");
    }

    #[test]
    fn a_long_strip_needs_no_more_memory_than_the_crop() {
        let strip = RgbImage::from_pixel(60_000, 1, Rgb([9, 9, 9]));
        let cropped = crop(&IMAGENET_V1, &strip, &mut Resizer::new()).unwrap();
        assert!(cropped.dimensions() == (224, 224) && cropped.as_raw().iter().all(|&level| level == 9));
    }

    #[test]
    fn an_image_that_cannot_be_resized_is_an_error_and_not_black() {
        let error = crop(&IMAGENET_V1, &RgbImage::new(0, 7), &mut Resizer::new()).unwrap_err();
        assert!(error.to_string().starts_with("cannot be resized: "), "{error}");
    }

    #[test]
    fn what_the_file_says_is_what_is_done() {
        let text = r#"{"resize":232,"crop":224,"interpolation":"bicubic","mean":[0.5,0.5,0.5],"std":[0.25,0.25,0.25]}"#;
        let model = file(vec![value("x", DataType::Float, &[-1, 3, 224, 224])], &[(Key::Preprocess, text)]);
        let (found, notes) = asked_by(&model, &model.image_input().unwrap()).unwrap();
        assert_eq!((found.resize, found.crop, found.interpolation), (232, Crop::Square(224), Interpolation::Bicubic));
        assert!(notes.is_empty(), "{notes:?}");
    }

    #[test]
    fn what_is_assumed_is_said() {
        let model = file(vec![value("x", DataType::Float, &[-1, 3, 448, 448])], &[]);
        let (found, notes) = asked_by(&model, &model.image_input().unwrap()).unwrap();
        assert_eq!((found.resize, found.crop), (512, Crop::Square(448)));
        assert!(
            matches!(
                &notes[..],
                [Note::PreprocessingAssumed { .. }, Note::PreprocessingScaled { input: [448, 448], .. }]
            ),
            "{notes:?}"
        );
    }

    #[test]
    fn extents_that_no_image_can_be_brought_to_are_refused() {
        for [batch, height, width] in [[0, 64, 64], [-1, 0, 64], [-1, 64, 0]] {
            let model = file(vec![value("x", DataType::Float, &[batch, 3, height, width])], &[]);
            let error = model.image_input().unwrap_err().to_string();
            assert!(error.contains("extent is 0"), "{error}");
        }
        for (height, width, resize) in [(64, 16_385, 5000), (1 << 33, 64, 5000), (16_000, 16_000, 60_000)] {
            let text =
                format!(r#"{{"resize":{resize},"crop":4000,"interpolation":"bilinear","mean":[0,0,0],"std":[1,1,1]}}"#);
            let model = file(vec![value("x", DataType::Float, &[-1, 3, height, width])], &[(Key::Preprocess, &text)]);
            let error = asked_by(&model, &model.image_input().unwrap()).unwrap_err().to_string();
            assert!(error.contains("crop must be 1 to 16384") && error.contains(&height.to_string()), "{error}");
        }
    }

    #[test]
    fn senseless_preprocessing_is_refused() {
        for text in [
            "no json",
            r#"{"resize":0,"crop":224,"interpolation":"bilinear","mean":[0,0,0],"std":[1,1,1]}"#,
            r#"{"resize":232,"crop":224,"interpolation":"bilinear","mean":[0,0,0],"std":[1,0,1]}"#,
            r#"{"resize":232,"crop":224,"interpolation":"nearest","mean":[0,0,0],"std":[1,1,1]}"#,
            r#"{"resize":4000000000,"crop":224,"interpolation":"bilinear","mean":[0,0,0],"std":[1,1,1]}"#,
        ] {
            let model = file(vec![value("x", DataType::Float, &[-1, 3, 8, 8])], &[(Key::Preprocess, text)]);
            let error = asked_by(&model, &model.image_input().unwrap()).unwrap_err().to_string();
            assert!(error.contains(Key::Preprocess.name()), "{error}");
        }
    }

    #[test]
    fn normalising_divides_by_255_then_centres_then_scales() {
        let image = RgbImage::from_pixel(2, 1, Rgb([0, 128, 255]));
        let tensor = normalize(&IMAGENET_V1, &image);
        let expected = [(0.0 - 0.485) / 0.229, (128.0 / 255.0 - 0.456) / 0.224, (1.0 - 0.406) / 0.225];
        for (channel, expected) in expected.iter().enumerate() {
            assert!((tensor[2 * channel] - expected).abs() < 1e-6, "{tensor:?}");
        }
    }
}
