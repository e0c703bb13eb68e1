//! What a user should know of the part of a checkpoint that was taken.

use crate::checkpoint::{Alternative, Checkpoint, Naming, WeightsKind};

/// How the weights were found, one sentence each.
pub(crate) fn notes(checkpoint: &Checkpoint) -> Vec<String> {
    let mut notes = Vec::new();
    if let Some(key) = checkpoint.nested_under() {
        notes.push(format!("weights found under the key '{key}'"));
    }
    notes.extend(others(checkpoint.alternatives()));
    if let Some(prefix) = checkpoint.stripped_prefix() {
        notes.push(format!("prefix '{prefix}' removed from the tensors' names"));
    }
    notes.extend(naming(checkpoint.naming()).map(str::to_owned));
    if let Some(head) = checkpoint.head() {
        match &head.layers[..] {
            [only] if only == "fc" => {}
            [only] => notes.push(format!("classifier: '{only}'")),
            several => notes.push(format!(
                "classifier: {} linear layers ({}), with ReLU between, as shapes do not tell the activation",
                several.len(),
                several.join(", ")
            )),
        }
        if !head.biased {
            notes.push("the classifier has a layer without bias: zeros stored".into());
        }
    }
    if !checkpoint.left_out().is_empty() {
        let names = checkpoint.left_out();
        let shown: Vec<&str> = names.iter().take(5).map(String::as_str).collect();
        let more = names.len().saturating_sub(shown.len());
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        notes.push(format!("left out, as no part of the network: {}{more}", shown.join(", ")));
    }
    if !checkpoint.skipped().is_empty() {
        let skipped: Vec<String> = checkpoint.skipped().iter().map(ToString::to_string).collect();
        notes.push(format!("beside the weights, passed over unbuilt: {}", skipped.join(", ")));
    }
    notes
}

/// That there are other weights, and how to take them.
fn others(alternatives: &[Alternative]) -> Option<String> {
    let first = alternatives.iter().find(|other| other.kind != WeightsKind::Unknown).or(alternatives.first())?;
    let listed: Vec<String> = alternatives.iter().map(described).collect();
    let averaged = match first.kind {
        WeightsKind::Ema | WeightsKind::Swa => "; averaged weights usually classify better",
        WeightsKind::Teacher => "; a teacher's weights usually classify better",
        WeightsKind::Unknown => "",
    };
    let key = if first.key.is_empty() { String::new() } else { format!("; --weights-key {} takes them", first.key) };
    Some(format!("other weights are in the file: {}{averaged}{key}", listed.join(", ")))
}

/// `'model_ema' (EMA)`.
pub(crate) fn described(other: &Alternative) -> String {
    let key = if other.key.is_empty() { "at the top".to_owned() } else { format!("'{}'", other.key.escape_debug()) };
    match other.kind {
        WeightsKind::Ema => format!("{key} (EMA)"),
        WeightsKind::Swa => format!("{key} (SWA)"),
        WeightsKind::Teacher => format!("{key} (teacher)"),
        WeightsKind::Unknown => key,
    }
}

fn naming(naming: Naming) -> Option<&'static str> {
    Some(match naming {
        Naming::Torchvision => return None,
        Naming::Transformers => {
            "names are those of transformers' ResNet; its downsample_in_bottleneck is --stride-in 1x1"
        }
        Naming::Detectron2 => {
            "names are Detectron2's: its images are BGR, and the channels are taken as they are; shapes do not tell where the stride sits: --stride-in 1x1 where the configuration has STRIDE_IN_1X1"
        }
        Naming::Caffe2 => {
            "names are Caffe2's, as in Detectron's model zoo: its images are BGR, and the channels are taken as they are; X-101-32x8d has its stride in the 3x3 as here, the R-50 and R-101 of that zoo in the first 1x1 (--stride-in 1x1)"
        }
        Naming::Sequential { .. } => "names are numbers of an nn.Sequential, taken for a ResNet's children in order",
    })
}
