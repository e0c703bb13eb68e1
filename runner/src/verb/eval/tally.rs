//! Counting what was right: top-1, top-5, classes, confusions.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::input::classify::Answer;
use crate::stats::proportion::{McNemar, Wilson, mcnemar, wilson};

/// Classes below which the best five mean nothing.
const CLASSES_FOR_TOP5: usize = 6;

/// What a classifier said of one image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Its best class.
    pub predicted: usize,
    /// Whether that is the right one.
    pub right: bool,
    /// Whether the right one is among the best five; `None` where the model ranks fewer, or chooses among no more.
    pub in_top5: Option<bool>,
}

impl Verdict {
    /// Evaluates what is said of an image; `None` where that is nothing, or a score is NaN or infinite.
    pub fn of(answer: &Answer, class: usize) -> Option<Verdict> {
        let best = answer.best(5)?;
        let predicted = *best.first()?;
        let ranks_five = best.len() == 5 && answer.classes().is_none_or(|classes| classes >= CLASSES_FOR_TOP5);
        Some(Verdict { predicted, right: predicted == class, in_top5: ranks_five.then(|| best.contains(&class)) })
    }
}

/// Running counts; their size depends on the classes, not on the images.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    images: usize,
    right: usize,
    in_top5: usize,
    /// Images of which the best five are known.
    ranked_five: usize,
    /// Images by actual and predicted class.
    confusion: BTreeMap<(usize, usize), usize>,
}

/// One class.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ClassRow {
    /// Index.
    pub index: usize,
    /// Name, where the model file holds names.
    pub label: Option<String>,
    /// Images of this class.
    pub images: usize,
    /// Those recognised (top-1).
    pub right: usize,
    /// Fraction recognised, with its interval.
    pub recall: Option<Wilson>,
    /// Images taken for this class.
    pub predicted: usize,
    /// Fraction of those that are of this class.
    pub precision: Option<f64>,
}

/// How often one class was taken for one class.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Cell {
    /// The right class.
    pub actual: usize,
    /// The class it was taken for.
    pub predicted: usize,
    /// Images.
    pub images: usize,
}

impl Tally {
    /// Counts one image of class `class`.
    pub fn add(&mut self, verdict: Verdict, class: usize) {
        self.images += 1;
        self.ranked_five += usize::from(verdict.in_top5.is_some());
        self.right += usize::from(verdict.right);
        self.in_top5 += usize::from(verdict.in_top5 == Some(true));
        *self.confusion.entry((class, verdict.predicted)).or_default() += 1;
    }

    /// Images counted.
    pub fn images(&self) -> usize {
        self.images
    }

    /// Fraction whose best class is right.
    pub fn top1(&self) -> Option<Wilson> {
        wilson(self.right, self.images)
    }

    /// Fraction whose right class is among the best five; `None` where that is not known of every image.
    pub fn top5(&self) -> Option<Wilson> {
        if self.ranked_five < self.images { None } else { wilson(self.in_top5, self.images) }
    }

    /// The confusion matrix, its zeros left out, by actual and predicted class.
    pub fn confusion(&self) -> Vec<Cell> {
        let cell = |(&(actual, predicted), &images): (&(usize, usize), &usize)| Cell { actual, predicted, images };
        self.confusion.iter().map(cell).collect()
    }

    /// Every class that occurs, actual or predicted, by index.
    pub fn by_class(&self, labels: &[String]) -> Vec<ClassRow> {
        let mut rows: BTreeMap<usize, ClassRow> = BTreeMap::new();
        let new = |index: usize| ClassRow {
            index,
            label: labels.get(index).cloned(),
            images: 0,
            right: 0,
            recall: None,
            predicted: 0,
            precision: None,
        };
        for (&(actual, predicted), &count) in &self.confusion {
            let row = rows.entry(actual).or_insert_with(|| new(actual));
            row.images += count;
            row.right += if actual == predicted { count } else { 0 };
            rows.entry(predicted).or_insert_with(|| new(predicted)).predicted += count;
        }
        for row in rows.values_mut() {
            row.recall = wilson(row.right, row.images);
            row.precision = (row.predicted > 0).then(|| row.right as f64 / row.predicted as f64);
        }
        rows.into_values().collect()
    }
}

/// An image on which two classifiers differ.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// The image.
    pub path: String,
    /// Its class, as the first numbers them.
    pub class: usize,
    /// What the first took it for.
    pub first: usize,
    /// What the second took it for, as the second numbers its classes.
    pub second: usize,
    /// Whether the first is right.
    pub first_right: bool,
    /// Whether the second is right.
    pub second_right: bool,
}

/// Two classifiers on the same images.
#[derive(Clone, Debug, Default)]
pub struct Pair {
    images: usize,
    only_first: usize,
    only_second: usize,
    differences: Vec<Difference>,
}

impl Pair {
    /// Counts one image of class `class`; `same` where both took it for the same class.
    pub fn add(&mut self, path: &std::path::Path, class: usize, first: Verdict, second: Verdict, same: bool) {
        self.images += 1;
        self.only_first += usize::from(first.right && !second.right);
        self.only_second += usize::from(second.right && !first.right);
        if !same {
            self.differences.push(Difference {
                path: path.display().to_string(),
                class,
                first: first.predicted,
                second: second.predicted,
                first_right: first.right,
                second_right: second.right,
            });
        }
    }

    /// Images counted.
    pub fn images(&self) -> usize {
        self.images
    }

    /// Fraction of images on which both say the same.
    pub fn agreement(&self) -> Option<f64> {
        (self.images > 0).then(|| 1.0 - self.differences.len() as f64 / self.images as f64)
    }

    /// Whether one is better than the other.
    pub fn mcnemar(&self) -> McNemar {
        mcnemar(self.only_first, self.only_second)
    }

    /// The images on which they differ, in order.
    pub fn into_differences(self) -> Vec<Difference> {
        self.differences
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn one_hot(class: usize, classes: usize) -> Answer {
        let score = |index: usize| if index == class { 1.0 } else { 0.1 / (index + 1) as f64 };
        Answer::Scores((0..classes).map(score).collect())
    }

    #[test]
    fn verdicts_know_the_best_class_and_the_best_five() {
        let scores = Answer::Scores(vec![0.1, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4]);
        for (class, right, in_top5) in [(1, true, true), (5, false, true), (6, false, false)] {
            let expected = Verdict { predicted: 1, right, in_top5: Some(in_top5) };
            assert_eq!(Verdict::of(&scores, class), Some(expected));
        }
        for bad in [vec![0.5, f64::NAN], vec![0.5, f64::INFINITY], vec![]] {
            assert_eq!(Verdict::of(&Answer::Scores(bad), 0), None);
        }
    }

    #[test]
    fn a_model_that_names_fewer_than_five_classes_has_no_best_five() {
        let named = |classes: &[usize]| Answer::Ranked(classes.iter().map(|class| (*class, None)).collect());
        let verdict = |classes: &[usize]| Verdict::of(&named(classes), 7).map(|verdict| verdict.in_top5);
        assert_eq!(verdict(&[7]), Some(None));
        assert_eq!(verdict(&[1, 2, 3, 4, 7]), Some(Some(true)));
    }

    #[test]
    fn counts_become_rates_classes_and_confusions() {
        let mut tally = Tally::default();
        for (class, predicted) in [(0, 0), (0, 0), (0, 1), (1, 1), (2, 1)] {
            tally.add(Verdict::of(&one_hot(predicted, 8), class).unwrap(), class);
        }
        assert_eq!(tally.top1().unwrap().proportion, 0.6);
        assert_eq!(tally.top5().unwrap().successes, 5);
        assert_eq!(tally.confusion().len(), 4);
        assert_eq!(tally.confusion()[1], Cell { actual: 0, predicted: 1, images: 1 });
        let rows = tally.by_class(&["cat".to_owned(), "dog".to_owned()]);
        assert_eq!((rows[0].images, rows[0].right, rows[0].precision), (3, 2, Some(1.0)));
        assert_eq!((rows[1].predicted, rows[1].precision), (3, Some(1.0 / 3.0)));
        assert_eq!((rows[2].label.as_deref(), rows[2].precision), (None, None));
    }

    #[test]
    fn few_classes_have_no_best_five() {
        let mut tally = Tally::default();
        tally.add(Verdict::of(&one_hot(0, 5), 0).unwrap(), 0);
        assert_eq!(tally.top5(), None);
    }

    #[test]
    fn a_pair_counts_agreement_and_one_sided_successes() {
        let mut pair = Pair::default();
        let said = |predicted, class| Verdict::of(&one_hot(predicted, 3), class).unwrap();
        for (first, second) in [(0, 0), (0, 1), (1, 1), (1, 2), (2, 0)] {
            pair.add(Path::new("p"), 0, said(first, 0), said(second, 0), first == second);
        }
        assert!((pair.agreement().unwrap() - 0.4).abs() < 1e-12);
        assert_eq!((pair.mcnemar().only_first, pair.mcnemar().only_second), (1, 1));
        assert_eq!(pair.into_differences().len(), 3);
    }
}
