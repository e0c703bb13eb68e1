//! Which multiplications of a quantized model run in integers, and why the others do not.
//!
//! A file may say 8 bits everywhere and run in f32: what one runtime fuses into integer kernels another leaves as it
//! stands, dequantized before every operator, and nothing says so but the time it takes.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What a runtime makes of a quantized model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Coverage {
    /// The part in integer kernels, from 0 to 1: of the multiply-adds where those are known, else of the nodes.
    pub share: f64,
    /// Multiply-adds of a run on the smallest inputs; none where the extent of a node is not known.
    pub multiply_adds: Option<u64>,
    /// Nodes that multiply in integers.
    pub integer_nodes: usize,
    /// Every node that multiplies, in the order in which the runtime has them.
    pub nodes: Vec<Multiplier>,
}

/// A node that multiplies values with weights.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Multiplier {
    /// Its name in the file, as far as the runtime kept it.
    pub name: String,
    /// What the runtime runs there.
    pub kernel: String,
    /// Its multiply-adds.
    pub multiply_adds: Option<u64>,
    /// Why it does not run in integers; nothing where it does.
    #[serde(serialize_with = "crate::coded::maybe_with_text")]
    pub float: Option<FloatReason>,
}

/// Why a multiplication runs in floating point.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "code", rename_all = "kebab-case")]
pub enum FloatReason {
    /// Its values are no integers in the file.
    ValuesNotQuantized,
    /// Its weights are no integers in the file.
    WeightsNotQuantized,
    /// Its bias is no integer of 32 bits.
    BiasNotInteger,
    /// There is no kernel for integers of this type.
    NoKernel {
        /// The type.
        element: String,
    },
    /// Values go in and out as integers of different types.
    TypesDiffer {
        /// The type of what goes in.
        input: String,
        /// The type of what comes out.
        output: String,
    },
    /// Its result leaves the graph before it is rounded.
    LeavesUnrounded,
    /// Another node takes its result before it is rounded.
    TakenUnrounded {
        /// That node.
        node: String,
        /// Its operator.
        op: String,
    },
    /// Several nodes take its result.
    TakenBySeveral {
        /// How many.
        count: usize,
    },
    /// A session option keeps the runtime from it.
    TurnedOff {
        /// The option.
        option: String,
    },
    /// All around it is quantized.
    NotFused,
}

impl fmt::Display for FloatReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ValuesNotQuantized => f.write_str("the values that it takes are not quantized"),
            Self::WeightsNotQuantized => f.write_str("its weights are not quantized"),
            Self::BiasNotInteger => f.write_str("its bias is not quantized to int32"),
            Self::NoKernel { element } => write!(f, "it takes {element}, for which there is no integer kernel"),
            Self::TypesDiffer { input, output } => {
                write!(f, "it takes {input} and its result is rounded to {output}; both have to be of one type")
            }
            Self::LeavesUnrounded => f.write_str("its result leaves the graph without being quantized"),
            Self::TakenUnrounded { node, op } => write!(f, "{op} '{node}' takes its result before it is quantized"),
            Self::TakenBySeveral { count } => write!(f, "{count} nodes take its result before it is quantized"),
            Self::TurnedOff { option } => write!(f, "{option} turns integer kernels off"),
            Self::NotFused => f.write_str("all around it is quantized, and the runtime has no kernel for it"),
        }
    }
}

impl Coverage {
    /// From the nodes that multiply.
    pub fn of(nodes: Vec<Multiplier>) -> Coverage {
        let sum = |nodes: &mut dyn Iterator<Item = &Multiplier>| {
            nodes.map(|node| node.multiply_adds).try_fold(0u64, |sum, next| sum.checked_add(next?))
        };
        let integer = || nodes.iter().filter(|node| node.float.is_none());
        let (multiply_adds, integer_nodes) = (sum(&mut nodes.iter()), integer().count());
        let part = |of: f64, all: f64| if all > 0.0 { of / all } else { 0.0 };
        let share = match (sum(&mut integer()), multiply_adds) {
            (Some(of), Some(all)) => part(of as f64, all as f64),
            _ => part(integer_nodes as f64, nodes.len() as f64),
        };
        Coverage { share, multiply_adds, integer_nodes, nodes }
    }

    /// The nodes that multiply in floating point, with the reason.
    pub fn float(&self) -> impl Iterator<Item = (&Multiplier, &FloatReason)> {
        self.nodes.iter().filter_map(|node| Some((node, node.float.as_ref()?)))
    }

    /// In floating point, one sentence each; the first `most` of them.
    pub fn sentences(&self, most: usize) -> Vec<String> {
        let all: Vec<String> =
            self.float().map(|(node, reason)| format!("{} {}: {reason}", node.kernel, node.name)).collect();
        let left = all.len().saturating_sub(most);
        let more = (left > 0).then(|| format!("and {left} more; the JSON has all"));
        all.into_iter().take(most).chain(more).collect()
    }
}

impl fmt::Display for Coverage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { share, multiply_adds, integer_nodes, nodes } = self;
        match multiply_adds {
            Some(_) => write!(f, "{:.1}% of the multiply-adds in integer kernels, ", share * 100.0)?,
            None => write!(f, "multiply-adds are not known; ")?,
        }
        write!(f, "{integer_nodes} of {} convolutions and matrix products", nodes.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(multiply_adds: Option<u64>, float: Option<FloatReason>) -> Multiplier {
        Multiplier { name: "a".into(), kernel: "Conv".into(), multiply_adds, float }
    }

    #[test]
    fn the_share_is_of_multiply_adds_where_all_are_known_and_of_nodes_where_not() {
        let float = Some(FloatReason::LeavesUnrounded);
        let found = Coverage::of(vec![node(Some(30), None), node(Some(70), float.clone())]);
        assert_eq!((found.share, found.multiply_adds, found.integer_nodes), (0.3, Some(100), 1));
        let found = Coverage::of(vec![node(None, None), node(Some(70), float)]);
        assert_eq!((found.share, found.multiply_adds), (0.5, None));
        assert_eq!(Coverage::of(vec![]).share, 0.0);
        assert!(found.sentences(0)[0].contains("1 more"));
        let text = serde_json::to_value(&found).expect("JSON")["nodes"][1]["float"]["text"].clone();
        assert_eq!(text, "its result leaves the graph without being quantized");
        let read: Coverage = serde_json::from_str(&serde_json::to_string(&found).expect("JSON")).expect("read");
        assert_eq!(read, found);
    }
}
