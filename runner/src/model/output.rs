//! The output that says the classes: found by what the graph, the labels and its name tell, never by its numbers.

use onnx_file::element::ElementType;
use onnx_file::meaning::{Meaning, Meanings};
use serde::{Deserialize, Serialize};

use super::file::{MetadataError, ModelFile, Port};

/// What outputs of class scores are usually called, the plainest names first.
const USUAL_NAMES: [&[&str]; 2] = [
    &["logits", "probabilities", "probability", "probs", "prob", "scores", "softmax", "class_logits", "class_scores"],
    &["output", "outputs", "output0", "output_0", "out", "predictions", "prediction", "preds", "pred", "classes"],
];

/// What is said of a single number that the graph does not explain.
pub(crate) const UNDECIDED: &str = "and nothing tells what it is: --softmax takes it for the logit of class 1 of two, --no-softmax for its probability";

/// The output that says the classes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClassOutput {
    /// Its name.
    pub name: String,
    /// What its numbers are.
    pub meaning: Meaning,
    /// The output that holds the numbers of the classes, where this one holds their indices.
    pub values: Option<Values>,
    /// Numbers for each image, where the file tells.
    pub numbers: Option<usize>,
    /// Whether images are run one by one, because the output has no dimension for them.
    pub one_by_one: bool,
}

/// `logits, logits`: its name and what its numbers are.
impl std::fmt::Display for ClassOutput {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let meaning = match self.meaning {
            Meaning::Logits if self.numbers == Some(1) => "a logit, made a probability by a sigmoid",
            Meaning::Logits => "logits, made probabilities by a softmax",
            Meaning::Probabilities => "probabilities",
            Meaning::LogProbabilities => "logarithms of probabilities",
            Meaning::IndependentProbabilities => "a probability of each class by itself",
            Meaning::Classes => "the best classes",
            Meaning::Scores => "scores",
        };
        write!(f, "{}: {meaning}", self.name)
    }
}

/// The numbers of the classes that another output names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Values {
    /// Name of the output.
    pub name: String,
    /// What they are.
    pub meaning: Meaning,
}

impl ClassOutput {
    /// The output of `file` that says the classes: the one asked for; or the only one that can, by its shape, by the
    /// number of labels, or by its name.
    ///
    /// # Errors
    /// [`MetadataError::NotAClassifier`] where there is none, or nothing tells which of several.
    pub fn of(file: &ModelFile) -> Result<ClassOutput, MetadataError> {
        let finder = Finder::new(file);
        let chosen = match &file.asked.output {
            Some(name) => finder.named(name)?,
            None => finder.find()?,
        };
        let output = finder.describe(chosen);
        if output.numbers == Some(1) && output.meaning == Meaning::Scores {
            return Err(finder.refuse(format!("output '{}' is one number, {}", output.name, UNDECIDED)));
        }
        Ok(output)
    }

    /// The outputs of `file` that could say classes by their shape, were their type one that is read.
    pub fn unread(file: &ModelFile) -> Vec<Port> {
        let finder = Finder::new(file);
        let unread = |port: &&Port| !port.element_type.is_some_and(is_read) && finder.by_shape(port).is_some();
        file.outputs.iter().filter(unread).cloned().collect()
    }

    /// The outputs that are fetched.
    pub fn fetched(&self) -> Vec<String> {
        std::iter::once(&self.name).chain(self.values.iter().map(|values| &values.name)).cloned().collect()
    }

    /// Number of classes, where the file tells; a single number tells two classes apart.
    pub fn classes(&self) -> Option<usize> {
        match (self.meaning, self.numbers) {
            (Meaning::Classes, _) => None,
            (_, Some(1)) => Some(2),
            (_, numbers) => numbers,
        }
    }
}

/// Types of outputs that are read.
const READ: [ElementType; 7] = [
    ElementType::F32,
    ElementType::F16,
    ElementType::F64,
    ElementType::I64,
    ElementType::I32,
    ElementType::U8,
    ElementType::I8,
];

fn is_read(of: ElementType) -> bool {
    READ.contains(&of)
}

/// An output that may say the classes.
#[derive(Clone, Copy)]
struct Possible<'f> {
    port: &'f Port,
    meaning: Meaning,
    /// Numbers for each image, where its shape tells.
    numbers: Option<usize>,
    /// Whether its shape leaves open that it is something else.
    doubtful: bool,
}

struct Finder<'f> {
    file: &'f ModelFile,
    meanings: Meanings<'f>,
    /// The model's batch size, where it is fixed.
    batch: Option<usize>,
    /// How many classes have names.
    labels: Option<usize>,
}

impl<'f> Finder<'f> {
    fn new(file: &'f ModelFile) -> Finder<'f> {
        let batch = file.image_input().ok().and_then(|image| image.batch);
        let labels = file.labels().ok().map(|labels| labels.names.len()).filter(|count| *count > 0);
        Finder { file, meanings: Meanings::of(&file.graph, file.opset), batch, labels }
    }

    fn named(&self, name: &str) -> Result<Possible<'f>, MetadataError> {
        let Some(port) = self.file.outputs.iter().find(|port| port.name == name) else {
            return Err(self.refuse(format!("it has no output '{name}'")));
        };
        let no_classes = || match port.element_type {
            Some(of) if is_read(of) => self.refuse(format!("output '{name}' has no number for each class")),
            _ => self.refuse(format!(
                "the type of output '{name}' is none that is read ({})",
                READ.map(ElementType::name).join(", ")
            )),
        };
        let possible = self.possible(port).ok_or_else(no_classes)?;
        if self.fits_labels(&possible) {
            return Ok(possible);
        }
        let (labels, numbers) = (self.labels.unwrap_or(0), possible.numbers.unwrap_or(0));
        Err(self.refuse(format!(
            "{labels} classes have names, and output '{name}' has {numbers} numbers; give all names with --labels FILE"
        )))
    }

    fn find(&self) -> Result<Possible<'f>, MetadataError> {
        let all: Vec<Possible<'f>> = self.file.outputs.iter().filter_map(|port| self.possible(port)).collect();
        // Integers that are no classes are counts, boxes or sizes.
        let sound = |one: &Possible<'_>| {
            one.meaning == Meaning::Classes
                || !matches!(one.port.element_type, Some(ElementType::I64 | ElementType::I32))
        };
        let all: Vec<Possible<'f>> = all.into_iter().filter(sound).collect();
        let certain: Vec<Possible<'f>> = all.iter().copied().filter(|one| !one.doubtful).collect();
        let all = if certain.is_empty() { all } else { certain };
        if all.is_empty() {
            return Err(self.refuse("no output holds a number for each class".into()));
        }
        let fitting: Vec<Possible<'f>> = all.iter().copied().filter(|one| self.fits_labels(one)).collect();
        if fitting.is_empty() {
            let labels = self.labels.unwrap_or(0);
            return Err(self.refuse(format!(
                "{labels} classes have names, and no output has as many numbers; give all names with --labels FILE, or \
                 choose an output with --use-output NAME"
            )));
        }
        let distinct = self.distinct(&fitting);
        let by_name = |usual: &&[&str]| {
            let mut named = distinct.iter().filter(|one| usual.contains(&plain(&one.port.name).as_str()));
            named.next().filter(|_| named.next().is_none()).copied()
        };
        match distinct.as_slice() {
            [only] => Ok(*only),
            several => USUAL_NAMES.iter().find_map(by_name).ok_or_else(|| {
                let names: Vec<String> = several.iter().map(|one| one.port.to_string()).collect();
                let reason =
                    format!("several may hold the classes: {}; choose with --use-output NAME", names.join("; "));
                self.refuse(reason)
            }),
        }
    }

    /// Of outputs that rank the same scores, such as logits and the softmax of them, the one that says most.
    fn distinct(&self, all: &[Possible<'f>]) -> Vec<Possible<'f>> {
        let rank = |meaning: Meaning| match meaning {
            Meaning::Probabilities => 0,
            Meaning::IndependentProbabilities => 1,
            Meaning::LogProbabilities => 2,
            Meaning::Logits => 3,
            Meaning::Scores => 4,
            Meaning::Classes => 5,
        };
        let mut distinct: Vec<(Option<&str>, Possible<'f>)> = Vec::new();
        for one in all {
            let root = self.meanings.lineage(&one.port.name).last().copied();
            match distinct.iter_mut().find(|(other, _)| *other == root) {
                Some((_, kept)) if rank(one.meaning) < rank(kept.meaning) => *kept = *one,
                Some(_) => {}
                None => distinct.push((root, *one)),
            }
        }
        distinct.into_iter().map(|(_, one)| one).collect()
    }

    fn fits_labels(&self, one: &Possible<'_>) -> bool {
        let Some(labels) = self.labels.filter(|_| one.meaning != Meaning::Classes) else { return true };
        match one.numbers {
            None => true,
            Some(1) => labels == 2,
            Some(numbers) => numbers == labels,
        }
    }

    /// The output as one of class scores, if its type and shape allow that.
    fn possible(&self, port: &'f Port) -> Option<Possible<'f>> {
        port.element_type.filter(|of| is_read(*of))?;
        self.by_shape(port)
    }

    /// The same by the shape alone.
    fn by_shape(&self, port: &'f Port) -> Option<Possible<'f>> {
        if self.meanings.is_picked(&port.name) {
            return None;
        }
        let with = |numbers: Option<usize>, doubtful: bool| {
            Some(Possible { port, meaning: self.meanings.meaning(&port.name), numbers, doubtful })
        };
        let Some(shape) = port.shape.as_deref() else { return with(None, true) };
        match shape {
            [] => None,
            // One number for each image; or those of the only image.
            [None] => with(Some(1), false),
            [Some(numbers)] => match self.batch {
                Some(batch) if batch > 1 => {
                    if *numbers == batch {
                        with(Some(1), false)
                    } else {
                        None
                    }
                }
                _ => with(Some(*numbers), false),
            },
            [images, rest @ ..] => {
                if self.batch.is_some_and(|batch| images.is_some_and(|images| images != batch)) {
                    return None;
                }
                let more: Vec<usize> = rest.iter().flatten().copied().filter(|extent| *extent != 1).collect();
                match (more.as_slice(), rest.iter().filter(|extent| extent.is_none()).count()) {
                    ([], 0) => with(Some(1), false),
                    ([numbers], 0) => with(Some(*numbers), false),
                    ([], 1) => with(None, false),
                    // A network of any height and width leaves those of its feature maps open, and of what it pools.
                    ([] | [_], _) => with(None, true),
                    _ => None,
                }
            }
        }
    }

    fn describe(&self, chosen: Possible<'f>) -> ClassOutput {
        let meaning = match (self.file.asked.softmax, chosen.meaning) {
            (_, Meaning::Classes) | (None, _) => chosen.meaning,
            (Some(true), _) => Meaning::Logits,
            // A single number that no softmax is for is a probability, or it could not tell classes apart.
            (Some(false), Meaning::Logits | Meaning::Scores) if chosen.numbers == Some(1) => {
                Meaning::IndependentProbabilities
            }
            (Some(false), Meaning::Logits) => Meaning::Scores,
            (Some(false), other) => other,
        };
        let is_output = |name: &&str| self.file.outputs.iter().any(|port| port.name == *name);
        let values = self.meanings.top_values(&chosen.port.name).filter(is_output);
        let values = values.map(|name| Values { name: name.to_owned(), meaning: self.meanings.meaning(name) });
        let alone = matches!(chosen.port.shape.as_deref(), Some([Some(numbers)]) if *numbers > 1);
        let one_by_one = alone && self.batch.is_none_or(|batch| batch == 1);
        ClassOutput { name: chosen.port.name.clone(), meaning, values, numbers: chosen.numbers, one_by_one }
    }

    fn refuse(&self, reason: String) -> MetadataError {
        let outputs: Vec<String> = self.file.outputs.iter().map(Port::to_string).collect();
        MetadataError::NotAClassifier { path: self.file.shown(), reason, outputs: outputs.join("; ") }
    }
}

/// A name without what TensorFlow adds to it, in lower case.
fn plain(name: &str) -> String {
    let name = name.to_ascii_lowercase();
    match name.rsplit_once(':') {
        Some((name, number)) if number.bytes().all(|byte| byte.is_ascii_digit()) => name.to_owned(),
        _ => name,
    }
}

#[cfg(test)]
mod tests;
