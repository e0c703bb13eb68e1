//! What to rewrite for which provider, and why: each rule with its evidence, a measurement or a source.
//!
//! A target is a short list of rules, each for one pass. Folding is for every provider alike.

use std::fmt;

use serde::Serialize;

use crate::passes::{Lowering, Stage, Width};
use crate::precision::Dtype;
use crate::precision::int8::Flavour;
use crate::weight::WeightRange;

/// A provider that models are compiled for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Target {
    /// Any runtime
    #[default]
    Portable,
    /// onnxruntime's CPU provider on a processor with AVX-512
    CpuAvx512,
    /// onnxruntime's CPU provider on a processor with AVX2
    CpuAvx2,
    /// OpenVINO on a CPU, by itself or as onnxruntime's provider
    #[value(name = "openvino")]
    OpenVino,
    /// onnxruntime's CUDA provider
    Cuda,
    /// TensorRT, by itself or as onnxruntime's provider
    #[value(name = "tensorrt")]
    TensorRt,
}

/// One thing that a target does, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// What is done.
    pub action: Action,
    /// Why.
    pub reason: &'static str,
    /// Where it was measured and what came out, or "unmeasured" and the source.
    pub evidence: &'static str,
}

/// What a rule does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Leaves grouped convolutions as they are.
    KeepsGroups,
    /// Widens their groups.
    Widens(Width),
    /// Puts quantization nodes where this flavour has them.
    Quantizes(Flavour),
    /// Splits grouped convolutions into at most so many of one group.
    Ungroups(usize),
    /// Gives an image of three channels a fourth of zeros.
    PadsImage,
    /// Replaces each strided 1x1 Conv by a strided 1x1 MaxPool and a stride-1 Conv.
    Subsamples,
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::KeepsGroups => f.write_str("groups as they are"),
            Self::Widens(width) => {
                write!(f, "groups in multiples of {} channels", width.multiple_of)?;
                match width.most_groups {
                    usize::MAX => Ok(()),
                    most => write!(f, ", wider where there would be more than {most}"),
                }
            }
            Self::Quantizes(flavour) => flavour.fmt(f),
            Self::Ungroups(at_most) => {
                write!(f, "up to {at_most} convolutions of one group in the place of a grouped one")
            }
            Self::PadsImage => f.write_str("a fourth, zero, channel of the image"),
            Self::Subsamples => f.write_str("pixels of strided 1x1 convolutions taken before them"),
        }
    }
}

impl Target {
    /// All of them.
    pub const ALL: [Target; 6] =
        [Self::Portable, Self::CpuAvx512, Self::CpuAvx2, Self::OpenVino, Self::Cuda, Self::TensorRt];

    /// The name on the command line and in metadata.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Portable => "portable",
            Self::CpuAvx512 => "cpu-avx512",
            Self::CpuAvx2 => "cpu-avx2",
            Self::OpenVino => "openvino",
            Self::Cuda => "cuda",
            Self::TensorRt => "tensorrt",
        }
    }

    /// The CPU target of the processor that this program runs on; `Portable` where no rule is known for it.
    pub fn of_this_processor() -> Self {
        #[cfg(target_arch = "x86_64")]
        {
            if std::arch::is_x86_feature_detected!("avx512f") {
                return Self::CpuAvx512;
            }
            if std::arch::is_x86_feature_detected!("avx2") {
                return Self::CpuAvx2;
            }
        }
        Self::Portable
    }

    /// The passes it asks for, where the graph computes in `dtype`.
    pub fn lowering(self, dtype: Dtype) -> Lowering {
        let mut lowering = Lowering::default();
        for rule in self.rules(dtype) {
            match rule.action {
                Action::KeepsGroups | Action::Quantizes(_) => {}
                Action::Ungroups(at_most) => lowering.ungroup = at_most,
                Action::PadsImage => lowering.pad_image = true,
                Action::Widens(width) => lowering.group_widths = vec![width],
                Action::Subsamples => lowering.subsample = true,
            }
        }
        lowering
    }

    /// What it does and why.
    pub const fn rules(self, dtype: Dtype) -> &'static [Rule] {
        match dtype {
            Dtype::F32 | Dtype::F16 => self.float_rules(),
            Dtype::Int8 => self.integer_rules(),
        }
    }

    /// How values are integers for it; nothing where its provider has no integer kernels.
    pub const fn integer_flavour(self) -> Option<Flavour> {
        match self {
            Self::Portable | Self::CpuAvx512 | Self::CpuAvx2 | Self::OpenVino => Some(Flavour::Unsigned),
            Self::TensorRt => Some(Flavour::Symmetric),
            Self::Cuda => None,
        }
    }

    /// What weights use of their 8 bits: less than all where the file may meet a processor that saturates.
    pub const fn weight_range(self) -> WeightRange {
        match self {
            Self::Portable | Self::CpuAvx512 | Self::CpuAvx2 | Self::OpenVino => WeightRange::PairSafe,
            Self::TensorRt | Self::Cuda => WeightRange::Full,
        }
    }

    /// What it does to a graph of integers.
    const fn integer_rules(self) -> &'static [Rule] {
        match self {
            Self::Portable => &[UNSIGNED],
            Self::CpuAvx512 | Self::CpuAvx2 => &[
                UNSIGNED,
                Rule {
                    action: IN_FEW_BLOCKS_OF_16,
                    reason: "its fast integer kernels are for one group, and a product of wide matrices is the next best",
                    evidence: "measured with onnxruntime 1.32 on an AMD EPYC with AVX-512 VNNI, 50_32x4d int8, batch 1 and 8, 1 and 2 threads: 1.30 to 1.43 times as fast as with groups as they are",
                },
                Rule {
                    action: Action::Ungroups(FEW),
                    reason: "convolutions of one group, side by side, are its indirect integer kernel's (convsym.cpp), and a few of them cost less than one of many groups",
                    evidence: "measured likewise: 1.04 to 1.12 times as fast again at batch 1 with 1 thread and batch 8, no faster at batch 1 with 2 threads",
                },
                Rule {
                    action: Action::PadsImage,
                    reason: "that kernel takes input channels in fours",
                    evidence: "measured likewise: 1.01 to 1.03 times as fast again",
                },
            ],
            Self::OpenVino => &[
                UNSIGNED,
                Rule {
                    action: Action::KeepsGroups,
                    reason: "OpenVINO has integer kernels of its own for groups of 4, 8 and 16 channels",
                    evidence: "measured with OpenVINO 2026.4 on an AMD EPYC with AVX-512 VNNI, 50_32x4d int8: up to 40% slower with merged groups, 11 to 18% with separate convolutions",
                },
            ],
            Self::Cuda => &[],
            Self::TensorRt => &[Rule {
                action: Action::Quantizes(Flavour::Symmetric),
                reason: "TensorRT takes signed values with the zero point 0 alone, and a pair on the branch that ends in a convolution would split the sum from it",
                evidence: "unmeasured; from TensorRT's documentation of explicit quantization and its issues 1293, 1992, 3861",
            }],
        }
    }

    /// What it does to a graph of floating-point numbers; nothing for the portable one.
    const fn float_rules(self) -> &'static [Rule] {
        match self {
            Self::Portable => &[],
            Self::CpuAvx512 => &[
                Rule {
                    action: IN_BLOCKS_OF_16,
                    reason: BLOCKED,
                    evidence: "measured with onnxruntime 1.32 on two Xeons with AVX-512, 50_32x4d f32, batch 1 and 8, 1 and 2 threads: 1.09 to 1.17 times as fast in multiples of 16",
                },
                Rule {
                    action: Action::Subsamples,
                    reason: "its 1x1 kernels take dense pixels in one row, and strided ones row by row with a remainder each",
                    evidence: "measured with onnxruntime 1.32 on a Xeon with AVX-512, 50_32x4d f32, batch 1 and 8: 1.00 to 1.02 times as fast",
                },
            ],
            Self::CpuAvx2 => &[Rule {
                action: IN_BLOCKS_OF_8,
                reason: BLOCKED,
                evidence: "measured with onnxruntime 1.32 on an AMD EPYC with AVX2, 50_32x4d f32: 1.02 to 1.03 times as fast in multiples of 8 at batch 1 and 8, slower from 32 on",
            }],
            Self::OpenVino => &[Rule {
                action: Action::KeepsGroups,
                reason: "OpenVINO has kernels of its own for narrow groups",
                evidence: "measured with OpenVINO 2026.4 on an AMD EPYC with AVX2, 50_32x4d f32: no difference in multiples of 8, 0.95 to 0.99 of the speed at 16, 0.90 to 0.92 at 32; on two Xeons with AVX-512 0.99 to 1.10 at 16",
            }],
            Self::Cuda => &[Rule {
                action: Action::KeepsGroups,
                reason: "cuDNN is given the number of groups and has kernels for narrow ones",
                evidence: "unmeasured; from onnxruntime's providers/cuda/nn/conv.cc, cudnnSetConvolutionGroupCount",
            }],
            Self::TensorRt => &[Rule {
                action: Action::KeepsGroups,
                reason: "TensorRT times its own kernels for grouped convolutions when it builds an engine",
                evidence: "unmeasured; from TensorRT's documentation of IConvolutionLayer::setNbGroups and its tactics",
            }],
        }
    }
}

/// Where most runtimes look for integers.
const UNSIGNED: Rule = Rule {
    action: Action::Quantizes(Flavour::Unsigned),
    reason: "the form that onnxruntime's CPU provider and OpenVINO run wholly in integers",
    evidence: "measured with onnxruntime 1.32 and OpenVINO 2026.4, a residual network of five convolutions: all in integers; with signed values 4 of 5, in TensorRT's form 1 of 5",
};

/// Groups that fill the blocks of the kernels for AVX-512, for AVX2 and for integers.
const IN_BLOCKS_OF_16: Action = Action::Widens(Width::blocks_of(16));
const IN_FEW_BLOCKS_OF_16: Action = Action::Widens(Width::few_blocks_of(16, FEW));
const IN_BLOCKS_OF_8: Action = Action::Widens(Width::blocks_of(8));

/// Integer convolutions of one group that a grouped one may become.
const FEW: usize = 8;

/// Why the CPU provider is given wider groups.
const BLOCKED: &str =
    "onnxruntime's blocked kernels take a grouped convolution only in whole blocks of channels a group";

/// What passes are chosen for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// A provider, by rules that hold everywhere.
    Target(Target),
    /// One machine, where a network was measured with this provider.
    Tuned {
        /// The provider's name.
        provider: String,
    },
}

impl Default for Purpose {
    fn default() -> Self {
        Self::Target(Target::default())
    }
}

impl fmt::Display for Purpose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Target(target) => f.write_str(target.name()),
            Self::Tuned { provider } => write!(f, "tuned for {provider}"),
        }
    }
}

impl Serialize for Purpose {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// What passes were chosen for, and why.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Rationale {
    /// What they are for.
    pub target: Purpose,
    /// Why these passes, one sentence each.
    pub reasons: Vec<String>,
    /// The stages that the choice was measured on; empty where it holds for every network.
    pub stages: Vec<Stage>,
}

impl From<Target> for Rationale {
    fn from(target: Target) -> Self {
        Self::of(target, Dtype::F32)
    }
}

impl Rationale {
    /// Why the passes of `target` are what they are for graphs that compute in `dtype`.
    pub fn of(target: Target, dtype: Dtype) -> Self {
        let reason = |rule: &Rule| format!("{}: {} ({})", rule.action, rule.reason, rule.evidence);
        Self {
            target: Purpose::Target(target),
            reasons: target.rules(dtype).iter().map(reason).collect(),
            stages: Vec::new(),
        }
    }
}

impl Rationale {
    /// Refuses a network with other stages than those measured on.
    ///
    /// # Errors
    /// What differs, as a sentence.
    pub fn check(&self, stages: &[Stage]) -> Result<(), String> {
        if self.stages.is_empty() || self.stages == stages {
            return Ok(());
        }
        let tell = |stages: &[Stage]| {
            let stage = |s: &Stage| format!("{} x {} groups of {}", s.convolutions, s.groups, s.inputs);
            let told: Vec<String> = stages.iter().map(stage).collect();
            if told.is_empty() { "no grouped convolutions".into() } else { told.join(", ") }
        };
        Err(format!(
            "the tuning file was made for a network with {}, and this one has {}; tune this one",
            tell(&self.stages),
            tell(stages)
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_target_but_the_portable_one_gives_its_evidence() {
        let integers = Target::ALL.into_iter().flat_map(|target| Rationale::of(target, Dtype::Int8).reasons);
        for reason in integers {
            assert!(reason.contains("(measured ") || reason.contains("(unmeasured; "), "{reason}");
        }
        for target in Target::ALL {
            let rationale = Rationale::from(target);
            assert_eq!(rationale.reasons.is_empty(), target == Target::Portable, "{target:?}");
            for reason in &rationale.reasons {
                assert!(reason.contains("(measured with ") || reason.contains("(unmeasured; "), "{reason}");
            }
        }
        assert_eq!(Rationale::from(Target::Portable), Rationale::default());
    }

    #[test]
    fn a_choice_measured_on_one_network_is_refused_for_another() {
        let stage = |groups| Stage { channels: 128, groups, inputs: 4, convolutions: 3 };
        let rationale = Rationale { stages: vec![stage(32)], ..Rationale::default() };
        assert!(rationale.check(&[stage(32)]).is_ok());
        let error = rationale.check(&[stage(16)]).unwrap_err();
        assert!(error.contains("3 x 32 groups of 4") && error.contains("3 x 16 groups of 4"), "{error}");
        assert!(rationale.check(&[]).unwrap_err().contains("no grouped convolutions"));
        assert!(Rationale::default().check(&[]).is_ok());
    }
}
