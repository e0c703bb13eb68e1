//! A small trained network and some of its held-out pictures, inside the program: what `quickstart` classifies.
//!
//! They are those of `tests/trained/`, where their making and licence are described.

use std::path::{Path, PathBuf};

use resnext_builder::build::{LabelsChoice, PreprocessChoice};
use resnext_builder::graph::Dim;
use resnext_builder::metadata::{Labels, Preprocess};

use super::outcome::{make_folder, write};
use crate::terminal::{Exit, Failure};

/// The checkpoint, written by torch.
const CHECKPOINT: &[u8] = include_bytes!("../../../tests/trained/shapes.safetensors");
const LABELS: &str = include_str!("../../../tests/trained/labels.txt");
const PREPROCESS: &str = include_str!("../../../tests/trained/preprocess.json");

/// A picture in its class's folder, and its bytes.
macro_rules! picture {
    ($path:literal) => {
        ($path, include_bytes!(concat!("../../../tests/trained/heldout/", $path)).as_slice())
    };
}

const PICTURES: [(&str, &[u8]); 16] = [
    picture!("chequers/chequers-009.jpg"),
    picture!("crescent/crescent-004.jpg"),
    picture!("crescent/crescent-012.jpg"),
    picture!("crescent/crescent-023.jpg"),
    picture!("cross/cross-017.jpg"),
    picture!("hexagon/hexagon-011.jpg"),
    picture!("nested/nested-005.jpg"),
    picture!("nested/nested-023.jpg"),
    picture!("ring/ring-017.jpg"),
    picture!("row/row-012.jpg"),
    picture!("spots/spots-008.jpg"),
    picture!("star/star-003.jpg"),
    picture!("star/star-023.jpg"),
    picture!("stripes/stripes-018.jpg"),
    picture!("triangle/triangle-013.jpg"),
    picture!("wreath/wreath-006.jpg"),
];

/// Writes checkpoint and pictures under `folder`; returns the checkpoint's path and the pictures'.
pub(super) fn unpack(folder: &Path) -> Result<(PathBuf, Vec<PathBuf>), Failure> {
    let checkpoint = folder.join("shapes.safetensors");
    write(&checkpoint, CHECKPOINT)?;
    let mut pictures = Vec::new();
    for (name, bytes) in PICTURES {
        let path = folder.join("pictures").join(name);
        make_folder(path.parent().unwrap_or(folder))?;
        write(&path, bytes)?;
        pictures.push(path);
    }
    Ok((checkpoint, pictures))
}

/// What the model file is to say of itself, and the picture size of the network.
pub(super) fn description() -> Result<(LabelsChoice, PreprocessChoice, [Dim; 2]), Failure> {
    let preprocess: Preprocess = serde_json::from_str(PREPROCESS)
        .map_err(|error| Failure::new(Exit::Internal, format!("the bundled preprocessing: {error}")))?;
    let image = [Dim::Fixed(preprocess.crop), Dim::Fixed(preprocess.crop)];
    Ok((LabelsChoice::Given(Labels::parse(LABELS)), PreprocessChoice::Given(preprocess), image))
}
