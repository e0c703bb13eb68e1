//! How much memory may still be taken, and how many copies of a model fit into it.

use std::path::Path;

use super::{field, kibibytes};
use crate::host::environment::cgroup;

/// Part of the memory available that copies of models may take together.
const SHARE: f64 = 0.75;
/// Memory of a worker without a model, in bytes.
const WORKER: u64 = 64 << 20;
/// A session holds its weights twice, as they are and as its kernels want them, and the file once while it loads.
const WEIGHTS: u64 = 3;
/// Feature maps alive at once, by the bytes of the images that went in: about what a ResNeXt-50 takes.
const FEATURES: u64 = 64;

/// Bytes that this process and its children may still take: what the machine has left, and every control group above
/// it. `None` where the system does not tell.
pub fn available() -> Option<u64> {
    available_below(Path::new("/"))
}

/// As [`available`], with `/proc` and `/sys` below `root`.
fn available_below(root: &Path) -> Option<u64> {
    let text = |path: &str| std::fs::read_to_string(root.join(path)).ok();
    let number = |path: String| text(&path)?.trim().parse::<u64>().ok();
    let machine = text("proc/meminfo").as_deref().and_then(|info| field(info, "MemAvailable")).and_then(kibibytes);
    let group = cgroup(text("proc/self/cgroup").as_deref());
    let left = |group: &Path| {
        let group = Path::new("sys/fs/cgroup").join(group);
        let file = |name: &str| group.join(name).display().to_string();
        let (limit, used) = (number(file("memory.max"))?, number(file("memory.current"))?);
        // What only caches files goes where memory is needed.
        let stat = text(&file("memory.stat")).unwrap_or_default();
        let cached = stat.lines().find_map(|line| line.strip_prefix("inactive_file ")?.trim().parse().ok());
        Some(limit.saturating_sub(used.saturating_sub(cached.unwrap_or(0))))
    };
    let older = || {
        let file = |name: &str| number(format!("sys/fs/cgroup/memory/memory.{name}_in_bytes"));
        Some(file("limit")?.saturating_sub(file("usage")?))
    };
    Path::new(&group).ancestors().filter_map(left).chain(older()).chain(machine).min()
}

/// Bytes that one copy of a model takes, about: its weights, and the feature maps of a batch of `input` bytes.
pub fn copy_bytes(weights: u64, input: u64) -> u64 {
    let parts = [WORKER, weights.saturating_mul(WEIGHTS), input.saturating_mul(FEATURES)];
    parts.into_iter().fold(0, u64::saturating_add)
}

/// How many copies, `wanted` at most and 1 at least, fit where one of so many copies of every model takes `each` bytes.
pub fn copies_that_fit(wanted: usize, each: impl Fn(usize) -> u64, available: Option<u64>) -> usize {
    let Some(available) = available else { return wanted.max(1) };
    let fits = |copies: &usize| *copies as f64 * each(*copies) as f64 <= available as f64 * SHARE;
    (1..=wanted).rev().find(fits).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(files: &[(&str, &str)]) -> Option<u64> {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        available_below(root.path())
    }

    #[test]
    fn the_least_of_the_machine_and_of_every_control_group_is_available() {
        let meminfo = ("proc/meminfo", "MemTotal: 4000 kB\nMemAvailable:    2000 kB\n");
        let group = ("proc/self/cgroup", "0::/jobs/one\n");
        assert_eq!(machine(&[]), None);
        assert_eq!(machine(&[meminfo, group]), Some(2000 << 10));
        let own = [
            ("sys/fs/cgroup/jobs/one/memory.max", "1000000\n"),
            ("sys/fs/cgroup/jobs/one/memory.current", "700000\n"),
            ("sys/fs/cgroup/jobs/one/memory.stat", "anon 5\ninactive_file 200000\n"),
        ];
        assert_eq!(machine(&[&[meminfo, group], &own[..]].concat()), Some(500_000));
        let above = [("sys/fs/cgroup/jobs/memory.max", "900000"), ("sys/fs/cgroup/jobs/memory.current", "800000")];
        assert_eq!(machine(&[&[meminfo, group], &own[..], &above].concat()), Some(100_000));
        let open = [("sys/fs/cgroup/jobs/one/memory.max", "max"), ("sys/fs/cgroup/jobs/one/memory.current", "1")];
        assert_eq!(machine(&[&[meminfo, group], &open[..]].concat()), Some(2000 << 10));
        let older = [
            ("sys/fs/cgroup/memory/memory.limit_in_bytes", "1000000"),
            ("sys/fs/cgroup/memory/memory.usage_in_bytes", "990000"),
        ];
        assert_eq!(machine(&[&[meminfo], &older[..]].concat()), Some(10_000));
    }

    #[test]
    fn copies_are_bounded_by_what_fits_and_one_there_always_is() {
        let gib = 1 << 30;
        assert_eq!(copies_that_fit(64, |_| gib, Some(8 * gib)), 6);
        assert_eq!(copies_that_fit(4, |_| gib, Some(8 * gib)), 4);
        assert_eq!(copies_that_fit(4, |_| 100 * gib, Some(8 * gib)), 1);
        assert_eq!(copies_that_fit(4, |_| gib, None), 4);
        assert_eq!(copies_that_fit(64, |copies| 4 * gib / copies as u64, Some(8 * gib)), 64, "they share a batch");
        assert!(copy_bytes(100 << 20, 8 * 3 * 224 * 224 * 4) > 300 << 20);
        assert_eq!(copy_bytes(u64::MAX, 1), u64::MAX);
    }
}
