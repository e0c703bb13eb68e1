//! Which row of a measurement is which of another.

use std::collections::BTreeSet;
use std::path::Path;

use crate::record::bench::{Bench, Row};

/// A row and the one that it is compared with.
#[derive(Clone, Copy, Debug)]
pub struct Pair<'a> {
    /// The earlier one, where there is one.
    pub before: Option<&'a Row>,
    /// The later one.
    pub now: &'a Row,
}

/// Every row measured now with the earlier one of the same provider, batch size, scope and model; and the earlier rows
/// that have no counterpart. A model is the same by its path, by the name of its file, or because each measurement has
/// one alone. Where no row has the same scope, one of the other scope takes its place.
pub fn of_two_measurements<'a>(before: &'a Bench, now: &'a Bench) -> (Vec<Pair<'a>>, Vec<&'a Row>) {
    let models = |bench: &'a Bench| bench.rows.iter().map(|row| row.model.as_str()).collect::<BTreeSet<_>>();
    let one_model = models(before).len() == 1 && models(now).len() == 1;
    let mut taken: Vec<bool> = vec![false; before.rows.len()];
    let mut pairs = Vec::new();
    for row in &now.rows {
        let free = |(at, earlier): &(usize, &Row)| {
            !taken[*at] && earlier.provider == row.provider && earlier.batch == row.batch
        };
        let like: Vec<(usize, &Row)> = before.rows.iter().enumerate().filter(free).collect();
        let found = find(&like, row, one_model);
        if let Some(at) = found {
            taken[at] = true;
        }
        pairs.push(Pair { before: found.map(|at| &before.rows[at]), now: row });
    }
    let gone = before.rows.iter().zip(&taken).filter(|(_, taken)| !**taken).map(|(row, _)| row).collect();
    (pairs, gone)
}

fn find(like: &[(usize, &Row)], row: &Row, one_model: bool) -> Option<usize> {
    let name = |model: &str| Path::new(model).file_name().map(ToOwned::to_owned);
    let same_path = |earlier: &Row| earlier.model == row.model;
    let same_name = |earlier: &Row| name(&earlier.model) == name(&row.model);
    let same: [&dyn Fn(&Row) -> bool; 3] = [&same_path, &same_name, &|_| one_model];
    let scopes: [&dyn Fn(&Row) -> bool; 2] = [&|earlier| earlier.scope == row.scope, &|_| true];
    let only = |is: &dyn Fn(&Row) -> bool, scope: &dyn Fn(&Row) -> bool| {
        let mut found = like.iter().filter(|(_, earlier)| is(earlier) && scope(earlier));
        // Of two that could be meant, neither is.
        found.next().filter(|_| found.next().is_none()).map(|(at, _)| *at)
    };
    scopes.iter().find_map(|scope| same.iter().find_map(|is| only(is, scope)))
}

/// Every row of the further candidates with that of the first of the same batch size and scope.
pub fn of_one_measurement(bench: &Bench) -> Vec<Pair<'_>> {
    let first = |row: &Row| {
        let like = |other: &&Row| (other.candidate, other.batch, other.scope) == (0, row.batch, row.scope);
        bench.rows.iter().find(like)
    };
    bench.rows.iter().filter(|row| row.candidate > 0).map(|row| Pair { before: first(row), now: row }).collect()
}
