//! How much memory may still be taken, as the operating system tells.

use std::path::Path;

use crate::open;

/// Bytes that this process and its children may still take: what the machine has left, and every control group above
/// it. `None` where the system does not tell.
pub fn available() -> Option<u64> {
    available_below(Path::new("/"))
}

/// As [`available`], with `/proc` and `/sys` below `root`.
fn available_below(root: &Path) -> Option<u64> {
    let text = |path: &Path| open::read_text(&root.join(path), open::SMALL).ok();
    let number = |path: &Path| text(path)?.trim().parse::<u64>().ok();
    let info = text(Path::new("proc/meminfo")).unwrap_or_default();
    let machine = info.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    let machine =
        machine.and_then(|value| value.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024));
    let groups = text(Path::new("proc/self/cgroup")).unwrap_or_default();
    let left = |group: &Path, [limit, used, cached]: [&str; 3]| {
        let (limit, used) = (number(&group.join(limit))?, number(&group.join(used))?);
        // What only caches files goes where memory is needed.
        let stat = text(&group.join("memory.stat")).unwrap_or_default();
        let cached = stat.lines().find_map(|line| line.strip_prefix(cached)?.trim().parse().ok());
        Some(limit.saturating_sub(used.saturating_sub(cached.unwrap_or(0))))
    };
    // Of the first version, the hierarchy that controls memory; of the second, the one without controllers.
    let lines = groups.lines().filter_map(|line| {
        let (controllers, group) = line.split_once(':')?.1.split_once(':')?;
        let group = group.trim().trim_start_matches('/');
        match controllers {
            "" => Some(("sys/fs/cgroup", group, ["memory.max", "memory.current", "inactive_file "])),
            _ if controllers.split(',').any(|controller| controller == "memory") => {
                let files = ["memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file "];
                Some(("sys/fs/cgroup/memory", group, files))
            }
            _ => None,
        }
    });
    // In a container the group's own path may not be there, and the root is the container's own group.
    let roots = [
        ("sys/fs/cgroup", "", ["memory.max", "memory.current", "inactive_file "]),
        ("sys/fs/cgroup/memory", "", ["memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file "]),
    ];
    let bounds = lines.chain(roots).flat_map(|(mount, group, files)| {
        let groups = Path::new(group).ancestors().map(|group| Path::new(mount).join(group));
        groups.filter_map(|group| left(&group, files)).min()
    });
    bounds.chain(machine).min()
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

    const MACHINE: (&str, &str) = ("proc/meminfo", "MemTotal: 4000 kB\nMemAvailable:    2000 kB\n");

    #[test]
    fn the_least_of_the_machine_and_of_every_control_group_is_available() {
        let group = ("proc/self/cgroup", "0::/jobs/one\n");
        assert_eq!(machine(&[]), None);
        assert_eq!(machine(&[MACHINE, group]), Some(2000 << 10));
        let own = [
            ("sys/fs/cgroup/jobs/one/memory.max", "1000000\n"),
            ("sys/fs/cgroup/jobs/one/memory.current", "700000\n"),
            ("sys/fs/cgroup/jobs/one/memory.stat", "anon 5\ninactive_file 200000\n"),
        ];
        assert_eq!(machine(&[&[MACHINE, group], &own[..]].concat()), Some(500_000));
        let above = [("sys/fs/cgroup/jobs/memory.max", "900000"), ("sys/fs/cgroup/jobs/memory.current", "800000")];
        assert_eq!(machine(&[&[MACHINE, group], &own[..], &above].concat()), Some(100_000));
        let open = [("sys/fs/cgroup/jobs/one/memory.max", "max"), ("sys/fs/cgroup/jobs/one/memory.current", "1")];
        assert_eq!(machine(&[&[MACHINE, group], &open[..]].concat()), Some(2000 << 10));
    }

    #[test]
    fn control_groups_of_the_first_version_bound_it_too() {
        let group = ("proc/self/cgroup", "5:cpu,cpuacct:/other\n3:memory:/docker/one\n0::/\n");
        let own = [
            ("sys/fs/cgroup/memory/docker/one/memory.limit_in_bytes", "1000000"),
            ("sys/fs/cgroup/memory/docker/one/memory.usage_in_bytes", "995000"),
            ("sys/fs/cgroup/memory/docker/one/memory.stat", "inactive_file 1\ntotal_inactive_file 1000\n"),
        ];
        assert_eq!(machine(&[&[MACHINE, group], &own[..]].concat()), Some(6000));
        let inside = [
            ("sys/fs/cgroup/memory/memory.limit_in_bytes", "1000000"),
            ("sys/fs/cgroup/memory/memory.usage_in_bytes", "990000"),
        ];
        assert_eq!(machine(&[&[MACHINE, group], &inside[..]].concat()), Some(10_000));
    }
}
