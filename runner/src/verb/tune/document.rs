//! What tuning found, to be read.

use super::result::{Choice, Round, Timing, Trial, Tuned};
use crate::report::document::Column;
use crate::report::document::{Cell, Document, Table, Tone};
use crate::report::machine;
use crate::report::note::sentences;
use crate::report::number::four_digits;
use crate::report::ratio::{ratio_cells, ratio_text};
use crate::verb::outcome::Report;

/// Describes a search: every round, then the winner.
pub fn document(tuned: &Report<Tuned>) -> Document {
    let mut document = Document::default();
    document.aside(|document| document.paragraph(machine(&tuned.environment)));
    let batches: Vec<String> = tuned.tuning.batches.iter().map(ToString::to_string).collect();
    document.paragraph(format!(
        "{} with onnxruntime {}, {} threads, batch {}; candidates are interleaved in random order; speed-ups against the original, intervals 95%; \
         what replaces the original must be faster by intervals that hold for all candidates of a round together",
        tuned.tuning.provider,
        tuned.tuning.library_version,
        tuned.tuning.threads,
        batches.join(", ")
    ));
    for round in &tuned.rounds {
        document.heading(round.name.clone());
        document.table(table(round));
    }
    document.aside(|document| document.list("Notes", sentences(&tuned.notes)));
    let as_they_were = tuned.tuning.stages.iter().all(|stage| stage.width == 1);
    let wide = (!as_they_were).then(|| format!("at least {} channels a group by stage", widths(&tuned.widths())));
    let dense = tuned.tuning.subsample.then(|| "strided 1x1 convolutions made dense".to_owned());
    let what: Vec<String> = wide.into_iter().chain(dense).collect();
    if !tuned.changed {
        let text = "nothing is shown to be faster than the original here: the model stays as it was, byte for byte";
        document.verdict(text, Tone::Good);
    } else {
        document
            .verdict(format!("fastest: {}, {} times as fast", what.join(" and "), ratio_text(tuned.score)), Tone::Good);
    }
    document
}

/// `8, -, 16`: a dash is as it was.
fn widths(widths: &[usize]) -> String {
    let text = |&width: &usize| if width == 1 { "-".to_owned() } else { width.to_string() };
    widths.iter().map(text).collect::<Vec<_>>().join(", ")
}

/// `original`, `8, -, 16`, `8, -, 16, dense`.
fn name(choice: &Choice) -> String {
    let as_it_was = choice.widths.iter().all(|&width| width == 1);
    match (as_it_was, choice.subsample) {
        (true, false) => "original".into(),
        (true, true) => "dense".into(),
        (false, false) => widths(&choice.widths),
        (false, true) => format!("{}, dense", widths(&choice.widths)),
    }
}

fn table(round: &Round) -> Table {
    let mut table = Table::new([
        Column::text("widths"),
        Column::number("batch"),
        Column::number("runs"),
        Column::number("median ms"),
        Column::number("speed-up"),
        Column::text("interval"),
        Column::text("out"),
    ]);
    for trial in &round.trials {
        let name = name(&trial.choice);
        if trial.rows.is_empty() {
            let mut cells: Vec<Cell> = vec![name.into()];
            cells.resize(6, Cell::default());
            cells.push(out(trial));
            table.rows.push(cells);
            continue;
        }
        for timing in &trial.rows {
            let mut cells: Vec<Cell> = vec![
                name.clone().into(),
                timing.batch.to_string().into(),
                timing.runs.to_string().into(),
                four_digits(timing.median_ms).into(),
            ];
            cells.extend(speed_up(timing));
            cells.push(out(trial));
            table.rows.push(cells);
        }
    }
    table.without_empty_columns()
}

fn speed_up(timing: &Timing) -> [Cell; 2] {
    timing.speed_up.as_ref().map_or_else(Default::default, ratio_cells)
}

fn out(trial: &Trial) -> Cell {
    trial.out.as_ref().map_or_else(Cell::default, |reason| Cell::toned(reason.to_string(), Tone::Bad))
}
