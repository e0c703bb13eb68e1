"""Samples what process trees hold, and tells whether it grows: soak.py SECONDS NAME=PID ...

Processes that have just started still fill their caches, so the first quarter of each one's samples does not count. What is
left is divided in three: the least of the last third must not be more than the most of the first, and a bit.
"""

import os
import sys
import time
from pathlib import Path

# What may be more at the end: memory is given back in pages and arenas.
SLACK = {"descriptors": 2, "threads": 2, "resident": 16 << 20}
FEWEST = 24


def children(parents):
    """The processes below, by their parents; `/proc` tells it of each."""
    found = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            text = stat.read_text()
        except OSError:
            continue
        parent = int(text.rpartition(")")[2].split()[1])
        found.setdefault(parent, []).append(int(stat.parent.name))
    below, left = [], list(parents)
    while left:
        more = found.get(left.pop(), [])
        below += more
        left += more
    return below


def held(process):
    """What one process holds, or nothing where it is gone; only of the program under test."""
    proc = Path("/proc") / str(process)
    try:
        if not (proc / "exe").resolve().name.startswith("resnext-run"):
            return None
        status = dict(line.split(":", 1) for line in (proc / "status").read_text().splitlines() if ":" in line)
        resident = int(status["VmRSS"].split()[0]) << 10
        return {"descriptors": len(os.listdir(proc / "fd")), "threads": int(status["Threads"]), "resident": resident}
    except (OSError, KeyError):
        return None


def grown(samples):
    """What the samples of one process show to have grown."""
    settled = samples[len(samples) // 4 :]
    third = len(settled) // 3
    for what, slack in SLACK.items():
        first = max(sample[what] for sample in settled[:third])
        last = min(sample[what] for sample in settled[-third:])
        if last > first + slack:
            yield f"{what} from {first} to {last}"


def main():
    seconds = float(sys.argv[1])
    roots = {int(pid): name for name, pid in (argument.split("=") for argument in sys.argv[2:])}
    seen, end = {}, time.monotonic() + seconds
    every = max(0.5, min(2.0, seconds / 120))
    while time.monotonic() < end:
        for root, name in roots.items():
            for process in [root, *children([root])]:
                sample = held(process)
                if sample:
                    seen.setdefault((name, process), []).append(sample)
        time.sleep(every)
    failed = judged = 0
    for (name, process), samples in seen.items():
        if len(samples) < FEWEST:
            continue
        judged += 1
        wrong = list(grown(samples))
        failed += bool(wrong)
        last = samples[-1]
        print(
            f"{name} {process}: {len(samples)} samples, {last['descriptors']} descriptors, {last['threads']} threads, "
            f"{last['resident'] >> 20} MiB{'; GREW: ' + ', '.join(wrong) if wrong else ''}"
        )
    if not {name for (name, _), samples in seen.items() if len(samples) >= FEWEST} >= set(roots.values()):
        print("some of the programs were not seen for long enough")
        failed += 1
    print("flat" if not failed and judged else "failed")
    sys.exit(bool(failed or not judged))


main()
