//! How fast is each model on each provider, at each batch size, and how surely is one faster than another?
//!
//! All candidates are open at once and take turns: every round measures one block of each row, in random order, so that
//! whatever slows the machine for a while slows every row. Raw samples are kept, whatever happens.

use super::gpu;
use super::plan;
use super::rows;
use super::warmup;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use serde::Serialize;

use crate::host::environment::{Environment, load_average_now};
use crate::input::feed::Feed;
use crate::model::candidate::{Candidate, Phase, Progress};
use crate::model::file::ModelFile;
use crate::model::opened::{Block, Loaded, Model, ModelError};
use crate::model::tensor::Tensor;
use crate::note::Note;
use crate::stats::random::SplitMix64;
use crate::verb::outcome::Report;
use crate::verb::regression::Gated;
use onnx_file::budget::Budget;

use super::gpu::GpuState;
use super::plan::Plan;
use super::rows::{BlockOfRuns, Input, Row};

/// Before each block one run is made and left out, because the rows before it have emptied the caches; not where a run
/// takes longer than this many seconds, since refilling them is then no matter.
const LONG_RUN: f64 = 0.1;

/// One process of a candidate.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Process {
    /// Library version, options, placement and cold start; absent where it could not be opened.
    pub loaded: Option<Loaded>,
    /// Peak resident set of the process, over all batch sizes, in bytes.
    pub peak_resident_bytes: Option<u64>,
    /// Device memory in use after the last run, in bytes.
    pub device_bytes: Option<u64>,
    /// Why it could not be opened, or what ended it.
    pub error: Option<ModelError>,
}

/// One model on one provider.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Measured {
    /// Model file.
    pub model: String,
    /// SHA-256 of the file.
    pub model_sha256: Option<String>,
    /// Provider.
    pub provider: String,
    /// Its processes, one after the other.
    pub processes: Vec<Process>,
    /// Whether its grouped convolutions are as `resnext-build` wrote them, for no provider.
    #[serde(skip)]
    pub grouped: bool,
}

/// The whole benchmark.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Bench {
    /// Load average after the last run.
    pub load_average_after: Option<[f64; 3]>,
    /// What was asked for.
    pub plan: Plan,
    /// The candidates, in the order asked for.
    pub candidates: Vec<Measured>,
    /// One row for each candidate, batch size and scope.
    pub rows: Vec<Row>,
    /// State of the GPUs before each round and after the last; empty without GPUs.
    pub gpus: Vec<GpuState>,
    /// The verdict, where one was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gate: Option<Gated>,
}

impl Bench {
    /// Why rows have no result or an incomplete one, one for each such row.
    pub fn errors(&self) -> impl Iterator<Item = &ModelError> {
        self.rows.iter().filter_map(|row| row.error.as_ref())
    }
}

/// Measures the candidates. Setting `stop` ends it after the runs of about a second; what was measured is kept.
pub fn bench(
    candidates: &mut [Candidate<'_>],
    plan: &Plan,
    stop: &AtomicBool,
    progress: &mut dyn FnMut(&Progress),
) -> Report<Bench> {
    let environment = Environment::read();
    let mut rows = Row::all(candidates, plan);
    let mut measured: Vec<Measured> = candidates.iter().map(Measured::of).collect();
    let mut random = SplitMix64::new(plan.seed);
    let has_gpus = !environment.host.gpus.is_empty();
    let others = if has_gpus { gpu::processes() } else { Vec::new() };
    let mut gpus = has_gpus.then(Vec::new);
    let mut interrupted = false;
    let mut processes = plan.processes;
    for process in 0.. {
        let mut turn = Turn { process, plan, processes, stop, cut: false, random: &mut random, gpus: &mut gpus };
        turn.measure(candidates, &mut measured, &mut rows, progress);
        processes = turn.processes;
        interrupted |= turn.cut;
        if interrupted || processes.is_none_or(|processes| process + 1 >= processes) {
            break;
        }
    }
    rows::summarise(&mut rows, plan);
    let loaded = measured.iter().flat_map(|measured| &measured.processes).filter_map(|p| p.loaded.as_ref());
    let gpus = gpus.unwrap_or_default();
    let doubts = environment.warnings().into_iter().chain(gpu::warnings(&gpus, &others));
    let notes = doubts.chain(Note::library(loaded)).chain(rows::baselines(&rows)).collect();
    let bench = Bench {
        load_average_after: load_average_now(),
        plan: plan.clone(),
        candidates: measured,
        rows,
        gpus,
        gate: None,
    };
    Report { environment, notes, interrupted, result: bench }
}

impl Measured {
    fn of(candidate: &Candidate<'_>) -> Self {
        Measured {
            model: candidate.model.clone(),
            model_sha256: candidate.sha256(),
            provider: candidate.provider.clone(),
            processes: Vec::new(),
            grouped: candidate.file.is_some_and(ModelFile::has_plain_groups),
        }
    }
}

/// An open candidate, or why it could not be opened or is gone.
type Opened<'a> = Result<(Box<dyn Model + 'a>, Feed), ModelError>;

/// Opens a candidate. What its file says is checked before, since opening may take minutes.
fn open_and_feed<'a>(candidate: &mut Candidate<'a>) -> Opened<'a> {
    if let Some(file) = candidate.file {
        Feed::of_file(file).map_err(|error| ModelError::BadModel(error.to_string()))?;
    }
    let model = candidate.open()?;
    let feed = Feed::of_opened(candidate, model.as_ref())?;
    Ok((model, feed))
}

/// One pass through the plan with fresh processes.
struct Turn<'p> {
    process: usize,
    plan: &'p Plan,
    /// How many processes there will be; settled by the first turn where the plan leaves it open.
    processes: Option<usize>,
    stop: &'p AtomicBool,
    /// Whether it was stopped with something left to do.
    cut: bool,
    random: &'p mut SplitMix64,
    /// Where the state of the GPUs goes, if there are any.
    gpus: &'p mut Option<Vec<GpuState>>,
}

impl Turn<'_> {
    fn measure(
        &mut self,
        candidates: &mut [Candidate<'_>],
        measured: &mut [Measured],
        rows: &mut [Row],
        progress: &mut dyn FnMut(&Progress),
    ) {
        let mut open: Vec<Opened<'_>> = Vec::new();
        let total = candidates.len();
        let start = Instant::now();
        for (done, (candidate, measured)) in candidates.iter_mut().zip(&mut *measured).enumerate() {
            if self.stopped() {
                return;
            }
            progress(&Progress::new(Phase::Loading, candidate.name(), done, total));
            open.push(self.open(candidate, measured));
        }
        let inputs = self.warm_up(&mut open, rows, progress);
        let start_s = start.elapsed().as_secs_f64();
        let processes = *self.processes.get_or_insert_with(|| {
            let last_window = |row: &Row| row.warmups.last().and_then(|warmed| warmed.windows_ms.last().copied());
            let runs_ms: f64 = rows.iter().filter_map(last_window).sum();
            self.plan.affordable(rows.len(), start_s, runs_ms / 1e3)
        });
        self.rounds(&mut open, rows, &inputs, &self.plan.of_each(processes), progress);
        for (open, measured) in open.iter_mut().zip(measured) {
            let (Ok((model, ..)), Some(process)) = (open, measured.processes.last_mut()) else { continue };
            if let Ok(memory) = model.memory() {
                process.peak_resident_bytes = memory.peak_resident;
                process.device_bytes = memory.device;
            }
        }
    }

    fn open<'a>(&self, candidate: &mut Candidate<'a>, measured: &mut Measured) -> Opened<'a> {
        let opened = open_and_feed(candidate);
        let loaded = opened.as_ref().ok().map(|(model, ..)| model.loaded().clone());
        let error = opened.as_ref().err().cloned();
        measured.processes.push(Process { loaded, peak_resident_bytes: None, device_bytes: None, error });
        opened
    }

    /// Whether to stop; asked only while something is left to do.
    fn stopped(&mut self) -> bool {
        self.cut |= self.stop.load(Ordering::Relaxed);
        self.cut
    }

    /// Warms every row up; returns the rows' inputs, empty for those that cannot go on.
    fn warm_up(
        &mut self,
        open: &mut [Opened<'_>],
        rows: &mut [Row],
        progress: &mut dyn FnMut(&Progress),
    ) -> Vec<Vec<Tensor>> {
        let total = rows.len();
        let mut inputs = Vec::new();
        // The inputs of all rows are held until the last round.
        let mut budget = Budget::new();
        for (done, row) in rows.iter_mut().enumerate() {
            progress(&Progress::new(Phase::WarmingUp, row.name(), done, total));
            inputs.push(self.warm_up_row(open, row, &mut budget));
        }
        inputs
    }

    fn warm_up_row(&mut self, open: &mut [Opened<'_>], row: &mut Row, budget: &mut Budget) -> Vec<Tensor> {
        let (model, feed) = match &mut open[row.candidate] {
            Ok(opened) => opened,
            Err(error) => {
                row.error.get_or_insert(error.clone());
                return Vec::new();
            }
        };
        if row.error.is_some() || self.stopped() {
            return Vec::new();
        }
        if let Some(fixed) = feed.fixed_batch().filter(|&fixed| fixed != row.batch) {
            let reason = format!("the model's batch size is fixed at {fixed}");
            row.error = Some(ModelError::BadInput(reason));
            return Vec::new();
        }
        let inputs = match feed.synthetic_within(budget, row.batch, self.plan.seed) {
            Ok(inputs) => inputs,
            Err(over) => {
                row.error = Some(ModelError::OutOfMemory(over.to_string()));
                return Vec::new();
            }
        };
        row.inputs = Some(inputs.iter().map(Input::from).collect());
        match warmup::warm_up(model.as_mut(), &inputs, row.scope, self.plan, self.stop) {
            Ok(warmed) => row.warmups.push(warmed),
            Err(error) => self.lose(open, row, error),
        }
        if row.error.is_some() { Vec::new() } else { inputs }
    }

    fn rounds(
        &mut self,
        open: &mut [Opened<'_>],
        rows: &mut [Row],
        inputs: &[Vec<Tensor>],
        share: &Plan,
        progress: &mut dyn FnMut(&Progress),
    ) {
        for round in 0.. {
            let wanted = |row: &Row| {
                let (runs, seconds) = row.so_far(self.process);
                share.block(row.scope, round, runs, seconds).filter(|_| row.error.is_none())
            };
            let mut order: Vec<usize> =
                (0..rows.len()).filter(|&at| !inputs[at].is_empty() && wanted(&rows[at]).is_some()).collect();
            if let Some(states) = self.gpus {
                states.extend(gpu::read(round));
            }
            if order.is_empty() {
                return;
            }
            let alone = order.len() == 1;
            self.random.shuffle(&mut order);
            for (step, &at) in order.iter().enumerate() {
                if self.stopped() {
                    return;
                }
                let total = share.rounds.max(round + 1) * order.len();
                let (done, processes) = (round * order.len() + step, self.processes.unwrap_or(1).max(self.process + 1));
                let done = self.process * total + done;
                progress(&Progress::new(Phase::Measuring, rows[at].name(), done, processes * total));
                let (runs, seconds) = rows[at].so_far(self.process);
                let Some(block) = share.block(rows[at].scope, round, runs, seconds) else { continue };
                self.block(open, &mut rows[at], &inputs[at], (round, block), alone);
            }
        }
    }

    fn block(
        &self,
        open: &mut [Opened<'_>],
        row: &mut Row,
        inputs: &[Tensor],
        (round, block): (usize, Block),
        alone: bool,
    ) {
        let model = match &mut open[row.candidate] {
            Ok((model, ..)) => model,
            Err(error) => {
                row.error.get_or_insert(error.clone());
                return;
            }
        };
        let settle = !alone && row.last_run(self.process).is_none_or(|seconds| seconds < LONG_RUN);
        let settled = if settle { model.time(inputs, Plan::runs(row.scope, 1)).map(drop) } else { Ok(()) };
        match settled.and_then(|()| self.time(model.as_mut(), inputs, block)) {
            Ok(samples) if samples.is_empty() => {
                row.error = Some(ModelError::Failed("a block of runs gave no sample".into()));
            }
            Ok(samples) => {
                let samples_ms = samples.into_iter().map(|seconds| seconds * 1e3).collect();
                row.blocks.push(BlockOfRuns { process: self.process, round, settled: settle, samples_ms });
            }
            Err(error) => self.lose(open, row, error),
        }
    }

    /// Times a block in slices, so that a stop is noticed.
    fn time(&self, model: &mut dyn Model, inputs: &[Tensor], block: Block) -> Result<Vec<f64>, ModelError> {
        let mut samples: Vec<f64> = Vec::new();
        let mut seconds = 0.0;
        loop {
            let max_seconds = plan::SLICE.min(block.max_seconds - seconds);
            let slice = model.time(inputs, Block { max_runs: block.max_runs - samples.len(), max_seconds, ..block })?;
            seconds += slice.iter().sum::<f64>();
            let over = slice.is_empty() || seconds >= block.max_seconds || self.stop.load(Ordering::Relaxed);
            samples.extend(slice);
            if over || samples.len() >= block.max_runs {
                return Ok(samples);
            }
        }
    }

    /// Notes the error; a model whose process is gone takes no more turns, for no row.
    fn lose(&self, open: &mut [Opened<'_>], row: &mut Row, error: ModelError) {
        if matches!(error, ModelError::Crashed(_) | ModelError::TimedOut(_)) {
            open[row.candidate] = Err(error.clone());
        }
        row.error = Some(error);
    }
}

#[cfg(test)]
mod tests;
