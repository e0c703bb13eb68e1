//! Image files to 8-bit RGB: JPEG, PNG, WebP, BMP, GIF (its first frame), TIFF and PNM, turned upright by their EXIF
//! orientation, or not.
//!
//! Sizes are checked from the header, before any pixel is allocated. As in Pillow's `convert("RGB")`, which
//! torchvision uses, alpha is dropped, gray is repeated and colour profiles are left alone.

use std::io::Cursor;
use std::path::{Path, PathBuf};

use super::broken::Defect;
use super::share::Share;
use clap::ValueEnum;
use image::metadata::Orientation;
use image::{ColorType, DynamicImage, ImageDecoder, ImageFormat, ImageReader, Limits, RgbImage};
use onnx_file::budget;

/// Most pixels an image may have: 100 million, twice what large cameras take.
pub const MOST_PIXELS: u64 = 100_000_000;
/// Largest image file that is read, in bytes.
const MOST_BYTES: u64 = 512 << 20;
/// Most bytes a decoder may allocate: [`MOST_PIXELS`] of 16-bit RGBA and its working space.
const MOST_ALLOCATED: u64 = 1200 << 20;

/// What is held of all files that are decoded at once.
static FILES: Share = Share::new();
/// What their pixels take on the way to 8-bit RGB.
static PIXELS: Share = Share::new();
/// The part of this process's memory that files may take, and that for pixels; an image that needs more is alone.
const OF_THE_LIMIT_FILES: u64 = 8;
const OF_THE_LIMIT_PIXELS: u64 = 2;

/// Bytes that an image takes while it is decoded: as its decoder gives it, turned, and as 8-bit RGB.
fn needed(pixels: u64, decoded: u64) -> u64 {
    decoded.saturating_mul(2).saturating_add(pixels.saturating_mul(3))
}

/// How the files of such images end, in lower case.
pub const EXTENSIONS: [&str; 13] =
    ["jpg", "jpeg", "jpe", "png", "webp", "bmp", "gif", "tif", "tiff", "ppm", "pgm", "pbm", "pnm"];

/// What becomes of an image whose file says that it lies on a side.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Exif {
    /// It is turned upright, as viewers show it
    #[default]
    Apply,
    /// It stays as it lies, as torchvision reads it
    Ignore,
}

/// A decoded image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decoded {
    /// Its pixels.
    pub image: RgbImage,
    /// Whether its file says that it lies on a side, or is mirrored.
    pub oriented: bool,
}

/// Why an image cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// The file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// There is nothing in it.
    #[error("{}: {}", path.display(), Defect::Empty)]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// None of the formats that are read.
    #[error("{}: {found}", path.display())]
    UnknownFormat {
        /// The file.
        path: PathBuf,
        /// What it is, or is not.
        found: &'static str,
    },
    /// The header claims more than is ever decoded.
    #[error("{}: {width}x{height} pixels are more than the limit of {} million", path.display(), MOST_PIXELS / 1_000_000)]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Claimed width.
        width: u32,
        /// Claimed height.
        height: u32,
    },
    /// The file ends within the image.
    #[error("{}: {}", path.display(), Defect::Truncated)]
    Truncated {
        /// The file.
        path: PathBuf,
    },
    /// It could not be brought to the size of the network's input.
    #[error("{}: {reason}", path.display())]
    Unsizable {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The decoder refused it.
    #[error("{}: cannot be decoded: {reason}", path.display())]
    Undecodable {
        /// The file.
        path: PathBuf,
        /// What the decoder said.
        reason: String,
    },
}

impl ImageError {
    /// What is wrong, without the path, for lists that name the path themselves.
    pub fn defect(&self) -> Defect {
        match self {
            ImageError::Io { source, .. } => Defect::Unreadable { reason: source.to_string() },
            ImageError::Empty { .. } => Defect::Empty,
            ImageError::UnknownFormat { found, .. } => Defect::UnknownFormat { found: (*found).to_owned() },
            ImageError::TooLarge { width, height, .. } => {
                Defect::TooLarge { width: *width, height: *height, most_pixels: MOST_PIXELS }
            }
            ImageError::Truncated { .. } => Defect::Truncated,
            ImageError::Undecodable { reason, .. } => Defect::Undecodable { reason: reason.clone() },
            ImageError::Unsizable { reason, .. } => Defect::Unsizable { reason: reason.clone() },
        }
    }
}

/// Reads and decodes an image file, and turns it upright.
///
/// # Errors
/// [`ImageError`] where it cannot be read, is no image, is too large, or is damaged.
pub fn read(path: &Path) -> Result<RgbImage, ImageError> {
    Ok(read_as(path, Exif::Apply)?.image)
}

/// As [`read`], and turns it as told.
///
/// # Errors
/// As for [`read`].
pub fn read_as(path: &Path, exif: Exif) -> Result<Decoded, ImageError> {
    let io = |source| ImageError::Io { path: path.to_owned(), source };
    let file = onnx_file::open::file(path).map_err(io)?;
    let bytes = file.metadata().map_err(io)?.len().min(MOST_BYTES);
    // Who holds a file waits for pixels, and who holds pixels waits for nobody.
    let _held = FILES.take(bytes, budget::limit() / OF_THE_LIMIT_FILES);
    decode_as(&onnx_file::open::read_all(file, MOST_BYTES).map_err(io)?, path, exif)
}

/// Decodes the bytes of an image file; `path` is only for messages.
///
/// # Errors
/// As for [`read`].
pub fn decode(bytes: &[u8], path: &Path) -> Result<RgbImage, ImageError> {
    Ok(decode_as(bytes, path, Exif::Apply)?.image)
}

fn decode_as(bytes: &[u8], path: &Path, exif: Exif) -> Result<Decoded, ImageError> {
    if bytes.is_empty() {
        return Err(ImageError::Empty { path: path.to_owned() });
    }
    let format = match image::guess_format(bytes) {
        Ok(
            format @ (ImageFormat::Jpeg
            | ImageFormat::Png
            | ImageFormat::WebP
            | ImageFormat::Bmp
            | ImageFormat::Gif
            | ImageFormat::Tiff
            | ImageFormat::Pnm),
        ) => format,
        _ => return Err(ImageError::UnknownFormat { path: path.to_owned(), found: other_format(bytes) }),
    };
    let whole = match format {
        ImageFormat::Jpeg => jpeg_is_whole(bytes),
        ImageFormat::WebP => webp_is_whole(bytes),
        _ => true, // these decoders themselves find the end missing
    };
    if !whole {
        return Err(ImageError::Truncated { path: path.to_owned() });
    }
    let undecodable = |error: image::ImageError| match &error {
        image::ImageError::IoError(io) if io.kind() == std::io::ErrorKind::UnexpectedEof => {
            ImageError::Truncated { path: path.to_owned() }
        }
        _ => ImageError::Undecodable { path: path.to_owned(), reason: error.to_string() },
    };
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    let mut limits = Limits::default();
    limits.max_alloc = Some(MOST_ALLOCATED);
    reader.limits(limits);
    let mut decoder = reader.into_decoder().map_err(undecodable)?;
    let (width, height) = decoder.dimensions();
    if u64::from(width) * u64::from(height) > MOST_PIXELS {
        return Err(ImageError::TooLarge { path: path.to_owned(), width, height });
    }
    if width == 0 || height == 0 {
        let reason = "it has no pixels".into();
        return Err(ImageError::Undecodable { path: path.to_owned(), reason });
    }
    if matches!(decoder.color_type(), ColorType::Rgb32F | ColorType::Rgba32F) {
        let reason = "its samples are floating-point numbers, and nothing says which of them is white; save it with 8 \
                      or 16 bits a sample";
        return Err(ImageError::Undecodable { path: path.to_owned(), reason: reason.into() });
    }
    let bytes = needed(u64::from(width) * u64::from(height), decoder.total_bytes());
    let what = format!("decoding {width}x{height} pixels");
    budget::check(&what, bytes)
        .map_err(|over| ImageError::Undecodable { path: path.to_owned(), reason: over.to_string() })?;
    let _held = PIXELS.take(bytes, budget::limit() / OF_THE_LIMIT_PIXELS);
    // A damaged orientation is no reason to refuse an image that shows.
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    let mut image = DynamicImage::from_decoder(decoder).map_err(undecodable)?;
    if exif == Exif::Apply {
        image.apply_orientation(orientation);
    }
    Ok(Decoded { image: into_rgb8(image), oriented: orientation != Orientation::NoTransforms })
}

/// What is said of bytes that no decoder here takes.
fn other_format(bytes: &[u8]) -> &'static str {
    match (bytes.get(4..8), bytes.get(8..12)) {
        (Some(b"ftyp"), Some(b"avif" | b"avis")) => "an AVIF image, which is not read here: save it as PNG",
        (Some(b"ftyp"), Some(b"heic" | b"heix" | b"hevc" | b"mif1" | b"msf1")) => {
            "a HEIC image, which is not read here: save it as PNG"
        }
        _ => "not a JPEG, PNG, WebP, BMP, GIF, TIFF or PNM image",
    }
}

/// 8-bit RGB; of 16-bit samples the high byte, as in Pillow (which instead clips 16-bit gray, to almost all white).
fn into_rgb8(image: DynamicImage) -> RgbImage {
    let (width, height) = (image.width(), image.height());
    let high = |sample: &u16| (sample >> 8) as u8;
    let rgb = match &image {
        DynamicImage::ImageLuma16(gray) => gray.as_raw().iter().flat_map(|sample| [high(sample); 3]).collect(),
        DynamicImage::ImageLumaA16(gray) => gray.pixels().flat_map(|pixel| [high(&pixel.0[0]); 3]).collect(),
        DynamicImage::ImageRgb16(rgb) => rgb.as_raw().iter().map(high).collect(),
        DynamicImage::ImageRgba16(rgba) => {
            rgba.pixels().flat_map(|pixel| [high(&pixel.0[0]), high(&pixel.0[1]), high(&pixel.0[2])]).collect()
        }
        _ => return image.into_rgb8(),
    };
    RgbImage::from_raw(width, height, rgb).unwrap_or_else(|| image.into_rgb8())
}

/// Whether a WebP file is as long as its RIFF header says: a lost last chunk may be the one that turns the image.
fn webp_is_whole(bytes: &[u8]) -> bool {
    match bytes.get(4..8) {
        Some(&[a, b, c, d]) => bytes.len() as u64 >= u64::from(u32::from_le_bytes([a, b, c, d])) + 8,
        _ => false,
    }
}

/// Whether a JPEG stream runs to its end-of-image marker. The decoder fills what is missing with gray, which must not
/// be classified as if it were the image.
fn jpeg_is_whole(bytes: &[u8]) -> bool {
    let mut at = 2;
    loop {
        // A marker: 0xFF, any number of fill bytes, a code.
        while bytes.get(at) == Some(&0xFF) && bytes.get(at + 1) == Some(&0xFF) {
            at += 1;
        }
        match (bytes.get(at), bytes.get(at + 1)) {
            (Some(0xFF), Some(0xD9)) => return true,
            // Start of image, restart and TEM carry no length; a stuffed zero or any other byte is image data.
            (Some(0xFF), Some(0x00 | 0x01 | 0xD0..=0xD8)) => at += 2,
            (Some(0xFF), Some(_)) => {
                let (Some(&high), Some(&low)) = (bytes.get(at + 2), bytes.get(at + 3)) else { return false };
                at += 2 + usize::from(u16::from_be_bytes([high, low])).max(2);
            }
            (Some(0xFF) | None, _) => return false,
            (Some(_), _) => match bytes[at..].iter().position(|&byte| byte == 0xFF) {
                Some(distance) => at += distance,
                None => return false,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(bytes: &[u8]) -> ImageError {
        decode(bytes, Path::new("p")).unwrap_err()
    }

    #[test]
    fn nothing_text_and_other_formats_are_told_apart_from_images() {
        assert!(matches!(refusal(b""), ImageError::Empty { .. }));
        assert!(matches!(refusal(b"a text, no image"), ImageError::UnknownFormat { .. }));
        assert!(refusal(b"\0\0\0\x1cftypavif\0\0\0\0").defect().to_string().contains("AVIF"));
        assert!(refusal(b"\0\0\0\x1cftypheic\0\0\0\0").defect().to_string().contains("HEIC"));
        assert!(matches!(refusal(b"\0\0\x01\0\x01\0"), ImageError::UnknownFormat { .. }), "an icon");
        assert!(matches!(refusal(b"\xFF\xD8\xFF"), ImageError::Truncated { .. }));
    }

    #[test]
    fn samples_that_are_floating_point_numbers_are_refused() {
        let rgb = image::Rgb32FImage::from_pixel(2, 2, image::Rgb([10.0, 100.0, 255.0]));
        let rgba = image::Rgba32FImage::from_pixel(2, 2, image::Rgba([0.1, 0.2, 0.3, 1.0]));
        for image in [DynamicImage::from(rgb), DynamicImage::from(rgba)] {
            let mut bytes = Cursor::new(Vec::new());
            image.write_to(&mut bytes, ImageFormat::Tiff).unwrap();
            let text = refusal(bytes.get_ref()).to_string();
            assert!(text.contains("floating-point") && text.contains("8 or 16 bits"), "{text}");
        }
    }

    #[test]
    fn the_end_of_a_thumbnail_is_not_the_end_of_the_image() {
        let mut jpeg = b"\xFF\xD8\xFF\xE1\x00\x06\xFF\xD9\x00\x00".to_vec();
        jpeg.extend(b"\xFF\xDA\x00\x02\x12\x34\xFF\x00\x56\xFF\xD0\x78");
        assert!(!jpeg_is_whole(&jpeg));
        jpeg.extend(b"\xFF\xFF\xD9");
        assert!(jpeg_is_whole(&jpeg));
    }

    #[test]
    fn the_reason_never_repeats_the_path() {
        let path = PathBuf::from("some/where.png");
        let error = ImageError::TooLarge { path, width: 30_000, height: 30_000 };
        assert!(error.to_string().starts_with("some/where.png: 30000x30000"));
        assert!(!error.defect().to_string().contains("where"));
    }
}
