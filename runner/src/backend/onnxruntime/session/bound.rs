//! Runs with inputs and outputs bound at fixed addresses on the device: what the device scope times, and what recorded
//! CUDA graphs require of every run, since a recording replays the addresses it was made with.

use std::collections::BTreeMap;

use ort::memory::{AllocationDevice, Allocator, AllocatorType, MemoryInfo, MemoryType};
use ort::session::{IoBinding, RunOptions, Session};
use ort::value::{DynTensor, TensorElementType};

use crate::backend::onnxruntime::provider::Kind;
use crate::model::opened::ModelError;
use crate::model::tensor::{Data, Tensor};

use super::convert;
use super::error::run_failed;

/// The bound runs of a session, one for each set of input shapes seen.
pub(crate) struct BoundRuns {
    /// The CUDA device that holds the bound tensors; none for providers that compute in host memory.
    cuda_device: Option<i32>,
    /// Whether runs are recorded; each set of shapes then has a recording of its own.
    graph: bool,
    /// What a run gives.
    wanted: Vec<String>,
    runs: BTreeMap<Vec<Vec<usize>>, BoundRun>,
}

/// One set of bound inputs and outputs.
pub(crate) struct BoundRun {
    binding: IoBinding,
    options: RunOptions,
    inputs: Vec<(String, DynTensor)>,
    outputs: Vec<(String, DynTensor)>,
}

impl BoundRuns {
    pub(crate) fn new(kind: Kind, settings: &BTreeMap<String, String>, graph: bool, wanted: &[String]) -> BoundRuns {
        let number = || settings.get("device_id").and_then(|value| value.parse().ok()).unwrap_or(0);
        let cuda_device = matches!(kind, Kind::Cuda | Kind::TensorRt).then(number);
        BoundRuns { cuda_device, graph, wanted: wanted.to_vec(), runs: BTreeMap::new() }
    }

    /// The run for inputs of these shapes, made on first use; the inputs' elements are not written yet.
    pub(crate) fn get(&mut self, session: &mut Session, inputs: &[Tensor]) -> Result<&mut BoundRun, ModelError> {
        let shapes: Vec<_> = inputs.iter().map(|input| input.shape.clone()).collect();
        if !self.runs.contains_key(&shapes) {
            let made = self.make(session, inputs)?;
            self.runs.insert(shapes.clone(), made);
        }
        self.runs.get_mut(&shapes).ok_or_else(|| ModelError::Failed("a bound run was lost".to_owned()))
    }

    fn make(&self, session: &mut Session, inputs: &[Tensor]) -> Result<BoundRun, ModelError> {
        let failed = |error: ort::Error| run_failed(&error);
        // The shapes of the outputs are known only from a run; this one must not be recorded.
        let values = convert::session_inputs(session, inputs)?;
        let mut unrecorded = RunOptions::new().map_err(failed)?;
        if self.graph {
            unrecorded.set("gpu_graph_id", "-1").map_err(failed)?;
        }
        let mut wanted: Vec<(String, TensorElementType, Vec<i64>)> = Vec::new();
        let unrecorded = convert::selecting(&self.wanted, unrecorded);
        for (name, value) in session.run_with_options(values.as_slice(), &unrecorded).map_err(failed)?.iter() {
            let (Some(ty), Some(shape)) = (value.dtype().tensor_type(), value.dtype().tensor_shape()) else {
                return Err(ModelError::Failed(format!("output `{name}` is not a tensor")));
            };
            wanted.push((name.to_owned(), ty, shape.to_vec()));
        }
        let allocator = self.allocator(session).map_err(failed)?;
        let mut options = RunOptions::new().map_err(failed)?;
        if self.graph {
            options.set("gpu_graph_id", (self.runs.len() + 1).to_string()).map_err(failed)?;
        }
        let mut run = BoundRun {
            binding: session.create_binding().map_err(failed)?,
            options,
            inputs: Vec::new(),
            outputs: Vec::new(),
        };
        for input in inputs {
            let ty = convert::element_type(&input.data);
            let tensor = DynTensor::new(&allocator, ty, input.shape.clone()).map_err(failed)?;
            run.binding.bind_input(&input.name, &tensor).map_err(failed)?;
            run.inputs.push((input.name.clone(), tensor));
        }
        for (name, ty, shape) in wanted {
            let mut tensor = DynTensor::new(&allocator, ty, shape).map_err(failed)?;
            run.binding.bind_output(&name, &mut tensor).map_err(failed)?;
            run.outputs.push((name, tensor));
        }
        Ok(run)
    }

    fn allocator(&self, session: &Session) -> Result<Allocator, ort::Error> {
        match self.cuda_device {
            None => Ok(Allocator::default()),
            Some(device) => {
                let info = MemoryInfo::new(AllocationDevice::CUDA, device, AllocatorType::Device, MemoryType::Default)?;
                Allocator::new(session, info)
            }
        }
    }
}

impl BoundRun {
    /// Copies the elements into the bound inputs.
    pub(crate) fn write_inputs(&mut self, inputs: &[Tensor]) -> Result<(), ModelError> {
        for (name, bound) in &mut self.inputs {
            let Some(input) = inputs.iter().find(|input| input.name == *name) else { continue };
            write(input, bound).map_err(|error| run_failed(&error))?;
        }
        self.binding.synchronize_inputs().map_err(|error| run_failed(&error))
    }

    /// Runs on what is bound and waits for the device.
    pub(crate) fn run(&self, session: &mut Session) -> Result<(), ModelError> {
        let mut run = || -> Result<(), ort::Error> {
            session.run_binding_with_options(&self.binding, &self.options).map(drop)?;
            self.binding.synchronize_outputs()
        };
        run().map_err(|error| run_failed(&error))
    }

    /// Copies the inputs in, runs, and copies the outputs out.
    pub(crate) fn run_through(&mut self, session: &mut Session, inputs: &[Tensor]) -> Result<Vec<Tensor>, ModelError> {
        self.write_inputs(inputs)?;
        self.run(session)?;
        let read = |(name, bound): &(String, DynTensor)| {
            if bound.memory_info().is_cpu_accessible() {
                return convert::tensor(name, &bound.view().into_dyn());
            }
            let host = bound.to(AllocationDevice::CPU, 0).map_err(|error| run_failed(&error))?;
            convert::tensor(name, &host.into_dyn())
        };
        self.outputs.iter().map(read).collect()
    }
}

/// Writes elements into a tensor wherever it lies.
fn write(input: &Tensor, bound: &mut DynTensor) -> Result<(), ort::Error> {
    if !bound.memory_info().is_cpu_accessible() {
        let host = convert::value(input).map_err(|error| ort::Error::new(error.to_string()))?;
        return host.copy_into(bound);
    }
    match &input.data {
        Data::F32(data) => bound.try_extract_tensor_mut()?.1.copy_from_slice(data),
        Data::F16(data) => bound.try_extract_tensor_mut()?.1.copy_from_slice(data),
        Data::F64(data) => bound.try_extract_tensor_mut()?.1.copy_from_slice(data),
        Data::I64(data) => bound.try_extract_tensor_mut()?.1.copy_from_slice(data),
        Data::U8(data) => bound.try_extract_tensor_mut()?.1.copy_from_slice(data),
        Data::I8(data) => bound.try_extract_tensor_mut()?.1.copy_from_slice(data),
        Data::I32(data) => bound.try_extract_tensor_mut()?.1.copy_from_slice(data),
        Data::Bool(data) => bound.try_extract_tensor_mut()?.1.copy_from_slice(data),
    }
    Ok(())
}
