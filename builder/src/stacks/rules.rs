//! Conditions that stacks have, and what a file does against them.

use onnx_file::element::ElementType;
use onnx_file::port::{ImageInput, Layout};
use serde::Serialize;

use super::facts::Facts;

/// What a stack needs of a file.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Condition {
    /// A version of the format not beyond this.
    MostIr(i64),
    /// An operator set within these.
    Opset(i64, i64),
    /// Operator sets of the default domain alone.
    DefaultDomain,
    /// Operator sets of the default domain and these.
    Domains(&'static [&'static str]),
    /// None of these operators.
    Without(&'static [&'static str]),
    /// The first extent of every input fixed.
    FixedBatch,
    /// Every other extent fixed.
    FixedPlane,
    /// All in one file.
    OneFile,
    /// No arithmetic in f16.
    NoF16,
    /// No Gemm in f16.
    NoF16Gemm,
    /// No pooling with padding.
    UnpaddedPool,
    /// With an open batch, no grouped convolutions.
    OpenBatchUngrouped,
    /// The input called so.
    InputName(&'static str),
    /// An output called so.
    OutputName(&'static str),
    /// Images in f32, channels first.
    PlainImages,
    /// No input or output of f16.
    NoF16Ends,
    /// At most so many bytes in all.
    MostBytes(u64),
    /// No output that is read inside.
    UnreadOutputs,
}

/// What a file does against a condition, and what helps.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Objection {
    /// Which, for programs.
    pub code: &'static str,
    /// In words.
    pub text: String,
    /// What to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fix: Option<String>,
}

fn against(code: &'static str, text: String, fix: &str) -> Option<Objection> {
    Some(Objection { code, text, fix: (!fix.is_empty()).then(|| fix.to_owned()) })
}

impl Condition {
    /// What `facts` are against it.
    pub fn against(&self, facts: &Facts) -> Option<Objection> {
        match *self {
            Self::MostIr(_) | Self::Opset(..) | Self::DefaultDomain | Self::Domains(_) => self.versions(facts),
            Self::Without(unknown) => {
                let op = facts.operators.keys().find(|op| unknown.contains(&op.as_str()));
                op.and_then(|op| against("operator", format!("it has no {op}"), ""))
            }
            Self::FixedBatch | Self::FixedPlane | Self::OpenBatchUngrouped => self.extents(facts),
            Self::InputName(_) | Self::OutputName(_) | Self::PlainImages | Self::NoF16Ends => self.ends(facts),
            Self::OneFile => facts.external.as_ref().and_then(|tensor| {
                let text = format!("the data of '{tensor}' and others lies in another file");
                against("external-data", text, "write one file: --external-data never")
            }),
            Self::NoF16 if facts.has_f16 => against("f16", "it computes in f16".into(), "build it with --dtype f32"),
            Self::NoF16Gemm => facts.f16_gemm.as_ref().and_then(|node| {
                against("f16-gemm", format!("'{node}' is a Gemm in f16"), &format!("keep it in f32: --keep-f32 {node}"))
            }),
            Self::UnpaddedPool => facts
                .padded_pool
                .as_ref()
                .and_then(|node| against("padded-pool", format!("'{node}' is a MaxPool with padding"), "")),
            Self::MostBytes(most) if facts.bytes > most => {
                against("size", format!("it has {} bytes, more than {most}", facts.bytes), "")
            }
            Self::UnreadOutputs => facts.read_output.as_ref().and_then(|output| {
                against("read-output", format!("its output '{output}' is read inside the graph, too"), "")
            }),
            Self::NoF16 | Self::MostBytes(_) => None,
        }
    }

    fn versions(&self, facts: &Facts) -> Option<Objection> {
        let (ir, opset) = (facts.ir, facts.opset);
        match *self {
            Self::MostIr(most) if ir > most => against(
                "ir",
                format!("its IR version is {ir}, and {most} is the highest"),
                "build it with an earlier --opset, or --ir-version",
            ),
            Self::Opset(least, most) if !(least..=most).contains(&opset) => against(
                "opset",
                format!("its opset is {opset}, not {least} to {most}"),
                "build or export it with --opset 17",
            ),
            Self::DefaultDomain => stranger(facts, &[]),
            Self::Domains(known) => stranger(facts, known),
            _ => None,
        }
    }

    fn extents(&self, facts: &Facts) -> Option<Objection> {
        let fix = "fix it: --batch 1";
        match *self {
            Self::FixedBatch if facts.has_open_batch => against("open-batch", "its batch is open".into(), fix),
            Self::FixedPlane if facts.has_open_plane => {
                against("open-size", "the size of its images is open".into(), "fix it: --image-size H[xW]")
            }
            Self::OpenBatchUngrouped if facts.has_open_batch => facts.grouped.as_ref().and_then(|node| {
                against("open-batch", format!("its batch is open, and '{node}' is a grouped convolution"), fix)
            }),
            _ => None,
        }
    }

    fn ends(&self, facts: &Facts) -> Option<Objection> {
        let names = |ports: &[onnx_file::port::Port]| {
            ports.iter().map(|port| format!("'{}'", port.name)).collect::<Vec<_>>().join(", ")
        };
        match *self {
            Self::InputName(name) if facts.inputs.len() != 1 || facts.inputs[0].name != name => {
                let text = format!("it feeds '{name}', and the inputs are {}", names(&facts.inputs));
                against("input-name", text, &format!("rename it: --input-name {name}, or bundle it"))
            }
            Self::OutputName(name) if facts.outputs.iter().all(|port| port.name != name) => {
                let text = format!("it reads '{name}', and the outputs are {}", names(&facts.outputs));
                against("output-name", text, &format!("rename it: --output-names {name}, or bundle it"))
            }
            Self::PlainImages => {
                let image = ImageInput::among(&facts.inputs).ok();
                let plain = image.is_some_and(|i| i.element_type == ElementType::F32 && i.layout == Layout::Nchw);
                let fix = "build it with f32 ends: --keep-io-types, without --input-type u8 and --layout nhwc";
                if plain { None } else { against("images", "it feeds f32 with the channels first".into(), fix) }
            }
            Self::NoF16Ends => {
                let half = facts
                    .inputs
                    .iter()
                    .chain(&facts.outputs)
                    .find(|port| port.element_type == Some(ElementType::F16))?;
                against(
                    "f16-ends",
                    format!("'{}' is f16, which JSON has no way to carry", half.name),
                    "build it with --keep-io-types",
                )
            }
            _ => None,
        }
    }
}

fn stranger(facts: &Facts, known: &[&str]) -> Option<Objection> {
    let stranger = facts.domains.iter().find(|domain| !known.contains(&domain.as_str()))?;
    against("domain", format!("it uses operators of '{}'", stranger.escape_debug()), "")
}
