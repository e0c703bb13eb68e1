//! The rounds of a search: candidates are written, checked against the original, and measured interleaved.

use crate::verb::bench::rows::Row;
use std::sync::atomic::{AtomicBool, Ordering};

use resnext_builder::optimize::Model;

use super::files::Folder;
use super::result::{Choice, Out, Request, Round, Timing, Trial, TuneError};
use crate::host::environment::Environment;
use crate::input::feed::Feed;
use crate::input::shapes::demands;
use crate::model::candidate::{Candidate, Candidates, Phase, Progress};
use crate::model::file::MetadataError;
use crate::model::file::ModelFile;
use crate::model::opened::ModelError;
use crate::note::Note;
use crate::stats::ratio::{Turn, mean_ratio};
use crate::verb::bench::measurement as bench;
use crate::verb::bench::measurement::Bench;
use crate::verb::bench::plan::Plan;
use crate::verb::compare::comparison as compare;
use crate::verb::compare::tolerance::ToleranceOverride;
use crate::verb::outcome::Report;

/// Steps of one round on the progress bar.
const STEPS: usize = 1000;

/// What all rounds share.
pub(crate) struct About {
    pub(crate) provider: String,
    pub(crate) library_version: String,
    pub(crate) environment: Environment,
    pub(crate) notes: Vec<Note>,
}

impl About {
    /// Where no round was measured.
    fn unknown() -> About {
        let environment = Environment::read();
        About { provider: String::new(), library_version: String::new(), environment, notes: Vec::new() }
    }
}

pub(crate) struct Search<'s> {
    request: &'s Request,
    model: &'s Model,
    folder: &'s Folder,
    candidates: &'s dyn Candidates,
    stop: &'s AtomicBool,
    progress: &'s mut dyn FnMut(&Progress),
    /// Rounds there will be, for the progress bar.
    expected: usize,
    rounds: Vec<Round>,
    about: Option<About>,
}

impl<'s> Search<'s> {
    pub(crate) fn new(
        request: &'s Request,
        model: &'s Model,
        folder: &'s Folder,
        candidates: &'s dyn Candidates,
        stop: &'s AtomicBool,
        progress: &'s mut dyn FnMut(&Progress),
        expected: usize,
    ) -> Self {
        Search { request, model, folder, candidates, stop, progress, expected, rounds: Vec::new(), about: None }
    }

    /// Measures candidates, interleaved; the first must be the original.
    pub(crate) fn round(&mut self, name: String, trials: &[Choice], plan: &Plan) -> Result<Round, TuneError> {
        let mut paths = vec![self.request.model.clone()];
        for choice in &trials[1..] {
            self.go_on()?;
            paths.push(self.folder.write(self.model, choice)?);
        }
        let mut files = paths.iter().map(|path| ModelFile::read(path)).collect::<Result<Vec<_>, _>>()?;
        for file in &mut files {
            file.shape(&self.request.shapes)?;
        }
        let candidates = self.candidates.of(&files, &demands(&files, &plan.batches));
        let mut candidates: Vec<_> = candidates.into_iter().map(|one| stoppable(one, self.stop)).collect();
        let out = self.check(&files, &mut candidates)?;
        self.go_on()?;
        let (base, total) = (self.rounds.len() * STEPS, self.expected * STEPS);
        let progress = &mut *self.progress;
        let shown = &mut |inner: &Progress| {
            // Loading and warming up count for nothing, so that the time left follows the measuring.
            let measuring = inner.phase == Phase::Measuring && inner.total > 0;
            let part = if measuring { STEPS * inner.done.min(inner.total) / inner.total } else { 0 };
            progress(&Progress { round: Some(name.clone()), done: base + part, total, ..inner.clone() });
        };
        let measured = bench::bench(&mut candidates, plan, self.stop, shown);
        drop(candidates);
        self.go_on()?;
        if let Some(error) = measured.rows.iter().filter(|row| row.candidate == 0).find_map(|row| row.error.clone()) {
            let model = self.request.name.clone();
            return Err(TuneError::Original { model, source: error });
        }
        let trials = trials.iter().zip(out).enumerate();
        let trials = trials.map(|(index, (choice, out))| trial(&measured, index, choice.clone(), out)).collect();
        let round = Round { name, trials };
        self.remember(measured);
        self.rounds.push(round.clone());
        self.folder.clear();
        Ok(round)
    }

    fn go_on(&self) -> Result<(), TuneError> {
        if self.stop.load(Ordering::Relaxed) { Err(TuneError::Interrupted) } else { Ok(()) }
    }

    /// Why each candidate does not compute what the original computes, or that it does.
    fn check(&mut self, files: &[ModelFile], candidates: &mut [Candidate<'_>]) -> Result<Vec<Option<Out>>, TuneError> {
        let feed = Feed::of_file(&files[0])?;
        let batch = feed.fixed_batch().unwrap_or(1);
        let inputs = feed
            .synthetic(batch, self.request.plan.seed)
            .map_err(|source| MetadataError::Budget { path: files[0].path.clone(), source })?;
        let request = compare::Request {
            inputs: &inputs,
            inputs_source: "noise".into(),
            reference: None,
            batch,
            tolerance: ToleranceOverride::default(),
        };
        let (comparison, _) = compare::compare(candidates, &request, &mut |_| {});
        Ok(comparison
            .rows
            .iter()
            .map(|row| match row.status {
                compare::Status::Reference | compare::Status::Agrees => None,
                _ => Some(match row.error.clone() {
                    Some(error) => Out::Failed { error },
                    None => Out::Differs { differences: row.failures.clone() },
                }),
            })
            .collect())
    }

    fn remember(&mut self, measured: Report<Bench>) {
        let loaded = measured.candidates.first().and_then(|c| c.processes.first()).and_then(|p| p.loaded.as_ref());
        let about = About {
            provider: measured.candidates.first().map(|c| c.provider.clone()).unwrap_or_default(),
            library_version: loaded.map(|loaded| loaded.library_version.clone()).unwrap_or_default(),
            environment: measured.environment,
            notes: measured.notes,
        };
        self.about.get_or_insert(about);
    }

    /// The rounds, and what they share.
    pub(crate) fn finish(self) -> (Vec<Round>, About) {
        (self.rounds, self.about.unwrap_or_else(About::unknown))
    }
}

/// A candidate that no longer opens once the search is to stop.
fn stoppable<'a>(candidate: Candidate<'a>, stop: &'a AtomicBool) -> Candidate<'a> {
    let Candidate { model, file, provider, mut open } = candidate;
    let open = move |path: &std::path::Path| {
        if stop.load(Ordering::Relaxed) { Err(ModelError::Failed("interrupted".to_owned())) } else { open(path) }
    };
    Candidate { model, file, provider, open: Box::new(open) }
}

fn trial(measured: &Bench, index: usize, choice: Choice, out: Option<Out>) -> Trial {
    let rows: Vec<&Row> = measured.rows.iter().filter(|row| row.candidate == index).collect();
    let timing = |row: &&Row| {
        let summary = row.latency_ms.as_ref()?;
        let speed_up = row.speed_up.as_ref().map(|speed_up| speed_up.ratio.clone());
        Some(Timing { batch: row.batch, runs: summary.n, median_ms: summary.median, speed_up })
    };
    let timings: Vec<Timing> = rows.iter().filter_map(timing).collect();
    let error = rows.iter().find_map(|row| row.error.clone()).map(|error| Out::Failed { error });
    let missing = (timings.len() < rows.len()).then_some(Out::NotMeasured);
    let out = out.or(error).or(missing);
    if index == 0 {
        return Trial { choice, rows: timings, score: out.is_none().then_some(1.0), gain: None, out };
    }
    let original = |row: &&Row| measured.rows.iter().find(|other| other.candidate == 0 && other.batch == row.batch);
    let pairs: Vec<Vec<Turn>> = rows.iter().filter_map(|row| Some(row.beside(original(row)?))).collect();
    let gain = if out.is_none() { mean_ratio(&pairs, measured.candidates.len() - 1) } else { None };
    Trial { choice, rows: timings, score: gain.as_ref().map(|gain| gain.ratio), gain, out }
}
