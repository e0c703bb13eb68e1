//! Texts for people: the card, the note on licences, a check in Python, KServe's service.

use std::fmt::Write as _;

use onnx_file::element::ElementType;
use onnx_file::meaning::Meaning;
use onnx_file::metadata::{Crop, Key, Metadata, Weights};
use onnx_file::text::shown;

use super::error::Format;
use super::results::Accuracy;
use super::subject::{Dtype, Subject};

/// A model in the `onnx` folder, as the card tells of it.
pub(super) struct Part {
    pub(super) path: String,
    pub(super) dtype: Dtype,
    pub(super) cases: usize,
    pub(super) unchecked: Option<String>,
    pub(super) metadata: Metadata,
}

/// All that the card tells of.
pub(super) struct Card<'a> {
    pub(super) name: &'a str,
    pub(super) subject: &'a Subject,
    pub(super) parts: &'a [Part],
    pub(super) accuracies: &'a [Accuracy],
    /// Formats that were left out, and why.
    pub(super) left_out: &'a [(Format, String)],
    pub(super) digests: &'a std::collections::BTreeMap<String, String>,
}

/// Text of others in one line of Markdown, which it cannot end or format.
fn plain(text: &str) -> String {
    shown(text)
        .chars()
        .map(|c| match c {
            '|' | '`' | '*' | '_' | '~' | '[' | ']' | '<' | '>' | '#' | '&' | '\\' => format!("\\{c}"),
            c => c.to_string(),
        })
        .collect()
}

/// Text of others as code in a line of Markdown.
fn code(text: &str) -> String {
    format!("`{}`", shown(text).replace('`', "'"))
}

impl Card<'_> {
    /// `README.md`.
    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        self.front_matter(&mut text);
        let _ = writeln!(
            text,
            "# {}\n\nAn image classifier as ONNX, with golden cases to test a stack against.\n",
            self.name
        );
        self.files(&mut text);
        self.use_it(&mut text);
        self.images(&mut text);
        self.classes(&mut text);
        self.accuracy(&mut text);
        self.provenance(&mut text);
        self.left_out(&mut text);
        self.hand_on(&mut text);
        text
    }

    /// What hubs read; a licence is not named where nobody knows it.
    fn front_matter(&self, text: &mut String) {
        text.push_str(
            "---\nlibrary_name: onnx\npipeline_tag: image-classification\ntags:\n- onnx\n- image-classification\n",
        );
        if let Some(variant) = self.subject.metadata.get(Key::Variant) {
            // A string of JSON is one of YAML.
            let _ = writeln!(text, "- resnext\nmodel_name: {}", serde_json::Value::from(shown(variant)));
        }
        text.push_str("license: other\nlicense_name: see-license\nlicense_link: LICENSE\n---\n");
    }

    fn files(&self, text: &mut String) {
        text.push_str("## Files\n\n| file | for | SHA-256 |\n|---|---|---|\n");
        for (name, sha256) in self.digests.iter().filter(|(name, _)| name.ends_with(".onnx")) {
            let purpose = match name.split('/').next() {
                Some("triton") => "Triton",
                Some("huggingface") => "optimum, transformers.js",
                _ => "onnxruntime and other stacks",
            };
            let _ = writeln!(text, "| `{name}` | {purpose} | `{}` |", &sha256[..16]);
        }
        text.push_str("\n`SHA256SUMS` has every file: `sha256sum -c SHA256SUMS`.\n\n");
        for part in self.parts {
            let how = match &part.unchecked {
                None => format!(
                    "{} golden cases in `test_data_set_N/` and `golden.npz`, computed in f64; tolerance {:e} of the largest magnitude",
                    part.cases,
                    part.dtype.tolerance()
                ),
                Some(reason) => format!("no golden cases: {}", plain(reason)),
            };
            let _ = writeln!(text, "- `{}`, {}: {how}.", part.path, part.dtype.name());
        }
        text.push('\n');
    }

    fn use_it(&self, text: &mut String) {
        text.push_str("## Use it\n\n```sh\npython onnx/check.py                    # needs numpy and onnxruntime\nresnext-run bench .                     # checks digests and golden cases first\n");
        let left = |format: Format| self.left_out.iter().any(|(out, _)| *out == format);
        let has =
            |folder: &str, format: Format| self.digests.keys().any(|name| name.starts_with(folder)) && !left(format);
        if has("triton/", Format::Triton) {
            text.push_str("tritonserver --model-repository triton  # HTTP on port 8000, gRPC on 8001\n");
        }
        if has("kserve/", Format::Kserve) {
            text.push_str(
                "kubectl apply -f kserve/inference-service.yaml   # once storageUri names where triton/ lies\n",
            );
        }
        text.push_str("```\n\n");
        if has("huggingface/", Format::Huggingface) {
            text.push_str("```python\nfrom optimum.onnxruntime import ORTModelForImageClassification\nmodel = ORTModelForImageClassification.from_pretrained(\"huggingface\", subfolder=\"onnx\")\n```\n\n");
        }
    }

    fn images(&self, text: &mut String) {
        text.push_str("## Images\n\n");
        let Some(image) = &self.subject.image else {
            let inputs: Vec<String> = self.subject.inputs.iter().map(|port| plain(&port.to_string())).collect();
            let _ = writeln!(text, "The inputs are {}.\n", inputs.join("; "));
            return;
        };
        let _ = writeln!(text, "The input is {}.", plain(&image.to_string()));
        match &self.subject.preprocess {
            None => text.push_str("How images are prepared is not known: the file does not say.\n\n"),
            Some(says) => {
                let [height, width] = says.crop.extents();
                let resize = if says.squash {
                    format!("resize to {height}x{width} without keeping the shape")
                } else {
                    let crop = match says.crop {
                        Crop::Square(side) => format!("{side}"),
                        Crop::Rectangle(_) => format!("{height}x{width}"),
                    };
                    format!("resize the shorter side to {}, crop the centre to {crop}", says.resize)
                };
                let filter = format!("{:?}", says.interpolation).to_lowercase();
                let normalise = format!("scale to [0, 1], subtract the mean {:?}, divide by {:?}", says.mean, says.std);
                let where_ = match image.element_type {
                    ElementType::U8 => "; the graph does the rest: ",
                    _ => "; ",
                };
                let _ = writeln!(text, "RGB; {resize} ({filter}, antialiased){where_}{normalise}.\n");
            }
        }
    }

    fn classes(&self, text: &mut String) {
        text.push_str("## Classes\n\n");
        match self.subject.classes() {
            None => text.push_str("Which output says the classes does not follow from the file.\n\n"),
            Some((name, classes, meaning)) => {
                let meaning = match meaning {
                    Meaning::Logits => "logits",
                    Meaning::Probabilities => "probabilities",
                    Meaning::LogProbabilities => "logarithms of probabilities",
                    Meaning::IndependentProbabilities => "a probability for each class by itself",
                    Meaning::Classes => "classes",
                    Meaning::Scores => "scores, of which the graph tells no more",
                };
                let labels = match self.subject.labels.names.len() {
                    0 => "their names are not in the file".to_owned(),
                    _ => format!(
                        "their names are in `labels.txt`, and in the file's metadata as `{}`",
                        Key::Labels.name()
                    ),
                };
                let _ = writeln!(text, "Output {}: {classes} {meaning}; {labels}.\n", code(name));
            }
        }
    }

    fn accuracy(&self, text: &mut String) {
        text.push_str("## Accuracy\n\n");
        if self.accuracies.is_empty() {
            text.push_str("Not measured here; `resnext-run eval . DIR` does.\n\n");
            return;
        }
        text.push_str("| model | provider | images | top-1 (95% interval) | top-5 |\n|---|---|---|---|---|\n");
        for found in self.accuracies {
            let percent = |share: f64| 100.0 * share;
            let top1 = &found.top1;
            let [low, high] = top1.interval.map(percent);
            let top5 = found.top5.as_ref().map_or("-".into(), |top5| format!("{:.2}%", percent(top5.proportion)));
            let _ = writeln!(
                text,
                "| {} | {} | {} of {} | {:.2}% ({low:.2} to {high:.2}) | {top5} |",
                plain(&found.model),
                plain(&found.provider),
                top1.trials,
                plain(&found.folder),
                percent(top1.proportion)
            );
        }
        text.push('\n');
    }

    fn provenance(&self, text: &mut String) {
        text.push_str("## Provenance\n\n");
        let says = &self.subject.metadata;
        let producer = &self.subject.model;
        let _ = writeln!(
            text,
            "Written by {} {}; IR {}, opset {}.",
            plain(&producer.producer_name),
            plain(&producer.producer_version),
            producer.ir_version,
            self.subject.opset()
        );
        let origin = says.origin().unwrap_or_default();
        match origin.weights {
            Some(Weights::Checkpoint { sha256 }) => {
                let file = plain(says.get(Key::Weights).unwrap_or("a checkpoint"));
                let _ = writeln!(text, "Weights: {file}, SHA-256 {}.", code(&sha256));
            }
            Some(Weights::Random { seed }) => drop(writeln!(text, "Weights: random, seed {seed}: untrained.")),
            None => text.push_str("Where its weights come from is not in the file.\n"),
        }
        for part in self.parts {
            let keys = [Key::Target, Key::Passes, Key::Optimized, Key::Dtype, Key::F16Weights, Key::Int8Weights];
            let said: Vec<String> = keys
                .into_iter()
                .filter_map(|key| {
                    Some(format!("{} {}", key.name().trim_start_matches("resnext."), plain(part.metadata.get(key)?)))
                })
                .collect();
            if !said.is_empty() {
                let _ = writeln!(text, "- `{}`: {}", part.path, said.join("; "));
            }
        }
        text.push_str("\nThe licence: see LICENSE.\n\n");
    }

    fn left_out(&self, text: &mut String) {
        if self.left_out.is_empty() {
            return;
        }
        text.push_str("## Left out\n\n");
        for (format, reason) in self.left_out {
            let _ = writeln!(text, "- {}: {}.", format.name(), plain(reason));
        }
        text.push('\n');
    }

    fn hand_on(&self, text: &mut String) {
        let name = self.name;
        let _ = write!(
            text,
            "## Hand it on

Sign the folder with OpenSSF model signing, push it to a registry, log it to MLflow:

```sh
model_signing sign key . --private_key KEY.pem --signature model.sig
oras push REGISTRY/{name}:1 .
```

```python
import mlflow, onnx
with mlflow.start_run():
    mlflow.onnx.log_model(onnx.load(\"onnx/model.onnx\"), name=\"{name}\")
```
"
        );
    }
}

/// `LICENSE`.
pub(super) fn license(subject: &Subject) -> String {
    if subject.metadata.has_random_weights() {
        return "The weights are random numbers; no checkpoint was used, and nobody trained the network.\n".into();
    }
    let note =
        subject.metadata.get(Key::LicenseNote).unwrap_or("The file does not say under which licence its weights are.");
    format!("{}\nAsk whoever trained the network before you hand it on.\n", shown(note))
}

/// `check.py`: whether onnxruntime here computes what the golden cases say.
pub(super) const CHECK: &str = r#"import pathlib, sys
import numpy as np, onnxruntime as ort
here, failed = pathlib.Path(__file__).parent, False
for golden in sorted(here.rglob("golden.npz")):
    arrays = np.load(golden)
    session = ort.InferenceSession(golden.with_name("model.onnx"), providers=sys.argv[1:] or ["CPUExecutionProvider"])
    for case in range(int(arrays["cases"])):
        feeds = {port.name: arrays[f"case_{case}_input_{at}"] for at, port in enumerate(session.get_inputs())}
        for at, found in enumerate(session.run(None, feeds)):
            expected = arrays[f"case_{case}_output_{at}"].astype(np.float64)
            off, most = np.abs(found - expected).max(), arrays["tolerance"] * np.abs(expected).max()
            failed |= not off <= most  # NaN fails
            print(f"{golden.parent.relative_to(here.parent)} case {case} output {at}: {off:.1e} of at most {most:.0e}")
sys.exit(failed)
"#;

/// `inference-service.yaml`.
pub(super) fn service(name: &str) -> String {
    let name: String = name.to_lowercase().chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    let name = name.trim_matches('-');
    format!(
        "# storageUri names the folder above the model's own: upload triton/ and put its address here.
apiVersion: serving.kserve.io/v1beta1
kind: InferenceService
metadata:
  name: {name}
spec:
  predictor:
    model:
      modelFormat:
        name: onnx
      protocolVersion: v2
      runtime: kserve-tritonserver
      storageUri: s3://BUCKET/PATH/triton
      resources:
        requests: {{ cpu: \"2\", memory: 2Gi }}
        limits: {{ cpu: \"4\", memory: 4Gi }}
",
        name = if name.is_empty() { "model" } else { name }
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_of_others_neither_ends_its_line_nor_formats_nor_turns() {
        assert_eq!(plain("a\n# b\r|\u{202e}&lt;"), r"a\\u{a}\# b\\u{d}\|\\u{202e}\&lt;");
        assert_eq!(code("a`b\n\u{202e}"), r"`a'b\u{a}\u{202e}`");
    }
}
