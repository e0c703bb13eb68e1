//! Served models: the Open Inference Protocol, version 2, over HTTP, as Triton and KServe speak it.
//!
//! A server is asked what it serves before anything is sent to it, and its every answer is held to that: names, types,
//! shapes, and that numbers are finite. Tensors travel as bytes; where a server takes none, as JSON.
//! <https://github.com/kserve/open-inference-protocol>

pub mod address;
mod client;
mod wire;

use std::time::{Duration, Instant};

use onnx_file::port::Port;

pub use address::Address;
use client::{Answer, Client, Tries};
use wire::Form;

use crate::model::file::ModelFile;
use crate::model::opened::{Block, Loaded, Memory, Model, ModelError, Ports, Scope};
use crate::model::tensor::{Data, Tensor};

/// A model on a server.
struct Served {
    client: Client,
    form: Form,
    loaded: Loaded,
    ports: Ports,
}

/// Opens the model at `address`, which has to be the one of `file`, and runs nothing yet.
///
/// # Errors
/// [`ModelError::Unavailable`] where no server answers or has no such model; [`ModelError::BadModel`] where what it
/// serves is another model.
pub fn open(address: &Address, file: &ModelFile, timeout: Duration) -> Result<Box<dyn Model>, ModelError> {
    let start = Instant::now();
    let client = Client::new(address, timeout)?;
    let server = client.server();
    let mut ports = wire::metadata(&client.get(&address.model_url())?, address)?;
    let is_used = |name: &String| file.fetched.as_ref().is_none_or(|fetched| fetched.contains(name));
    agree(&ports, file, is_used, address)?;
    // What nobody uses is not asked for, and may be of any type.
    ports.outputs.retain(|port| is_used(&port.name));
    let loaded = Loaded {
        model: address.model_url(),
        provider: address.to_string(),
        library_version: server,
        options: [("protocol".to_owned(), "open inference protocol v2, http".to_owned())].into(),
        placement: Default::default(),
        load_seconds: start.elapsed().as_secs_f64(),
        first_run_seconds: 0.0,
    };
    Ok(Box::new(Served { client, form: Form::Binary, loaded, ports }))
}

/// Refuses a served model whose inputs or outputs are not those of the file that results are told of.
fn agree(
    served: &Ports,
    file: &ModelFile,
    is_used: impl Fn(&String) -> bool,
    address: &Address,
) -> Result<(), ModelError> {
    for (kind, served, own) in [("input", &served.inputs, &file.inputs), ("output", &served.outputs, &file.outputs)] {
        for port in own.iter().filter(|port| kind == "input" || is_used(&port.name)) {
            let fits = |other: &&Port| other.name == port.name;
            let list = || served.iter().map(Port::to_string).collect::<Vec<_>>().join("; ");
            let Some(found) = served.iter().find(fits) else {
                return Err(ModelError::BadModel(format!(
                    "{address} serves another model than {}: {kind} '{}' is not among its {kind}s: {}",
                    file.name(),
                    port.name,
                    list()
                )));
            };
            let shapes = found.shape.as_deref().zip(port.shape.as_deref());
            let fits = shapes.is_none_or(|(a, b)| {
                a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.is_none() || b.is_none() || a == b)
            });
            if found.element_type != port.element_type || !fits {
                return Err(ModelError::BadModel(format!(
                    "{address} serves another model than {}: its {kind} is {found}, and the file's is {port}",
                    file.name()
                )));
            }
        }
    }
    Ok(())
}

impl Served {
    fn request(&mut self, inputs: &[Tensor], tries: Tries) -> Result<Vec<Tensor>, ModelError> {
        let mut answer = self.send(inputs, self.form, tries)?;
        if self.form == Form::Binary && answer.refuses_form() {
            // Servers without the extension for bytes say so in several ways; JSON is what all of them take. Where that is
            // refused as well, what was wrong is something else, and told in the answer to bytes.
            match self.send(inputs, Form::Json, tries) {
                Ok(other) if !other.refuses_form() => {
                    tracing::info!(status = answer.status, "the server takes no bytes; JSON from here on");
                    (self.form, answer) = (Form::Json, other);
                }
                _ => {}
            }
        }
        check(inputs, wire::answer(answer, &self.ports.outputs)?, &self.ports)
    }

    fn send(&self, inputs: &[Tensor], form: Form, tries: Tries) -> Result<Answer, ModelError> {
        let (head, body) = wire::request(inputs, &self.ports.outputs, form)?;
        self.client.infer(head, &body, tries)
    }
}

/// Holds an answer to what was asked: a row for each image, and finite numbers.
fn check(inputs: &[Tensor], outputs: Vec<Tensor>, ports: &Ports) -> Result<Vec<Tensor>, ModelError> {
    let rows = inputs.first().and_then(|input| input.shape.first());
    let open = |ports: &[Port], name: &str| {
        let port = ports.iter().find(|port| port.name == name);
        port.and_then(|port| port.shape.as_deref()).is_some_and(|shape| matches!(shape, [None, ..]))
    };
    let batched = inputs.first().is_some_and(|input| open(&ports.inputs, &input.name));
    for output in &outputs {
        let name = &output.name;
        if batched && open(&ports.outputs, name) && output.shape.first() != rows {
            let (found, rows) = (output.shape.first().copied().unwrap_or(0), rows.copied().unwrap_or(0));
            return Err(ModelError::Failed(format!("the server's output '{name}' has {found} rows for {rows} images")));
        }
        let bad = match &output.data {
            Data::F32(values) => values.iter().position(|value| !value.is_finite()),
            Data::F16(values) => values.iter().position(|value| !value.is_finite()),
            Data::F64(values) => values.iter().position(|value| !value.is_finite()),
            _ => None,
        };
        if let Some(at) = bad {
            return Err(ModelError::Failed(format!("the server's output '{name}' is NaN or infinite at index {at}")));
        }
    }
    Ok(outputs)
}

impl Model for Served {
    fn loaded(&self) -> &Loaded {
        &self.loaded
    }

    fn ports(&self) -> &Ports {
        &self.ports
    }

    fn run(&mut self, inputs: &[Tensor]) -> Result<Vec<Tensor>, ModelError> {
        self.request(inputs, Tries::Few)
    }

    fn time(&mut self, inputs: &[Tensor], block: Block) -> Result<Vec<f64>, ModelError> {
        if block.scope == Scope::Device {
            return Err(ModelError::Unavailable("a served model is timed from request to answer alone".into()));
        }
        let begun = Instant::now();
        let mut seconds = Vec::new();
        while seconds.len() < block.max_runs {
            let start = Instant::now();
            // A second try would be timed as a slow answer.
            self.request(inputs, Tries::One)?;
            seconds.push(start.elapsed().as_secs_f64());
            if begun.elapsed().as_secs_f64() > block.max_seconds {
                break;
            }
        }
        Ok(seconds)
    }

    /// The server's memory is not told by the protocol.
    fn memory(&mut self) -> Result<Memory, ModelError> {
        Ok(Memory::default())
    }
}
