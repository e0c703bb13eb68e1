//! The tuning file: what measuring found to be the fastest lowering of a network, to be replayed without measuring.

use std::io;
use std::path::Path;

use onnx_file::open;
use serde::{Deserialize, Serialize};

use crate::passes::{Lowering, Stage, Width};
use crate::target::{Purpose, Rationale};

/// Version of the file's structure.
pub const SCHEMA_VERSION: u32 = 2;
/// What the file says that it is.
pub const KIND: &str = "tuning";

/// The file, as far as it is read: what it says that it is, and what is replayed. It may hold more, such as all that was
/// tried.
#[derive(Deserialize)]
struct File {
    schema_version: u32,
    kind: String,
    #[serde(flatten)]
    tuning: Tuning,
}

/// The part of a tuning file that is replayed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Tuning {
    /// Provider that was measured.
    pub provider: String,
    /// Version of the onnxruntime library.
    pub library_version: String,
    /// Name of the processor.
    pub processor: Option<String>,
    /// Threads within a node.
    pub threads: usize,
    /// Batch sizes.
    pub batches: Vec<usize>,
    /// One for each stage with grouped convolutions, from the input on.
    pub stages: Vec<TunedStage>,
    /// Whether strided 1x1 convolutions are subsampled first (`passes::subsample`).
    #[serde(default)]
    pub subsample: bool,
}

/// A stage and the width found for it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct TunedStage {
    /// The stage as it was.
    #[serde(flatten)]
    pub stage: Stage,
    /// Least channels a group; 1 leaves them as they are.
    pub width: usize,
}

/// Why a tuning file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TuningError {
    /// It could not be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The file.
        path: String,
        /// What the system said.
        source: io::Error,
    },
    /// It is something else.
    #[error("{path} is not a tuning file: {reason}; `resnext-run tune` writes one beside the model it makes")]
    Content {
        /// The file.
        path: String,
        /// What is wrong.
        reason: String,
    },
}

impl Tuning {
    /// Reads the file at `path`.
    ///
    /// # Errors
    /// [`TuningError`].
    pub fn read(path: &Path) -> Result<Self, TuningError> {
        let name = || path.display().to_string();
        let text = open::read_text(path, open::SMALL).map_err(|source| TuningError::Read { path: name(), source })?;
        let content = |reason: String| TuningError::Content { path: name(), reason };
        let File { schema_version, kind, tuning } =
            serde_json::from_str(&text).map_err(|error| content(error.to_string()))?;
        if kind != KIND || !(1..=SCHEMA_VERSION).contains(&schema_version) {
            return Err(content(format!("it is '{kind}' of version {schema_version}")));
        }
        match tuning.stages.iter().find(|stage| !(1..=65536).contains(&stage.width)) {
            Some(stage) => Err(content(format!("a width of {} is out of range (1 to 65536)", stage.width))),
            None if tuning.stages.is_empty() && !tuning.subsample => Err(content("it names no stages".into())),
            None => Ok(tuning),
        }
    }

    /// The passes it asks for.
    pub fn lowering(&self) -> Lowering {
        let group_widths = self.stages.iter().map(|stage| Width::at_least(stage.width)).collect();
        Lowering { group_widths, subsample: self.subsample, ..Lowering::default() }
    }

    /// What the widths were chosen for.
    pub fn rationale(&self) -> Rationale {
        let numbers = |numbers: &mut dyn Iterator<Item = usize>| -> String {
            numbers.map(|n| n.to_string()).collect::<Vec<_>>().join(", ")
        };
        let widths = numbers(&mut self.stages.iter().map(|stage| stage.width));
        let batches = numbers(&mut self.batches.iter().copied());
        let processor = self.processor.as_deref().unwrap_or("an unnamed processor");
        let groups = (!self.stages.is_empty()).then(|| format!("groups of at least {widths} channels by stage"));
        let pixels = self.subsample.then(|| "strided 1x1 convolutions made dense".to_owned());
        let does = groups.into_iter().chain(pixels).collect::<Vec<_>>().join(" and ");
        Rationale {
            target: Purpose::Tuned { provider: self.provider.clone() },
            reasons: vec![format!(
                "{does}: measured with onnxruntime {} on {processor}, {} threads, batch {batches}",
                self.library_version, self.threads
            )],
            stages: self.stages.iter().map(|stage| stage.stage).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_tuning_file_is_refused_with_the_reason() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.json");
        let stage = r#"{"channels":128,"groups":32,"inputs":4,"convolutions":3,"width":8}"#;
        let file = |kind: &str, stages: &str| {
            format!(
                r#"{{"schema_version":1,"kind":"{kind}","provider":"cpu","library_version":"1.32.0","processor":null,"threads":2,"batches":[1,8],"stages":[{stages}],"tried":[]}}"#
            )
        };
        std::fs::write(&path, file("tuning", stage)).unwrap();
        let tuning = Tuning::read(&path).unwrap();
        assert_eq!(tuning.lowering(), Lowering { group_widths: vec![Width::at_least(8)], ..Lowering::default() });
        assert!(tuning.rationale().reasons[0].contains("batch 1, 8"), "{:?}", tuning.rationale());
        std::fs::write(&path, file("tuning", "").replace(r#""tried""#, r#""subsample":true,"tried""#)).unwrap();
        let tuning = Tuning::read(&path).unwrap();
        assert_eq!(tuning.lowering(), Lowering { subsample: true, ..Lowering::default() });
        assert!(tuning.rationale().reasons[0].starts_with("strided 1x1 convolutions made dense: "));
        for (content, reason) in [
            (file("bench", stage), "'bench'"),
            (file("tuning", ""), "no stages"),
            (file("tuning", &stage.replace(":8}", ":0}")), "width of 0"),
            ("{}".into(), "missing field"),
        ] {
            std::fs::write(&path, content).unwrap();
            let error = Tuning::read(&path).unwrap_err().to_string();
            assert!(error.contains(reason), "{error}");
        }
        assert!(matches!(Tuning::read(&folder.path().join("none")), Err(TuningError::Read { .. })));
    }
}
