//! What a gate claims, checked against simulated machines whose answer is known.

use super::*;
use crate::stats::median;
use crate::stats::random::SplitMix64;
use crate::stats::simulated::{EVERY, Machine, Processes};

/// The median of each process of one side.
fn medians(machine: &mut Machine, processes: usize, slower: f64) -> Vec<f64> {
    let of = |turn: &[Vec<Vec<f64>>; 2]| median(&turn[0].concat()).unwrap();
    machine.turns(processes, slower).iter().map(of).collect()
}

/// The medians of both sides in each turn, the first side `slower` times as slow.
fn turns(machine: &mut Machine, count: usize, slower: f64) -> Vec<[f64; 2]> {
    let turns = machine.turns(count, slower);
    // What is slower is measured now.
    turns.iter().map(|[slow, fast]| [fast, slow].map(|side| median(&side.concat()).unwrap())).collect()
}

/// The share of measurements with this judgement.
fn share(
    trials: usize,
    (kind, processes): (Processes, usize),
    is_in_turns: bool,
    (slower, limit): (f64, f64),
    judgement: Judgement,
) -> f64 {
    let mut machine = Machine { random: SplitMix64::new(processes as u64), kind };
    let mut held = 0;
    for _ in 0..trials {
        let change = if is_in_turns {
            in_turns(&turns(&mut machine, processes, slower), 1)
        } else {
            let before = medians(&mut machine, processes, 1.0);
            of_two_measurements(&before, &medians(&mut machine, processes, slower), 1)
        };
        held += usize::from(change.unwrap().judge(limit) == judgement);
    }
    held as f64 / trials as f64
}

#[test]
fn of_a_hundred_copies_at_most_one_is_called_slower_even_where_nothing_is_allowed() {
    for kind in EVERY {
        for processes in [PROCESSES_NEEDED, 8] {
            for is_in_turns in [false, true] {
                let alarms = share(10_000, (kind, processes), is_in_turns, (1.0, 0.0), Judgement::Regression);
                assert!(alarms <= 0.01, "{kind:?}, {processes} processes, in turns {is_in_turns}: {alarms}");
            }
        }
    }
}

#[test]
fn what_is_slower_by_just_what_is_allowed_is_no_regression_either() {
    for kind in EVERY {
        let alarms = share(2_000, (kind, 8), false, (1.05, 0.05), Judgement::Regression);
        assert!(alarms <= 0.01, "{kind:?}: {alarms}");
    }
}

#[test]
fn what_is_slower_by_twice_what_is_allowed_is_found_and_never_passed() {
    for (kind, found) in [(Processes::Alike, 0.999), (Processes::Normal, 0.7), (Processes::Skewed, 0.7)] {
        let shown = share(2_000, (kind, 8), true, (1.1, 0.05), Judgement::Regression);
        assert!(shown >= found, "{kind:?}: {shown}");
    }
    for kind in EVERY {
        let passed = share(2_000, (kind, 8), false, (1.1, 0.05), Judgement::WithinLimit);
        assert!(passed <= 0.005, "{kind:?}: {passed}");
    }
}

#[test]
fn the_smallest_change_is_shown_four_times_in_five() {
    let mut machine = Machine { random: SplitMix64::new(3), kind: Processes::Normal };
    let before = medians(&mut machine, 2_000, 1.0);
    let scatter = Logs::of(&before).unwrap();
    let eight = Logs { n: 8, ..scatter };
    let error = (2.0 * eight.squared_error()).sqrt();
    let smallest = smallest_shown(error, freedom(&eight, &eight), 1).unwrap();
    let shown = share(4_000, (Processes::Normal, 8), false, (1.0 + smallest, 0.0), Judgement::Regression);
    assert!((0.75..0.85).contains(&shown), "{smallest}: {shown}");
    // Beyond a limit it is larger, and as far within it is what has not changed.
    let slower = 1.0 + beyond(0.05, smallest);
    let shown = share(4_000, (Processes::Normal, 8), false, (slower, 0.05), Judgement::Regression);
    assert!((0.75..0.85).contains(&shown), "{slower}: {shown}");
    let too_small = share(4_000, (Processes::Normal, 8), false, (1.0 + smallest, 0.05), Judgement::Regression);
    assert!(too_small < 0.05, "{smallest}: {too_small}");
    let not_within = share(4_000, (Processes::Normal, 8), false, (1.0, smallest), Judgement::CannotTell);
    assert!((0.15..0.25).contains(&not_within), "{smallest}: {not_within}");
}

#[test]
fn the_interval_is_welchs() {
    // Squared errors 1/240 and 1/800, 4.749 degrees of freedom, t = 4.143873.
    let exp = |logs: &[f64]| logs.iter().map(|log| log.exp()).collect::<Vec<f64>>();
    let change = of_two_measurements(&exp(&[0.1, 0.2, 0.3, 0.4]), &exp(&[0.3, 0.35, 0.4, 0.45, 0.5]), 1).unwrap();
    let [low, high] = change.interval.unwrap().map(f64::ln);
    assert!((change.ratio.ln() - 0.15).abs() < 1e-12);
    assert!((low - -0.1549808).abs() < 1e-6 && (high - 0.4549808).abs() < 1e-6, "{low} {high}");
    assert_eq!((change.processes, change.in_turns), ([4, 5], false));
}

#[test]
fn the_judgement_is_where_the_interval_lies() {
    let of = |low, high| {
        let change = Change { interval: Some([low, high]), ..in_turns(&[[1.0, 1.0]], 1).unwrap() };
        change.judge(0.05)
    };
    assert_eq!(of(1.051, 1.2), Judgement::Regression);
    assert_eq!(of(1.05, 1.2), Judgement::CannotTell, "at the limit is not beyond it");
    assert_eq!(of(0.99, 1.05), Judgement::WithinLimit);
    assert_eq!(of(1.01, 1.04), Judgement::WithinLimit, "slower, and allowed");
    assert_eq!(of(0.9, 0.99), Judgement::Faster);
    assert_eq!(of(0.9, 1.06), Judgement::CannotTell);
    assert_eq!(in_turns(&[[1.0, 2.0]; 3], 1).unwrap().judge(0.05), Judgement::CannotTell, "three turns show nothing");
    assert_eq!(in_turns(&[[1.0, 2.0]; 4], 1).unwrap().judge(0.05), Judgement::Regression);
}

#[test]
fn of_several_rows_each_needs_a_wider_interval() {
    let turns = [[1.0, 1.01], [1.0, 1.02], [1.0, 1.03], [1.0, 1.02]];
    let interval = |comparisons| in_turns(&turns, comparisons).unwrap().interval.unwrap();
    assert!(interval(8)[0] < interval(1)[0] && interval(1)[1] < interval(8)[1]);
}

#[test]
fn without_times_there_is_no_change() {
    assert_eq!(of_two_measurements(&[], &[1.0], 1), None);
    assert_eq!(of_two_measurements(&[1.0], &[0.0], 1), None);
    assert_eq!(of_two_measurements(&[1.0], &[f64::NAN], 1), None);
    assert_eq!(in_turns(&[], 1), None);
    let one = of_two_measurements(&[1.0], &[2.0], 1).unwrap();
    assert!((one.ratio - 2.0).abs() < 1e-12 && one.interval.is_none() && one.smallest_shown.is_none());
}

#[test]
fn an_outlook_says_how_many_processes_the_limit_takes() {
    let before: Vec<f64> = (0..8).map(|at| 10.0 * (1.0 + 0.01 * f64::from(at % 4))).collect();
    let outlook = |processes, limit| outlook(&before, processes, limit, 1).unwrap();
    let eight = outlook(8, 0.05);
    assert!(eight.smallest_shown.unwrap() < 0.05 && eight.processes.unwrap() <= 8, "{eight:?}");
    let needed = outlook(4, 0.022).processes.unwrap();
    assert!(needed > 8 && outlook(needed, 0.022).smallest_shown.unwrap() <= 0.022);
    assert!(outlook(needed - 1, 0.022).smallest_shown.unwrap() > 0.022);
    assert_eq!(outlook(8, 0.001).processes, None, "eight earlier processes are known no better than that");
    assert_eq!(super::outlook(&[1.0], 8, 0.05, 1), None);
    assert_eq!(super::outlook(&[1.0, 1.01], 8, 0.05, 1).unwrap(), Outlook { smallest_shown: None, processes: None });
}
