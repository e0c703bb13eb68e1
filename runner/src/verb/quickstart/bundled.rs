//! A small trained network and some of its held-out images, inside the program: what `quickstart` classifies.
//!
//! They are copies out of `tests/trained/`, where their making and licence are described; a test holds the copies equal.

use std::path::{Path, PathBuf};

use onnx_file::metadata::{Labels, Preprocess};
use resnext_builder::build::{LabelsChoice, PreprocessChoice};
use resnext_builder::graph::Dim;

use crate::exit::Failure;
use crate::verb::files::{make_folder, write};
use onnx_file::exit::Exit;

/// The checkpoint, written by torch.
const CHECKPOINT: &[u8] = include_bytes!("../../../data/shapes/shapes.safetensors");
const LABELS: &str = include_str!("../../../data/shapes/labels.txt");
const PREPROCESS: &str = include_str!("../../../data/shapes/preprocess.json");

/// An image in its class's folder, and its bytes.
macro_rules! image {
    ($path:literal) => {
        ($path, include_bytes!(concat!("../../../data/shapes/images/", $path)).as_slice())
    };
}

const IMAGES: [(&str, &[u8]); 16] = [
    image!("chequers/chequers-009.jpg"),
    image!("crescent/crescent-004.jpg"),
    image!("crescent/crescent-012.jpg"),
    image!("crescent/crescent-023.jpg"),
    image!("cross/cross-017.jpg"),
    image!("hexagon/hexagon-011.jpg"),
    image!("nested/nested-005.jpg"),
    image!("nested/nested-023.jpg"),
    image!("ring/ring-017.jpg"),
    image!("row/row-012.jpg"),
    image!("spots/spots-008.jpg"),
    image!("star/star-003.jpg"),
    image!("star/star-023.jpg"),
    image!("stripes/stripes-018.jpg"),
    image!("triangle/triangle-013.jpg"),
    image!("wreath/wreath-006.jpg"),
];

/// Writes checkpoint and images under `folder`; returns the checkpoint's path and the images'.
pub(crate) fn unpack(folder: &Path) -> Result<(PathBuf, Vec<PathBuf>), Failure> {
    let checkpoint = folder.join("shapes.safetensors");
    write(&checkpoint, CHECKPOINT)?;
    let mut images = Vec::new();
    for (name, bytes) in IMAGES {
        let path = folder.join("images").join(name);
        make_folder(path.parent().unwrap_or(folder))?;
        write(&path, bytes)?;
        images.push(path);
    }
    Ok((checkpoint, images))
}

/// What the model file is to say of itself, and the image size of the network.
pub(crate) fn description() -> Result<(LabelsChoice, PreprocessChoice, [Dim; 2]), Failure> {
    let preprocess = Preprocess::parse(PREPROCESS)
        .map_err(|error| Failure::new(Exit::Internal, format!("the bundled preprocessing: {error}")))?;
    let image = preprocess.crop.extents().map(Dim::Fixed);
    Ok((LabelsChoice::Given(Labels::parse(LABELS)), PreprocessChoice::Given(preprocess), image))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bundled_files_are_those_of_the_trained_network() {
        let trained = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/trained");
        let read = |name: &str| std::fs::read(trained.join(name)).expect(name);
        assert!(read("shapes.safetensors") == CHECKPOINT);
        assert!(read("labels.txt") == LABELS.as_bytes() && read("preprocess.json") == PREPROCESS.as_bytes());
        for (name, bytes) in IMAGES {
            assert!(read(&format!("heldout/{name}")) == bytes, "{name}");
        }
    }
}
