//! The machine: processor, memory, GPUs. Read from what the system tells; what it does not tell is absent.

pub mod memory;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use onnx_file::open;
use serde::{Deserialize, Serialize};

use super::child;

/// What measurements depend on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Host {
    /// Operating system and processor family, such as `linux x86_64`.
    pub platform: String,
    /// Kernel or system version.
    pub kernel: Option<String>,
    /// Processor name.
    pub processor: Option<String>,
    /// Instruction sets that kernels choose by, as far as this program knows to ask.
    pub instruction_sets: Vec<String>,
    /// Processors that this process may use, after affinity and control-group limits.
    pub usable_processors: usize,
    /// Threads a session uses unless told otherwise; see [`default_threads`].
    pub default_threads: usize,
    /// Main memory in bytes.
    pub memory_bytes: Option<u64>,
    /// NVIDIA GPUs.
    pub gpus: Vec<Gpu>,
}

/// One NVIDIA GPU, as `nvidia-smi` reports it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gpu {
    /// Product name.
    pub name: String,
    /// Driver version.
    pub driver: String,
    /// Compute capability, such as `9.0`.
    pub compute_capability: String,
    /// Memory in bytes.
    pub memory_bytes: Option<u64>,
}

impl Host {
    /// Asks the system.
    pub fn read() -> Host {
        let info = open::read_text(Path::new("/proc/cpuinfo"), open::SMALL).unwrap_or_default();
        let memory = open::read_text(Path::new("/proc/meminfo"), open::SMALL).unwrap_or_default();
        Host {
            platform: format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
            kernel: open::read_text(Path::new("/proc/sys/kernel/osrelease"), open::SMALL)
                .ok()
                .map(|text| text.trim().to_owned()),
            processor: field(&info, "model name").map(str::to_owned),
            instruction_sets: instruction_sets().into_iter().map(str::to_owned).collect(),
            usable_processors: usable_processors(),
            default_threads: default_threads(),
            memory_bytes: field(&memory, "MemTotal").and_then(kibibytes),
            gpus: gpus(),
        }
    }
}

/// The value of the first `key : value` line.
fn field<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    let value =
        |line: &'a str| line.split_once(':').filter(|(name, _)| name.trim() == key).map(|(_, value)| value.trim());
    text.lines().find_map(value)
}

fn kibibytes(text: &str) -> Option<u64> {
    text.strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

fn usable_processors() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Threads a session uses unless told otherwise: one for each core that this process may use, since two threads of one
/// core share its multipliers. Left to itself onnxruntime counts the cores of the machine, not those of the container.
pub fn default_threads() -> usize {
    let mut cores = BTreeSet::new();
    for entry in fs::read_dir("/sys/devices/system/cpu").into_iter().flatten().flatten() {
        let siblings = open::read_text(&entry.path().join("topology/thread_siblings_list"), open::SMALL);
        cores.extend(siblings.map(|list| list.trim().to_owned()));
    }
    let usable = usable_processors();
    if cores.is_empty() { usable } else { cores.len().min(usable) }
}

/// Whether the processor is Intel's, which is what OpenVINO's plugin looks for.
pub fn has_intel_processor() -> bool {
    let info = open::read_text(Path::new("/proc/cpuinfo"), open::SMALL).unwrap_or_default();
    // Windows tells the same in a variable.
    let identifier = std::env::var("PROCESSOR_IDENTIFIER").unwrap_or_default();
    field(&info, "vendor_id") == Some("GenuineIntel") || identifier.contains("GenuineIntel")
}

#[cfg(target_arch = "x86_64")]
fn instruction_sets() -> Vec<&'static str> {
    use std::arch::is_x86_feature_detected as has;
    let known = [
        ("sse4.1", has!("sse4.1")),
        ("avx", has!("avx")),
        ("f16c", has!("f16c")),
        ("fma", has!("fma")),
        ("avx2", has!("avx2")),
        ("avxvnni", has!("avxvnni")),
        ("avx512f", has!("avx512f")),
        ("avx512bw", has!("avx512bw")),
        ("avx512vnni", has!("avx512vnni")),
        ("avx512bf16", has!("avx512bf16")),
        ("avx512fp16", has!("avx512fp16")),
        ("amx-int8", amx("amx_int8")),
        ("amx-bf16", amx("amx_bf16")),
    ];
    known.into_iter().filter(|(_, has)| *has).map(|(name, _)| name).collect()
}

/// Tile instructions, which the standard library cannot yet ask for, as the kernel lists them.
#[cfg(target_arch = "x86_64")]
fn amx(flag: &str) -> bool {
    let info = open::read_text(Path::new("/proc/cpuinfo"), open::SMALL).unwrap_or_default();
    field(&info, "flags").is_some_and(|flags| flags.split(' ').any(|name| name == flag))
}

#[cfg(target_arch = "aarch64")]
fn instruction_sets() -> Vec<&'static str> {
    use std::arch::is_aarch64_feature_detected as has;
    let known = [
        ("neon", has!("neon")),
        ("fp16", has!("fp16")),
        ("dotprod", has!("dotprod")),
        ("i8mm", has!("i8mm")),
        ("bf16", has!("bf16")),
        ("sve", has!("sve")),
        ("sve2", has!("sve2")),
    ];
    known.into_iter().filter(|(_, has)| *has).map(|(name, _)| name).collect()
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn instruction_sets() -> Vec<&'static str> {
    Vec::new()
}

/// Whether NVIDIA's driver is loaded.
pub fn has_nvidia_driver() -> bool {
    Path::new("/proc/driver/nvidia/version").exists() || !gpus().is_empty()
}

/// The NVIDIA GPUs, by `nvidia-smi`, which comes with the driver; none where it is not there.
pub fn gpus() -> Vec<Gpu> {
    let rows = smi("--query-gpu=name,driver_version,compute_cap,memory.total");
    let gpu = |row: &Vec<String>| match row.as_slice() {
        [name, driver, capability, memory] => Some(Gpu {
            name: name.clone(),
            driver: driver.clone(),
            compute_capability: capability.clone(),
            memory_bytes: memory.parse::<u64>().ok().map(|mebibytes| mebibytes << 20),
        }),
        _ => None,
    };
    rows.iter().filter_map(gpu).collect()
}

/// Device memory in bytes that a process holds on all GPUs; none where the driver does not tell.
pub fn device_memory_of(process: u32) -> Option<u64> {
    let rows = smi("--query-compute-apps=pid,used_gpu_memory");
    let of_process = rows.iter().filter_map(|row| match row.as_slice() {
        [pid, used] if *pid == process.to_string() => used.parse::<u64>().ok(),
        _ => None,
    });
    of_process.map(|mebibytes| mebibytes << 20).reduce(|sum, bytes| sum + bytes)
}

fn smi(query: &str) -> Vec<Vec<String>> {
    let cells = |line: &str| line.split(',').map(|cell| cell.trim().to_owned()).collect();
    child::nvidia_smi(query).unwrap_or_default().lines().map(cells).collect()
}
