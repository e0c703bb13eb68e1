//! What of a plan is refused before its weights are there: a download may take an hour.

use std::path::PathBuf;

use super::error::BuildError;
use super::plan::{Destination, LabelsChoice, Plan, PreprocessChoice, Weights};
use crate::architecture::{BlockForm, Options, Output, StrideIn};
use crate::checkpoint::weight_files;
use crate::graph::Dim;
use crate::output::{External, data_refusal, overwritten, refusal, unwritable};
use crate::precision::Dtype;
use crate::sidecar::files_beside;
use crate::target::Rationale;
use crate::variant::{Block, Variant};

/// Refuses what contradicts itself or the network that is asked for, and an output that cannot be written.
pub(crate) fn check(plan: &Plan) -> Result<(), BuildError> {
    check_destination(plan)?;
    if plan.calibration.is_some() && plan.lowering.precision.dtype() == Dtype::F32 {
        let reason = "a calibration is for --dtype f16 and int8, and this build is f32; drop it, or give the --dtype";
        return Err(BuildError::Request(reason.into()));
    }
    if plan.external == External::Always && plan.destination == Destination::Stdout {
        let reason = "the model needs a file for its weights beside it; write to a file instead of standard output";
        return Err(BuildError::Request(reason.into()));
    }
    image(plan)?;
    let outputs = requested_outputs(plan);
    check_once(&outputs)?;
    let Some(variant) = &plan.variant else { return Ok(()) };
    let outputs = if plan.no_top { vec![Output::Stage(variant.blocks.len())] } else { outputs };
    check_outputs(variant, &outputs)?;
    check_effect(plan, variant, &outputs)?;
    plan.classes.map_or(Ok(()), |classes| check_labels(plan, classes))
}

/// The outputs by name; logits where none is named.
fn requested_outputs(plan: &Plan) -> Vec<Output> {
    if plan.outputs.is_empty() { vec![Output::Logits] } else { plan.outputs.clone() }
}

/// The input's height and width, where they are not the network's own: as asked for, else as given preprocessing crops.
pub(super) fn image(plan: &Plan) -> Result<Option<[Dim; 2]>, BuildError> {
    let PreprocessChoice::Given(given) = &plan.preprocess else { return Ok(plan.image.clone()) };
    let crop = given.crop;
    let Some(asked) = &plan.image else { return Ok(Some(crop.extents().map(Dim::Fixed))) };
    match asked {
        // The square that is cut out has the shorter side.
        [Dim::Fixed(height), Dim::Fixed(width)] if *height.min(width) != crop.shorter() as usize => {
            Err(BuildError::Request(format!(
                "--image-size {height}x{width} contradicts the preprocessing, which crops {crop}; drop --image-size, or give a preprocessing whose crop is {}",
                height.min(width)
            )))
        }
        _ => Ok(Some(asked.clone())),
    }
}

/// Refuses feature maps that `variant` does not have.
pub(super) fn check_outputs(variant: &Variant, outputs: &[Output]) -> Result<(), BuildError> {
    let stages = variant.blocks.len();
    for output in outputs {
        if let Output::Stage(stage) = output
            && !(1..=stages).contains(stage)
        {
            return Err(BuildError::Request(format!(
                "{variant} has {stages} stages, so its feature maps are c2 to c{}; there is no {}",
                stages + 1,
                output.name()
            )));
        }
    }
    check_once(outputs)
}

fn check_once(outputs: &[Output]) -> Result<(), BuildError> {
    let twice = outputs.iter().enumerate().find(|(index, output)| outputs[..*index].contains(output));
    twice.map_or(Ok(()), |(_, output)| Err(BuildError::Request(format!("--outputs names {} twice", output.name()))))
}

/// Refuses extents that no network has.
pub(super) fn check_extents(options: &Options) -> Result<(), BuildError> {
    if options.classes == 0 || options.classes > 1 << 24 {
        return Err(BuildError::Request(format!("--num-classes {} is out of range (1 to 16777216)", options.classes)));
    }
    let extents = options.image.iter().chain([&options.batch]).filter_map(Dim::fixed);
    match extents.into_iter().find(|extent| !(1..=65536).contains(extent)) {
        Some(extent) => Err(BuildError::Request(format!("an input extent of {extent} is out of range (1 to 65536)"))),
        None => Ok(()),
    }
}

/// Refuses what was asked for by name and would change nothing.
pub(super) fn check_effect(plan: &Plan, variant: &Variant, outputs: &[Output]) -> Result<(), BuildError> {
    let basic = variant.block == Block::Basic;
    let split = plan.block_form != BlockForm::Grouped;
    let logits = outputs.contains(&Output::Logits);
    // A target may leave a network as it is; widths given one by one are meant for something.
    let widths = if plan.rationale == Rationale::default() { plan.lowering.group_widths.len() } else { 0 };
    let stages = variant.blocks.len();
    let reason = if widths > 0 && variant.cardinality == 1 {
        format!("{variant} has no grouped convolutions to widen; drop --group-width")
    } else if widths > 0 && split {
        "--block-form concat and branches have no grouped convolutions to widen; drop --group-width".into()
    } else if widths > stages {
        format!("--group-width names {widths} stages, and {variant} has {stages}")
    } else if split && variant.cardinality == 1 {
        format!("{variant} has no grouped blocks to write in another form; drop --block-form")
    } else if basic && plan.stride_in != StrideIn::default() {
        format!("the blocks of {variant} have no 1x1 convolution to take the stride; drop --stride-in")
    } else if !logits && plan.labels != LabelsChoice::Known {
        "--labels name the logits, which are not among the outputs; drop --labels".into()
    } else if !logits && plan.classes.is_some() {
        "--num-classes counts the logits, which are not among the outputs; drop --num-classes".into()
    } else {
        return Ok(());
    };
    Err(BuildError::Request(reason))
}

/// Refuses labels of another number than the `classes`.
pub(super) fn check_labels(plan: &Plan, classes: usize) -> Result<(), BuildError> {
    let found = match &plan.labels {
        LabelsChoice::Known => return Ok(()),
        LabelsChoice::ImageNet => 1000,
        LabelsChoice::Given(labels) => labels.names.len(),
    };
    if found == classes {
        return Ok(());
    }
    Err(BuildError::Request(format!(
        "{found} labels do not go with {classes} classes; --labels takes one a line, by index"
    )))
}

/// Refuses an output that is one of the inputs, or that cannot be written.
pub(super) fn check_destination(plan: &Plan) -> Result<(), BuildError> {
    let Destination::File(output) = &plan.destination else {
        if plan.verify {
            let reason = "--verify keeps nothing of a model that differs, and what went to standard output is gone; write to a file with -o";
            return Err(BuildError::Request(reason.into()));
        }
        return Ok(());
    };
    if let Some(source) = unwritable(output) {
        return Err(BuildError::Output { path: output.display().to_string(), source });
    }
    let input = match &plan.weights {
        Weights::File(input) => Some(input.clone()),
        Weights::Published { known, hub } => Some(hub.folder.join(known.file_name())),
        Weights::Random { .. } | Weights::Remote { .. } => None,
    };
    // What is named may be a folder or an index, and what is read are the files in it.
    let weights: Vec<PathBuf> = input.iter().flat_map(|input| weight_files(input)).collect();
    if overwritten(output, &weights).is_some() {
        return Err(BuildError::Request("the output is the checkpoint itself; give another -o".into()));
    }
    let beside = input.iter().flat_map(|input| files_beside(input));
    let others: Vec<PathBuf> = plan.files.iter().cloned().chain(beside).collect();
    if let Some(file) = overwritten(output, &others) {
        let file = file.display();
        return Err(BuildError::Request(format!("the output is {file}, which this build reads; give another -o")));
    }
    if let Some(name) = &plan.data_name
        && overwritten(&name.beside(output), others.iter().chain(&weights)).is_some()
    {
        return Err(BuildError::Request("--external-data-name is a file that this build reads; give another".into()));
    }
    let data = || data_refusal(output, plan.data_name.as_ref(), plan.external, plan.force);
    refusal(output, plan.force, true).or_else(data).map_or(Ok(()), |reason| Err(BuildError::Request(reason)))
}
