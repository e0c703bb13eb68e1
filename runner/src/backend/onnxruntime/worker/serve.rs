//! The worker's side: answers requests until the parent hangs up.

use std::time::{Duration, Instant};

use crate::backend::onnxruntime::runtime;
use crate::backend::onnxruntime::session::LocalModel;
use crate::model::opened::{Block, Model, ModelError};
use crate::model::tensor::{Data, Tensor};

use super::protocol;
use super::protocol::{ProtocolError, Reply, Request};
use super::transport;

/// How often a worker says that it is alive while it times a block.
pub(crate) const HEARTBEAT: Duration = Duration::from_secs(2);

/// Serves the parent on standard input until it hangs up.
///
/// # Errors
/// When standard input is no parent of this version: a worker is started by this program itself, not by hand.
pub fn serve() -> Result<(), String> {
    let (mut reader, mut writer) = transport::in_worker().map_err(|error| error.to_string())?;
    let mut model = None;
    // The inputs of the run before: large ones would cost the system more to give and take back than to copy.
    let mut buffer = Vec::new();
    loop {
        let (request, inputs) = match protocol::receive(&mut reader, buffer) {
            Ok(received) => received,
            Err(ProtocolError::Ended) => return Ok(()),
            Err(ProtocolError::Budget(over)) => {
                // The rest of the request is still in the stream: this is the last answer.
                let failed = Reply::Failed(ModelError::OutOfMemory(format!("the inputs of a run: {over}")));
                return protocol::send(&mut writer, &failed, &[]).map_err(|error| error.to_string());
            }
            Err(error) => {
                return Err(format!("worker: standard input holds {error}; resnext-run starts workers itself"));
            }
        };
        let mut alive = || protocol::send(&mut writer, &Reply::Working, &[]).is_ok();
        let answered = answer(&mut model, request, &inputs, &mut alive);
        let (reply, outputs) = answered.unwrap_or_else(|error| (Reply::Failed(error), vec![]));
        buffer = inputs;
        match protocol::send(&mut writer, &reply, &outputs) {
            Ok(()) => {}
            // The parent is gone; there is nobody left to tell.
            Err(ProtocolError::Io(_)) => return Ok(()),
            Err(error) => {
                let failed = Reply::Failed(error.of_outputs());
                protocol::send(&mut writer, &failed, &[]).map_err(|error| error.to_string())?;
            }
        }
    }
}

fn answer(
    model: &mut Option<LocalModel>,
    request: Request,
    inputs: &[Tensor],
    alive: &mut dyn FnMut() -> bool,
) -> Result<(Reply, Vec<Tensor>), ModelError> {
    match request {
        Request::Describe { library, verbose } => {
            let runtime =
                runtime::load(&library.path, verbose).map_err(|error| ModelError::Unavailable(error.to_string()))?;
            Ok((Reply::Description(runtime.description()), Vec::new()))
        }
        Request::Load(spec) => {
            let model = model.insert(LocalModel::load(&spec)?);
            Ok((Reply::Loaded(Box::new(model.loaded().clone()), model.ports().clone()), Vec::new()))
        }
        Request::Run => Ok((Reply::Tensors, loaded(model)?.run(inputs)?)),
        Request::Ranges(part) => Ok((Reply::Ranges(loaded(model)?.ranges(inputs, part)?), Vec::new())),
        Request::Time(block) => {
            let seconds = time(loaded(model)?, inputs, block, alive)?;
            let shape = vec![seconds.len()];
            Ok((Reply::Tensors, vec![Tensor { name: "seconds".to_owned(), shape, data: Data::F64(seconds) }]))
        }
        Request::Coverage => Ok((Reply::Coverage(loaded(model)?.coverage()?), Vec::new())),
        Request::Memory => Ok((Reply::Memory(loaded(model)?.memory()?), Vec::new())),
    }
}

fn loaded(model: &mut Option<LocalModel>) -> Result<&mut LocalModel, ModelError> {
    model.as_mut().ok_or_else(|| ModelError::Failed("no model is loaded".to_owned()))
}

/// Times a block in parts, with a heartbeat between them, so that a hang is told from a long block.
fn time(
    model: &mut LocalModel,
    inputs: &[Tensor],
    block: Block,
    alive: &mut dyn FnMut() -> bool,
) -> Result<Vec<f64>, ModelError> {
    let start = Instant::now();
    let mut seconds = Vec::new();
    loop {
        let left = block.max_seconds - start.elapsed().as_secs_f64();
        let part = Block {
            max_runs: block.max_runs - seconds.len(),
            max_seconds: left.clamp(0.0, HEARTBEAT.as_secs_f64()),
            ..block
        };
        seconds.extend(model.time(inputs, part)?);
        let over = start.elapsed().as_secs_f64() > block.max_seconds || seconds.len() >= block.max_runs;
        if over || !alive() {
            return Ok(seconds);
        }
    }
}
