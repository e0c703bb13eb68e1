//! Results of `tune` as comma-separated values.

use super::result::{Timing, Tuned};
use crate::report::csv::{number, render, strings};
use crate::report::document::one_line;

/// A line for each candidate of each round at each batch size of a search for the fastest widths; one without numbers
/// for a candidate that was not measured.
pub fn csv(tuned: &Tuned) -> String {
    let heading = strings(&[
        "round",
        "widths",
        "subsample",
        "batch",
        "runs",
        "median_ms",
        "speed_up",
        "speed_up_low",
        "speed_up_high",
        "out",
    ]);
    let trials = tuned.rounds.iter().flat_map(|round| round.trials.iter().map(move |trial| (round, trial)));
    let lines = trials.flat_map(|(round, trial)| {
        let widths: Vec<String> = trial.choice.widths.iter().map(ToString::to_string).collect();
        let out = trial.out.as_ref().map(|out| one_line(&out.to_string())).unwrap_or_default();
        if trial.rows.is_empty() {
            let mut line = vec![round.name.clone(), widths.join(" "), trial.choice.subsample.to_string()];
            line.resize(9, String::new());
            line.push(out);
            return vec![line];
        }
        let line = |timing: &Timing| {
            let ratio = timing.speed_up.as_ref();
            vec![
                round.name.clone(),
                widths.join(" "),
                trial.choice.subsample.to_string(),
                timing.batch.to_string(),
                timing.runs.to_string(),
                timing.median_ms.to_string(),
                number(ratio.map(|ratio| ratio.ratio)),
                number(ratio.and_then(|ratio| ratio.interval).map(|interval| interval[0])),
                number(ratio.and_then(|ratio| ratio.interval).map(|interval| interval[1])),
                out.clone(),
            ]
        };
        trial.rows.iter().map(line).collect()
    });
    render(std::iter::once(heading).chain(lines))
}
