//! Providers that compute an f32 file in something else, as `--precision` asks, and what results then call them.

use super::provider::arithmetic::Arithmetic;
use super::provider::openvino::Precision;
use super::provider::{OptionError, Provider};

impl Provider {
    /// What it computes in, as far as its own options say; those typed in onnxruntime's keys are not looked at.
    pub fn arithmetic(&self) -> Arithmetic {
        match self {
            Provider::OpenVino(openvino) => match openvino.precision {
                Precision::F32 => Arithmetic::F32,
                Precision::Bf16 => Arithmetic::Bf16,
                Precision::F16 => Arithmetic::F16,
            },
            Provider::TensorRt(tensorrt) if tensorrt.fp16 => Arithmetic::F16,
            Provider::TensorRt(tensorrt) if tensorrt.tf32 => Arithmetic::Tf32,
            Provider::Cuda(cuda) if cuda.tf32 => Arithmetic::Tf32,
            Provider::Cpu(_) | Provider::Cuda(_) | Provider::TensorRt(_) => Arithmetic::F32,
        }
    }

    /// What results call it: its name, and what it computes in where that is not f32.
    pub fn label(&self) -> String {
        match self.arithmetic() {
            Arithmetic::F32 => self.kind().name().to_owned(),
            other => format!("{}-{other}", self.kind()),
        }
    }

    /// The same provider, asked to compute in `arithmetic`, on a processor with `instructions`.
    ///
    /// # Errors
    /// [`OptionError::Arithmetic`] where it cannot, or where an option says otherwise.
    pub fn computing_in(mut self, arithmetic: Arithmetic, instructions: &[&str]) -> Result<Provider, OptionError> {
        let provider = self.kind();
        let refuse = |reason: String| Err(OptionError::Arithmetic { provider, arithmetic, reason });
        // f32 and f16 are what a file can be in; an x86 processor without the instructions computes in f32 without a word.
        let of_file = "it computes in the types of the file; build one with --dtype f16";
        let lacking = |device: &str| {
            let (needed, x86) = (arithmetic.instructions(), cfg!(target_arch = "x86_64"));
            let has = needed.is_empty() || needed.iter().any(|needed| instructions.contains(needed));
            (device == "CPU" && x86 && !has).then(|| needed.join(" or "))
        };
        if self.options_say_precision() {
            return refuse("an --ep-option says what to compute in".to_owned());
        }
        match (&mut self, arithmetic) {
            (Provider::Cpu(_), Arithmetic::F32) => {}
            (Provider::Cpu(_), Arithmetic::F16) => return refuse(of_file.to_owned()),
            (Provider::Cpu(_), _) => return refuse("its kernels are f32; `--ep openvino` has bf16".to_owned()),
            (Provider::OpenVino(_), Arithmetic::Tf32) => return refuse("it is a format of NVIDIA's GPUs".to_owned()),
            (Provider::OpenVino(openvino), arithmetic) => {
                if let Some(needed) = lacking(&openvino.device) {
                    return refuse(format!("this processor has no {needed}, and OpenVINO would compute in f32"));
                }
                openvino.precision = match arithmetic {
                    Arithmetic::Bf16 => Precision::Bf16,
                    Arithmetic::F16 => Precision::F16,
                    Arithmetic::F32 | Arithmetic::Tf32 => Precision::F32,
                };
            }
            (Provider::Cuda(cuda), Arithmetic::F32 | Arithmetic::Tf32) => cuda.tf32 = arithmetic == Arithmetic::Tf32,
            (Provider::Cuda(_), _) => return refuse(of_file.to_owned()),
            (Provider::TensorRt(_), Arithmetic::Bf16) => {
                return refuse("try --ep-option tensorrt.trt_bf16_enable=1, which was never run".to_owned());
            }
            (Provider::TensorRt(tensorrt), arithmetic) => {
                tensorrt.fp16 = arithmetic == Arithmetic::F16;
                tensorrt.tf32 = arithmetic == Arithmetic::Tf32;
            }
        }
        Ok(self)
    }

    /// Whether an option typed by the user decides what is computed in.
    fn options_say_precision(&self) -> bool {
        let typed = |of: &std::collections::BTreeMap<String, String>, keys: &[&str]| {
            keys.iter().any(|key| of.contains_key(*key))
        };
        match self {
            Provider::Cpu(_) => false,
            Provider::OpenVino(openvino) => {
                let hint = |device: &serde_json::Value| device.get("INFERENCE_PRECISION_HINT").is_some();
                openvino.load_config.values().any(hint) || typed(&openvino.verbatim, &["precision"])
            }
            Provider::Cuda(cuda) => typed(&cuda.verbatim, &["use_tf32"]),
            Provider::TensorRt(tensorrt) => {
                typed(&tensorrt.verbatim, &["trt_fp16_enable", "trt_bf16_enable", "trt_int8_enable"])
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::onnxruntime::provider::Kind;

    fn asked(kind: Kind, arithmetic: Arithmetic, instructions: &[&str]) -> Result<Provider, OptionError> {
        Provider::new(kind).computing_in(arithmetic, instructions)
    }

    #[test]
    fn what_a_provider_can_is_an_option_of_its_own_and_part_of_its_name() {
        let bf16 = asked(Kind::OpenVino, Arithmetic::Bf16, &["avx512bf16"]).expect("it can");
        assert!(bf16.settings()["load_config"].contains(r#""INFERENCE_PRECISION_HINT":"bf16""#));
        assert_eq!((bf16.label().as_str(), bf16.arithmetic()), ("openvino-bf16", Arithmetic::Bf16));
        let tf32 = asked(Kind::Cuda, Arithmetic::Tf32, &[]).expect("it can");
        assert_eq!((tf32.settings()["use_tf32"].as_str(), tf32.label().as_str()), ("1", "cuda-tf32"));
        let f16 = asked(Kind::TensorRt, Arithmetic::F16, &[]).expect("it can");
        assert_eq!((f16.settings()["trt_fp16_enable"].as_str(), f16.label().as_str()), ("1", "tensorrt-f16"));
        let tf32 = asked(Kind::TensorRt, Arithmetic::Tf32, &[]).expect("it can");
        assert_eq!((tf32.environment().len(), tf32.label().as_str()), (0, "tensorrt-tf32"));
        for kind in Kind::ALL {
            let f32_provider = asked(kind, Arithmetic::F32, &[]).expect("all can");
            assert_eq!((f32_provider.label().as_str(), &f32_provider), (kind.name(), &Provider::new(kind)));
        }
    }

    #[test]
    fn what_it_cannot_is_refused_with_the_reason() {
        let reason = |found: Result<Provider, OptionError>| found.expect_err("refused").to_string();
        assert!(reason(asked(Kind::Cpu, Arithmetic::Bf16, &["avx512bf16"])).contains("openvino"));
        assert!(reason(asked(Kind::Cpu, Arithmetic::F16, &[])).contains("--dtype f16"));
        assert!(reason(asked(Kind::Cuda, Arithmetic::Bf16, &[])).contains("types of the file"));
        assert!(reason(asked(Kind::OpenVino, Arithmetic::Tf32, &[])).contains("NVIDIA"));
        if cfg!(target_arch = "x86_64") {
            let without = reason(asked(Kind::OpenVino, Arithmetic::Bf16, &["avx2"]));
            assert!(without.contains("avx512bf16 or amx-bf16"), "{without}");
        }
        let mut openvino = Provider::new(Kind::OpenVino);
        openvino.set("load_config", r#"{"CPU":{"INFERENCE_PRECISION_HINT":"f16"}}"#).expect("set");
        assert!(reason(openvino.computing_in(Arithmetic::Bf16, &["amx-bf16"])).contains("--ep-option"));
    }
}
