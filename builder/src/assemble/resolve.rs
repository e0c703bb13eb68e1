//! Settles what a plan leaves open: the network, its classes, its outputs.

use std::path::{Path, PathBuf};

use super::check::{check_destination, check_effect, check_extents, check_labels, check_outputs, image};
use super::error::BuildError;
use super::plan::{Plan, Weights};
use super::selection;
use super::summary::Progress;
use crate::architecture::{CHANNELS, Options, Output};
use crate::checkpoint::{Checkpoint, Normalisation};
use crate::hub::{self, Hub};
use crate::note::Note;
use crate::published::PublishedWeights;
use crate::random::Random;
use crate::variant::Variant;
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

/// Settles `plan`.
pub(crate) fn resolve(plan: &Plan, progress: &mut dyn FnMut(Progress<'_>)) -> Result<Resolved, BuildError> {
    check_destination(plan)?;
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
    check_outputs(variant, &options.outputs)?;
    check_extents(&options)?;
    check_effect(plan, variant, &options.outputs)?;
    check_labels(plan, options.classes)?;
    Ok(options)
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
