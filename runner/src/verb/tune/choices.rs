//! Which widths are worth trying: those that make another model.

use std::collections::BTreeSet;

use resnext_builder::passes::{Stage, Width};

use super::result::Choice;

/// The widths that change a stage, each giving another number of groups, and at most sixteen times its arithmetic.
pub(crate) fn choices(stage: &Stage, widths: &[usize]) -> Vec<usize> {
    let mut merges = BTreeSet::new();
    let mut choices: Vec<usize> = widths.iter().copied().filter(|&width| width > 1).collect();
    choices.sort_unstable();
    choices.retain(|&width| merge(stage, width).is_some_and(|merge| merge <= 16 && merges.insert(merge)));
    choices
}

/// How many neighbouring groups of a stage a width merges; `None` where it leaves them.
fn merge(stage: &Stage, width: usize) -> Option<usize> {
    let outputs = stage.channels / stage.groups.max(1);
    Width::at_least(width).merge(stage.groups, stage.inputs, outputs).ok()
}

/// Leaves out candidates that are the same model as one before them.
pub(crate) fn distinct(stages: &[Stage], trials: impl Iterator<Item = Choice>) -> Vec<Choice> {
    let model = |choice: &Choice| {
        let merges = stages.iter().zip(&choice.widths).map(|(stage, &width)| merge(stage, width).unwrap_or(1));
        (merges.collect::<Vec<_>>(), choice.subsample)
    };
    let mut seen = BTreeSet::new();
    trials.filter(|choice| seen.insert(model(choice))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn widths_that_give_the_same_model_are_tried_once() {
        let stage = Stage { channels: 32, groups: 8, inputs: 4, convolutions: 1 };
        assert_eq!(choices(&stage, &[64, 8, 5, 16, 32, 1, 4]), [5, 16, 32], "8 is 5 again, and 64 dense as 32 is");
        let wide = Stage { channels: 512, groups: 128, inputs: 4, convolutions: 1 };
        assert_eq!(choices(&wide, &[64, 128]), [64], "32 times the arithmetic is not tried");
        let choice = |widths: [usize; 2], subsample| Choice { widths: widths.to_vec(), subsample };
        let trials = [([1, 1], false), ([8, 1], false), ([5, 4], false), ([5, 4], true), ([8, 8], false)];
        let left = [([1, 1], false), ([8, 1], false), ([5, 4], true), ([8, 8], false)];
        let all = |list: &[([usize; 2], bool)]| list.iter().map(|&(w, s)| choice(w, s)).collect::<Vec<_>>();
        assert_eq!(distinct(&[stage, stage], all(&trials).into_iter()), all(&left));
    }
}
