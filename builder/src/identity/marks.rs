//! What gives other architectures away: tensors that only they have.
//!
//! Names as torchvision, timm, transformers and the authors' own code write them.

use super::other::{Known, Shapes};

/// Names match one of the patterns, in which `*` stands for a part of a name between dots, at an end for any number of them.
type Mark = (&'static str, &'static [&'static str]);

/// Parts that a ResNet's blocks, stem or normalisation may have beside the plain ones. Of attention in blocks the first
/// that fits counts: they lie under one name.
const ATTENTION: [Mark; 6] = [
    ("ECA-ResNet: efficient channel attention in its blocks", &["layer*.*.se.conv.weight", "layer*.*.eca.conv.weight"]),
    ("GC-ResNet: global context in its blocks", &["layer*.*.se.conv_attn.*", "layer*.*.gc.*"]),
    (
        "CBAM: channel and spatial attention in its blocks",
        &["layer*.*.se.channel.*", "layer*.*.cbam.*", "layer*.*.ca.fc*", "layer*.*.sa.conv*"],
    ),
    ("ResNeSt: split attention in its blocks", &["layer*.*.conv2.fc1.*"]),
    ("SKNet: selective kernels in its blocks", &["layer*.*.conv*.paths.*", "layer*.*.conv*.attn.*"]),
    (
        "SE-ResNet or SE-ResNeXt: squeeze-and-excitation in its blocks",
        &["layer*.*.se.*", "layer*.*.se_module.*", "layer*.*.se_layer.*", "layer*.*.se_block.*"],
    ),
];

const PARTS: [Mark; 7] = [
    ("Res2Net: its 3x3 is a chain of smaller ones", &["layer*.*.convs.*"]),
    ("IBN-Net: instance and batch normalisation side by side", &["layer*.*.bn1.IN.*"]),
    ("EvoNorm or another normalisation with parameters of its own", &["bn1.v", "layer*.*.bn1.v", "bn1.tau"]),
    ("anti-aliased downsampling (blur pooling)", &["*.filt"]),
    (
        "a deep stem of several convolutions (timm's ResNet-C, -D, -S, -T)",
        &["conv1.0.weight", "conv1.1.weight", "conv1.conv1.weight"],
    ),
    ("a stem in 'layer0' (the SENets of pretrainedmodels)", &["layer0.conv1.*", "layer0.*.weight"]),
    ("non-local blocks", &["layer*.*.nl.*", "layer*.*.non_local.*"]),
];

/// Forms of a network that no program of this kind reads.
const FORMS: [Mark; 4] = [
    (
        "a network prepared for quantization, with observers or simulated rounding beside its weights",
        &["*.weight_fake_quant.*", "*.activation_post_process.*", "*.weight_quantizer.*"],
    ),
    (
        "a quantized network, whose weights are integers with a scale",
        &["*._packed_params*", "*.zero_point", "*.qweight"],
    ),
    (
        "a network with weights in a parametrization (weight or spectral norm), which remove_parametrizations or remove_weight_norm of torch takes off",
        &["*.parametrizations.*", "*.weight_g", "*.weight_v"],
    ),
    ("adapters (LoRA) beside a network, not a network", &["*.lora_A.*", "*.lora_down.*"]),
];

/// Networks that may have a ResNet inside. The first that fits counts.
const AROUND: [Mark; 8] = [
    ("CLIP's ResNet, with attention in place of pooling", &["visual.attnpool.*", "attnpool.*"]),
    ("CLIP", &["visual.transformer.*", "vision_model.*", "text_model.*"]),
    (
        "a detector (Faster or Mask R-CNN, RetinaNet, SSD or a relative)",
        &["rpn.*", "roi_heads.*", "head.classification_head.*", "rpn_head.*", "proposal_generator.*"],
    ),
    (
        "DETR",
        &["transformer.decoder.*", "class_embed.*", "query_embed.*", "class_labels_classifier.*", "bbox_predictor.*"],
    ),
    ("a U-Net", &["inc.double_conv.*", "decoder.blocks.*", "up1.*", "upconv*"]),
    (
        "a segmentation network (DeepLab, FCN, UPerNet or a relative)",
        &[
            "classifier.0.convs.*",
            "aux_classifier.*",
            "decode_head.*",
            "classifier.high_classifier.*",
            "segmentation_head.*",
        ],
    ),
    ("a diffusion model", &["model.diffusion_model.*", "down_blocks.*", "unet.*"]),
    ("YOLO", &["model.*.cv1.conv.weight", "model.*.m.*.cv1.*", "*.cv1.conv.weight"]),
];

/// Networks that are no ResNets. The first that fits counts.
const NETWORKS: [Mark; 32] = [
    (
        "NF-Net or NF-ResNet: convolutions with gains, no normalisation",
        &["stages.*.*.conv1.gain", "stem.*.gain", "stem.gain"],
    ),
    (
        "a network of timm's ByobNet (resnext26ts, gcresnext, eca_resnext, RegNetZ, MobileViT and their like)",
        &["stages.*.*.conv1_1x1.*", "stages.*.*.conv2_kxk.*"],
    ),
    ("RegNet or a relative", &["trunk_output.block*", "s1.b1.*", "regnet.*"]),
    ("RepVGG or a relative", &["stage*.*.rbr_dense.*", "stages.*.*.conv_kxk.*"]),
    (
        "BiT or ResNetV2: pre-activation blocks",
        &["root.conv.weight", "body.block1.*", "resnet/*", "stages.*.blocks.*.norm3.*", "bit.*"],
    ),
    ("DarkNet, CSPNet or a relative", &["stages.*.conv_down.*", "stages.*.blocks.*.conv1.bn.*"]),
    (
        "a vision transformer (ViT, DeiT, BEiT, DINO or a relative)",
        &["cls_token", "*.cls_token", "class_token", "vit.*", "deit.*", "dinov2.*", "beit.*"],
    ),
    ("Swin Transformer or a relative", &["*.relative_position_bias_table", "swin.*", "swinv2.*"]),
    ("SegFormer or a relative", &["segformer.*"]),
    (
        "ConvNeXt or a relative",
        &[
            "stages.*.blocks.*.conv_dw.*",
            "features.*.*.layer_scale",
            "stages.*.*.dwconv.*",
            "convnext.*",
            "convnextv2.*",
        ],
    ),
    ("MaxViT, CoAtNet or a relative", &["stages.*.blocks.*.attn_grid.*", "*.rel_pos.*"]),
    ("MLP-Mixer or a relative", &["*.mlp_tokens.*"]),
    ("a transformer of image patches (ViT, PVT or a relative)", &["patch_embed.proj.*", "*.patch_embed.proj.*"]),
    ("DenseNet or a relative", &["features.denseblock1.*", "*.denseblock1.*"]),
    ("SqueezeNet or a relative", &["features.*.squeeze.weight"]),
    ("MobileNetV2 or a relative", &["features.*.conv.0.0.weight", "features.*.conv.1.0.weight", "mobilenet_v2.*"]),
    (
        "EfficientNet, MobileNetV3 or a relative",
        &[
            "features.*.block.*",
            "features.*.*.block.*",
            "conv_stem.weight",
            "_conv_stem.weight",
            "blocks.*.*.conv_pw.*",
            "blocks.*.*.conv_dw.*",
        ],
    ),
    ("MNASNet or a relative", &["layers.8.*.layers.*"]),
    ("ShuffleNet or a relative", &["stage2.*.branch2.*"]),
    ("GoogLeNet", &["inception3a.*"]),
    ("Inception", &["Mixed_5b.*", "mixed_5b.*"]),
    ("HRNet or a relative", &["stage2.*.branches.*", "transition1.*"]),
    ("DLA or a relative", &["base_layer.*", "level0.*"]),
    ("DPN or a relative", &["*.c1x1_a.*", "*.c1x1_w_s1.*"]),
    ("Xception or a relative", &["block1.rep.*", "blocks.*.stack.conv1.*", "*.sepconv1.*"]),
    ("a plain stack of convolutions (AlexNet, VGG or a relative)", &["features.*.weight"]),
    ("another network of timm's `stages`", &["stages.*.blocks.*"]),
    (
        "a speech model",
        &["*.feature_extractor.conv_layers.*", "feature_extractor.conv_layers.*", "whisper.*", "encoder.conv_pos*"],
    ),
    (
        "a language model or another transformer",
        &[
            "*.self_attn.*",
            "*.attention.self.*",
            "transformer.h.*",
            "*.attn.c_attn.*",
            "encoder.layer.*",
            "model.layers.*",
            "layers.*.attention.*",
            "*.self_attention.*",
            "*.multi_head_attention.*",
            "*.mha.*",
        ],
    ),
    ("a recurrent network", &["*.weight_ih_l0", "weight_ih_l0"]),
    ("a generator or discriminator of images", &["generator.*", "discriminator.*", "mapping.*", "synthesis.*"]),
    ("an autoencoder of images", &["decoder.conv_in.*", "quant_conv.*"]),
];

/// What gives the tensors away.
pub(super) fn of(shapes: &Shapes<'_>) -> Vec<Known> {
    let first = |marks: &[Mark]| marks.iter().find_map(|mark| found(mark, shapes));
    let mut known: Vec<Known> = first(&FORMS).or_else(|| first(&AROUND)).into_iter().collect();
    if shapes.keys().any(|name| name.starts_with("layer1.")) {
        known.extend(first(&ATTENTION));
        known.extend(PARTS.iter().filter_map(|mark| found(mark, shapes)));
        known.extend(average_pooled_shortcuts(shapes));
        known.extend(without_statistics(shapes));
        known.extend(of_video(shapes));
    }
    if known.is_empty() {
        known.extend(first(&NETWORKS));
    }
    known
}

fn found((what, patterns): &Mark, shapes: &Shapes<'_>) -> Option<Known> {
    let mut names = shapes.keys().filter(|name| patterns.iter().any(|pattern| matches(pattern, name)));
    let evidence = (*names.next()?).to_owned();
    Some(Known { what, evidence, count: 1 + names.count() })
}

/// The second tensor of such a shortcut is the convolution.
fn average_pooled_shortcuts(shapes: &Shapes<'_>) -> Option<Known> {
    let is_one = |(name, shape): &(&&str, &&[usize])| matches("layer*.0.downsample.1.weight", name) && shape.len() == 4;
    let mut names = shapes.iter().filter(is_one).map(|(name, _)| *name);
    let evidence = names.next()?.to_owned();
    let what = "average pooling in its shortcuts (timm's ResNet-D)";
    Some(Known { what, evidence, count: 1 + names.count() })
}

/// Weights of convolutions in three dimensions.
fn of_video(shapes: &Shapes<'_>) -> Option<Known> {
    let mut names = shapes.iter().filter(|(_, shape)| shape.len() == 5).map(|(name, _)| *name);
    let evidence = names.next()?.to_owned();
    Some(Known {
        what: "convolutions in three dimensions, as networks for video and volumes have",
        evidence,
        count: 1 + names.count(),
    })
}

/// Normalisations of which not one has statistics: theirs is another normalisation, or none were kept.
fn without_statistics(shapes: &Shapes<'_>) -> Option<Known> {
    if shapes.keys().any(|name| name.ends_with(".running_mean")) {
        return None;
    }
    let is_one = |name: &&&str| matches("layer*.*.bn1.weight", name) || matches("layer*.*.norm1.weight", name);
    let mut names = shapes.keys().filter(is_one);
    let evidence = (*names.next()?).to_owned();
    let what = "its normalisations keep no running statistics, as those of groups and layers (GroupNorm, LayerNorm)";
    Some(Known { what, evidence, count: 1 + names.count() })
}

/// Whether `name` matches `pattern`, in which `*` stands for what may stand in a part of a name, and at either end for any
/// number of parts.
fn matches(pattern: &str, name: &str) -> bool {
    if let Some(pattern) = pattern.strip_prefix("*.") {
        // Behind any dot.
        return name.match_indices('.').any(|(at, _)| matches(pattern, &name[at + 1..]));
    }
    let (pattern, whole) = match pattern.strip_suffix('*') {
        Some(start) => (start, false),
        None => (pattern, true),
    };
    let (mut rest, mut parts) = (name, pattern.split('*'));
    let Some(after) = parts.next().and_then(|first| rest.strip_prefix(first)) else { return false };
    rest = after;
    for part in parts {
        // What stands for `*` ends before the next dot; a part begins with one or is the end.
        let end = rest.find('.').unwrap_or(rest.len());
        let found =
            (0..=end).rev().filter(|at| rest.is_char_boundary(*at)).find_map(|at| rest[at..].strip_prefix(part));
        match found {
            Some(after) => rest = after,
            None => return false,
        }
    }
    !whole || rest.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_whole_names() {
        assert!(matches("layer*.*.se.*", "layer1.0.se.fc1.weight"));
        assert!(matches("*.filt", "layer2.0.aa.filt"));
        assert!(matches("cls_token", "cls_token"));
        assert!(matches("layer*.*.conv*.paths.*", "layer1.0.conv2.paths.0.weight"));
        assert!(matches("*.cls_token", "a.b.cls_token"));
        assert!(matches("features.*.weight", "features.0.weight"));
        assert!(matches("trunk_output.block*", "trunk_output.block1.x"));
        assert!(!matches("features.*.weight", "features.0.conv.weight"));
        assert!(!matches("stages.*.blocks.*.conv_dw.*", "stages.0.blocks.0.conv_mid.0.conv_dw.weight"));
        assert!(!matches("cls_token", "cls_tokens"));
        assert!(!matches("layer*.*.se.*", "layer1.0.conv1.weight"));
        assert!(!matches("rpn.*", "model.rpn.x"));
    }
}
