//! NVIDIA GPUs through CUDA and cuDNN.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::setting::{overlaid, switch};

/// How cuDNN's algorithm for a convolution is chosen. onnxruntime's third choice, `DEFAULT`, is one fixed algorithm,
/// slow for almost every shape, and is left to `--ep-option`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ConvSearch {
    /// Tries them all on the first run of each shape.
    Exhaustive,
    /// Asks cuDNN's heuristic.
    Heuristic,
}

/// Options of the CUDA provider.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Cuda {
    /// Number of the GPU.
    pub device: u32,
    /// Let convolutions and matrix products round their inputs to 10 bits (TensorFloat-32). Off: a comparison with
    /// other providers is one of f32. onnxruntime's own default is on.
    pub tf32: bool,
    /// Choice of convolution algorithm. Exhaustive, as in onnxruntime: slow once per shape, fastest ever after.
    pub conv_search: ConvSearch,
    /// Channels-last layout. Off, as in onnxruntime: it pays with f16 and costs transposes with f32.
    pub prefer_nhwc: bool,
    /// Record the kernels of a run once per shape and replay them. Off, as in onnxruntime; inputs and outputs then stay
    /// at fixed addresses on the device.
    pub cuda_graph: bool,
    /// Further options in onnxruntime's own keys.
    pub verbatim: BTreeMap<String, String>,
}

impl Default for Cuda {
    fn default() -> Cuda {
        Cuda {
            device: 0,
            tf32: false,
            conv_search: ConvSearch::Exhaustive,
            prefer_nhwc: false,
            cuda_graph: false,
            verbatim: BTreeMap::new(),
        }
    }
}

impl Cuda {
    pub(crate) fn settings(&self) -> BTreeMap<String, String> {
        let search = match self.conv_search {
            ConvSearch::Exhaustive => "EXHAUSTIVE",
            ConvSearch::Heuristic => "HEURISTIC",
        };
        let typed = [
            ("device_id", self.device.to_string()),
            ("use_tf32", switch(self.tf32)),
            ("cudnn_conv_algo_search", search.to_owned()),
            ("cudnn_conv_use_max_workspace", switch(true)),
            ("prefer_nhwc", switch(self.prefer_nhwc)),
            ("enable_cuda_graph", switch(self.cuda_graph)),
        ];
        overlaid(typed, &self.verbatim)
    }
}
