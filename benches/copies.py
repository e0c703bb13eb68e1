"""How often `resnext-run bench` tells two copies of one file apart, and whether it shows a file that is really slower.

    python copies.py FOLDER_OF_PROGRAMS MODEL [--pairs 40] [--duration 2] [--busy] [--slower-by 0.1] [--json RESULTS.json]

Copies: `bench a.onnx b.onnx` with another seed each time; a 95% interval may exclude 1 in 5 of 100. Slower: the second
file holds more nodes (Neg after Neg behind the input, which no runtime takes out), as many as make a run longer by that
part. `--busy` keeps one processor at work beside it. Needs the package onnx.
"""

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import onnx


def bench(runner: Path, first: Path, second: Path, seed: int, duration: float) -> dict:
    command = [runner, "bench", first, second, "--ep", "cpu", "--intra-op-threads", 1, "--duration", duration]
    command += ["--seed", seed, "--json", "-q"]
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=True)
    result = json.loads(done.stdout)
    row = result["rows"][1]
    if row["error"] or not row["speed_up"]:
        sys.exit(f"no ratio: {row['error']}")
    return {"seed": seed, "median_ms": row["latency_ms"]["median"], **row["speed_up"]}


def gated(runner: Path, first: Path, second: Path, seed: int, duration: float) -> str:
    """The verdict on a measurement of the second file against one of the first, made before it."""
    common = ["--ep", "cpu", "--intra-op-threads", 1, "--duration", duration, "--processes", 8, "--seed", seed, "-q", "--json"]
    with tempfile.NamedTemporaryFile(suffix=".json") as baseline:
        command = [str(part) for part in [runner, "bench", first, *common]]
        baseline.write(subprocess.run(command, capture_output=True, check=True).stdout)
        baseline.flush()
        command = [str(part) for part in [runner, "bench", second, "--baseline", baseline.name, *common]]
        return json.loads(subprocess.run(command, capture_output=True).stdout)["gate"]["verdict"]


def longer(model: Path, target: Path, nodes: int) -> None:
    """The same network with pairs of Neg behind its input."""
    proto = onnx.load(model)
    graph = proto.graph
    first, name = graph.input[0].name, graph.input[0].name
    added = []
    for number in range(nodes):
        added.append(onnx.helper.make_node("Neg", [name], [f"longer_{number}"], name=f"longer_{number}"))
        name = f"longer_{number}"
    for node in graph.node:
        for at, value in enumerate(node.input):
            if value == first:
                node.input[at] = name
    body = list(graph.node)
    del graph.node[:]
    graph.node.extend(added + body)
    onnx.save(proto, target)


def slower(runner: Path, model: Path, target: Path, by: float, duration: float) -> int:
    """Writes the file that is slower by about so much, found by doubling; says how many nodes it took."""
    nodes = 2
    while nodes < 4096:
        longer(model, target, nodes)
        ratio = bench(runner, model, target, 0, duration)["ratio"]
        if 1 / ratio - 1 >= by:
            return nodes
        nodes *= 2
    sys.exit("no number of nodes makes it slower by that much")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("programs", type=Path)
    parser.add_argument("model", type=Path)
    parser.add_argument("--pairs", type=int, default=40)
    parser.add_argument("--duration", type=float, default=2)
    parser.add_argument("--slower-by", type=float, default=0.1)
    parser.add_argument("--busy", action="store_true")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    runner = arguments.programs / "resnext-run"
    neighbour = subprocess.Popen([sys.executable, "-c", "while True: pass"]) if arguments.busy else None
    try:
        with tempfile.TemporaryDirectory() as folder:
            first, second, long = (Path(folder) / name for name in ("a.onnx", "b.onnx", "slower.onnx"))
            shutil.copy(arguments.model, first)
            shutil.copy(arguments.model, second)
            copies = [bench(runner, first, second, seed, arguments.duration) for seed in range(arguments.pairs)]
            nodes = slower(runner, first, long, arguments.slower_by, arguments.duration)
            pairs = max(arguments.pairs // 4, 5)
            others = [bench(runner, first, long, seed, arguments.duration) for seed in range(pairs)]
            verdicts = [gated(runner, first, second, seed, arguments.duration) for seed in range(arguments.pairs)]
    finally:
        if neighbour:
            neighbour.kill()
    wrong = sum(pair["difference_shown"] for pair in copies)
    right = sum(pair["difference_shown"] and pair["ratio"] < 1 for pair in others)
    ratios = [pair["ratio"] for pair in copies]
    widths = [(pair["interval"][1] - pair["interval"][0]) / 2 for pair in copies if pair["interval"]]
    units = sorted({f"{pair['units']} ({pair['unit']})" for pair in copies + others})
    print(f"{arguments.model.name}, {copies[0]['median_ms']:.3f} ms a run, units a side: {', '.join(units)}")
    print(f"copies: {wrong} of {len(copies)} called different; ratios {min(ratios):.3f} to {max(ratios):.3f}", end="")
    print(f", half widths {statistics.median(widths):.3f} in the median" if widths else ", no interval")
    slow = statistics.median(1 / pair["ratio"] for pair in others)
    print(f"slower by {slow - 1:.1%} ({nodes} nodes more): shown in {right} of {len(others)}")
    counts = {verdict: verdicts.count(verdict) for verdict in sorted(set(verdicts))}
    print(f"copies measured one after the other, at most 5% slower allowed: {counts}")
    if arguments.json:
        arguments.json.write_text(json.dumps({"copies": copies, "slower": others, "nodes": nodes, "gates": verdicts}, indent=1))


if __name__ == "__main__":
    main()
