//! Text for people: the only place that formats.

mod bundle;
mod check;
mod ends;
mod verdict;
mod words;

pub use bundle::bundled;
pub use check::checked;
pub use verdict::verdict;

use ends::{ends, lowering, target};
use onnx_file::metadata::Preprocess;
use onnx_file::text::Lines;

use crate::build::Summary;
use crate::checkpoint::{Naming, Undecided};
use crate::inspect::{Architecture, Content, Inspection, Weights};
use crate::list::Listing;
use crate::optimize::{Optimized, Refusal};
use crate::passes;
use crate::precision::Effect;
use crate::precision::half::{Safety, UNCHECKED};
use crate::precision::int8::{Flavour, Outcome};
use crate::target::Purpose;
use crate::verify::Basis;

pub use words::note;

/// The table of `list`.
pub fn list(listing: &Listing) -> String {
    let mut text = Lines::default();
    let _ = writeln!(
        text,
        "{:<16} {:>10} {:>9} {:>7}  {:<22} {:<26} known checkpoints",
        "variant", "parameters", "mult-adds", "image", "also called", "source"
    );
    for row in &listing.networks {
        let checkpoints: Vec<String> =
            row.checkpoints.iter().map(|known| format!("{} {:.1}%", known.weights, known.top1_percent)).collect();
        let size = format!("{0}x{0}", row.image_size);
        let _ = writeln!(
            text,
            "{:<16} {:>10} {:>9} {:>7}  {:<22} {:<26} {}",
            row.variant,
            millions(row.parameters),
            giga(row.multiply_adds),
            size,
            row.alias.unwrap_or("-"),
            row.source,
            if checkpoints.is_empty() { "-".into() } else { checkpoints.join(", ") }
        );
    }
    let _ = writeln!(
        text,
        "Parameters with 1000 classes (10 for 29_*); percentages are published top-1 accuracies on ImageNet."
    );
    let _ = writeln!(
        text,
        "Every one can be built in {} (--dtype).",
        alternatives(&listing.dtypes.map(|dtype| dtype.name()))
    );
    let _ = writeln!(
        text,
        "Any DEPTH_CxWd works: depths 26, 50, 101, 152, 200; other block counts with --blocks and --planes."
    );
    text.into()
}

/// The text of `inspect`.
pub fn inspection(found: &Inspection) -> String {
    let mut text = Lines::default();
    let mut line = |key: &str, value: String| {
        let _ = writeln!(text, "{key:<13} {value}");
    };
    line("file", format!("{} ({} bytes)", found.file, grouped(found.bytes)));
    if let Some(sha256) = &found.sha256 {
        line("sha256", sha256.clone());
    }
    if let Some(known) = &found.known {
        line("known as", format!("{}: {} weights", known.name(), known.publisher()));
    }
    match &found.content {
        Content::Checkpoint(weights) => {
            let Weights { container, nested_under, prefix, naming, others, classifier, undecided, left_out, skipped } =
                &**weights;
            line("container", format!("checkpoint, {container}"));
            if let Some(key) = nested_under {
                line("weights", format!("under the key '{key}'"));
            }
            if !others.is_empty() {
                let others: Vec<String> = others.iter().map(ToString::to_string).collect();
                line("other weights", format!("{}; --weights-key takes them", others.join(", ")));
            }
            if let Some(prefix) = prefix {
                line("prefix", format!("'{prefix}' on the network's names, removed"));
            }
            if *naming != Naming::Torchvision {
                line("names", words::naming_of(*naming).to_owned());
            }
            if !classifier.is_empty() && classifier[..] != ["fc"] {
                line("classifier", classifier.join(", "));
            }
            match undecided {
                None => {}
                Some(Undecided::Prefixes { known }) => line("to choose", format!("--prefix {}", known.join(" or "))),
                Some(Undecided::Heads { known, .. }) => {
                    line("to choose", format!("the classifier, by --drop-head of the others: {}", known.join(", ")));
                }
            }
            if !left_out.is_empty() {
                line("left out", left_out.join(", "));
            }
            if !skipped.is_empty() {
                line("skipped", format!("{} (not built)", skipped.join(", ")));
            }
        }
        Content::Onnx(onnx) => {
            let opsets: Vec<String> = onnx.opsets.iter().map(|(domain, v)| format!("{domain} {v}")).collect();
            line("container", format!("ONNX, IR {}, opset {}", onnx.ir_version, opsets.join(", ")));
            line("producer", onnx.producer.clone());
            line("dtype", onnx.dtype.clone().unwrap_or_else(|| "none".into()));
            line("inputs", joined(&onnx.inputs));
            line("outputs", joined(&onnx.outputs));
            line("operators", counts(&onnx.operators));
            if !onnx.grouped_convolutions.is_empty() {
                line("grouped", counts_by(&onnx.grouped_convolutions, |group| format!("group {group}")));
            }
            for (key, value) in &onnx.metadata {
                let short: String = value.chars().take(100).collect();
                let more = if short.len() < value.len() { "..." } else { "" };
                line("metadata", format!("{key} = {short}{more}"));
            }
        }
    }
    line("tensors", format!("{} ({})", found.tensors, counts(&found.element_types)));
    match &found.architecture {
        Architecture::Unknown(reason) => line("architecture", format!("unknown: {reason}")),
        Architecture::Inferred(inferred) => {
            let classes = inferred.classes.map_or("no classifier".into(), |n| format!("{n} classes"));
            let (parameters, cost) = (grouped(inferred.parameters), giga(inferred.multiply_adds));
            line(
                "architecture",
                format!("{}, {classes}, {parameters} parameters, {cost} multiply-adds", inferred.variant),
            );
            for form in &inferred.form {
                line("form", form.clone());
            }
            if matches!(found.content, Content::Onnx(_)) {
                let [height, width] = inferred.image_size;
                line("costs", format!("for one image of {height}x{width}"));
            }
            stages(&mut text, inferred);
        }
    }
    if let Some(tensors) = &found.tensor_list {
        let _ = writeln!(text);
        for tensor in tensors {
            let _ = writeln!(text, "{:<6} {:<20} {}", tensor.element_type, format!("{:?}", tensor.shape), tensor.name);
        }
    }
    text.into()
}

fn joined(items: &[impl std::fmt::Display]) -> String {
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn stages(text: &mut Lines, inferred: &crate::inspect::Inferred) {
    let _ = writeln!(text);
    let _ = writeln!(
        text,
        "{:<7} {:>6} {:>6} {:>6} {:>12} {:>8} {:>9} {:>11} {:>9}",
        "stage", "blocks", "groups", "width", "width/group", "out", "size", "parameters", "mult-adds"
    );
    let cell = |value: Option<usize>| value.map_or("-".into(), |v| v.to_string());
    for stage in &inferred.stages {
        let per_group = stage.width.zip(stage.cardinality).map(|(w, c)| w / c);
        let size = stage.out_size.map_or("-".into(), |[h, w]| format!("{h}x{w}"));
        let _ = writeln!(
            text,
            "{:<7} {:>6} {:>6} {:>6} {:>12} {:>8} {:>9} {:>11} {:>9}",
            stage.name,
            cell(stage.blocks),
            cell(stage.cardinality),
            cell(stage.width),
            cell(per_group),
            stage.out_channels,
            size,
            grouped(stage.parameters),
            giga(stage.multiply_adds)
        );
    }
}

/// The line after a build without a checkpoint, which even those need who want no summary; empty after one with it.
pub fn random_weights(summary: &Summary) -> String {
    let mut text = Lines::default();
    random(&mut text, summary);
    text.into()
}

fn random(text: &mut Lines, summary: &Summary) {
    if summary.weights_sha256.is_none() {
        let _ = writeln!(text, "note: weights: {}; pass --weights FILE for trained ones", summary.weights);
    }
}

/// The lines after a build.
pub fn summary(summary: &Summary) -> String {
    let mut text = Lines::default();
    random(&mut text, summary);
    for note in &summary.notes {
        let _ = writeln!(text, "note: {note}");
    }
    lowering(&mut text, &summary.target, &summary.reasons);
    if let Effect::F16(safety) = &summary.precision {
        half(&mut text, safety);
    }
    if let Effect::Int8(outcome) = &summary.precision {
        integers(&mut text, outcome);
    }
    let passes = passes::summary(&summary.passes);
    let files = target(&summary.files);
    let _ = writeln!(
        text,
        "{}: {}{} parameters, {} multiply-adds, weights {}{}",
        summary.variant,
        match summary.precision {
            Effect::F32 => String::new(),
            Effect::F16(_) | Effect::Int8(_) => format!("{}, ", summary.precision.dtype()),
        },
        millions(summary.parameters),
        giga(summary.multiply_adds),
        summary.weights,
        if passes.is_empty() { String::new() } else { format!(", passes {passes}") }
    );
    ends(&mut text, &summary.ends);
    if let Some(verdict) = &summary.verified {
        let [height, width] = verdict.image_size;
        let _ = writeln!(
            text,
            "verified: computes what {} means, within {:.1e} (relative L2, at most {:.0e}) on {height}x{width} images{}",
            verdict.weights,
            verdict.largest(),
            verdict.tolerance,
            if verdict.basis == Basis::Rounded { ", its weights rounded to f16" } else { "" }
        );
    }
    let _ = writeln!(text, "{files}: {:.1} MB in {:.2} s", summary.bytes as f64 / 1e6, summary.seconds);
    text.into()
}

/// Why f16 is safe here, or that it is not shown.
fn half(text: &mut Lines, safety: &Safety) {
    let _ = writeln!(text, "f16: {}", safety.weights);
    match &safety.activations {
        Some(activations) => drop(writeln!(text, "f16: {activations}")),
        None => drop(writeln!(text, "f16: {UNCHECKED}")),
    }
    if !safety.kept.is_empty() {
        let _ = writeln!(text, "f16: kept in f32: {}", safety.kept.join(", "));
    }
}

/// What became integers, and how.
fn integers(text: &mut Lines, outcome: &Outcome) {
    let _ = writeln!(text, "int8: values: {}", outcome.activations());
    let _ = writeln!(text, "int8: weights: {}", outcome.weights());
    if !outcome.kept.is_empty() {
        let _ = writeln!(text, "int8: kept in f32: {}", outcome.kept.join(", "));
    }
    if outcome.flavour == Flavour::Symmetric {
        let _ = writeln!(text, "int8: the form is TensorRT's by its documentation; it was checked, not run");
    }
}

/// The lines after a rewrite.
pub fn optimized(summary: &Optimized) -> String {
    let mut text = Lines::default();
    lowering(&mut text, &summary.target, &summary.reasons);
    for rewrite in &summary.rewritten {
        let _ = writeln!(text, "{}: {} -> {}", rewrite.node, rewrite.from, rewrite.to);
    }
    let mut reasons: Vec<(&str, &Refusal)> = Vec::new();
    for declined in &summary.declined {
        let key = (declined.op.as_str(), &declined.reason.0);
        if !reasons.contains(&key) {
            reasons.push(key);
        }
    }
    for (op, reason) in reasons {
        let same = summary.declined.iter().filter(|d| d.op == op && d.reason.0 == *reason);
        let nodes: Vec<&str> = same.map(|declined| declined.node.as_str()).collect();
        let more = if nodes.len() > 1 { format!(" and {} more", nodes.len() - 1) } else { String::new() };
        let _ = writeln!(text, "left as it is: {op} {}{more}: {reason}", nodes[0]);
    }
    if let Some(count) = summary.labels {
        let _ = writeln!(text, "stored: {count} labels");
    }
    if let Some(Preprocess { resize, crop, .. }) = &summary.preprocess {
        let _ = writeln!(text, "stored: preprocessing, resize {resize} and crop {crop}");
    }
    ends(&mut text, &summary.ends);
    let passes = passes::summary(&summary.passes);
    let _ = writeln!(
        text,
        "{} of {} nodes changed ({}), {} passed through",
        summary.nodes - summary.untouched,
        summary.nodes,
        passes,
        summary.untouched
    );
    if summary.target == Purpose::default() && summary.untouched == summary.nodes && summary.ends.is_empty() {
        let _ = writeln!(
            text,
            "nothing to do for every provider alike; --target cpu, --group-width N or --tuning FILE asks for more"
        );
    }
    let _ =
        writeln!(text, "{}: {:.1} MB in {:.2} s", target(&summary.files), summary.bytes as f64 / 1e6, summary.seconds);
    text.into()
}

fn counts(counts: &std::collections::BTreeMap<String, usize>) -> String {
    counts_by(counts, String::clone)
}

fn counts_by<K>(counts: &std::collections::BTreeMap<K, usize>, name: impl Fn(&K) -> String) -> String {
    counts.iter().map(|(key, n)| format!("{} x{n}", name(key))).collect::<Vec<_>>().join(", ")
}

/// `f32, f16 or int8`.
fn alternatives(names: &[&str]) -> String {
    match names {
        [first @ .., last] if !first.is_empty() => format!("{} or {last}", first.join(", ")),
        _ => names.concat(),
    }
}

fn millions(n: u64) -> String {
    format!("{:.1} M", n as f64 / 1e6)
}

fn giga(n: u64) -> String {
    format!("{:.2} G", n as f64 / 1e9)
}

/// 25028904 as 25,028,904.
fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
