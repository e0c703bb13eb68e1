//! Machines whose answer is known, to check what statistics claim.

use super::random::SplitMix64;
use super::ratio::Turn;

/// How fast a process happens to be, as a factor on the time of its runs.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Processes {
    /// All alike: only runs differ.
    Alike,
    /// Normal, with a standard deviation of 2%.
    Normal,
    /// Three in ten are slower by 6%.
    TwoSpeeds,
    /// One in ten is slower by a tenth.
    Rare,
    /// Skewed: exponential, 2% in the mean.
    Skewed,
    /// Normal, on a machine that slows down by a fifth from the first turn to the last.
    Drifting,
}

/// Each of them.
pub(crate) const EVERY: [Processes; 6] = [
    Processes::Alike,
    Processes::Normal,
    Processes::TwoSpeeds,
    Processes::Rare,
    Processes::Skewed,
    Processes::Drifting,
];

/// A machine on which processes are opened and their runs timed.
pub(crate) struct Machine {
    pub(crate) random: SplitMix64,
    pub(crate) kind: Processes,
}

impl Machine {
    fn normal(&mut self) -> f64 {
        // Box and Muller; 1 - u keeps the logarithm finite.
        let radius = (-2.0 * (1.0 - self.random.uniform()).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.random.uniform()).cos()
    }

    fn process(&mut self) -> f64 {
        match self.kind {
            Processes::Alike => 1.0,
            Processes::Normal | Processes::Drifting => 1.0 + 0.02 * self.normal(),
            Processes::TwoSpeeds => 1.0 + if self.random.uniform() < 0.3 { 0.06 } else { 0.0 },
            Processes::Rare => 1.0 + if self.random.uniform() < 0.1 { 0.1 } else { 0.0 },
            Processes::Skewed => 1.0 - 0.02 * (1.0 - self.random.uniform()).ln(),
        }
    }

    /// `turns` processes a side of two rounds of three runs, the first side `slower` times as slow.
    pub(crate) fn turns(&mut self, turns: usize, slower: f64) -> Vec<Turn> {
        let turn = |at: usize, machine: &mut Machine| {
            let common = match machine.kind {
                Processes::Drifting => 1.0 + 0.2 * at as f64 / turns as f64,
                _ => 1.0,
            };
            let speeds = [machine.process() * slower, machine.process()];
            let mut rounds: Turn = [Vec::new(), Vec::new()];
            for _ in 0..2 {
                let disturbance = 1.0 + 0.01 * machine.random.uniform();
                for (side, speed) in rounds.iter_mut().zip(speeds) {
                    let run =
                        |machine: &mut Machine| 10.0 * common * speed * disturbance * (1.0 + 0.005 * machine.normal());
                    side.push((0..3).map(|_| run(machine)).collect());
                }
            }
            rounds
        };
        (0..turns).map(|at| turn(at, self)).collect()
    }
}
