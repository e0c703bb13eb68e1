//! The state of the machine while it measures: what makes two runs of one program differ.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use onnx_file::open;
use serde::{Deserialize, Serialize};

use super::machine::Host;
use crate::note::Note;

/// Machine and time of a measurement; `None` where the platform does not tell.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Environment {
    /// Version of this program.
    pub program_version: String,
    /// When it was read, in seconds since 1970.
    pub unix_time_s: u64,
    /// Processor, memory, GPUs.
    pub host: Host,
    /// Runnable processes, averaged over 1, 5 and 15 minutes.
    pub load_average: Option<[f64; 3]>,
    /// Frequency governor of the first processor.
    pub governor: Option<String>,
    /// Whether the processor may exceed its nominal frequency.
    pub boost: Option<bool>,
    /// Whether this is a virtual machine.
    pub virtual_machine: Option<bool>,
    /// Logical processors that this process is bound to, as in `0-3,8`.
    pub affinity: Option<String>,
    /// Processors' worth of time that the control group allows.
    pub cgroup_processors: Option<f64>,
    /// Memory that the control group allows, in bytes.
    pub cgroup_memory_bytes: Option<u64>,
}

impl Environment {
    /// The machine this runs on, now.
    pub fn read() -> Environment {
        Self::read_below(Path::new("/"), Host::read())
    }

    /// As [`Environment::read`], with `/proc` and `/sys` below `root`.
    fn read_below(root: &Path, host: Host) -> Environment {
        let text = |path: &str| open::read_text(&root.join(path), open::SMALL).ok();
        let line = |path: &str| text(path).map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
        let about = text("proc/cpuinfo").unwrap_or_default();
        let group = cgroup(text("proc/self/cgroup").as_deref());
        let limit = |file: &str| {
            // The group's own file, and at the root of what the container sees.
            line(&format!("sys/fs/cgroup/{group}/{file}")).or_else(|| line(&format!("sys/fs/cgroup/{file}")))
        };
        Environment {
            program_version: env!("CARGO_PKG_VERSION").to_owned(),
            unix_time_s: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()),
            host,
            load_average: text("proc/loadavg").as_deref().and_then(load_average),
            governor: line("sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
            boost: boost(&line),
            virtual_machine: field(&about, "flags").map(|flags| flags.split(' ').any(|flag| flag == "hypervisor")),
            affinity: text("proc/self/status")
                .and_then(|status| field(&status, "Cpus_allowed_list").map(str::to_owned)),
            cgroup_processors: limit("cpu.max").as_deref().and_then(processors),
            cgroup_memory_bytes: limit("memory.max").and_then(|limit| limit.parse().ok()),
        }
    }

    /// What in the machine's state makes measurements doubtful.
    pub fn warnings(&self) -> Vec<Note> {
        let mut warnings = Vec::new();
        let processors = self.host.usable_processors;
        if let Some([recent, ..]) = self.load_average.filter(|load| load[0] > 0.5 * processors as f64) {
            warnings.push(Note::MachineBusy { load: recent, processors });
        }
        if let Some(governor) = self.governor.as_deref().filter(|governor| !matches!(*governor, "performance")) {
            warnings.push(Note::Governor { governor: governor.to_owned() });
        }
        if let Some(allowed) = self.cgroup_processors.filter(|&allowed| allowed < processors as f64) {
            warnings.push(Note::Throttled { allowed, processors });
        }
        warnings
    }
}

/// The value of the first `key : value` line.
fn field<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    text.lines().filter_map(|line| line.split_once(':')).find(|(name, _)| name.trim() == key).map(|(_, v)| v.trim())
}

/// Runnable processes, averaged over 1, 5 and 15 minutes; `None` where the platform does not tell.
pub fn load_average_now() -> Option<[f64; 3]> {
    open::read_text(Path::new("/proc/loadavg"), open::SMALL).ok().as_deref().and_then(load_average)
}

fn load_average(text: &str) -> Option<[f64; 3]> {
    let mut numbers = text.split_whitespace().map(str::parse);
    let mut next = || numbers.next()?.ok();
    Some([next()?, next()?, next()?])
}

fn boost(line: &impl Fn(&str) -> Option<String>) -> Option<bool> {
    match (line("sys/devices/system/cpu/intel_pstate/no_turbo"), line("sys/devices/system/cpu/cpufreq/boost")) {
        (Some(no_turbo), _) => Some(no_turbo == "0"),
        (None, Some(boost)) => Some(boost == "1"),
        (None, None) => None,
    }
}

/// Path of the process's group in the unified hierarchy, without the leading slash.
pub(crate) fn cgroup(text: Option<&str>) -> String {
    let line = text.and_then(|text| text.lines().find_map(|line| line.strip_prefix("0::/")));
    line.unwrap_or_default().trim().to_owned()
}

/// `max 100000` or `150000 100000`: quota and period.
fn processors(text: &str) -> Option<f64> {
    let (quota, period) = text.split_once(' ')?;
    let (quota, period): (f64, f64) = (quota.parse().ok()?, period.trim().parse().ok()?);
    (period > 0.0).then(|| quota / period)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn two_processors() -> Host {
        Host {
            platform: "linux x86_64".into(),
            kernel: None,
            processor: None,
            instruction_sets: Vec::new(),
            usable_processors: 2,
            default_threads: 2,
            memory_bytes: None,
            gpus: Vec::new(),
        }
    }

    #[test]
    fn the_state_of_a_linux_machine_is_read_from_its_files() {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in [
            ("proc/cpuinfo", "processor\t: 0\nmodel name\t: Some CPU @ 2.0GHz\nflags\t\t: fpu hypervisor avx2\n\n"),
            ("proc/self/status", "Name:\tx\nCpus_allowed_list:\t0-1\n"),
            ("proc/loadavg", "3.50 2.00 1.25 2/87 14376\n"),
            ("proc/self/cgroup", "1:name=systemd:/\n0::/user/job\n"),
            ("sys/fs/cgroup/user/job/cpu.max", "50000 100000\n"),
            ("sys/fs/cgroup/memory.max", "1073741824\n"),
            ("sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", "powersave\n"),
            ("sys/devices/system/cpu/intel_pstate/no_turbo", "1\n"),
        ] {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let found = Environment::read_below(root.path(), two_processors());
        assert_eq!(found.load_average, Some([3.5, 2.0, 1.25]));
        assert_eq!((found.virtual_machine, found.boost), (Some(true), Some(false)));
        assert_eq!(found.affinity.as_deref(), Some("0-1"));
        assert_eq!((found.cgroup_processors, found.cgroup_memory_bytes), (Some(0.5), Some(1 << 30)));
        let warnings = found.warnings();
        assert_eq!(warnings.len(), 3, "{warnings:?}");
    }

    #[test]
    fn what_a_machine_does_not_tell_is_absent_and_warns_of_nothing() {
        let root = tempfile::tempdir().unwrap();
        let found = Environment::read_below(root.path(), two_processors());
        assert_eq!((found.boost, found.load_average, found.governor.as_deref()), (None, None, None));
        assert!(found.warnings().is_empty());
        assert_eq!(processors("max 100000"), None);
    }
}
