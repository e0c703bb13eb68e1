"""resnext-run's times against a plain loop of the onnxruntime Python package, same model, threads and version.

    python python_loop.py RESNEXT_RUN LIBRARY MODEL [ROUNDS] [RUNS]

LIBRARY is onnxruntime's of the package's own version. The two take turns, RUNS runs each round; the figure is the
median of the pairwise ratios of medians, with the range of the middle half. Below 1 resnext-run is the faster one.
"""

import json
import statistics
import subprocess
import sys
import time

import numpy
import onnxruntime


def main() -> None:
    program, library, model = sys.argv[1:4]
    rounds, runs = (int(text) for text in (sys.argv[4:] + ["15", "20"][len(sys.argv) - 4 :]))
    bench = [program, "bench", model, "--ort-lib", library, "--iterations", str(runs), "--warmup", "5", "--json", "-q"]
    loaded = json.loads(subprocess.run(bench, stdout=subprocess.PIPE, check=True).stdout)
    loaded = loaded["candidates"][0]["processes"][0]["loaded"]
    threads = int(loaded["options"]["intra_op_num_threads"])
    if loaded["library_version"] != onnxruntime.__version__:
        raise SystemExit(f"versions differ: {loaded['library_version']} and Python's {onnxruntime.__version__}")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    image = numpy.random.default_rng(0).standard_normal((1, 3, 224, 224), dtype=numpy.float32)
    for _ in range(5):
        session.run(None, {name: image})
    pairs = []
    for _ in range(rounds):
        blocks = json.loads(subprocess.run(bench, stdout=subprocess.PIPE, check=True).stdout)["rows"][0]["blocks"]
        ours = statistics.median(sample for block in blocks for sample in block["samples_ms"])
        theirs = []
        for _ in range(runs):
            start = time.perf_counter()
            session.run(None, {name: image})
            theirs.append(1000 * (time.perf_counter() - start))
        pairs.append((ours, statistics.median(theirs)))
    ratios = sorted(ours / theirs for ours, theirs in pairs)
    quarter = len(ratios) // 4
    print(
        f"onnxruntime {onnxruntime.__version__}, {threads} threads: resnext-run {min(p[0] for p in pairs):.1f} ms at best,"
        f" Python {min(p[1] for p in pairs):.1f} ms, ratio {statistics.median(ratios):.3f}"
        f" ({ratios[quarter]:.3f}-{ratios[-1 - quarter]:.3f})"
    )


if __name__ == "__main__":
    main()
