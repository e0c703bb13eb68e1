//! A calibration to be read.

use crate::report::document::Column;
use std::collections::BTreeSet;

use super::result::{COMFORTABLE, Calibration, Value, Verdict};
use crate::report::document::{Cell, Document, Table, Tone};
use crate::report::note::sentences;
use crate::report::number::{four_digits, percent, scientific, three_digits};
use crate::report::{broken, machine, shell_word};
use crate::stats::range::{F16_NORMAL, f16_headroom};
use crate::verb::outcome::Report;

/// Nodes of each stage that are shown; all are in the JSON.
const EACH: usize = 3;

/// Describes a calibration: the tightest nodes of each stage, the weights, the verdict and the flags that follow from it.
pub fn document(calibration: &Report<Calibration>) -> Document {
    let mut document = Document::default();
    document.aside(|document| document.paragraph(machine(&calibration.environment)));
    document.paragraph(format!(
        "{}: {} on {} with onnxruntime {}",
        calibration.model.file,
        inputs(calibration),
        calibration.provider,
        calibration.loaded.library_version
    ));
    document.heading(format!("The {EACH} nodes of each stage with the least headroom for f16"));
    document.table(tightest(&calibration.values));
    document.paragraph(small(calibration));
    document.paragraph(weights(calibration));
    document.list("Weights beyond f16's range", calibration.weights.overflowing.clone());
    document.list("Weights that are not finite", calibration.weights.not_finite.clone());
    document.list("Broken images, which are left out", broken(&calibration.inputs.broken));
    document.aside(|document| document.list("Notes", sentences(&calibration.notes)));
    if calibration.interrupted {
        document.paragraph("stopped early: these are the ranges of the inputs seen until then");
    }
    verdict(&mut document, calibration);
    document
}

/// `300 images`.
fn inputs(calibration: &Calibration) -> String {
    let inputs = &calibration.inputs;
    let plural = if inputs.count() == 1 { "" } else { "s" };
    match inputs.fed.seed {
        Some(seed) => format!("{} synthetic input{plural}, seed {seed},", inputs.count()),
        None => format!("{} image{plural}", inputs.count()),
    }
}

fn tightest(values: &[Value]) -> Table {
    let columns = [
        Column::text("stage"),
        Column::text("node"),
        Column::text("operator"),
        Column::number("min"),
        Column::number("max"),
        Column::number("max |x|"),
        Column::number("headroom"),
        Column::number("not finite"),
    ];
    let mut table = Table::new(columns);
    for stage in values.chunk_by(|a, b| a.stage == b.stage) {
        // What is not finite comes first: it has no headroom at all.
        let mut order: Vec<&Value> = stage.iter().collect();
        order.sort_by(|a, b| {
            let largest = |value: &Value| value.range.max_abs.unwrap_or(0.0);
            (b.range.non_finite > 0).cmp(&(a.range.non_finite > 0)).then(largest(b).total_cmp(&largest(a)))
        });
        let mut name: Cell = stage[0].stage.clone().into();
        for value in order.into_iter().take(EACH) {
            table.rows.push(row(std::mem::take(&mut name), value));
        }
    }
    table.without_empty_columns()
}

fn row(stage: Cell, value: &Value) -> Vec<Cell> {
    let number = |value: Option<f64>| value.map(four_digits).unwrap_or_default();
    let headroom = value.range.max_abs.and_then(f16_headroom);
    let tone = match headroom {
        Some(headroom) if headroom < 1.0 => Tone::Bad,
        _ => Tone::Plain,
    };
    let not_finite = if value.range.non_finite == 0 { String::new() } else { value.range.non_finite.to_string() };
    vec![
        stage,
        value.range.node.clone().unwrap_or_default().into(),
        value.range.op.clone().unwrap_or_default().into(),
        number(value.range.min).into(),
        number(value.range.max).into(),
        number(value.range.max_abs).into(),
        Cell::toned(headroom.map(three_digits).unwrap_or_default(), tone),
        Cell::toned(not_finite, Tone::Bad),
    ]
}

fn small(calibration: &Calibration) -> String {
    let elements = calibration.elements;
    format!(
        "{} of the elements are not zero and below {}, f16's smallest normal number, where it has fewer digits",
        percent(elements.below_f16_normal as f64 / elements.count.max(1) as f64),
        scientific(F16_NORMAL)
    )
}

fn weights(calibration: &Calibration) -> String {
    let weights = &calibration.weights;
    let (Some(largest), Some(name)) = (weights.max_abs, &weights.largest) else {
        return "the file holds no weights".to_owned();
    };
    let headroom = f16_headroom(largest).map_or_else(|| "any".to_owned(), three_digits);
    format!(
        "{} weights, the largest {} in {name}: headroom {headroom}; {} are not zero and below {}",
        weights.count,
        four_digits(largest),
        percent(weights.below_f16_normal as f64 / weights.count.max(1) as f64),
        scientific(F16_NORMAL)
    )
}

fn verdict(document: &mut Document, calibration: &Calibration) {
    let verdict = &calibration.verdict;
    let headroom = verdict.headroom.map_or_else(|| "any".to_owned(), three_digits);
    if verdict.is_tight() {
        let advice = "more inputs tell whether that is enough";
        document.verdict(
            format!("f16 holds these inputs with a headroom of {headroom}, below {COMFORTABLE}: {advice}"),
            Tone::Plain,
        );
    } else if verdict.f16_safe {
        document.verdict(format!("f16 is safe for these inputs: headroom {headroom}"), Tone::Good);
    } else {
        not_safe(document, calibration);
    }
}

/// What can stay f32, what that does not fix, and how much goes beyond f16's range.
fn not_safe(document: &mut Document, calibration: &Calibration) {
    let verdict = &calibration.verdict;
    if !verdict.keep_f32.is_empty() {
        document.paragraph("these nodes, and those that take what they make, can stay f32:");
        document.paragraph(format!("resnext-build --dtype f16 {}", flags(verdict)));
    }
    if verdict.unfixable {
        let besides = if verdict.keep_f32.is_empty() { "f32 does not fix it" } else { "these flags do not fix that" };
        document.paragraph(format!("what is not finite is so in the model's own arithmetic: {besides}"));
    }
    let count = |n: usize, what: &str| if n == 1 { format!("1 {what} goes") } else { format!("{n} {what}s go") };
    let beyond = if verdict.overflowing.is_empty() {
        let weights: BTreeSet<&String> =
            calibration.weights.overflowing.iter().chain(&calibration.weights.not_finite).collect();
        document.paragraph("no node of the main graph takes these weights, so that none can be named to stay f32");
        count(weights.len(), "weight tensor")
    } else {
        count(verdict.overflowing.len(), "node")
    };
    document.verdict(format!("f16 is not safe: {beyond} beyond its range"), Tone::Bad);
}

/// `--keep-f32 NODE` for each node, as a shell takes it, and `--keep-io-types` before them where that is needed.
fn flags(verdict: &Verdict) -> String {
    let io = verdict.keep_io_types.then(|| "--keep-io-types".to_owned());
    let nodes = verdict.keep_f32.iter().map(|node| format!("--keep-f32 {}", shell_word(node)));
    io.into_iter().chain(nodes).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_quoted_where_a_shell_would_take_them_for_something_else() {
        let names = ["layer1.0.conv2", "/layer1/layer1.0/conv1/Conv", "a b", "$(rm x)", "it's"].map(str::to_owned);
        let verdict = Verdict {
            f16_safe: false,
            largest: Some(1e5),
            headroom: Some(0.655),
            overflowing: vec![],
            keep_f32: names.to_vec(),
            keep_io_types: true,
            unfixable: false,
        };
        let expected = r"--keep-io-types --keep-f32 layer1.0.conv2 --keep-f32 /layer1/layer1.0/conv1/Conv --keep-f32 'a b' --keep-f32 '$(rm x)' --keep-f32 'it'\''s'";
        assert_eq!(flags(&verdict), expected);
    }
}
