//! What a mistyped command line was probably meant to be, where that is not a matter of letters.

use std::path::Path;

use clap::Error;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use onnx_file::kind::{self, Kind};

use crate::variant::Variant;

/// Flags of other tools, and what does the same here.
const FLAGS: [(&str, &str); 14] = [
    ("--fp16", "--dtype f16"),
    ("--half", "--dtype f16"),
    ("--f16", "--dtype f16"),
    ("--checkpoint", "--weights FILE"),
    ("--model", "--variant NAME"),
    ("--arch", "--variant NAME"),
    ("--pretrained", "--weights DEFAULT"),
    ("--img-size", "--image-size H[xW]"),
    ("--input-size", "--image-size H[xW]"),
    ("--batch-size", "--batch N"),
    ("--dynamic-size", "--dynamic-hw"),
    ("--check-forward", "--verify"),
    ("--threads", "no such flag here: building uses no threads of its own"),
    ("--device", "--target for a provider; a build itself needs no device"),
];

/// Values of other tools, for any flag.
const VALUES: [(&str, &str); 8] = [
    ("gpu", "'cuda' or 'tensorrt'"),
    ("trt", "'tensorrt'"),
    ("fp16", "'f16'"),
    ("half", "'f16'"),
    ("float16", "'f16'"),
    ("fp32", "'f32'"),
    ("float32", "'f32'"),
    ("avx512", "'cpu-avx512'"),
];

/// What was probably meant, as a line without its end; takes away a suggestion of clap's that goes by letters alone.
pub fn tip(error: &mut Error) -> Option<String> {
    let said = |kind: ContextKind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.clone()),
        _ => None,
    };
    match error.kind() {
        ErrorKind::UnknownArgument => {
            let flag = said(ContextKind::InvalidArg)?;
            let (_, meant) = FLAGS.iter().find(|(other, _)| *other == flag)?;
            error.insert(ContextKind::SuggestedArg, ContextValue::None);
            // That a flag could be passed as a value is no help to whoever means a flag.
            error.remove(ContextKind::Suggested);
            Some(format!("tip: {flag} is {meant}"))
        }
        ErrorKind::InvalidValue => {
            let value = said(ContextKind::InvalidValue)?;
            let (_, meant) = VALUES.iter().find(|(other, _)| *other == value.to_ascii_lowercase())?;
            error.insert(ContextKind::SuggestedValue, ContextValue::None);
            Some(format!("tip: for '{value}' write {meant}"))
        }
        ErrorKind::InvalidSubcommand => {
            let meant = form(&said(ContextKind::InvalidSubcommand)?)?;
            error.insert(ContextKind::SuggestedSubcommand, ContextValue::None);
            Some(format!("tip: {meant}"))
        }
        _ => None,
    }
}

/// The command that takes what stands where a verb would.
fn form(word: &str) -> Option<String> {
    if word == "build" {
        return Some("building needs no verb: resnext-build --variant 50_32x4d -o model.onnx".into());
    }
    match kind::of(Path::new(word)) {
        Ok(Kind::Onnx) => {
            Some(format!("this is a model: resnext-build inspect {word}, or optimize {word} -o new.onnx"))
        }
        Ok(_) => Some(format!("a checkpoint is built with --weights: resnext-build --weights {word} -o model.onnx")),
        Err(_) if Variant::parse(word).is_ok() => {
            Some(format!("a network is built with --variant: resnext-build --variant {word} -o model.onnx"))
        }
        Err(_) => None,
    }
}
