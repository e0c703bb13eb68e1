"""Whole-process time and memory of resnext-build against cp of the same checkpoint, warm page cache.

    python whole_process.py RESNEXT_BUILD FOLDER [RUNS]

FOLDER holds what tests/fullsize/checkpoints.py wrote. The two commands take turns; the figure is the median of the
pairwise ratios, with the range of the middle half. Peak memory is the operating system's own account of each process.
"""

import os
import statistics
import sys
import time
from pathlib import Path

FILES = ["resnext50_32x4d", "resnext101_64x4d"]


def run(*command: str) -> tuple[float, float]:
    """Seconds and peak MiB of one process."""
    start = time.monotonic()
    pid = os.posix_spawnp(command[0], command, os.environ)
    _, status, usage = os.wait4(pid, 0)
    elapsed = time.monotonic() - start
    if status != 0:
        raise SystemExit(f"{' '.join(command)} failed with status {status}")
    return elapsed, usage.ru_maxrss / 1024


def peak(program: str, out: str, *flags: str, limit: float) -> None:
    mib = run(program, *flags, "-o", out, "--force", "-q")[1]
    print(f"{' '.join(flags)}: peak {mib:.1f} MiB, at most {limit:.0f}")
    assert mib <= limit


def main() -> None:
    program, folder = sys.argv[1], Path(sys.argv[2])
    runs = int(sys.argv[3]) if len(sys.argv) > 3 else 15
    out, copy = str(folder / "bench.onnx"), str(folder / "bench.copy")
    print(f"{'checkpoint':<34} {'build s':>8} {'cp s':>7} {'ratio':>6} {'middle half':>13} {'peak MiB':>9}")
    for name in FILES:
        for suffix in [".pth", "-legacy.pth", ".safetensors"]:
            source = str(folder / f"{name}{suffix}")
            build = [program, "--weights", source, "-o", out, "--force", "-q"]
            run(*build), run("cp", source, copy)
            pairs = [(run(*build), run("cp", source, copy)) for _ in range(runs)]
            ratios = sorted(ours[0] / cp[0] for ours, cp in pairs)
            quarter = len(ratios) // 4
            print(
                f"{name + suffix:<34} {statistics.median(p[0][0] for p in pairs):>8.3f}"
                f" {statistics.median(p[1][0] for p in pairs):>7.3f} {statistics.median(ratios):>6.2f}"
                f" {ratios[quarter]:>6.2f}-{ratios[-1 - quarter]:.2f} {max(p[0][1] for p in pairs):>9.1f}"
            )
    seconds = [run(program, "--variant", "50_32x4d", "-o", out, "--force", "-q")[0] for _ in range(runs)]
    print(f"50_32x4d, seeded initialisation: {statistics.median(seconds):.3f} s")
    peak(program, out, "--variant", "50_32x4d", limit=64)
    peak(program, out, "--variant", "101_64x4d", limit=64)
    # The largest tensor, layer4's first conv2 or conv1: 12288 x 384 x 3 x 3 numbers of 4 bytes, 162 MiB.
    peak(program, out, "--variant", "101_32x48d", limit=64 + 2 * 162)
    for path in folder.glob("bench-*.data"):
        path.unlink()
    for verb in ["--help", "list"]:
        seconds = [run("sh", "-c", f"exec {program} {verb} >/dev/null")[0] for _ in range(runs)]
        print(f"{verb}: {1000 * statistics.median(seconds):.1f} ms")
    os.unlink(out), os.unlink(copy)


if __name__ == "__main__":
    main()
