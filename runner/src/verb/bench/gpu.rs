//! The state of NVIDIA GPUs while they are measured: a hot or shared device is not the device of the data sheet.

use serde::Serialize;

use crate::host::child;
use crate::note::Note;

/// What is asked of `nvidia-smi`, in this order.
const QUERY: &str = "index,clocks.sm,clocks.max.sm,power.draw,temperature.gpu,clocks_throttle_reasons.active";
/// Bits of the throttle reasons that slow the device down: power cap (0x4), hardware slowdown (0x8), thermal and power
/// brake slowdowns (0x20, 0x40, 0x80). Idle (0x1) and clocks set by the user (0x2) do not count.
const SLOWED: u64 = 0x4 | 0x8 | 0x20 | 0x40 | 0x80;

/// One GPU at one moment; `None` where the driver does not tell.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct GpuState {
    /// Round before which it was read; the number of rounds after the last.
    pub round: usize,
    /// Which GPU.
    pub index: usize,
    /// Clock of the multiprocessors.
    pub clock_mhz: Option<f64>,
    /// Highest clock of the multiprocessors.
    pub most_clock_mhz: Option<f64>,
    /// Power drawn.
    pub power_w: Option<f64>,
    /// Temperature.
    pub temperature_c: Option<f64>,
    /// Why the clock is held down, as the driver's bits.
    pub throttle_reasons: Option<u64>,
}

/// Reads the state of every GPU; nothing where there is no driver.
pub(crate) fn read(round: usize) -> Vec<GpuState> {
    child::nvidia_smi(&format!("--query-gpu={QUERY}")).map_or_else(Vec::new, |text| parse(&text, round))
}

/// Processes on the GPUs, by id; ours are not told apart, so ask before any is started.
pub(crate) fn processes() -> Vec<String> {
    let text = child::nvidia_smi("--query-compute-apps=pid").unwrap_or_default();
    text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

fn parse(text: &str, round: usize) -> Vec<GpuState> {
    let state = |line: &str| {
        let cells: Vec<&str> = line.split(',').map(str::trim).collect();
        let number = |at: usize| cells.get(at).and_then(|cell| cell.parse().ok());
        let reasons = cells.get(5).and_then(|cell| u64::from_str_radix(cell.trim_start_matches("0x"), 16).ok());
        Some(GpuState {
            round,
            index: cells.first()?.parse().ok()?,
            clock_mhz: number(1),
            most_clock_mhz: number(2),
            power_w: number(3),
            temperature_c: number(4),
            throttle_reasons: reasons,
        })
    };
    text.lines().filter_map(state).collect()
}

/// What the states say that a reader must know.
pub(crate) fn warnings(states: &[GpuState], others: &[String]) -> Vec<Note> {
    let mut warnings = Vec::new();
    if !others.is_empty() {
        warnings.push(Note::GpuShared { processes: others.to_vec() });
    }
    let slowed = |state: &&GpuState| state.throttle_reasons.is_some_and(|reasons| reasons & SLOWED != 0);
    let count = states.iter().filter(slowed).count();
    if count > 0 {
        let hottest_c = states.iter().filter_map(|state| state.temperature_c).reduce(f64::max);
        warnings.push(Note::GpuSlowed { slowed: count, looks: states.len(), hottest_c });
    }
    warnings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nvidia_smi_prints_is_read_and_what_it_does_not_know_is_absent() {
        let text = "0, 1980, 1980, 412.51, 63, 0x0000000000000004\n1, [N/A], 1410, [N/A], 31, 0x0000000000000001\n";
        let states = parse(text, 2);
        assert_eq!(states.len(), 2);
        assert_eq!(
            (states[0].clock_mhz, states[0].power_w, states[0].throttle_reasons),
            (Some(1980.0), Some(412.51), Some(4))
        );
        assert_eq!((states[1].index, states[1].clock_mhz, states[1].temperature_c), (1, None, Some(31.0)));
        assert!(parse("No devices were found\n", 0).is_empty());
    }

    #[test]
    fn throttling_and_company_are_warned_of_and_idling_is_not() {
        let states = parse("0, 1980, 1980, 412.51, 63, 0x4\n0, 300, 1980, 90, 41, 0x1\n", 0);
        let found = crate::report::note::sentences(&warnings(&states, &["4711".to_owned()]));
        assert!(found[0].contains("process 4711") && found[1].contains("in 1 of 2 looks (up to 63 °C)"), "{found:?}");
        assert!(warnings(&states[1..], &[]).is_empty());
    }
}
