"""How busy `resnext-run eval` keeps two cores.

    python eval_busy.py FOLDER_OF_PROGRAMS [--copies 40] [--batches 8,32] [--rounds 5] [--json RESULTS.json]

The ideal is 2 / (decode + resize + run), in processor seconds an image: decoding and resizing as `eval` counts them on
its threads, running as the median of `bench` with one thread on the same model and batch size, by itself, in the same
round. Printed: what `eval` reached, as a part of that. Two models: the trained network under tests/trained (0.3 ms an
image) and a seeded 26_32x4d (20 ms). `eval` runs as it does by default: two copies of the model share every batch. The
images are those of tests/trained, several times each. Needs two free cores.
"""

import argparse
import json
import os
import statistics
import subprocess
import tempfile
from pathlib import Path

TRAINED = Path(__file__).parent.parent / "tests" / "trained"


def run(*arguments) -> dict:
    done = subprocess.run([str(a) for a in arguments], capture_output=True, text=True, check=True)
    return json.loads(done.stdout) if done.stdout else {}


def images(folder: Path, copies: int) -> Path:
    for source in sorted(TRAINED.glob("heldout/*/*.jpg")):
        target = folder / source.parent.name
        target.mkdir(parents=True, exist_ok=True)
        content = source.read_bytes()
        for copy in range(copies):
            (target / f"{copy}-{source.name}").write_bytes(content)
    return folder


def measure(runner: Path, model: Path, folder: Path, batch: int) -> dict:
    alone = run(runner, "bench", model, "-b", batch, "--intra-op-threads", 1, "--duration", 3, "--json", "-q")
    run_s = alone["rows"][0]["latency_ms"]["median"] / 1e3 / batch
    evaluation = run(runner, "eval", model, folder, "-b", batch, "--json", "-q")
    time, count = evaluation["time"], evaluation["images"]
    prepare_s = (time["decode_s"] + time["resize_s"]) / count
    ideal = 2 / (prepare_s + run_s)
    reached = time["images_per_second"]
    return {"run_ms": run_s * 1e3, "prepare_ms": prepare_s * 1e3, "ideal": ideal, "reached": reached, "part": reached / ideal}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("programs", type=Path)
    parser.add_argument("--copies", type=int, default=40)
    parser.add_argument("--batches", default="8,32")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    build, runner = arguments.programs / "resnext-build", arguments.programs / "resnext-run"
    results = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        trained, plain = folder / "trained.onnx", folder / "26_32x4d.onnx"
        stored = ["--labels", TRAINED / "labels.txt"]
        shapes = ["--weights", TRAINED / "shapes.safetensors", "--preprocess", TRAINED / "preprocess.json", "--image-size", 64]
        run(build, *shapes, *stored, "-q", "-o", trained)
        run(build, "--variant", "26_32x4d", "--num-classes", 12, *stored, "--preprocess", "v1", "-q", "-o", plain)
        for model, copies in [(trained, arguments.copies), (plain, 1)]:
            there = images(folder / model.stem, copies)
            for batch in map(int, arguments.batches.split(",")):
                rounds = [measure(runner, model, there, batch) for _ in range(arguments.rounds)]
                part = [r["part"] for r in rounds]
                middle = rounds[part.index(statistics.median_low(part))]
                print(
                    f"{model.stem}, batch {batch}: {statistics.median(part):.3f} of the ideal ({min(part):.3f} to {max(part):.3f}); "
                    f"run {middle['run_ms']:.3f} ms, decode and resize {middle['prepare_ms']:.3f} ms, "
                    f"{middle['reached']:.0f} images a second",
                    flush=True,
                )
                results.append({"model": model.stem, "batch": batch, "rounds": rounds})
    if arguments.json:
        processor = next((line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), "")
        document = {"schema_version": 1, "kind": "eval-busy", "processor": processor, "cores": os.cpu_count(), "settings": results}
        arguments.json.write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()
