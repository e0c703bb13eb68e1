"""Our files against torch's exports, simplifiers and other runtimes, on this machine.

    python compare.py RESNEXT_BUILD RESULTS.json [--peers BINARY] [--variant resnext50_32x4d] [--rounds N]
                      [--batches 1,8] [--threads 1,2]

Needs the packages of requirements.txt in a virtual environment (see run.sh), and, for tract and rten, the program of
rust/. A checkpoint with random weights is made by torch; every candidate must compute the same logits first (relative
L2 1e-5). Then all candidates take turns in random order, with thread spinning off; figures are medians of pairwise
ratios to onnxruntime on torch's TorchScript export, with 95% bootstrap intervals. Above 1 is faster. RESULTS.json keeps
every sample; the table goes to standard output.
"""

import argparse
import json
import os
import platform
import subprocess
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
import onnx
import onnxruntime
import openvino
import onnxsim
import onnxslim
import torch
import torchvision


def export(variant: str, folder: Path, build: str) -> dict[str, Path]:
    """All files of the comparison, from one checkpoint."""
    torch.manual_seed(0)
    model = torchvision.models.get_model(variant, weights=None).eval()
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.running_var, 0.5, 1.5)
            torch.nn.init.uniform_(module.weight, 0.3, 0.7)
    torch.save(model.state_dict(), folder / "weights.pth")
    image = torch.randn(1, 3, 224, 224)
    names = {"input_names": ["input"], "output_names": ["logits"]}
    files = {name: folder / f"{name}.onnx" for name in ["torchscript", "dynamo", "onnxsim", "onnxslim", "ours", "ours-cpu", "optimized"]}
    axes = {"input": {0: "batch"}, "logits": {0: "batch"}}
    torch.onnx.export(model, image, files["torchscript"], dynamo=False, opset_version=17, dynamic_axes=axes, **names)
    shapes = ({0: torch.export.Dim("batch")},)
    torch.onnx.export(model, (image,), files["dynamo"], dynamo=True, dynamic_shapes=shapes, external_data=False, **names)
    onnx.save(onnxsim.simplify(onnx.load(files["torchscript"]))[0], files["onnxsim"])
    onnx.save(onnxslim.slim(str(files["torchscript"])), files["onnxslim"])
    weights = ["--weights", folder / "weights.pth", "-q", "--force", "-o"]
    subprocess.run([build, *weights, files["ours"]], check=True)
    subprocess.run([build, *weights, files["ours-cpu"], "--target", "cpu"], check=True)
    subprocess.run([build, "optimize", files["torchscript"], "-o", files["optimized"], "--target", "cpu", "-q", "--force"], check=True)
    return files


def ort(path: Path, threads: int, batch: int, image: np.ndarray):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return lambda: session.run(None, {"input": image})[0]


def openvino_run(path: Path, threads: int, batch: int, image: np.ndarray):
    core = openvino.Core()
    model = core.read_model(path)
    model.reshape([batch, 3, 224, 224])
    config = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1, "PERFORMANCE_HINT": "LATENCY"}
    request = core.compile_model(model, "CPU", config).create_infer_request()
    return lambda: next(iter(request.infer([image]).values()))


def opencv(path: Path, threads: int, batch: int, image: np.ndarray):
    net = cv2.dnn.readNetFromONNX(str(path))

    def run():
        cv2.setNumThreads(threads)
        net.setInput(image)
        return net.forward()

    return run


class Program:
    """tract or rten in a process of its own."""

    def __init__(self, binary: str, runtime: str, path: Path, threads: int, image: np.ndarray, folder: Path):
        (folder / "input.bin").write_bytes(image.tobytes())
        output = folder / "output.bin"
        environment = dict(os.environ, RTEN_NUM_THREADS=str(threads), RAYON_NUM_THREADS=str(threads))
        arguments = [binary, runtime, path, str(len(image)), folder / "input.bin", output]
        self.process = subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)
        if self.process.stdout.readline().strip() != "ready":
            raise RuntimeError(f"{runtime} could not run the model")
        self.logits = np.frombuffer(output.read_bytes(), np.float32).reshape(len(image), -1)

    def seconds(self) -> float:
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return float(self.process.stdout.readline())

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait()


def candidates(files: dict[str, Path], build: str, peers: str | None, threads: int, batch: int, image: np.ndarray, folder: Path):
    """(name, function that gives logits, function that gives the seconds of a run), the reference first."""
    listed = [("onnxruntime, " + name, ort, path) for name, path in files.items()]
    listed += [("OpenVINO, torchscript", openvino_run, files["torchscript"]), ("OpenVINO, ours", openvino_run, files["ours"])]
    listed += [("OpenCV DNN, torchscript", opencv, files["torchscript"])]
    made = []
    for name, make, path in listed:
        run = make(path, threads, batch, image)

        def seconds(run=run):
            start = time.perf_counter()
            run()
            return time.perf_counter() - start

        made.append((name, run(), seconds, None))
    # tract runs on one thread, and only files of a fixed batch.
    for runtime in (["tract"] if threads == 1 else []) + ["rten"] if peers else []:
        path = files["ours"]
        if runtime == "tract":
            path = folder / f"ours-batch-{batch}.onnx"
            weights = ["--weights", folder / "weights.pth", "-q", "--force", "--batch", str(batch)]
            subprocess.run([build, *weights, "-o", path], check=True)
        program = Program(peers, runtime, path, threads, image, folder)
        made.append((f"{runtime}, ours", program.logits, program.seconds, program))
    return made


def median_ratio(base: np.ndarray, other: np.ndarray, random: np.random.Generator) -> list[float]:
    ratios = base / other
    medians = [np.median(random.choice(ratios, len(ratios))) for _ in range(2000)]
    return [float(np.median(ratios)), float(np.quantile(medians, 0.025)), float(np.quantile(medians, 0.975))]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("build")
    parser.add_argument("results")
    parser.add_argument("--peers")
    parser.add_argument("--variant", default="resnext50_32x4d")
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--batches", default="1,8")
    parser.add_argument("--threads", default="1,2")
    arguments = parser.parse_args()
    random = np.random.default_rng(0)
    processor = next((line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), platform.processor())
    versions = {m.__name__: m.__version__ for m in (torch, onnxruntime, openvino, cv2, onnxslim)}
    results = {"schema_version": 1, "kind": "peers", "variant": arguments.variant, "processor": processor, "versions": versions, "settings": []}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files = export(arguments.variant, folder, arguments.build)
        for batch in map(int, arguments.batches.split(",")):
            for threads in map(int, arguments.threads.split(",")):
                image = random.standard_normal((batch, 3, 224, 224), dtype=np.float32)
                made = candidates(files, arguments.build, arguments.peers, threads, batch, image, folder)
                reference = made[0][1].astype(np.float64)
                for name, logits, _, _ in made:
                    error = np.linalg.norm(logits - reference) / np.linalg.norm(reference)
                    if not error < 1e-5:
                        raise SystemExit(f"{name} computes something else: relative L2 {error}")
                rounds = max(8, arguments.rounds // batch)
                samples = np.zeros((len(made), rounds))
                for turn in range(rounds):
                    for at in random.permutation(len(made)):
                        samples[at, turn] = made[at][2]()
                rows = [
                    {"name": name, "median_ms": float(np.median(times) * 1e3), "ratio": median_ratio(samples[0], times, random), "samples_ms": (times * 1e3).round(3).tolist()}
                    for (name, *_), times in zip(made, samples)
                ]
                results["settings"].append({"batch": batch, "threads": threads, "rounds": rounds, "rows": rows})
                for *_, program in made:
                    if program:
                        program.close()
    Path(arguments.results).write_text(json.dumps(results, indent=1) + "\n")
    print(f"{arguments.variant} on {processor}; " + ", ".join(f"{k} {v}" for k, v in versions.items()))
    print("| | " + " | ".join(f"batch {s['batch']}, {s['threads']} threads" for s in results["settings"]) + " |")
    print("|---" * (1 + len(results["settings"])) + "|")
    for name in [row["name"] for row in results["settings"][0]["rows"]]:
        cells = []
        for setting in results["settings"]:
            row = next((row for row in setting["rows"] if row["name"] == name), None)
            cells.append("{0:.3f} ({1:.3f} to {2:.3f})".format(*row["ratio"]) if row else "-")
        print(f"| {name} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
