//! How an image becomes what the network takes.

use std::fmt;
use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};

/// Sides that a crop may have, in pixels.
const CROPS: RangeInclusive<u32> = 1..=16_384;
/// Longest shorter side that an image is resized to, in pixels; only the crop of it is ever made.
const MOST_RESIZE: u32 = 65_536;

/// How a resized image's pixels are computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Interpolation {
    /// Antialiased triangle filter, widened when shrinking, as Pillow's and torchvision's `bilinear`.
    Bilinear,
    /// Antialiased Catmull-Rom-like filter (a = -0.5), likewise, as Pillow's and torchvision's `bicubic`.
    Bicubic,
}

/// Extent of the centre crop: in JSON a number for a square, or height and width.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Crop {
    /// Side of a square, in pixels.
    Square(u32),
    /// Height and width, in pixels.
    Rectangle([u32; 2]),
}

impl Crop {
    /// The crop of `height` and `width`.
    pub const fn of(height: u32, width: u32) -> Self {
        if height == width { Self::Square(height) } else { Self::Rectangle([height, width]) }
    }

    /// Height and width in pixels.
    pub const fn height_width(self) -> (u32, u32) {
        match self {
            Self::Square(side) => (side, side),
            Self::Rectangle([height, width]) => (height, width),
        }
    }

    /// Height and width, as the extents of a tensor are counted.
    pub const fn extents(self) -> [usize; 2] {
        let (height, width) = self.height_width();
        [height as usize, width as usize]
    }

    /// The shorter side in pixels.
    pub fn shorter(self) -> u32 {
        let (height, width) = self.height_width();
        height.min(width)
    }
}

/// `224x224`, height first.
impl fmt::Display for Crop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (height, width) = self.height_width();
        write!(f, "{height}x{width}")
    }
}

/// Preprocessing of an image: shorter side to `resize`, central `crop`, to [0, 1], minus mean, over std.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Preprocess {
    /// Shorter side after resizing, in pixels.
    pub resize: u32,
    /// Centre crop.
    pub crop: Crop,
    /// How to resize.
    pub interpolation: Interpolation,
    /// Per channel, RGB, of pixels scaled to [0, 1].
    pub mean: [f64; 3],
    /// Likewise.
    pub std: [f64; 3],
    /// Resize the whole image to the crop's shape, whatever its own: `resize` is then the shorter side of the result.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub squash: bool,
}

/// Preprocessing by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Recipe {
    /// torchvision's first weights: resize 256, crop 224.
    V1,
    /// torchvision's second recipe: resize 232, crop 224.
    V2,
}

/// Why an image cannot be prepared like that.
#[derive(Debug, thiserror::Error)]
pub enum PreprocessError {
    /// It does not parse, or has fields that nothing reads.
    #[error("{0}")]
    Json(#[from] serde_json::Error),
    /// Impossible sizes.
    #[error(
        "crop must be {} to {} pixels and resize from the crop's shorter side to {MOST_RESIZE}, not crop {crop} and resize {resize}",
        CROPS.start(),
        CROPS.end()
    )]
    Extents {
        /// The crop.
        crop: Crop,
        /// The shorter side after resizing.
        resize: u32,
    },
    /// Numbers that nothing can be scaled with.
    #[error("mean must be finite and std positive, as 32-bit numbers")]
    Scale,
}

/// ImageNet, torchvision's `IMAGENET1K_V1` weights: resize 256, crop 224, bilinear.
pub const IMAGENET_V1: Preprocess = Preprocess {
    resize: 256,
    crop: Crop::Square(224),
    interpolation: Interpolation::Bilinear,
    mean: [0.485, 0.456, 0.406],
    std: [0.229, 0.224, 0.225],
    squash: false,
};

impl Preprocess {
    /// The preprocessing of `recipe` for images whose shorter side is `size`; the resized side keeps the ratio it has
    /// to the crop at 224.
    pub fn imagenet(recipe: Recipe, size: usize) -> Self {
        let at_224 = match recipe {
            Recipe::V1 => 256,
            Recipe::V2 => 232,
        };
        let resize = (size.saturating_mul(at_224).saturating_add(112)) / 224;
        Self { resize: pixels(resize), crop: Crop::Square(pixels(size)), ..IMAGENET_V1 }
    }

    /// CIFAR's usual normalisation, without resizing beyond the network's own input.
    pub fn cifar(size: usize) -> Self {
        Self {
            resize: pixels(size),
            crop: Crop::Square(pixels(size)),
            interpolation: Interpolation::Bilinear,
            mean: [0.4914, 0.4822, 0.4465],
            std: [0.2471, 0.2435, 0.2616],
            squash: false,
        }
    }

    /// Reads and checks the JSON form.
    ///
    /// # Errors
    /// [`PreprocessError`].
    pub fn parse(text: &str) -> Result<Self, PreprocessError> {
        let preprocess: Self = serde_json::from_str(text)?;
        preprocess.check()?;
        Ok(preprocess)
    }

    /// Height and width of the result, as the extents of a tensor are counted.
    pub fn height_width(&self) -> (usize, usize) {
        self.crop.extents().into()
    }

    /// The same for square images of another size: the resized side keeps its ratio to the crop.
    pub fn scaled(&self, side: u32) -> Self {
        let crop = u64::from(self.crop.shorter().max(1));
        let resize = (u64::from(side) * u64::from(self.resize) + crop / 2) / crop;
        Self { resize: u32::try_from(resize).unwrap_or(u32::MAX), crop: Crop::Square(side), ..*self }
    }

    /// Refuses numbers no image can be prepared with.
    ///
    /// # Errors
    /// [`PreprocessError`].
    pub fn check(&self) -> Result<(), PreprocessError> {
        let (height, width) = self.crop.height_width();
        let fits = CROPS.contains(&height) && CROPS.contains(&width);
        if !fits || !(self.crop.shorter()..=MOST_RESIZE).contains(&self.resize) {
            return Err(PreprocessError::Extents { crop: self.crop, resize: self.resize });
        }
        // Images are normalised in f32, as torch does it.
        let (mean, std) = (self.mean.map(|mean| mean as f32), self.std.map(|std| std as f32));
        if mean.iter().any(|m| !m.is_finite()) || std.iter().any(|s| !s.is_finite() || *s <= 0.0) {
            return Err(PreprocessError::Scale);
        }
        Ok(())
    }
}

/// What is larger than any image that [`Preprocess::check`] allows stays so.
fn pixels(size: usize) -> u32 {
    u32::try_from(size).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recipes_scale_with_the_image() {
        assert_eq!(Preprocess::imagenet(Recipe::V1, 224), IMAGENET_V1);
        assert_eq!(Preprocess::imagenet(Recipe::V2, 224).resize, 232);
        assert_eq!(Preprocess::imagenet(Recipe::V1, 448).resize, 512);
    }

    #[test]
    fn what_no_image_can_be_prepared_with_is_refused() {
        let with = |from: &str, to: &str| {
            let text = r#"{"resize":232,"crop":224,"interpolation":"bilinear","mean":[0,0,0],"std":[1,1,1]}"#
                .replace(from, to);
            Preprocess::parse(&text).map_err(|error| error.to_string())
        };
        assert_eq!(with("224", "[224,320]").unwrap().crop, Crop::Rectangle([224, 320]));
        assert_eq!(with("232", "224").unwrap().resize, 224);
        for (from, to, reason) in [
            ("{", "", "line 1"),
            ("\"crop\":224,", "", "missing field `crop`"),
            ("\"crop\"", "\"square\":true,\"crop\"", "unknown field `square`"),
            ("bilinear", "nearest", "unknown variant `nearest`"),
            ("224", "0", "crop 0x0 and resize 232"),
            ("224", "[1,16385]", "1 to 16384 pixels"),
            ("224", "-1", "did not match"),
            ("232", "223", "resize 223"),
            ("232", "65537", "to 65536"),
            ("[1,1,1]", "[1,0,1]", "std positive"),
            ("[1,1,1]", "[1,1e-60,1]", "std positive"),
            ("[0,0,0]", "[0,0,1e60]", "mean must be finite"),
        ] {
            let error = with(from, to).unwrap_err();
            assert!(error.contains(reason), "{from} -> {to}: {error}");
        }
    }
}
