//! NVIDIA GPUs through TensorRT, which builds an engine for one model, one GPU and one range of shapes, and keeps it on
//! disk. onnxruntime names a kept engine after the graph, not the weights, and checks little when it loads one, so each
//! model, GPU, set of versions and set of options gets a cache folder of its own here.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::host::cache;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::setting::{overlaid, switch};

/// Range of shapes an engine is built for; input outside it makes TensorRT build another engine in the middle of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Profile {
    /// Name of the model input.
    pub input: String,
    /// Smallest shape.
    pub min: Vec<usize>,
    /// Shape to tune for.
    pub opt: Vec<usize>,
    /// Largest shape.
    pub max: Vec<usize>,
}

/// Options of the TensorRT provider.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TensorRt {
    /// Number of the GPU.
    pub device: u32,
    /// As [`super::cuda::Cuda::tf32`].
    pub tf32: bool,
    /// Let the builder choose half-precision kernels. Off: the file says what the arithmetic is.
    pub fp16: bool,
    /// Record the kernels of a run and replay them.
    pub cuda_graph: bool,
    /// Effort of the builder, 0 to 5; 3 is TensorRT's own default.
    pub optimization_level: u8,
    /// Shapes to build for; from the shapes of each run if none.
    pub profiles: Vec<Profile>,
    /// Folder below which engines are kept, each model's in its own; none are kept if none.
    pub cache: Option<PathBuf>,
    /// Further options in onnxruntime's own keys.
    pub verbatim: BTreeMap<String, String>,
}

impl Default for TensorRt {
    fn default() -> TensorRt {
        TensorRt {
            device: 0,
            tf32: false,
            fp16: false,
            cuda_graph: false,
            optimization_level: 3,
            profiles: Vec::new(),
            cache: None,
            verbatim: BTreeMap::new(),
        }
    }
}

impl TensorRt {
    /// Where engines are kept unless told otherwise: `resnext-onnx/tensorrt` in the user's cache folder
    /// (`XDG_CACHE_HOME` or `~/.cache`; on Windows `LOCALAPPDATA`).
    pub fn default_cache() -> Option<PathBuf> {
        cache::folder().map(|folder| folder.join("tensorrt"))
    }

    pub(crate) fn settings(&self) -> BTreeMap<String, String> {
        let typed = [
            ("device_id", self.device.to_string()),
            ("trt_fp16_enable", switch(self.fp16)),
            ("trt_bf16_enable", switch(false)),
            ("trt_int8_enable", switch(false)),
            ("trt_cuda_graph_enable", switch(self.cuda_graph)),
            ("trt_builder_optimization_level", self.optimization_level.to_string()),
            ("trt_engine_cache_enable", switch(self.cache.is_some())),
            ("trt_timing_cache_enable", switch(self.cache.is_some())),
        ];
        let mut settings = overlaid(typed, &BTreeMap::new());
        if let Some(cache) = &self.cache {
            settings.insert("trt_engine_cache_path".to_owned(), cache.display().to_string());
            settings.insert("trt_timing_cache_path".to_owned(), cache.display().to_string());
        }
        if !self.profiles.is_empty() {
            let shapes = |of: fn(&Profile) -> &[usize]| {
                let one = |profile: &Profile| {
                    let dims: Vec<_> = of(profile).iter().map(ToString::to_string).collect();
                    format!("{}:{}", profile.input, dims.join("x"))
                };
                self.profiles.iter().map(one).collect::<Vec<_>>().join(",")
            };
            settings.insert("trt_profile_min_shapes".to_owned(), shapes(|profile| &profile.min));
            settings.insert("trt_profile_opt_shapes".to_owned(), shapes(|profile| &profile.opt));
            settings.insert("trt_profile_max_shapes".to_owned(), shapes(|profile| &profile.max));
        }
        settings.extend(self.verbatim.clone());
        settings
    }
}

/// All that an engine depends on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct EngineKey<'a> {
    /// SHA-256 of the model file, weights included.
    pub model_sha256: &'a str,
    /// Version of onnxruntime.
    pub onnxruntime: &'a str,
    /// TensorRT, as its library names itself.
    pub tensorrt: &'a str,
    /// Driver version.
    pub driver: &'a str,
    /// Name and compute capability of the GPU.
    pub gpu: &'a str,
    /// Every option in force, the cache's own path aside.
    pub options: &'a BTreeMap<String, String>,
}

impl EngineKey<'_> {
    /// The cache folder of this engine below `root`: a digest of every field.
    pub fn folder(&self, root: &Path) -> PathBuf {
        let mut hasher = Sha256::new();
        let mut field = |name: &str, value: &str| {
            // The lengths keep neighbouring fields from running into each other.
            hasher.update((name.len() as u64).to_le_bytes());
            hasher.update(name.as_bytes());
            hasher.update((value.len() as u64).to_le_bytes());
            hasher.update(value.as_bytes());
        };
        field("model", self.model_sha256);
        field("onnxruntime", self.onnxruntime);
        field("tensorrt", self.tensorrt);
        field("driver", self.driver);
        field("gpu", self.gpu);
        self.options.iter().for_each(|(key, value)| field(key, value));
        let digest = format!("{:x}", hasher.finalize());
        root.join(&digest[..32])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn engines_of_different_weights_versions_gpus_or_options_never_share_a_folder() {
        let options = TensorRt::default().settings();
        let half = TensorRt { fp16: true, ..TensorRt::default() }.settings();
        let key = |model, onnxruntime, tensorrt, driver, gpu, options| {
            let key = EngineKey { model_sha256: model, onnxruntime, tensorrt, driver, gpu, options };
            key.folder(Path::new("cache"))
        };
        let folders = std::collections::BTreeSet::from([
            key("aa", "1.31.1", "10.16", "590", "H200", &options),
            key("bb", "1.31.1", "10.16", "590", "H200", &options),
            key("aa", "1.32.0", "10.16", "590", "H200", &options),
            key("aa", "1.31.1", "10.17", "590", "H200", &options),
            key("aa", "1.31.1", "10.16", "591", "H200", &options),
            key("aa", "1.31.1", "10.16", "590", "H100", &options),
            key("aa", "1.31.1", "10.16", "590", "H200", &half),
            key("aa1", ".31.1", "10.16", "590", "H200", &options),
        ]);
        assert_eq!(folders.len(), 8);
        let again = key("aa", "1.31.1", "10.16", "590", "H200", &options);
        assert!(folders.contains(&again), "the same key names the same folder");
    }

    #[test]
    fn profiles_are_written_as_onnxruntime_reads_them() {
        let profile = |input: &str| Profile {
            input: input.to_owned(),
            min: vec![1, 3, 224, 224],
            opt: vec![8, 3, 224, 224],
            max: vec![32, 3, 224, 224],
        };
        let tensorrt = TensorRt { profiles: vec![profile("a"), profile("b")], ..TensorRt::default() };
        assert_eq!(tensorrt.settings()["trt_profile_max_shapes"], "a:32x3x224x224,b:32x3x224x224");
    }
}
