//! Settles what a plan leaves open: the network, its classes, its outputs.

use std::path::{Path, PathBuf};

use super::error::BuildError;
use super::plan::{Destination, LabelsChoice, Plan, PreprocessChoice, Weights};
use super::selection;
use super::summary::Progress;
use crate::architecture::{BlockForm, CHANNELS, Options, Output, StrideIn};
use crate::checkpoint::{Checkpoint, Normalisation};
use crate::graph::Dim;
use crate::hub::{self, Hub};
use crate::note::Note;
use crate::output::{data_refusal, overwritten, refusal};
use crate::precision::Dtype;
use crate::published::PublishedWeights;
use crate::random::Random;
use crate::target::Rationale;
use crate::variant::{Block, Variant};
use crate::weights::{WeightsError, check_variant, inferred};

/// A plan with nothing left open.
pub(crate) struct Resolved {
    pub(crate) variant: Variant,
    pub(crate) options: Options,
    pub(crate) checkpoint: Option<Checkpoint>,
    pub(crate) random: Random,
    /// What the checkpoint normalises images with.
    pub(crate) normalisation: Option<Normalisation>,
    pub(crate) weights_name: String,
    pub(crate) notes: Vec<Note>,
}

/// Settles `plan`. What can be refused without the weights is refused before they are downloaded.
pub(crate) fn resolve(plan: &Plan, progress: &mut dyn FnMut(Progress<'_>)) -> Result<Resolved, BuildError> {
    check_destination(plan)?;
    if plan.calibration.is_some() && plan.lowering.precision.dtype() == Dtype::F32 {
        let reason = "a calibration is for --dtype f16 and int8, and this build is f32; drop it, or give the --dtype";
        return Err(BuildError::Request(reason.into()));
    }
    let mut notes = Vec::new();
    let (variant, checkpoint, head, weights_name) = match &plan.weights {
        Weights::Random { seed } => {
            let variant = plan.variant.clone().ok_or(BuildError::Nothing)?;
            let head = Head { classes: plan.classes, ..Head::default() };
            (variant, None, head, format!("random (seed {seed})"))
        }
        Weights::File(path) => read(plan, path, &mut notes)?,
        // Whoever builds has them fetched before.
        Weights::Remote { .. } => return Err(BuildError::Internal("the weights were not fetched".into())),
        Weights::Published { known, hub } => {
            let path = fetch(plan, known, hub, &mut notes, progress)?;
            read(plan, &path, &mut notes)?
        }
    };
    let options = options(plan, &variant, &head)?;
    let seed = if let Weights::Random { seed } = plan.weights { seed } else { 0 };
    let random = Random { seed, features: variant.features() };
    let normalisation =
        checkpoint.as_ref().map(Checkpoint::normalisation).transpose().map_err(WeightsError::from)?.flatten();
    Ok(Resolved { variant, options, checkpoint, random, normalisation, weights_name, notes })
}

/// The file of a published checkpoint.
fn fetch(
    plan: &Plan,
    known: &PublishedWeights,
    hub: &Hub,
    notes: &mut Vec<Note>,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<PathBuf, BuildError> {
    let variant = Variant::parse(known.model)?;
    let classes = variant.default_classes();
    if let Some(asked) = plan.classes.filter(|asked| *asked != classes) {
        return Err(BuildError::Request(format!(
            "torchvision's weights have {classes} classes, not {asked}; drop --num-classes, or pass --weights FILE"
        )));
    }
    options(plan, &variant, &Head { classes: Some(classes), ..Head::default() })?;
    let fetched = hub::fetch(&known.into(), hub, &mut |event| progress(Progress::Fetching(event)))?;
    let (weights, downloaded, file) = (known.weights.to_owned(), fetched.downloaded, fetched.path.clone());
    notes.push(Note::PublishedWeights { weights, downloaded, file });
    Ok(fetched.path)
}

/// Opens a checkpoint: the network in it, itself, its classes, its name.
fn read(
    plan: &Plan,
    path: &Path,
    notes: &mut Vec<Note>,
) -> Result<(Variant, Option<Checkpoint>, Head, String), BuildError> {
    let checkpoint = Checkpoint::open_with(path, &plan.choice).map_err(WeightsError::from)?;
    let found = inferred(&checkpoint)?;
    if let Some(asked) = &plan.variant {
        check_variant(&checkpoint, asked, &found.variant)?;
    }
    notes.extend(selection::notes(&checkpoint));
    let file = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy();
    let name = format!("{file} ({})", checkpoint.format());
    let classes = check_classes(plan, &checkpoint, found.classes)?;
    let head = Head { channels: found.channels, hidden: found.hidden, classes };
    Ok((found.variant, Some(checkpoint), head, name))
}

/// What a checkpoint settles beside the variant.
struct Head {
    channels: usize,
    hidden: Vec<usize>,
    classes: Option<usize>,
}

impl Default for Head {
    fn default() -> Self {
        Self { channels: CHANNELS, hidden: Vec::new(), classes: None }
    }
}

fn options(plan: &Plan, variant: &Variant, head: &Head) -> Result<Options, BuildError> {
    let mut options = Options::classifier(variant);
    options.batch = plan.batch.clone();
    options.image = image(plan)?.unwrap_or(options.image);
    options.channels = head.channels;
    options.hidden = head.hidden.clone();
    options.classes = head.classes.unwrap_or(options.classes);
    options.block_form = plan.block_form;
    options.stride_in = plan.stride_in;
    if plan.no_top {
        options.outputs = vec![Output::Stage(variant.blocks.len())];
    } else if !plan.outputs.is_empty() {
        options.outputs = plan.outputs.clone();
    }
    check_options(variant, &options)?;
    check_effect(plan, variant, &options)?;
    check_labels(plan, &options)?;
    Ok(options)
}

/// The input's height and width, where they are not the network's own: as asked for, else as given preprocessing crops.
fn image(plan: &Plan) -> Result<Option<[Dim; 2]>, BuildError> {
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

fn check_classes(plan: &Plan, checkpoint: &Checkpoint, found: Option<usize>) -> Result<Option<usize>, BuildError> {
    let path = || checkpoint.path().display().to_string();
    let needs_head = !plan.no_top && (plan.outputs.is_empty() || plan.outputs.contains(&Output::Logits));
    match (plan.classes, found) {
        _ if !needs_head => Ok(None),
        (_, None) => {
            let names = checkpoint.tensors().iter().map(|info| &info.name).filter(|name| name.starts_with("fc."));
            Err(WeightsError::NoHead { path: path(), names: names.cloned().collect() }.into())
        }
        (Some(asked), Some(found)) if asked != found => {
            Err(WeightsError::Classes { path: path(), asked, found }.into())
        }
        (_, found) => Ok(found),
    }
}

fn check_options(variant: &Variant, options: &Options) -> Result<(), BuildError> {
    let stages = variant.blocks.len();
    for (index, output) in options.outputs.iter().enumerate() {
        if let Output::Stage(stage) = output
            && !(1..=stages).contains(stage)
        {
            return Err(BuildError::Request(format!(
                "{variant} has {stages} stages, so its feature maps are c2 to c{}; there is no {}",
                stages + 1,
                output.name()
            )));
        }
        if options.outputs[..index].contains(output) {
            return Err(BuildError::Request(format!("--outputs names {} twice", output.name())));
        }
    }
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
fn check_effect(plan: &Plan, variant: &Variant, options: &Options) -> Result<(), BuildError> {
    let basic = variant.block == Block::Basic;
    let split = options.block_form != BlockForm::Grouped;
    let logits = options.outputs.contains(&Output::Logits);
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
    } else if basic && options.stride_in != StrideIn::default() {
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

fn check_labels(plan: &Plan, options: &Options) -> Result<(), BuildError> {
    let found = match &plan.labels {
        LabelsChoice::Known => return Ok(()),
        LabelsChoice::ImageNet => 1000,
        LabelsChoice::Given(labels) => labels.names.len(),
    };
    let classes = options.classes;
    if found == classes {
        return Ok(());
    }
    Err(BuildError::Request(format!(
        "{found} labels do not go with {classes} classes; --labels takes one a line, by index"
    )))
}

pub(crate) fn check_destination(plan: &Plan) -> Result<(), BuildError> {
    let Destination::File(output) = &plan.destination else {
        if plan.verify {
            let reason = "--verify keeps nothing of a model that differs, and what went to standard output is gone; write to a file with -o";
            return Err(BuildError::Request(reason.into()));
        }
        return Ok(());
    };
    let input = match &plan.weights {
        Weights::File(input) => Some(input.clone()),
        Weights::Published { known, hub } => {
            // Not after the download, which may have taken an hour.
            let folder = output.parent().filter(|folder| !folder.as_os_str().is_empty());
            if folder.is_some_and(|folder| !folder.is_dir()) {
                let source = std::io::Error::new(std::io::ErrorKind::NotFound, "its folder does not exist");
                return Err(BuildError::Output { path: output.display().to_string(), source });
            }
            Some(hub.folder.join(known.file_name()))
        }
        Weights::Random { .. } | Weights::Remote { .. } => None,
    };
    if overwritten(output, input.as_ref()).is_some() {
        return Err(BuildError::Request("the output is the checkpoint itself; give another -o".into()));
    }
    if let Some(file) = overwritten(output, &plan.files) {
        let file = file.display();
        return Err(BuildError::Request(format!("the output is {file}, which this build reads; give another -o")));
    }
    if let Some(name) = &plan.data_name
        && overwritten(&name.beside(output), plan.files.iter().chain(&input)).is_some()
    {
        return Err(BuildError::Request("--external-data-name is a file that this build reads; give another".into()));
    }
    let data = || data_refusal(output, plan.data_name.as_ref(), plan.external, plan.force);
    refusal(output, plan.force, true).or_else(data).map_or(Ok(()), |reason| Err(BuildError::Request(reason)))
}
