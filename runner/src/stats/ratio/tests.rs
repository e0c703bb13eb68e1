//! What the interval claims, checked against simulated machines whose answer is known.

use super::*;
use crate::stats::random::SplitMix64;
use crate::stats::simulated::{EVERY, Machine, Processes};

/// The share of trials in which the claim is true.
fn share(trials: usize, kind: Processes, turns: usize, slower: f64, claim: impl Fn(&RatioOfMedians) -> bool) -> f64 {
    let mut machine = Machine { random: SplitMix64::new(turns as u64), kind };
    let held = (0..trials).filter(|_| claim(&ratio_of_medians(&machine.turns(turns, slower)).unwrap())).count();
    held as f64 / trials as f64
}

#[test]
fn two_copies_of_one_model_are_called_different_no_more_often_than_the_interval_says() {
    for kind in EVERY {
        for turns in [3, 5, 8] {
            let shown = share(10_000, kind, turns, 1.0, |ratio| ratio.difference_shown);
            assert!(shown <= 0.055, "{kind:?}, {turns} processes a side: {shown}");
        }
    }
}

#[test]
fn the_interval_holds_the_true_ratio_as_often_as_it_says() {
    for kind in EVERY {
        for turns in [3, 5, 8] {
            let covers = |ratio: &RatioOfMedians| ratio.interval.is_some_and(|[low, high]| low <= 1.1 && 1.1 <= high);
            let held = share(2_000, kind, turns, 1.1, covers);
            assert!(held >= 0.94, "{kind:?}, {turns} processes a side: {held}");
        }
    }
}

#[test]
fn an_interval_over_the_rounds_of_one_process_would_call_copies_different() {
    // The fault that the unit is there to prevent: were it gone, this is what would be claimed.
    let mut machine = Machine { random: SplitMix64::new(1), kind: Processes::Normal };
    let excludes_one = |ratio: &RatioOfMedians| ratio.interval.is_some_and(|[low, high]| low > 1.0 || high < 1.0);
    let wrong = (0..1000)
        .filter(|_| {
            let [turn] = <[Turn; 1]>::try_from(machine.turns(1, 1.0)).unwrap();
            let rounds = turn.map(|side| (0..8).map(|at| side[at % 2].clone()).collect::<Vec<_>>());
            let ratio = ratio_of_medians(&[rounds]).unwrap();
            assert!(ratio.unit == Unit::Round && !ratio.difference_shown && !ratio.gain_shown());
            excludes_one(&ratio)
        })
        .count();
    assert!(wrong > 500, "{wrong} of 1000");
}

#[test]
fn a_true_difference_of_a_tenth_is_shown_by_eight_processes_nearly_always() {
    for kind in EVERY {
        let shown = share(1000, kind, 8, 1.1, RatioOfMedians::gain_shown);
        assert!(shown >= 0.95, "{kind:?}: {shown}");
    }
    let shown = share(1000, Processes::Normal, 8, 1.03, RatioOfMedians::gain_shown);
    assert!((0.6..0.9).contains(&shown), "3% against processes that scatter by 2%: {shown}");
}

/// Turns whose every run takes the same time.
fn exact(times: &[[f64; 2]]) -> Vec<Turn> {
    times.iter().map(|turn| turn.map(|time| vec![vec![time; 3]; 2])).collect()
}

#[test]
fn the_interval_is_students() {
    // Logarithms of the ratios 0.1, 0.2, 0.3: mean 0.2, standard deviation 0.1, t(2) = 4.302653.
    let turns = exact(&[[0.1f64.exp(), 1.0], [0.2f64.exp(), 1.0], [0.3f64.exp(), 1.0]]);
    let ratio = ratio_of_medians(&turns).unwrap();
    let [low, high] = ratio.interval.unwrap().map(f64::ln);
    let half = 4.302_652_73 * 0.1 / 3f64.sqrt();
    assert!((low - (0.2 - half)).abs() < 1e-6 && (high - (0.2 + half)).abs() < 1e-6, "{low} {high}");
    assert!((ratio.ratio.ln() - 0.2).abs() < 1e-12);
    assert_eq!((ratio.unit, ratio.units, ratio.units_needed), (Unit::Process, 3, PROCESSES_NEEDED));
    assert!(!ratio.difference_shown, "0 lies within");
}

#[test]
fn two_processes_a_side_have_a_ratio_and_no_interval() {
    let ratio = ratio_of_medians(&exact(&[[2.0, 1.0], [2.0, 1.0]])).unwrap();
    assert_eq!((ratio.interval, ratio.unit, ratio.units), (None, Unit::Process, 2));
    assert!((ratio.ratio - 2.0).abs() < 1e-12 && !ratio.difference_shown);
}

#[test]
fn a_turn_that_one_side_missed_does_not_count() {
    let mut turns = exact(&[[2.0, 1.0], [2.0, 1.0], [2.0, 1.0], [2.0, 1.0]]);
    turns[1][0] = vec![vec![], vec![]];
    turns[3][1].clear();
    let ratio = ratio_of_medians(&turns).unwrap();
    assert_eq!((ratio.units, ratio.unit, ratio.interval), (2, Unit::Process, None));
    // With one turn left its rounds are what there is, fewer than an interval needs.
    turns[2][0].clear();
    let ratio = ratio_of_medians(&turns).unwrap();
    assert_eq!((ratio.unit, ratio.units, ratio.units_needed), (Unit::Round, 2, ROUNDS_NEEDED));
    assert!((ratio.ratio - 2.0).abs() < 1e-12 && ratio.interval.is_none());
}

#[test]
fn the_rounds_of_one_process_have_an_interval_that_shows_nothing_of_the_models() {
    let rounds = |times: [f64; 6]| times.map(|time| vec![time; 3]).to_vec();
    let turn = [rounds([2.0, 2.1, 2.0, 2.1, 2.0, 2.1]), rounds([1.0; 6])];
    let ratio = ratio_of_medians(std::slice::from_ref(&turn)).unwrap();
    assert_eq!((ratio.unit, ratio.units), (Unit::Round, 6));
    assert!(ratio.interval.unwrap()[0] > 1.9 && !ratio.difference_shown);
    let short = turn.map(|side| side[..5].to_vec());
    assert_eq!(ratio_of_medians(&[short]).unwrap().interval, None);
}

#[test]
fn without_samples_there_is_no_ratio() {
    assert_eq!(ratio_of_medians(&[]), None);
    assert_eq!(ratio_of_medians(&[[vec![], vec![vec![1.0]]]]), None);
    assert_eq!(ratio_of_medians(&exact(&[[1.0, 0.0]])), None);
    assert_eq!(mean_ratio(&[] as &[Vec<Turn>], 1), None);
}

#[test]
fn a_mean_of_ratios_is_geometric_and_drawn_turn_by_turn() {
    let up = exact(&[[4.0, 1.0], [4.1, 1.0], [4.2, 1.0]]);
    let down = exact(&[[1.0, 4.0], [1.0, 4.1], [1.0, 4.2]]);
    let even = mean_ratio(&[up.clone(), down], 1).unwrap();
    assert!((even.ratio - 1.0).abs() < 1e-12, "{even:?}");
    let [low, high] = even.interval.unwrap();
    assert!(high - low < 1e-9, "what one gains the other loses in the same turn: {low} {high}");
    let short = exact(&[[4.0, 1.0]]);
    assert_eq!(mean_ratio(&[up, short], 1).unwrap().unit, Unit::Round, "the turns that all pairs share");
}

#[test]
fn of_several_comparisons_each_needs_a_wider_interval() {
    let turns = exact(&[[1.01, 1.0], [1.02, 1.0], [1.03, 1.0], [1.02, 1.0]]);
    let interval = |comparisons| mean_ratio(&[&turns[..]], comparisons).unwrap().interval.unwrap();
    let (alone, of_eight) = (interval(1), interval(8));
    assert!(of_eight[0] < alone[0] && alone[1] < of_eight[1], "{alone:?} {of_eight:?}");
}
