//! The namings of the libraries, each with the tensor that gives it away.

use serde::Serialize;

use crate::checkpoint::choice::ChannelOrder;

/// Whose names a file's tensors have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Naming {
    /// torchvision's, which timm, mmpretrain and most others share.
    Torchvision,
    /// transformers' ResNet.
    Transformers,
    /// Detectron2.
    Detectron2,
    /// Caffe2, as in Detectron's model zoo.
    Caffe2,
    /// Numbers of an `nn.Sequential` of a ResNet's children.
    Sequential {
        /// The number of the first stage.
        first: usize,
    },
}

impl Naming {
    /// The naming, and what stands before it, where `name` is the first convolution of the first block in one.
    pub(super) fn anchored(name: &str) -> Option<(Self, String)> {
        let name = name.strip_suffix("_orig").unwrap_or(name);
        let before = |anchor: &str| {
            let before = name.strip_suffix(anchor)?;
            (before.is_empty() || before.ends_with('.')).then(|| before.to_owned())
        };
        if let Some(prefix) = before("layer1.0.conv1.weight") {
            return Some((Self::Torchvision, prefix));
        }
        if let Some(prefix) = before("encoder.stages.0.layers.0.layer.0.convolution.weight") {
            // RegNet has the same names and other blocks.
            return (!prefix.ends_with("regnet.")).then_some((Self::Transformers, prefix));
        }
        if let Some(prefix) = before("res2.0.conv1.weight") {
            return Some((Self::Detectron2, prefix));
        }
        if name == "res2_0_branch2a_w" {
            return Some((Self::Caffe2, String::new()));
        }
        // Stem and pooling come first: conv, norm, relu, pool, or without relu or pool where those are functions.
        (2..=4).rev().find_map(|first| {
            before(&format!("{first}.0.conv1.weight")).map(|prefix| (Self::Sequential { first }, prefix))
        })
    }

    /// The order of colours that the library trains its networks on.
    pub(super) fn channel_order(self) -> ChannelOrder {
        match self {
            Self::Detectron2 | Self::Caffe2 => ChannelOrder::Bgr,
            Self::Torchvision | Self::Transformers | Self::Sequential { .. } => ChannelOrder::Rgb,
        }
    }

    /// torchvision's name of `name`, and whether it is a part of stem or stages; `None` where the naming has none.
    pub(super) fn torchvision(self, name: &str) -> Option<(String, bool)> {
        let body = |name: String| Some((name, true));
        match self {
            Self::Torchvision => torchvision(name).and_then(body),
            Self::Transformers => transformers(name).and_then(body),
            Self::Detectron2 => detectron2(name).and_then(body),
            Self::Caffe2 => match caffe2(name) {
                Some(name) => body(name),
                None => Some((suffixed(name), false)),
            },
            Self::Sequential { first } => sequential(name, first).and_then(body),
        }
    }
}

fn torchvision(name: &str) -> Option<String> {
    let (first, rest) = name.split_once('.')?;
    if matches!(first, "conv1" | "bn1") {
        return Some(name.to_owned());
    }
    first.strip_prefix("layer").filter(|digits| is_number(digits))?;
    // The shortcut of many a CIFAR ResNet.
    let (block, part) = rest.split_once('.').unwrap_or((rest, ""));
    match part.strip_prefix("shortcut.") {
        Some(part) if is_number(block) => Some(format!("{first}.{block}.downsample.{part}")),
        _ => Some(name.to_owned()),
    }
}

fn transformers(name: &str) -> Option<String> {
    let part = |base: &str, norm: &str, rest: &str| {
        let (kind, parameter) = rest.split_once('.')?;
        match kind {
            "convolution" => Some(format!("{base}.{parameter}")),
            "normalization" => Some(format!("{norm}.{parameter}")),
            _ => None,
        }
    };
    if let Some(rest) = name.strip_prefix("embedder.embedder.") {
        return part("conv1", "bn1", rest);
    }
    let rest = name.strip_prefix("encoder.stages.")?;
    let (stage, rest) = rest.split_once('.')?;
    let (block, rest) = rest.strip_prefix("layers.")?.split_once('.')?;
    let block = format!("layer{}.{block}", stage.parse::<usize>().ok()?.checked_add(1)?);
    if let Some(rest) = rest.strip_prefix("shortcut.") {
        return part(&format!("{block}.downsample.0"), &format!("{block}.downsample.1"), rest);
    }
    let (index, rest) = rest.strip_prefix("layer.")?.split_once('.')?;
    let index = index.parse::<usize>().ok()?.checked_add(1)?;
    part(&format!("{block}.conv{index}"), &format!("{block}.bn{index}"), rest)
}

fn detectron2(name: &str) -> Option<String> {
    if let Some(rest) = name.strip_prefix("stem.conv1.") {
        return Some(match rest.strip_prefix("norm.") {
            Some(parameter) => format!("bn1.{parameter}"),
            None => format!("conv1.{rest}"),
        });
    }
    let (stage, rest) = name.strip_prefix("res")?.split_once('.')?;
    let (block, rest) = rest.split_once('.')?;
    let block = format!("layer{}.{block}", stage.parse::<usize>().ok()?.checked_sub(1)?);
    let (part, rest) = rest.split_once('.')?;
    let norm = rest.strip_prefix("norm.");
    match (part, norm) {
        ("shortcut", Some(parameter)) => Some(format!("{block}.downsample.1.{parameter}")),
        ("shortcut", None) => Some(format!("{block}.downsample.0.{rest}")),
        (conv, Some(parameter)) => Some(format!("{block}.bn{}.{parameter}", conv.strip_prefix("conv")?)),
        (conv, None) => conv.starts_with("conv").then(|| format!("{block}.{conv}.{rest}")),
    }
}

fn caffe2(name: &str) -> Option<String> {
    let parameter = |rest: &str| {
        Some(match rest {
            "bn_s" | "bn_gamma" => ".weight",
            "bn_b" | "bn_beta" => ".bias",
            "bn_rm" | "bn_running_mean" => ".running_mean",
            "bn_riv" | "bn_running_var" => ".running_var",
            _ => return None,
        })
    };
    if let Some(parameter @ ("w" | "b")) = name.strip_prefix("conv1_") {
        return Some(format!("conv1.{}", if parameter == "w" { "weight" } else { "bias" }));
    }
    if let Some(rest) = name.strip_prefix("res_conv1_").or_else(|| name.strip_prefix("conv1_")) {
        return parameter(rest).map(|parameter| format!("bn1{parameter}"));
    }
    let mut parts = name.strip_prefix("res")?.splitn(4, '_');
    let (stage, block, branch, rest) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let block = is_number(block).then_some(block)?;
    let block = format!("layer{}.{block}", stage.parse::<usize>().ok()?.checked_sub(1)?);
    let (conv, norm) = match branch {
        "branch1" => (format!("{block}.downsample.0"), format!("{block}.downsample.1")),
        "branch2a" => (format!("{block}.conv1"), format!("{block}.bn1")),
        "branch2b" => (format!("{block}.conv2"), format!("{block}.bn2")),
        "branch2c" => (format!("{block}.conv3"), format!("{block}.bn3")),
        _ => return None,
    };
    match rest {
        "w" => Some(format!("{conv}.weight")),
        _ => parameter(rest).map(|parameter| format!("{norm}{parameter}")),
    }
}

/// Caffe2's `pred_w` as `pred.weight`.
fn suffixed(name: &str) -> String {
    match (name.strip_suffix("_w"), name.strip_suffix("_b")) {
        (Some(base), _) => format!("{base}.weight"),
        (_, Some(base)) => format!("{base}.bias"),
        _ => name.to_owned(),
    }
}

fn sequential(name: &str, first: usize) -> Option<String> {
    let (index, rest) = name.split_once('.')?;
    let index: usize = index.parse().ok()?;
    match index {
        0 => Some(format!("conv1.{rest}")),
        1 => Some(format!("bn1.{rest}")),
        _ => {
            // A stage's parts begin with the number of a block, a classifier's do not.
            let (block, _) = rest.split_once('.')?;
            is_number(block).then(|| format!("layer{}.{rest}", index.checked_sub(first).map_or(0, |stage| stage + 1)))
        }
    }
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn maps(naming: Naming, from: &str, to: &str) {
        assert_eq!(naming.torchvision(from), Some((to.to_owned(), true)), "{from}");
    }

    #[test]
    fn every_librarys_names_become_torchvisions() {
        maps(Naming::Transformers, "embedder.embedder.convolution.weight", "conv1.weight");
        maps(Naming::Transformers, "encoder.stages.2.layers.1.layer.0.normalization.bias", "layer3.1.bn1.bias");
        maps(
            Naming::Transformers,
            "encoder.stages.0.layers.0.shortcut.convolution.weight",
            "layer1.0.downsample.0.weight",
        );
        maps(Naming::Detectron2, "stem.conv1.norm.running_var", "bn1.running_var");
        maps(Naming::Detectron2, "res5.2.conv3.weight", "layer4.2.conv3.weight");
        maps(Naming::Detectron2, "res2.0.shortcut.norm.weight", "layer1.0.downsample.1.weight");
        maps(Naming::Caffe2, "res_conv1_bn_s", "bn1.weight");
        maps(Naming::Caffe2, "res4_22_branch2b_w", "layer3.22.conv2.weight");
        maps(Naming::Caffe2, "res3_0_branch1_bn_b", "layer2.0.downsample.1.bias");
        maps(Naming::Sequential { first: 4 }, "1.running_mean", "bn1.running_mean");
        maps(Naming::Sequential { first: 4 }, "6.3.conv2.weight", "layer3.3.conv2.weight");
        maps(Naming::Torchvision, "layer2.0.shortcut.1.bias", "layer2.0.downsample.1.bias");
        assert_eq!(Naming::Caffe2.torchvision("pred_b"), Some(("pred.bias".to_owned(), false)));
        assert_eq!(Naming::Sequential { first: 4 }.torchvision("9.weight"), None);
    }

    #[test]
    fn names_give_their_library_away_behind_any_prefix() {
        for (name, naming, prefix) in [
            ("module.encoder_q.layer1.0.conv1.weight", Naming::Torchvision, "module.encoder_q."),
            ("layer1.0.conv1.weight_orig", Naming::Torchvision, ""),
            ("resnet.encoder.stages.0.layers.0.layer.0.convolution.weight", Naming::Transformers, "resnet."),
            ("backbone.bottom_up.res2.0.conv1.weight", Naming::Detectron2, "backbone.bottom_up."),
            ("features.4.0.conv1.weight", Naming::Sequential { first: 4 }, "features."),
        ] {
            assert_eq!(Naming::anchored(name), Some((naming, prefix.to_owned())), "{name}");
        }
        for name in ["player1.0.conv1.weight", "14.0.conv1.weight", "layer1.0.conv2.weight", "x_res2_0_branch2a_w"] {
            assert_eq!(Naming::anchored(name), None, "{name}");
        }
    }
}
