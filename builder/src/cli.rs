//! The command line: clap's types, and their translation into a checked plan.

mod bundle;
mod description;
mod ends;
mod lowering;
mod precision;
mod selection;
mod tips;
mod values;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use onnx_file::budget;

use crate::architecture::{BlockForm, Output, StrideIn};
use crate::build::{BuildError, Destination, External, Plan, Weights};
use crate::export::{OPSETS, Versions};
use crate::graph::Dim;
use crate::output::DataName;
use crate::variant::{Named, Stem};
use values::{parse_batch, parse_image_size, parse_output, parse_sha256, weights};

pub use bundle::BundleArgs;
pub use description::DescriptionArgs;
pub use ends::{EndsArgs, LayoutChoice};
pub use lowering::{LoweringArgs, OptimizeArgs, TargetChoice};
pub use precision::PrecisionArgs;
pub use selection::SelectionArgs;
pub use tips::tip;
pub use values::ImageSize;
pub(crate) use values::weights_only;

/// Writes any network of the ResNeXt family as ONNX, from torchvision checkpoints, without Python or PyTorch.
#[derive(Debug, Parser)]
#[command(name = "resnext-build", version, args_conflicts_with_subcommands = true, arg_required_else_help = true)]
#[command(after_help = "Examples:
  resnext-build --variant 50_32x4d --weights IMAGENET1K_V2 -o model.onnx
  resnext-build --weights resnext50_32x4d-1a0047aa.pth -o model.onnx
  resnext-build --variant 101_64x4d --seed 7 -o random.onnx
  resnext-build --weights model.safetensors --no-top -o features.onnx
  resnext-build inspect model.onnx

IMAGENET1K_V1, IMAGENET1K_V2 and DEFAULT are torchvision's weights for --variant: taken from torch's cache
(TORCH_HOME, else XDG_CACHE_HOME/torch, else ~/.cache/torch; in it hub/checkpoints), or downloaded to it.
RESNEXT_WEIGHTS_URL names a mirror, HTTPS_PROXY a proxy, RESNEXT_WEIGHTS_TIMEOUT the seconds to wait for a silent
server (30). hf-hub:ORG/NAME is taken from Hugging Face's cache (HF_HUB_CACHE, HF_HOME), or downloaded to it;
HF_ENDPOINT names a mirror, HF_TOKEN a token, HF_HUB_OFFLINE=1 forbids the network.

Exit codes: 0 done, 1 with --verify: not what the checkpoint means, 2 usage, 3 bad input file, 4 weights could not be
downloaded, 6 output could not be written, 70 internal error; 129, 130, 143 ended by a signal.")]
pub struct Cli {
    /// What to do other than building.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// The build's flags.
    #[command(flatten)]
    pub build: BuildArgs,
    /// Memory that models and their data may take, like 4G [default: three quarters of what the machine has left]
    #[arg(help_heading = "Limits", long, global = true, value_name = "SIZE", value_parser = budget::parse)]
    pub max_memory: Option<u64>,
    /// Say on standard error what is decided: files, passes, options; twice for more
    #[arg(short, long, global = true, action = clap::ArgAction::Count, help_heading = "Display")]
    pub verbose: u8,
}

/// What to do other than building.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// List the networks that have a name: parameters, multiply-adds, known checkpoints
    List {
        /// JSON instead of a table
        #[arg(help_heading = "Display", long)]
        json: bool,
    },
    /// Show what a checkpoint or an ONNX file holds, with the architecture inferred from its shapes
    Inspect {
        /// Checkpoint (.pth, .pt, .bin, .safetensors), ONNX file, hf-hub:ORG/NAME, https://..., '-' for standard input,
        /// or with --variant a name of torchvision's weights
        file: PathBuf,
        /// Network whose weights the name means
        #[arg(help_heading = "Input", long, value_name = "NAME")]
        variant: Option<String>,
        /// Which part of a checkpoint is meant.
        #[command(flatten)]
        selection: SelectionArgs,
        /// SHA-256 of an ONNX file, too, for which all of it must be read
        #[arg(help_heading = "Display", long)]
        sha256: bool,
        /// List every tensor: type, shape, name
        #[arg(help_heading = "Display", long)]
        tensors: bool,
        /// JSON instead of text
        #[arg(help_heading = "Display", long)]
        json: bool,
    },
    /// Check that a model computes what a checkpoint means: both run in f64 on the same synthetic (seeded random) images
    #[command(
        after_help = "Exit codes: 0 equal within 1e-6 (an f16 model to the checkpoint with its weights rounded), 1 different, 2 usage, 3 bad input file, 4 weights could not be downloaded."
    )]
    Verify {
        /// ONNX file; '-' is standard input
        model: PathBuf,
        /// Checkpoint (.pth, .pt, .bin, .safetensors), hf-hub:ORG/NAME, https://..., or with --variant IMAGENET1K_V1,
        /// IMAGENET1K_V2, DEFAULT
        #[arg(help_heading = "Input", long, value_name = "FILE|NAME|URL")]
        weights: PathBuf,
        /// SHA-256 that the file of --weights has to have, or how it begins
        #[arg(help_heading = "Input", long, value_name = "HEX", value_parser = parse_sha256)]
        sha256: Option<String>,
        /// Network whose weights the name means
        #[arg(help_heading = "Input", long, value_name = "NAME")]
        variant: Option<String>,
        /// Convolution that has the stride in a downsampling block, in the checkpoint's network
        #[arg(help_heading = "Comparison", long, value_enum, default_value_t)]
        stride_in: StrideIn,
        /// Which part of the checkpoint is meant.
        #[command(flatten)]
        selection: SelectionArgs,
        /// Seed of the images
        #[arg(help_heading = "Comparison", long, value_name = "N", default_value_t = 0)]
        seed: u64,
        /// JSON instead of text
        #[arg(help_heading = "Display", long)]
        json: bool,
    },
    /// Rewrite an existing ONNX model for a provider: normalisations folded, grouped convolutions widened
    #[command(after_help = "Exit codes: 0 done, 2 usage, 3 bad input file, 6 output could not be written.")]
    Optimize(OptimizeArgs),
    /// Write a folder that hands a model to other stacks, with golden cases, a card and the digest of every file
    #[command(
        after_help = "Exit codes: 0 done, 2 usage, or a stack of --for cannot take the model, 3 bad input file, 6 output could not be written."
    )]
    Bundle(BundleArgs),
    /// Tell which stacks take a file, and why not, as far as the versions that were tried tell
    #[command(
        after_help = "Exit codes: 0 every stack of --for takes it, or none was named; 1 one of them does not; 2 usage, 3 bad input file."
    )]
    Check {
        /// ONNX model, of these programs or of others; '-' is standard input
        file: PathBuf,
        /// Stacks that must take it, like onnxruntime,openvino,tract [default: all are told of]
        #[arg(id = "for", help_heading = "Comparison", long, value_name = "LIST", value_delimiter = ',')]
        stacks: Vec<String>,
        /// JSON instead of text
        #[arg(help_heading = "Display", long)]
        json: bool,
    },
    /// Write shell completions to standard output
    Completions {
        /// bash, elvish, fish, powershell or zsh
        shell: clap_complete::Shell,
    },
    /// Write a man page to standard output: of the program, or of one of its commands
    Man {
        /// list, inspect, verify, optimize, ...
        command: Option<String>,
    },
}

/// The flags of a build.
#[derive(Debug, Default, Args)]
pub struct BuildArgs {
    /// Network: DEPTH_CxWd (50_32x4d), or torchvision's or timm's name (resnext101_64x4d, resnet50, wide_resnet50_2)
    #[arg(help_heading = "Input", long, value_name = "NAME")]
    pub variant: Option<String>,
    /// Checkpoint file (.pth, .pt, .bin, .safetensors) or hub folder, hf-hub:ORG/NAME@REVISION, https://..., or
    /// torchvision's IMAGENET1K_V1, IMAGENET1K_V2, DEFAULT. Without it: seeded Kaiming-normal initialisation
    #[arg(help_heading = "Input", long, value_name = "FILE|NAME|URL")]
    pub weights: Option<PathBuf>,
    /// SHA-256 that the file of --weights has to have, or how it begins; a download of another is refused
    #[arg(help_heading = "Input", long, value_name = "HEX", requires = "weights", value_parser = parse_sha256)]
    pub sha256: Option<String>,
    /// Which part of the checkpoint is meant.
    #[command(flatten)]
    pub selection: SelectionArgs,
    /// Where to write the model; '-' is standard output
    #[arg(help_heading = "Output", short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Compare the finished model with the checkpoint, as `resnext-build verify` does, before it takes its name
    #[arg(help_heading = "Output", long, requires = "weights")]
    pub verify: bool,
    /// Seed of the initialisation [default: 0]
    #[arg(help_heading = "Input", long, value_name = "N", conflicts_with = "weights")]
    pub seed: Option<u64>,
    /// Blocks per stage, for networks outside the table: 3,4,6,3
    #[arg(help_heading = "Network", long, value_name = "LIST", value_delimiter = ',')]
    pub blocks: Vec<usize>,
    /// Channels of the stem and planes of the first stage [default: 64]
    #[arg(help_heading = "Network", long, value_name = "N")]
    pub planes: Option<usize>,
    /// Stem: imagenet (7x7 stride 2, max pooling) or cifar (3x3) [default: the variant's]
    #[arg(help_heading = "Network", long)]
    pub stem: Option<Stem>,
    /// Classes [default: the checkpoint's; else 1000, or 10 for 29_*]
    #[arg(help_heading = "Network", long, value_name = "N", conflicts_with = "no_top")]
    pub num_classes: Option<usize>,
    /// No pooling and no classifier: output the last feature map
    #[arg(help_heading = "Network", long, conflicts_with = "outputs")]
    pub no_top: bool,
    /// Outputs, in this order: logits, c2, c3, c4, c5 (feature maps at strides 4, 8, 16, 32)
    #[arg(help_heading = "Network", long, value_name = "LIST", value_delimiter = ',', value_parser = parse_output)]
    pub outputs: Vec<Output>,
    /// What to store of labels and preprocessing.
    #[command(flatten)]
    pub description: DescriptionArgs,
    /// Images in a batch, or 'dynamic' [default: dynamic]
    #[arg(help_heading = "Network", long, value_name = "N|dynamic", value_parser = parse_batch)]
    pub batch: Option<Dim>,
    /// Image height and width in pixels: 224 or 224x320 [default: 224; 32 for 29_*]
    #[arg(help_heading = "Network", long, value_name = "H[xW]", value_parser = parse_image_size)]
    pub image_size: Option<ImageSize>,
    /// Leave height and width to run time
    #[arg(help_heading = "Network", long)]
    pub dynamic_hw: bool,
    /// Names, layout and type of what goes in and comes out.
    #[command(flatten)]
    pub ends: EndsArgs,
    /// Operator set, 13 to 25
    #[arg(help_heading = "Output", long, value_name = "N", default_value_t = 17, value_parser = clap::value_parser!(i64).range(OPSETS))]
    pub opset: i64,
    /// Version of the file format [default: the opset's own, 8 for opset 17]
    #[arg(help_heading = "Output", long, value_name = "N", value_parser = clap::value_parser!(i64).range(4..=13))]
    pub ir_version: Option<i64>,
    /// Which passes to run.
    #[command(flatten)]
    pub lowering: LoweringArgs,
    /// Arithmetic carried by the graph.
    #[command(flatten)]
    pub precision: PrecisionArgs,
    /// Form of the grouped blocks (the paper's Figure 3 c, b, a)
    #[arg(help_heading = "Network", long, value_enum, default_value_t)]
    pub block_form: BlockForm,
    /// Convolution that has the stride in a downsampling block: 3x3 (torchvision) or 1x1 (the first ResNet)
    #[arg(help_heading = "Network", long, value_enum, default_value_t)]
    pub stride_in: StrideIn,
    /// Weights in a file of their own: auto where protobuf's 2 GiB limit needs it
    #[arg(help_heading = "Output", long, value_enum, default_value_t)]
    pub external_data: External,
    /// Name of the file for weights, in the model's folder (a kill while an old one is replaced may leave it with the old model) [default: the model's, with a digest]
    #[arg(help_heading = "Output", long, value_name = "NAME")]
    pub external_data_name: Option<String>,
    /// Replace an existing output
    #[arg(help_heading = "Output", long)]
    pub force: bool,
    /// What was built, with the digest of every file, as JSON on standard output instead of a summary
    #[arg(help_heading = "Display", long)]
    pub json: bool,
    /// No progress, no summary; that weights are random is said all the same
    #[arg(help_heading = "Display", short, long)]
    pub quiet: bool,
}

impl BuildArgs {
    /// Checks the flags against each other and reads the small files they name.
    ///
    /// # Errors
    /// [`BuildError`] of usage.
    pub fn plan(&self) -> Result<Plan, BuildError> {
        let request = |text: &str| BuildError::Request(text.into());
        let output =
            self.output.as_ref().ok_or_else(|| request("no output file: pass -o FILE, or -o - for standard output"))?;
        let destination = match output.as_os_str().to_str() {
            Some("-") => Destination::Stdout,
            _ => Destination::File(output.clone()),
        };
        let network = self.resolve_variant()?;
        let weights = match &self.weights {
            Some(value) => weights(value, network.as_ref(), self.sha256.as_deref())?,
            None => Weights::Random { seed: self.seed.unwrap_or(0) },
        };
        let mut plan = Plan::new(network.map(|network| network.variant), weights, destination);
        plan.sha256 = self.sha256.clone();
        plan.choice = self.selection.choice()?;
        let logits = self.outputs.is_empty() || self.outputs.contains(&Output::Logits);
        plan.choice.no_head = self.no_top || !logits;
        plan.force = self.force;
        plan.classes = self.num_classes;
        plan.outputs = self.outputs.clone();
        plan.no_top = self.no_top;
        plan.batch = self.batch.clone().unwrap_or(plan.batch);
        plan.image = self.image()?;
        plan.block_form = self.block_form;
        plan.stride_in = self.stride_in;
        plan.external = self.external_data;
        plan.data_name = self.external_data_name.as_deref().map(DataName::parse).transpose()?;
        plan.ends = self.ends.ends();
        plan.verify = self.verify;
        (plan.lowering, plan.rationale) = self.lowering.choose(self.precision.dtype)?;
        (plan.lowering.precision, plan.calibration) = self.precision.choose(self.lowering.target.into())?;
        plan.versions = Versions::of_opset(self.opset);
        plan.versions.ir = self.ir_version.unwrap_or(plan.versions.ir);
        plan.labels = self.description.labels()?;
        plan.preprocess = self.description.preprocess()?;
        let named = [&self.lowering.tuning, &self.precision.calibration];
        plan.files = named.into_iter().flatten().cloned().chain(self.description.files()).collect();
        if self.json && plan.destination == Destination::Stdout {
            return Err(request("--json and the model would both go to standard output; write the model to a file"));
        }
        Ok(plan)
    }

    fn resolve_variant(&self) -> Result<Option<Named>, BuildError> {
        let Some(name) = &self.variant else {
            if !self.blocks.is_empty() || self.planes.is_some() || self.stem.is_some() {
                let text = "--blocks, --planes and --stem change a --variant; with --weights they follow from the file";
                return Err(BuildError::Request(text.into()));
            }
            return Ok(None);
        };
        let Named { name, mut variant, tag } = Named::parse_with(name, &self.blocks)?;
        if let Some(stem) = self.stem {
            variant.stem = stem;
        }
        if let Some(planes) = self.planes {
            variant.group_width = variant.group_width.saturating_mul(planes) / variant.planes;
            variant.planes = planes;
        }
        Ok(Some(Named { name, variant: variant.check()?, tag }))
    }

    fn image(&self) -> Result<Option<[Dim; 2]>, BuildError> {
        if self.dynamic_hw {
            if self.image_size.is_some() {
                return Err(BuildError::Request("--dynamic-hw leaves the size open; drop --image-size".into()));
            }
            return Ok(Some([Dim::Named("height".into()), Dim::Named("width".into())]));
        }
        Ok(self.image_size.map(|size| [Dim::Fixed(size.height), Dim::Fixed(size.width)]))
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn plan(args: &[&str]) -> Result<Plan, BuildError> {
        Cli::try_parse_from([&["resnext-build"], args].concat()).unwrap().build.plan()
    }

    #[test]
    fn the_definition_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn planes_scale_the_groups_as_torchvision_does() {
        let plan = plan(&["--variant", "50_32x4d", "--planes", "16", "--blocks", "1,1,1,1", "-o", "m.onnx"]).unwrap();
        let variant = plan.variant.unwrap();
        assert_eq!((variant.cardinality, variant.group_width, variant.planes), (32, 1, 16));
    }

    #[test]
    fn requests_that_contradict_themselves_are_usage_errors() {
        for args in [
            &["--variant", "50_32x4d"][..],
            &["--blocks", "1,1", "-o", "m.onnx"],
            &["--variant", "50_32x4d", "--planes", "4", "-o", "m.onnx"],
            &["--variant", "50_32x4d", "--dynamic-hw", "--image-size", "64", "-o", "m.onnx"],
        ] {
            assert_eq!(plan(args).unwrap_err().exit(), onnx_file::exit::Exit::Usage, "{args:?}");
        }
        for args in
            [&["--opset", "12"][..], &["--outputs", "c1"], &["--image-size", "x"], &["--weights", "f", "--seed", "1"]]
        {
            assert!(Cli::try_parse_from([&["resnext-build"], args].concat()).is_err(), "{args:?}");
        }
    }
}
