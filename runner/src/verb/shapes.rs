//! Flags that fix what a model leaves open: shapes of any inputs, and the size of images.

use clap::Args;
use onnx_file::exit::Exit;

use crate::exit::Failure;
use crate::model::file::{Layout, ModelFile};
use crate::model::shaped::InputShape;

/// Shapes of inputs.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct Shapes {
    /// Shape of an input where the model leaves it open, again for each input: input:1x3x320x320; `?` stays open
    #[arg(long, value_name = "NAME:DIMS", value_parser = InputShape::parse, help_heading = "Input")]
    pub(crate) shape: Vec<InputShape>,
}

/// Size of the images of models that take any.
#[derive(Clone, Copy, Debug, Default, Args)]
pub(crate) struct ImageSize {
    /// Height and width of the images, where the model leaves them open: 320, or 320x256
    #[arg(long, value_name = "H[xW]", value_parser = size, help_heading = "Input")]
    pub(crate) image_size: Option<(usize, usize)>,
}

fn size(text: &str) -> Result<(usize, usize), String> {
    let (height, width) = text.split_once('x').unwrap_or((text, text));
    match (height.parse(), width.parse()) {
        (Ok(height @ 1..), Ok(width @ 1..)) => Ok((height, width)),
        _ => Err("it must be a height, or a height and a width: 320, 320x256".to_owned()),
    }
}

/// Gives the inputs of all models the shapes asked for; an input has to be one of some model.
pub(crate) fn shape(files: &mut [ModelFile], shapes: &[InputShape]) -> Result<(), Failure> {
    for shape in shapes {
        let known = |file: &ModelFile| {
            shape.name.as_ref().is_none_or(|name| file.inputs.iter().any(|input| input.name == *name))
        };
        let known_somewhere = files.iter().any(known);
        for file in files.iter_mut().filter(|file| !known_somewhere || known(file)) {
            give(file, std::slice::from_ref(shape), "--shape")?;
        }
    }
    Ok(())
}

/// Gives all models images of the size asked for.
pub(crate) fn image_size(files: &mut [ModelFile], size: Option<(usize, usize)>) -> Result<(), Failure> {
    let Some((height, width)) = size else { return Ok(()) };
    for file in files {
        let image = file.image_input()?;
        let (height, width) = (Some(height), Some(width));
        let extents = match image.layout {
            Layout::Nchw => vec![None, None, height, width],
            Layout::Nhwc => vec![None, height, width, None],
        };
        give(file, &[InputShape { name: Some(image.name), extents }], "--image-size")?;
    }
    Ok(())
}

fn give(file: &mut ModelFile, shapes: &[InputShape], flag: &str) -> Result<(), Failure> {
    file.shape(shapes)
        .map_err(|error| Failure::new(Exit::Usage, format!("{flag}: {}: {error}", file.shown().display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_is_a_height_or_a_height_and_a_width() {
        assert_eq!((size("320"), size("320x256")), (Ok((320, 320)), Ok((320, 256))));
        for wrong in ["", "0", "x", "320x", "320x0", "-1", "320x256x3"] {
            assert!(size(wrong).is_err(), "{wrong}");
        }
    }
}
