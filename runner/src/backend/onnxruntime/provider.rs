//! The execution providers and their options: everything that changes numbers or speed is set outright, and shown.
//!
//! One struct of typed options for each provider, with the defaults argued for beside each field. Options typed by the
//! user in onnxruntime's own keys (`--ep-option cuda.use_tf32=1`) are kept verbatim beside them and win.

pub mod arithmetic;
pub mod cpu;
pub mod cuda;
pub mod openvino;
pub(crate) mod setting;
pub mod tensorrt;

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::provider::arithmetic::Arithmetic;
use super::provider::cpu::Cpu;
use super::provider::cuda::Cuda;
use super::provider::openvino::OpenVino;
use super::provider::tensorrt::TensorRt;

/// Which provider, without its options.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// onnxruntime's own kernels on the processor.
    Cpu,
    /// Intel's OpenVINO, as a plugin.
    OpenVino,
    /// NVIDIA GPUs through CUDA and cuDNN.
    Cuda,
    /// NVIDIA GPUs through TensorRT.
    TensorRt,
}

impl Kind {
    /// All of them, in the order they are reported.
    pub const ALL: [Kind; 4] = [Kind::Cpu, Kind::OpenVino, Kind::Cuda, Kind::TensorRt];

    /// Name on the command line and in results.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Cpu => "cpu",
            Kind::OpenVino => "openvino",
            Kind::Cuda => "cuda",
            Kind::TensorRt => "tensorrt",
        }
    }

    /// What `setup` calls the packages that hold it.
    pub fn package(self) -> &'static str {
        match self {
            Kind::Cpu => "cpu",
            Kind::OpenVino => "openvino",
            Kind::Cuda | Kind::TensorRt => "cuda",
        }
    }

    /// onnxruntime's own name.
    pub fn onnxruntime_name(self) -> &'static str {
        match self {
            Kind::Cpu => "CPUExecutionProvider",
            Kind::OpenVino => "OpenVINOExecutionProvider",
            Kind::Cuda => "CUDAExecutionProvider",
            Kind::TensorRt => "TensorrtExecutionProvider",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// What was wrong with a provider's name or option.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OptionError {
    /// No provider has this name.
    #[error("`{0}` is no provider; there are cpu, openvino, cuda and tensorrt")]
    Provider(String),
    /// Not of the form `provider.key=value`.
    #[error("`{0}` is not of the form provider.key=value, as in cuda.use_tf32=1")]
    Form(String),
    /// The provider cannot compute in this.
    #[error("{provider} does not compute in {arithmetic}: {reason}")]
    Arithmetic {
        /// The provider.
        provider: Kind,
        /// What it was asked for.
        arithmetic: Arithmetic,
        /// Why not.
        reason: String,
    },
    /// The provider has no such option, or not with this value.
    #[error("{provider} takes no option {key}={value}: {reason}")]
    Value {
        /// The provider.
        provider: Kind,
        /// The key.
        key: String,
        /// The value.
        value: String,
        /// What it takes.
        reason: String,
    },
}

impl FromStr for Kind {
    type Err = OptionError;

    /// Accepts our names, onnxruntime's and the usual short forms, in any case.
    fn from_str(text: &str) -> Result<Kind, OptionError> {
        let lower = text.trim().to_ascii_lowercase();
        let short = lower.strip_suffix("executionprovider").unwrap_or(&lower);
        match short {
            "cpu" => Ok(Kind::Cpu),
            "openvino" | "ov" => Ok(Kind::OpenVino),
            "cuda" => Ok(Kind::Cuda),
            "tensorrt" | "trt" => Ok(Kind::TensorRt),
            _ => Err(OptionError::Provider(text.to_owned())),
        }
    }
}

/// A provider with its options.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Provider {
    /// See [`Cpu`].
    Cpu(Cpu),
    /// See [`OpenVino`].
    OpenVino(OpenVino),
    /// See [`Cuda`].
    Cuda(Cuda),
    /// See [`TensorRt`].
    TensorRt(TensorRt),
}

impl Provider {
    /// The provider with its default options.
    pub fn new(kind: Kind) -> Provider {
        match kind {
            Kind::Cpu => Provider::Cpu(Cpu::default()),
            Kind::OpenVino => Provider::OpenVino(OpenVino::default()),
            Kind::Cuda => Provider::Cuda(Cuda::default()),
            Kind::TensorRt => Provider::TensorRt(TensorRt::default()),
        }
    }

    /// Which one it is.
    pub fn kind(&self) -> Kind {
        match self {
            Provider::Cpu(_) => Kind::Cpu,
            Provider::OpenVino(_) => Kind::OpenVino,
            Provider::Cuda(_) => Kind::Cuda,
            Provider::TensorRt(_) => Kind::TensorRt,
        }
    }

    /// Sets one option by onnxruntime's own key.
    ///
    /// # Errors
    /// [`OptionError::Value`] where this program knows that it cannot work; other mistakes are onnxruntime's to find.
    pub fn set(&mut self, key: &str, value: &str) -> Result<(), OptionError> {
        let kind = self.kind();
        let refuse = |reason: &str| OptionError::Value {
            provider: kind,
            key: key.to_owned(),
            value: value.to_owned(),
            reason: reason.to_owned(),
        };
        if key.is_empty() || key.contains('\0') || value.contains('\0') {
            return Err(refuse("a key must not be empty, and nothing may hold a NUL"));
        }
        let verbatim = match self {
            Provider::Cpu(cpu) => return cpu.set(key, value).map_err(refuse),
            Provider::OpenVino(openvino) => return openvino.set(key, value).map_err(|reason| refuse(&reason)),
            Provider::Cuda(cuda) => &mut cuda.verbatim,
            Provider::TensorRt(tensorrt) => &mut tensorrt.verbatim,
        };
        verbatim.insert(key.to_owned(), value.to_owned());
        Ok(())
    }

    /// Every option in force, by onnxruntime's own keys.
    pub fn settings(&self) -> BTreeMap<String, String> {
        match self {
            Provider::Cpu(cpu) => cpu.settings(),
            Provider::OpenVino(openvino) => openvino.settings(),
            Provider::Cuda(cuda) => cuda.settings(),
            Provider::TensorRt(tensorrt) => tensorrt.settings(),
        }
    }

    /// Variables that must be in the worker's environment before any library is loaded.
    pub fn environment(&self) -> Vec<(&'static str, &'static str)> {
        match self {
            // TensorRT has no option of onnxruntime's for this; NVIDIA's libraries read the variable themselves.
            Provider::TensorRt(tensorrt) if !tensorrt.tf32 => vec![("NVIDIA_TF32_OVERRIDE", "0")],
            _ => Vec::new(),
        }
    }
}

/// The providers and provider options of a command line, in the order of `kinds`.
///
/// # Errors
/// [`OptionError`], also for an option of a provider that was not asked for, since it would silently do nothing.
pub fn configure(kinds: &[Kind], options: &[String]) -> Result<Vec<Provider>, OptionError> {
    let mut providers: Vec<Provider> = kinds.iter().copied().map(Provider::new).collect();
    for option in options {
        let form = || OptionError::Form(option.clone());
        let (name, value) = option.split_once('=').ok_or_else(form)?;
        let (provider, key) = name.split_once('.').ok_or_else(form)?;
        let kind: Kind = provider.parse()?;
        let mut found = false;
        for provider in providers.iter_mut().filter(|provider| provider.kind() == kind) {
            provider.set(key, value)?;
            found = true;
        }
        if !found {
            let (key, value) = (key.to_owned(), value.to_owned());
            return Err(OptionError::Value {
                provider: kind,
                key,
                value,
                reason: format!("--ep does not name {kind}"),
            });
        }
    }
    Ok(providers)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn configured(kind: Kind, options: &[&str]) -> Result<BTreeMap<String, String>, OptionError> {
        let options: Vec<_> = options.iter().map(|option| (*option).to_owned()).collect();
        configure(&[kind], &options).map(|providers| providers[0].settings())
    }

    #[test]
    fn every_spelling_of_a_provider_is_understood() {
        for kind in Kind::ALL {
            assert_eq!(kind.name().parse(), Ok(kind));
            assert_eq!(kind.onnxruntime_name().parse(), Ok(kind));
        }
        assert_eq!("TRT".parse(), Ok(Kind::TensorRt));
        assert_eq!("gpu".parse::<Kind>(), Err(OptionError::Provider("gpu".into())));
    }

    #[test]
    fn options_are_passed_on_verbatim_and_win_over_ours() {
        let settings = configured(Kind::Cuda, &["cuda.use_tf32=1", "cuda.some_new_key=a=b"]).expect("accepted");
        assert_eq!(settings["use_tf32"], "1");
        assert_eq!(settings["some_new_key"], "a=b");
        assert_eq!(settings["cudnn_conv_algo_search"], "EXHAUSTIVE");
    }

    #[test]
    fn an_option_that_could_do_nothing_is_refused() {
        assert!(matches!(configured(Kind::Cpu, &["cuda.use_tf32=1"]), Err(OptionError::Value { .. })));
        assert!(matches!(configured(Kind::Cuda, &["use_tf32=1"]), Err(OptionError::Form(_))));
        assert!(matches!(configured(Kind::Cuda, &["cuda.use_tf32"]), Err(OptionError::Form(_))));
        assert!(matches!(configured(Kind::Cuda, &["metal.x=1"]), Err(OptionError::Provider(_))));
        assert!(matches!(configured(Kind::Cuda, &["cuda.=1"]), Err(OptionError::Value { .. })));
        assert!(matches!(configured(Kind::Cpu, &["cpu.use_tf32=1"]), Err(OptionError::Value { .. })));
    }

    #[test]
    fn what_changes_numbers_is_set_outright() {
        assert_eq!(Provider::new(Kind::Cuda).settings()["use_tf32"], "0");
        let openvino = &Provider::new(Kind::OpenVino).settings()["load_config"];
        assert!(openvino.contains(r#""INFERENCE_PRECISION_HINT":"f32""#), "{openvino}");
        let tensorrt = Provider::new(Kind::TensorRt);
        assert_eq!(tensorrt.settings()["trt_fp16_enable"], "0");
        assert_eq!(tensorrt.environment(), [("NVIDIA_TF32_OVERRIDE", "0")]);
    }
}
