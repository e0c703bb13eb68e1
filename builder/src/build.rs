//! A build from plan to file: the chain of the crate's modules, in order.

use std::time::Instant;

use crate::assemble::check::check;
pub use crate::assemble::document::{Document, SCHEMA_VERSION, Written};
pub use crate::assemble::error::BuildError;
use crate::assemble::obtain::obtained;
pub use crate::assemble::plan::{Destination, LabelsChoice, Plan, PreprocessChoice, Weights};
use crate::assemble::resolve::{Resolved, resolve};
use crate::assemble::selection;
pub use crate::assemble::summary::{Progress, Summary};
use crate::assemble::write::{Job, write};
pub use crate::output::{DataName, External};

use crate::architecture::{self, BlockForm};
use crate::cost::{Cost, cost};
use crate::export::export;
use crate::graph::{Dim, Graph};
use crate::passes;
use crate::shape::ShapeError;
use crate::validate::validate;
use crate::weights::{Origin, Source, account};

/// Ten times the largest published network; what is beyond is probably a typo, and would fill the disk.
pub const MOST_PARAMETERS: u64 = 8_000_000_000;

/// Builds what `plan` asks for; `progress` is called during a download and after each weight.
///
/// # Errors
/// [`BuildError`]; no output is left behind, and an old one stays as it was.
pub fn build(plan: &Plan, progress: &mut dyn FnMut(Progress<'_>)) -> Result<Summary, BuildError> {
    let start = Instant::now();
    check(plan)?;
    let (plan, mut notes) = obtained(plan, progress)?;
    let (plan, beside) = &selection::with_sidecar(&plan)?;
    notes.extend(beside.clone());
    let resolved = resolve(plan, progress)?;
    tracing::info!(
        variant = %resolved.variant,
        weights = resolved.weights_name,
        file = resolved.checkpoint.as_ref().map(|checkpoint| tracing::field::display(checkpoint.path().display())),
        "network"
    );
    tracing::info!(target = %plan.rationale.target, precision = %plan.lowering.precision.dtype(), "lowering");
    tracing::debug!(options = ?resolved.options, "options");
    let mut graph = architecture::build(&resolved.variant, &resolved.options)?;
    if let Some(checkpoint) = &resolved.checkpoint {
        account(checkpoint, &resolved.variant, &graph)?;
    }
    let cost = usual_cost(&resolved, &graph)?;
    if cost.parameters > MOST_PARAMETERS {
        let (variant, parameters) = (&resolved.variant, cost.parameters);
        return Err(BuildError::Request(format!(
            "{variant} would have {parameters} parameters; at most {MOST_PARAMETERS} are written (the largest published network of the family has 828 million)"
        )));
    }
    plan.rationale.check(&passes::stages(&graph)).map_err(BuildError::Request)?;
    let runs = passes::run(&mut graph, &plan.lowering)?;
    let valid = validate(&graph)?;
    let name = resolved.variant.to_string();
    let exported = export(valid, &name, plan.versions);
    let origin = match &resolved.checkpoint {
        Some(checkpoint) => Origin::Checkpoint(checkpoint),
        None => Origin::Random(resolved.random),
    };
    let source = match plan.block_form {
        BlockForm::Grouped => Source::new(origin),
        BlockForm::Concat | BlockForm::Branches => Source::remembering(origin),
    };
    let job = Job { plan, resolved: &resolved, valid, runs: &runs };
    let written = write(job, exported, source, progress)?;
    notes.extend(resolved.notes.clone());
    notes.extend(written.notes);
    Ok(Summary {
        variant: name,
        weights: resolved.weights_name.clone(),
        weights_sha256: written.sha256,
        parameters: cost.parameters,
        multiply_adds: cost.multiply_adds,
        precision: written.effect,
        target: plan.rationale.target.clone(),
        reasons: plan.rationale.reasons.clone(),
        passes: runs,
        metadata: written.metadata,
        ends: written.ends,
        files: written.files,
        bytes: written.bytes,
        verified: written.verified,
        seconds: start.elapsed().as_secs_f64(),
        notes,
    })
}

/// What the network costs on images of the size asked for, or of the variant's own where that is left to run time.
fn usual_cost(resolved: &Resolved, graph: &Graph) -> Result<Cost, ShapeError> {
    let mut options = resolved.options.clone();
    if options.image.iter().all(|extent| extent.fixed().is_some()) {
        return Ok(cost(graph));
    }
    let usual = resolved.variant.default_image_size();
    for extent in options.image.iter_mut().filter(|extent| extent.fixed().is_none()) {
        *extent = Dim::Fixed(usual);
    }
    Ok(cost(&architecture::build(&resolved.variant, &options)?))
}
