//! A model for tests: a closure, a clock that need not run, and faults on demand.

use onnx_file::element::ElementType;
use onnx_file::port::Port;

use super::opened::{Block, Loaded, Memory, Model, ModelError, Ports};
use super::tensor::Tensor;

type Run<'a> = Box<dyn FnMut(&[Tensor]) -> Result<Vec<Tensor>, ModelError> + 'a>;
type Clock<'a> = Box<dyn FnMut(&[Tensor], Block) -> Result<Vec<f64>, ModelError> + 'a>;

/// Runs a closure instead of a network.
pub(crate) struct Fake<'a> {
    pub(crate) loaded: Loaded,
    pub(crate) ports: Ports,
    run: Run<'a>,
    clock: Clock<'a>,
}

impl<'a> Fake<'a> {
    pub(crate) fn new(run: impl FnMut(&[Tensor]) -> Result<Vec<Tensor>, ModelError> + 'a) -> Self {
        let loaded = Loaded {
            model: "model.onnx".into(),
            provider: "cpu".into(),
            library_version: "1.32.0".into(),
            options: [("intra_op_threads".into(), "2".into())].into(),
            placement: [("CPUExecutionProvider".into(), 3)].into(),
            load_seconds: 0.25,
            first_run_seconds: 0.125,
        };
        let ports = Ports::default();
        Fake { loaded, ports, run: Box::new(run), clock: Box::new(|_, block| Ok(vec![0.001; block.max_runs.min(10)])) }
    }

    pub(crate) fn on(mut self, provider: &str) -> Self {
        self.loaded.provider = provider.into();
        self
    }

    /// Declares an input for images of this shape, as a runtime or a server does.
    pub(crate) fn declaring(mut self, name: &str, shape: [Option<usize>; 4]) -> Self {
        let shape = Some(shape.to_vec());
        self.ports.inputs = vec![Port { name: name.into(), element_type: Some(ElementType::F32), shape }];
        self
    }

    pub(crate) fn clocked(mut self, clock: impl FnMut(&[Tensor], Block) -> Result<Vec<f64>, ModelError> + 'a) -> Self {
        self.clock = Box::new(clock);
        self
    }
}

impl Model for Fake<'_> {
    fn loaded(&self) -> &Loaded {
        &self.loaded
    }

    fn ports(&self) -> &Ports {
        &self.ports
    }

    fn run(&mut self, inputs: &[Tensor]) -> Result<Vec<Tensor>, ModelError> {
        (self.run)(inputs)
    }

    fn time(&mut self, inputs: &[Tensor], block: Block) -> Result<Vec<f64>, ModelError> {
        (self.clock)(inputs, block)
    }

    fn memory(&mut self) -> Result<Memory, ModelError> {
        Ok(Memory { peak_resident: Some(300 << 20), device: None })
    }
}
