//! Several workers with the same model that share every batch: on many small cores a thread each does more in all than
//! all threads on one node at a time.

use crate::backend::onnxruntime::spec::Spec;
use crate::model::batch::{join, one_row_a_image};
use crate::model::coverage::Coverage;
use crate::model::opened::{Block, Loaded, Memory, Model, ModelError, Ports};
use crate::model::tensor::Tensor;

use super::{Launcher, Worker};

/// Copies of one model; there is at least one.
#[derive(Debug)]
pub struct Copies {
    first: Worker,
    others: Vec<Worker>,
    loaded: Loaded,
}

impl Launcher {
    /// Loads a model in `copies` workers. The model must leave its batch size open, and give one row an image.
    ///
    /// # Errors
    /// As [`Launcher::load`].
    pub fn load_copies(&self, spec: &Spec, copies: usize) -> Result<Copies, ModelError> {
        let first = self.load(spec)?;
        let others = (1..copies).map(|_| self.load(spec)).collect::<Result<Vec<_>, _>>()?;
        let mut loaded = first.loaded().clone();
        loaded.options.insert("copies".to_owned(), copies.max(1).to_string());
        Ok(Copies { first, others, loaded })
    }
}

impl Model for Copies {
    fn loaded(&self) -> &Loaded {
        &self.loaded
    }

    fn ports(&self) -> &Ports {
        self.first.ports()
    }

    fn run(&mut self, inputs: &[Tensor]) -> Result<Vec<Tensor>, ModelError> {
        let rows = inputs.first().and_then(|input| input.shape.first()).copied().unwrap_or(0);
        let share = rows.div_ceil(1 + self.others.len()).max(1);
        if rows <= share {
            return self.first.run(inputs);
        }
        let workers = std::iter::once(&mut self.first).chain(&mut self.others);
        let parts: Vec<Result<Vec<Tensor>, ModelError>> = std::thread::scope(|scope| {
            let starts = workers.zip((0..rows).step_by(share));
            let running: Vec<_> = starts
                .map(|(worker, from)| {
                    scope.spawn(move || worker.run_rows(inputs, Some(&(from..rows.min(from + share)))))
                })
                .collect();
            let failed = |_| Err(ModelError::Failed("the thread that spoke with a worker failed".to_owned()));
            running.into_iter().map(|thread| thread.join().unwrap_or_else(failed)).collect()
        });
        let mut whole = None;
        for (part, from) in parts.into_iter().zip((0..rows).step_by(share)) {
            let part = one_row_a_image(part?, share.min(rows - from))?;
            whole = Some(join(whole, part)?);
        }
        Ok(whole.unwrap_or_default())
    }

    fn time(&mut self, inputs: &[Tensor], block: Block) -> Result<Vec<f64>, ModelError> {
        self.first.time(inputs, block)
    }

    fn coverage(&mut self) -> Result<Option<Coverage>, ModelError> {
        self.first.coverage()
    }

    fn memory(&mut self) -> Result<Memory, ModelError> {
        let mut memory = self.first.memory()?;
        for other in &mut self.others {
            let more = other.memory()?;
            memory.peak_resident = memory.peak_resident.zip(more.peak_resident).map(|(a, b)| a + b);
        }
        Ok(memory)
    }
}
