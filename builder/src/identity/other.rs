//! What is said of tensors that are those of no network of the family.

use std::collections::BTreeMap;
use std::fmt;

use crate::variant::Variant;

/// Shapes by name.
pub type Shapes<'a> = BTreeMap<&'a str, &'a [usize]>;

/// A network that is none of the family.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Other {
    /// What it is known to be, one after another.
    pub known: Vec<Known>,
    /// The nearest network of the family.
    pub nearest: Option<Nearest>,
    /// What names begin with, the most frequent first, where nothing is near.
    pub beginnings: Vec<(String, usize)>,
}

/// A part of a network, or a network, that its tensors give away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// In words, as what the file is.
    pub what: &'static str,
    /// The first tensor that gives it away.
    pub evidence: String,
    /// How many do.
    pub count: usize,
}

/// How a set of tensors differs from a network of the family.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Nearest {
    /// The network.
    pub variant: Variant,
    /// Tensors that it has not.
    pub extra: Vec<String>,
    /// Tensors that are not there.
    pub missing: Vec<String>,
    /// Tensors of another shape: name, found, expected.
    pub misshapen: Vec<(String, Vec<usize>, Vec<usize>)>,
}

/// `'a', 'b' and 3 more`.
pub(crate) fn list(names: &[String]) -> String {
    let shown: Vec<String> = names.iter().take(5).map(|n| format!("'{n}'")).collect();
    let more = names.len().saturating_sub(5);
    if more == 0 { shown.join(", ") } else { format!("{} and {more} more", shown.join(", ")) }
}

impl fmt::Display for Known {
    /// `squeeze-and-excitation in its blocks ('layer1.0.se.fc1.bias' and 127 more)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ('{}'", self.what, self.evidence)?;
        if self.count > 1 { write!(f, " and {} more)", self.count - 1) } else { f.write_str(")") }
    }
}

impl fmt::Display for Nearest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.variant)?;
        let mut parts = Vec::new();
        if !self.extra.is_empty() {
            parts.push(format!("it also holds {}, which that network has not", list(&self.extra)));
        }
        if !self.missing.is_empty() {
            parts.push(format!("it lacks {}", list(&self.missing)));
        }
        let [shown, ..] = &self.misshapen[..] else { return write!(f, ": {}", parts.join("; ")) };
        let (name, found, expected) = shown;
        let more = match self.misshapen.len() - 1 {
            0 => String::new(),
            more => format!(", and {more} more tensors differ in shape"),
        };
        parts.push(format!("'{name}' has shape {found:?} where that network has {expected:?}{more}"));
        write!(f, ": {}", parts.join("; "))
    }
}

impl fmt::Display for Other {
    /// As a sentence without its subject, the file.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const ADVICE: &str = "this program writes plain ResNets and ResNeXts: export it with its own framework";
        if !self.known.is_empty() {
            let known: Vec<String> = self.known.iter().map(Known::to_string).collect();
            write!(f, "is another architecture: {}", known.join("; "))?;
            if let Some(nearest) = &self.nearest {
                write!(f, "; the nearest of the family is {}", nearest.variant)?;
            }
            return write!(f, "; {ADVICE}");
        }
        match &self.nearest {
            Some(nearest) => write!(f, "is no network known here; nearest is {nearest}"),
            None => {
                let parts: Vec<String> = self.beginnings.iter().map(|(name, n)| format!("'{name}' ({n})")).collect();
                write!(
                    f,
                    "is no network known here, and not a checkpoint of a ResNet or ResNeXt with torchvision's names; its tensors' names begin with {}",
                    parts.join(", ")
                )
            }
        }
    }
}
