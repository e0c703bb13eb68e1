//! Several processes of each candidate.

use super::*;

#[test]
fn processes_are_kept_apart() {
    let (file, log) = (model_file(), Log::default());
    let mut candidates = [candidate(&file, "cpu", &log, |_, run| Ok(0.001 * jitter(run)))];
    let found = run(&mut candidates, &Plan { processes: Some(3), min_runs: 30, ..short() });
    assert_eq!(found.candidates[0].processes.len(), 3);
    assert_eq!((found.rows[0].process_medians_ms.len(), found.rows[0].warmups.len()), (3, 3));
    assert_eq!(found.rows[0].latency_ms.as_ref().unwrap().n, 30);
    assert_eq!(found.candidates[0].processes[2].peak_resident_bytes, Some(300 << 20));
    assert_eq!(found.rows[0].scope, Scope::EndToEnd);
}

/// A model whose process has a speed of its own, `factor` times what its runs would take.
fn process_with<'a>(file: &'a ModelFile, provider: &'a str, factors: &'a [f64]) -> Candidate<'a> {
    let mut opened = 0;
    let open = move |_: &Path| -> Result<Box<dyn Model + 'a>, ModelError> {
        let factor = factors[opened % factors.len()];
        opened += 1;
        let mut run = 0;
        let clock = move |_: &[Tensor], block: Block| {
            let sample = |_| {
                run += 1;
                0.001 * factor * jitter(run)
            };
            Ok((0..block.max_runs).map(sample).collect())
        };
        Ok(Box::new(Fake::new(|_| Ok(vec![])).on(provider).clocked(clock)))
    };
    Candidate::of_file(file, provider, Box::new(open))
}

#[test]
fn copies_whose_processes_happen_to_differ_are_not_called_different() {
    let file = model_file();
    let shown = |processes: usize| {
        let mut candidates = [
            process_with(&file, "a", &[1.03, 0.98, 1.02, 1.00, 0.99, 1.01, 0.97, 1.02]),
            process_with(&file, "b", &[1.00, 1.02, 0.98, 1.03, 1.01, 0.97, 1.02, 0.99]),
        ];
        let found = run(&mut candidates, &Plan { processes: Some(processes), min_runs: 400, ..short() });
        found.rows[1].speed_up.clone().unwrap().ratio
    };
    let several = shown(8);
    assert!(!several.difference_shown && several.units == 8, "{several:?}");
    // One process a side differs by 3% however often it is run.
    let alone = shown(1);
    assert!(alone.interval.unwrap()[0] > 1.02 && !alone.difference_shown, "{alone:?}");
    let text = crate::report::text::render(
        &crate::verb::bench::document::document(&run(
            &mut [process_with(&file, "a", &[1.03]), process_with(&file, "b", &[1.0])],
            &short(),
        )),
        false,
    );
    assert!(text.contains("of these two processes"), "{text}");
}

#[test]
fn a_file_that_is_slower_by_a_tenth_is_shown_to_be_in_spite_of_its_processes() {
    let file = model_file();
    let mut candidates = [
        process_with(&file, "a", &[1.03, 0.98, 1.02, 1.00, 0.99, 1.01, 0.97, 1.02]),
        process_with(&file, "b", &[1.10, 1.12, 1.08, 1.13, 1.11, 1.07, 1.12, 1.09]),
    ];
    let found = run(&mut candidates, &Plan { processes: Some(8), min_runs: 400, ..short() });
    let ratio = found.rows[1].speed_up.clone().unwrap().ratio;
    assert!(ratio.difference_shown && ratio.ratio < 0.95, "{ratio:?}");
}

#[test]
fn left_open_the_number_of_processes_follows_from_what_a_start_costs() {
    let (file, log) = (model_file(), Log::default());
    let of = |plan: &Plan| {
        let found = run(&mut [candidate(&file, "cpu", &log, |_, _| Ok(0.01))], plan);
        (found.candidates[0].processes.len(), found.rows[0].latency_ms.as_ref().unwrap().n)
    };
    // The fake starts at once and says that it ran for ten seconds.
    let (processes, runs) = of(&Plan { processes: None, min_runs: 1, min_seconds: 10.0, ..short() });
    assert_eq!(processes, 8);
    assert!((1000..1050).contains(&runs), "over all processes: {runs}");
    let slow = |_: &Path| -> Result<Box<dyn Model>, ModelError> {
        std::thread::sleep(std::time::Duration::from_millis(100));
        Ok(Box::new(Fake::new(|_| Ok(vec![])).clocked(|_, block| Ok(vec![0.001; block.max_runs.min(3)]))))
    };
    let plan = Plan { processes: None, min_runs: 1, min_seconds: 0.005, ..short() };
    let found = run(&mut [Candidate::of_file(&file, "cpu", Box::new(slow))], &plan);
    assert_eq!(found.candidates[0].processes.len(), 1);
}
