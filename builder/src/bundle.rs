//! A folder that hands a model to other stacks: for onnxruntime and whoever reads ONNX, Triton, Hugging Face, KServe.
//!
//! It appears whole or not at all, has the same bytes for the same files, and lists the digest of every file. What the
//! model's file does not say is said to be unknown, and a stack that cannot take it is left out with the reason.

mod card;
mod error;
mod folder;
mod golden;
mod huggingface;
mod npz;
mod results;
mod subject;
mod triton;

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;

use onnx_file::bundle::{Case, MANIFEST, Manifest, Model, SCHEMA_VERSION};
use onnx_file::element::ElementType;
use onnx_file::metadata::Key;
use onnx_file::proto::{ModelProto, TensorProto, tensor_proto::DataLocation};
use onnx_file::text::is_control;
use onnx_file::write::{MESSAGE_LIMIT, place_externally, write_external};
use onnx_file::{raw, write};
use prost::Message as _;
use serde::Serialize;

use crate::build::{LabelsChoice, PreprocessChoice};
use card::{Card, Part};
pub use error::{BundleError, Format};
use folder::Folder;
use golden::Golden;
use subject::{Dtype, Subject};

/// What to write.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// The model.
    pub model: PathBuf,
    /// The folder.
    pub output: PathBuf,
    /// Name of the model; by default the network's, or the file's.
    pub name: Option<String>,
    /// Stacks that were asked for; empty for all that can take it.
    pub formats: Vec<Format>,
    /// The same model in f16.
    pub f16: Option<PathBuf>,
    /// The same model in int8.
    pub int8: Option<PathBuf>,
    /// Evaluations for the card.
    pub results: Vec<PathBuf>,
    /// Labels where the file has none, or others.
    pub labels: LabelsChoice,
    /// Preprocessing, likewise.
    pub preprocess: PreprocessChoice,
    /// Replace a bundle that is there.
    pub force: bool,
    /// Other files that were read for this plan: none may lie in the folder.
    pub files: Vec<PathBuf>,
}

/// What was written.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Bundled {
    /// Version of this as JSON.
    pub schema_version: u32,
    /// The folder.
    pub folder: PathBuf,
    /// Name of the model.
    pub name: String,
    /// Models with golden cases.
    pub models: Vec<Model>,
    /// Stacks that are left out because they cannot take the model, and why.
    pub left_out: BTreeMap<&'static str, String>,
    /// Every file with its SHA-256, in hex.
    pub files: BTreeMap<String, String>,
    /// Bytes of all files.
    pub bytes: u64,
}

/// Writes the bundle that `plan` asks for.
///
/// # Errors
/// [`BundleError`]; no folder is left behind, and an old one stays as it was. A process that is killed while it replaces
/// an old one may leave that beside the new one's place, by the name `.replaced.resnext-bundle-...`.
pub fn bundle(plan: &Plan) -> Result<Bundled, BundleError> {
    if let Some(reason) = folder::refusal(&plan.output, plan.force) {
        return Err(BundleError::Request(reason));
    }
    let inputs = [&plan.model].into_iter().chain(&plan.f16).chain(&plan.int8).chain(&plan.results).chain(&plan.files);
    folder::apart(&plan.output, inputs)?;
    let accuracies: Vec<_> =
        plan.results.iter().map(|path| results::read(path)).collect::<Result<Vec<_>, _>>()?.concat();
    let subjects = subjects(plan)?;
    folder::apart(&plan.output, subjects.iter().flat_map(|subject| &subject.data_files))?;
    let main = &subjects[0];
    let name = name(plan, main)?;
    let failed = |source| BundleError::Output { path: plan.output.clone(), source };
    let mut writer = Writer {
        folder: Folder::create(&plan.output).map_err(failed)?,
        failed: &failed,
        asked: &plan.formats,
        left_out: Vec::new(),
    };
    let (models, parts) = writer.onnx(&subjects)?;
    writer.triton(main, &name)?;
    writer.huggingface(&subjects)?;
    writer.kserve(&name)?;
    let Writer { mut folder, left_out, .. } = writer;
    if !main.labels.names.is_empty() {
        folder.write("labels.txt", lines(&main.labels.names).as_bytes()).map_err(failed)?;
    }
    folder.write("LICENSE", card::license(main).as_bytes()).map_err(failed)?;
    let manifest =
        Manifest { kind: "bundle".into(), schema_version: SCHEMA_VERSION, name: name.clone(), models: models.clone() };
    folder.write(MANIFEST, &json(&manifest)).map_err(failed)?;
    let digests = folder.digests().clone();
    let (subject, parts, accuracies) = (main, &parts[..], &accuracies[..]);
    let card = Card { name: &name, subject, parts, accuracies, left_out: &left_out, digests: &digests };
    folder.write("README.md", card.text().as_bytes()).map_err(failed)?;
    let (files, bytes) = folder.commit(plan.force)?;
    let left_out = left_out.into_iter().map(|(format, reason)| (format.name(), reason)).collect();
    Ok(Bundled { schema_version: 1, folder: plan.output.clone(), name, models, left_out, files, bytes })
}

/// The model and its forms in other arithmetic, each of which has to be what its flag says.
fn subjects(plan: &Plan) -> Result<Vec<Subject>, BundleError> {
    let mut subjects = vec![Subject::read(&plan.model, &plan.labels, &plan.preprocess)?];
    for (path, dtype) in [(&plan.f16, Dtype::F16), (&plan.int8, Dtype::Int8)] {
        let Some(path) = path else { continue };
        let subject = Subject::read(path, &plan.labels, &plan.preprocess)?;
        let refuse = |reason: String| Err(BundleError::Request(format!("{}: {reason}", path.display())));
        if subject.dtype != dtype {
            return refuse(format!(
                "it computes in {}, and --{} takes a model in {}",
                subject.dtype.name(),
                dtype.name(),
                dtype.name()
            ));
        }
        if subjects[0].dtype == dtype {
            return refuse(format!("the model itself computes in {} already", dtype.name()));
        }
        let classes = |of: &Subject| of.classes().map(|(_, classes, _)| classes);
        if classes(&subject) != classes(&subjects[0]) {
            return refuse("it has other classes than the model; give the same network".into());
        }
        subjects.push(subject);
    }
    Ok(subjects)
}

/// The name asked for, else the network's, else the file's.
fn name(plan: &Plan, main: &Subject) -> Result<String, BundleError> {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if let Some(name) = &plan.name {
        let fits = !name.is_empty() && name.len() <= 100 && name.chars().all(plain);
        let bad = || BundleError::Request("--name is of letters, digits, '_' and '-', 100 at most".into());
        return fits.then(|| name.clone()).ok_or_else(bad);
    }
    let variant =
        main.metadata.get(Key::Variant).map(|variant| format!("resnext_{variant}").replace("resnext_resn", "resn"));
    let stem = || main.path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let name: String = variant.unwrap_or_else(stem).chars().map(|c| if plain(c) { c } else { '_' }).take(100).collect();
    Ok(if name.is_empty() { "model".into() } else { name })
}

struct Writer<'a> {
    folder: Folder,
    failed: &'a dyn Fn(io::Error) -> BundleError,
    asked: &'a [Format],
    left_out: Vec<(Format, String)>,
}

impl Writer<'_> {
    fn wants(&self, format: Format) -> bool {
        self.asked.is_empty() || self.asked.contains(&format)
    }

    /// What `found` holds; a stack that was asked for by name and cannot take the model is an error.
    fn fit<T>(
        &mut self,
        format: Format,
        subject: &Subject,
        found: Result<T, String>,
    ) -> Result<Option<T>, BundleError> {
        match found {
            Ok(found) => Ok(Some(found)),
            // KServe runs what lies in Triton's folder.
            Err(reason)
                if self.asked.contains(&format)
                    || (format == Format::Triton && self.asked.contains(&Format::Kserve)) =>
            {
                Err(BundleError::Unfit { format, path: subject.path.clone(), reason })
            }
            Err(reason) => {
                self.left_out.push((format, reason));
                Ok(None)
            }
        }
    }

    fn write(&mut self, name: &str, content: &[u8]) -> Result<(), BundleError> {
        self.folder.write(name, content).map_err(self.failed)
    }

    /// Writes a model, its weights in a file of their own where protobuf's limit needs it; returns whether they are.
    fn model(&mut self, name: &str, mut model: ModelProto) -> Result<bool, BundleError> {
        let apart = model.encoded_len() as u64 > MESSAGE_LIMIT;
        if apart {
            let bad = |error: String| (self.failed)(io::Error::other(error));
            let data = format!("{name}_data");
            let location = data.rsplit('/').next().unwrap_or_default().to_owned();
            let mut placed = model.clone();
            place_externally(&mut placed, &location).map_err(|error| bad(error.to_string()))?;
            let mut content = Vec::new();
            let supply =
                |_: usize, tensor: &TensorProto| raw::bytes(&TensorProto { data_location: 0, ..tensor.clone() });
            let written: Result<u64, write::WriteError<_>> = write_external(&placed, &mut content, supply);
            written.map_err(|error| bad(error.to_string()))?;
            self.write(&data, &content)?;
            let external = DataLocation::External as i32;
            let tensors = placed.graph.iter_mut().flat_map(|graph| &mut graph.initializer);
            tensors.filter(|tensor| tensor.data_location == external).for_each(raw::clear);
            model = placed;
        }
        self.write(name, &model.encode_to_vec())?;
        Ok(apart)
    }

    /// The models with golden cases, whatever is asked for: a bundle without them could not be checked.
    fn onnx(&mut self, subjects: &[Subject]) -> Result<(Vec<Model>, Vec<Part>), BundleError> {
        let (mut models, mut parts) = (Vec::new(), Vec::new());
        for (at, subject) in subjects.iter().enumerate() {
            let folder = if at == 0 { "onnx".to_owned() } else { format!("onnx/{}", subject.dtype.name()) };
            let path = format!("{folder}/model.onnx");
            self.model(&path, subject.model.clone())?;
            let (cases, unchecked) = match golden::cases(&subject.model) {
                Ok(cases) => (cases, None),
                Err(reason) => (Vec::new(), Some(reason)),
            };
            let named = self.golden(&folder, &cases, subject.dtype.tolerance())?;
            let part = Part {
                path: path.clone(),
                dtype: subject.dtype,
                cases: cases.len(),
                unchecked: unchecked.clone(),
                metadata: subject.metadata.clone(),
            };
            parts.push(part);
            let (dtype, tolerance) = (subject.dtype.name().to_owned(), subject.dtype.tolerance());
            models.push(Model { path, dtype, tolerance, cases: named, unchecked });
        }
        self.write("onnx/check.py", card::CHECK.as_bytes())?;
        Ok((models, parts))
    }

    /// The layout of onnx's own backend tests, and all of it once more for numpy.
    fn golden(&mut self, folder: &str, cases: &[Golden], tolerance: f64) -> Result<Vec<Case>, BundleError> {
        let (mut named, mut arrays) = (Vec::new(), Vec::new());
        for (at, case) in cases.iter().enumerate() {
            let mut write = |kind: &str, tensors: &[TensorProto]| {
                let mut names = Vec::new();
                for (index, tensor) in tensors.iter().enumerate() {
                    let name = format!("{folder}/test_data_set_{at}/{kind}_{index}.pb");
                    self.write(&name, &tensor.encode_to_vec())?;
                    arrays.push((format!("case_{at}_{kind}_{index}"), tensor.clone()));
                    names.push(name);
                }
                Ok::<_, BundleError>(names)
            };
            named.push(Case { inputs: write("input", &case.inputs)?, outputs: write("output", &case.outputs)? });
        }
        if cases.is_empty() {
            return Ok(named);
        }
        for (name, number) in [("cases", cases.len() as f64), ("tolerance", tolerance)] {
            let bytes = number.to_le_bytes().to_vec();
            let data_type = ElementType::F64.to_proto();
            arrays.push((name.into(), TensorProto { data_type, raw_data: bytes.into(), ..Default::default() }));
        }
        self.write(&format!("{folder}/golden.npz"), &npz::npz(&arrays))?;
        Ok(named)
    }

    fn triton(&mut self, main: &Subject, name: &str) -> Result<(), BundleError> {
        if !self.wants(Format::Triton) && !self.wants(Format::Kserve) {
            return Ok(());
        }
        let has_labels = !main.labels.names.is_empty();
        let config = triton::config(main, has_labels);
        let Some(config) = self.fit(Format::Triton, main, config)? else { return Ok(()) };
        let folder = format!("triton/{name}");
        self.write(&format!("{folder}/config.pbtxt"), config.as_bytes())?;
        if has_labels {
            self.write(&format!("{folder}/labels.txt"), lines(&main.labels.names).as_bytes())?;
        }
        self.model(&format!("{folder}/1/model.onnx"), main.model.clone()).map(drop)
    }

    fn huggingface(&mut self, subjects: &[Subject]) -> Result<(), BundleError> {
        if !self.wants(Format::Huggingface) {
            return Ok(());
        }
        // All of them or none: another stack would take a folder without its configuration.
        let mut models = Vec::new();
        for (at, subject) in subjects.iter().enumerate() {
            let model = huggingface::model(subject);
            let Some(model) = self.fit(Format::Huggingface, subject, model)? else { return Ok(()) };
            let file = match (at, subject.dtype) {
                (0, _) => "model",
                (_, Dtype::Int8) => "model_quantized",
                (_, _) => "model_fp16",
            };
            models.push((file, model));
        }
        let mut apart = false;
        for (file, model) in models {
            apart |= self.model(&format!("huggingface/onnx/{file}.onnx"), model)?;
        }
        let main = &subjects[0];
        self.write("huggingface/config.json", &json(&huggingface::config(main, apart)))?;
        match &main.preprocess {
            Some(preprocess) => {
                self.write("huggingface/preprocessor_config.json", &json(&huggingface::preprocessor(preprocess)))
            }
            None => Ok(()),
        }
    }

    fn kserve(&mut self, name: &str) -> Result<(), BundleError> {
        if !self.wants(Format::Kserve) {
            return Ok(());
        }
        if self.left_out.iter().any(|(format, _)| *format == Format::Triton) {
            self.left_out.push((Format::Kserve, "it runs what lies in triton/, which is left out".into()));
            return Ok(());
        }
        self.write("kserve/inference-service.yaml", card::service(name).as_bytes())
    }
}

/// A label is a line, whatever its reader takes for the end of one.
fn lines(labels: &[String]) -> String {
    labels.iter().map(|label| label.replace(is_control, " ") + "\n").collect()
}

fn json(value: &impl Serialize) -> Vec<u8> {
    // Plain structs and values have no way to fail.
    let mut text = serde_json::to_string_pretty(value).unwrap_or_default();
    text.push('\n');
    text.into_bytes()
}
