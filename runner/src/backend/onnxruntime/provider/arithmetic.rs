//! Arithmetic other than the file's own, which some providers can be asked for.

use std::fmt;

/// What a provider computes an f32 file in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Arithmetic {
    /// Single precision
    F32,
    /// bfloat16, 8 bits of significand: OpenVINO, on processors with AVX512_BF16 or AMX
    Bf16,
    /// Half precision, 11 bits: TensorRT, and OpenVINO where the device has it
    F16,
    /// TensorFloat-32, 11 bits in products: CUDA and TensorRT
    Tf32,
}

impl Arithmetic {
    /// As on the command line and in results.
    pub const fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
            Self::F16 => "f16",
            Self::Tf32 => "tf32",
        }
    }

    /// Instruction sets of x86 processors of which one is needed for it.
    pub(crate) const fn instructions(self) -> &'static [&'static str] {
        match self {
            Self::Bf16 => &["avx512bf16", "amx-bf16"],
            Self::F16 => &["avx512fp16"],
            Self::F32 | Self::Tf32 => &[],
        }
    }
}

impl fmt::Display for Arithmetic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
