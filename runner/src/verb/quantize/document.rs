//! A quantization to be read.

use resnext_builder::precision::Effect;
use resnext_builder::precision::int8::Flavour;

use super::result::Quantized;
use crate::report::document::{Document, Tone};
use crate::report::note::sentences;
use crate::report::number::bytes;
use crate::report::{broken, machine};
use crate::verb::outcome::Report;

/// Multiplications in f32 that are shown; all are in the JSON.
const FLOATS_SHOWN: usize = 10;

/// Describes an int8 file: its form, what stays f32, what it loses, the verdict.
pub fn document(report: &Report<Quantized>) -> Document {
    let mut document = Document::default();
    let Quantized { model, output, calibrated_on, lowering, accuracy, .. } = &report.result;
    document.paragraph(machine(&report.environment));
    document.paragraph(format!(
        "{model} to {output} ({}), ranges of {calibrated_on} images, target {}",
        bytes(lowering.bytes),
        lowering.target
    ));
    if let Effect::Int8(outcome) = &lowering.precision {
        document.paragraph(format!("values: {}", outcome.activations()));
        document.paragraph(format!("weights: {}", outcome.weights()));
        if outcome.flavour == Flavour::Symmetric {
            document.paragraph("the form is TensorRT's by its documentation; what it loses was measured elsewhere");
        }
    }
    let stays = lowering.declined.iter().map(|left| format!("{} {}: {}", left.op, left.node, left.reason));
    document.list("Stays f32", stays.collect());
    if let Some(found) = &report.int8_coverage {
        document.paragraph(format!("on onnxruntime: {found}"));
        document.list("Multiplies in f32", found.sentences(FLOATS_SHOWN));
    }
    document.list("Broken images, which are left out", broken(&report.broken));
    document.list("Notes", sentences(&report.notes));
    let against = match accuracy.labelled {
        true => format!("{} of {} right, {} in f32", accuracy.right_int8, accuracy.images, accuracy.right_f32),
        false => format!("{} of {} answered as in f32 (no labels)", accuracy.right_int8, accuracy.images),
    };
    document.paragraph(format!("{against}: {} lost, {} gained", accuracy.lost, accuracy.gained));
    let loss = format!(
        "{:.2} points lost, with 95% confidence less than {:.2}",
        accuracy.loss_points, accuracy.loss_bound_points
    );
    if report.not_covered {
        let text = "less runs in integers than the target promises; the nodes and the reasons are above";
        document.verdict(text, Tone::Bad);
    }
    match report.max_loss_points {
        None => document.paragraph(loss),
        Some(most) if report.exceeded && accuracy.loss_points <= most => document.verdict(
            format!("{loss}: {} images are too few to show that it is at most {most}; judge by more", accuracy.images),
            Tone::Bad,
        ),
        Some(most) if report.exceeded => document.verdict(
            format!("{loss}: more than {most}; keep the nodes that lose it in f32 with --keep-f32, or calibrate on more images"),
            Tone::Bad,
        ),
        Some(most) => document.verdict(format!("{loss}: at most {most}"), Tone::Good),
    }
    document
}
