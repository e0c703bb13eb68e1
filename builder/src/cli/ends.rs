//! Flags for the ends of a model's file.

use clap::Args;
use onnx_file::port::Layout;

use crate::ends::{Ends, Pixels};

/// `--layout`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum LayoutChoice {
    /// [N, C, H, W], as torch has images
    Nchw,
    /// [N, H, W, C], as files and TensorFlow have them
    Nhwc,
}

/// Names, layout and type of what goes in and comes out.
#[derive(Clone, Debug, Default, Args)]
pub struct EndsArgs {
    /// Name of the input, like pixel_values
    #[arg(help_heading = "Inputs and outputs", long, value_name = "NAME")]
    pub input_name: Option<String>,
    /// Names of the outputs, in their order
    #[arg(help_heading = "Inputs and outputs", long, value_name = "LIST", value_delimiter = ',')]
    pub output_names: Vec<String>,
    /// Where the channels of images stand [default: as they are; nhwc with --input-type u8]
    #[arg(help_heading = "Inputs and outputs", long, value_enum)]
    pub layout: Option<LayoutChoice>,
    /// Type of images: with u8 the model takes pixels as they are, and the graph normalises them
    #[arg(help_heading = "Inputs and outputs", long, value_enum)]
    pub input_type: Option<Pixels>,
    /// Put out probabilities instead of logits
    #[arg(help_heading = "Inputs and outputs", long)]
    pub softmax: bool,
}

impl EndsArgs {
    /// What is asked for.
    pub fn ends(&self) -> Ends {
        Ends {
            input_name: self.input_name.clone(),
            output_names: self.output_names.clone(),
            layout: self.layout.map(|layout| match layout {
                LayoutChoice::Nchw => Layout::Nchw,
                LayoutChoice::Nhwc => Layout::Nhwc,
            }),
            pixels: self.input_type,
            softmax: self.softmax,
            wide_outputs: false,
        }
    }
}
