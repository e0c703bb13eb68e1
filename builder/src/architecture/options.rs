//! How a variant becomes a graph.

use crate::graph::Dim;
use crate::variant::Variant;

/// Channels of a colour image.
pub const CHANNELS: usize = 3;

/// The paper's three equivalent forms of the grouped block (Figure 3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum BlockForm {
    /// (c): one grouped convolution
    #[default]
    Grouped,
    /// (b): a branch a group, concatenated before one 1x1
    Concat,
    /// (a): whole branches, summed
    Branches,
}

/// Which convolution of a downsampling bottleneck has stride 2.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum StrideIn {
    /// The 3x3, as in torchvision and the ResNeXt paper (section 4)
    #[default]
    #[value(name = "3x3")]
    Conv3x3,
    /// The first 1x1, as in the first ResNet
    #[value(name = "1x1")]
    Conv1x1,
}

/// What a graph outputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// Class scores before softmax, `[N, classes]`.
    Logits,
    /// The feature map of stage `n` (from 1), named `c2` to `c5` as in the detection literature,
    /// `[N, C, H / s, W / s]` with s = 4, 8, 16, 32.
    Stage(usize),
}

impl Output {
    /// Its name in the graph.
    pub fn name(self) -> String {
        match self {
            Output::Logits => "logits".into(),
            Output::Stage(stage) => format!("c{}", stage + 1),
        }
    }
}

/// How a variant becomes a graph.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// Images in a batch.
    pub batch: Dim,
    /// Height and width of the input image, in pixels.
    pub image: [Dim; 2],
    /// Channels of the image.
    pub channels: usize,
    /// Outputs of the linear layers before the last, each followed by a ReLU; none in torchvision's networks.
    pub hidden: Vec<usize>,
    /// Classes of the last linear layer.
    pub classes: usize,
    /// What to output, in this order.
    pub outputs: Vec<Output>,
    /// Form of the grouped blocks.
    pub block_form: BlockForm,
    /// Place of the stride.
    pub stride_in: StrideIn,
}

impl Options {
    /// A classifier for images and classes the variant was described for, with a batch chosen at run time.
    pub fn classifier(variant: &Variant) -> Self {
        let size = variant.default_image_size();
        Self {
            batch: Dim::Named("batch".into()),
            image: [Dim::Fixed(size), Dim::Fixed(size)],
            channels: CHANNELS,
            hidden: Vec::new(),
            classes: variant.default_classes(),
            outputs: vec![Output::Logits],
            block_form: BlockForm::default(),
            stride_in: StrideIn::default(),
        }
    }
}
