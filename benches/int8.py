"""int8 files of 50_32x4d against onnxruntime on torch's f32 export and against onnxruntime's own static quantizer.

    python benches/int8.py FOLDER --bin target/release --ort-lib LIBRARY     # makes the files in FOLDER, then measures

Needs torch, torchvision, onnx and onnxruntime. Weights are torchvision's seeded initialisation; all files are calibrated on
seeded inputs. Candidates take turns in a random order; what is told is the median over the rounds of the ratio to torch's
export in the same round, with the middle half. With one thread the clock is the process's own processor time, which
other programs on the machine disturb least; with more it is the wall clock.
"""

import argparse
import random
import subprocess
import time
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort


def make(folder, bin, library, variant):
    import torch
    import torchvision
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    torch.manual_seed(0)
    model = getattr(torchvision.models, variant)().eval()
    torch.save(model.state_dict(), folder / "w.pth")
    torch.onnx.export(model, torch.zeros(1, 3, 224, 224), folder / "torch.onnx", dynamo=False, opset_version=17,
                      input_names=["input"], output_names=["logits"],
                      dynamic_axes={"input": {0: "n"}, "logits": {0: "n"}})

    class Seeded(CalibrationDataReader):
        def __init__(self):
            rng = np.random.default_rng(0)
            self.batches = iter([{"input": rng.normal(size=(1, 3, 224, 224)).astype(np.float32)} for _ in range(8)])

        def get_next(self):
            return next(self.batches, None)

    quant_pre_process(folder / "torch.onnx", folder / "pre.onnx")
    quantize_static(folder / "pre.onnx", folder / "ort-quantizer.onnx", Seeded(), quant_format=QuantFormat.QDQ,
                    per_channel=True, activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8)

    def run(program, *arguments):
        subprocess.run([bin / program, *arguments], check=True)

    weights = ["--weights", folder / "w.pth", "--force", "-q"]
    run("resnext-build", *weights, "-o", folder / "f32.onnx")
    run("resnext-run", "calibrate", folder / "f32.onnx", "--count", "8", "--export-json", folder / "ranges.json", "-q",
        *(["--ort-lib", library] if library else []))
    int8 = [*weights, "--dtype", "int8", "--calibration", folder / "ranges.json"]
    for name, flags in {
        "portable": ["--target", "portable"],
        "cpu": ["--target", "cpu-avx512"],
        "cpu, full range": ["--target", "cpu-avx512", "--weight-range", "full"],
        "groups of 32": ["--group-width", "32"],
    }.items():
        run("resnext-build", *int8, *flags, "-o", folder / f"{name}.onnx")


def kernels(path, folder):
    """The convolutions and linear layers that run in integers, and those that do not."""
    options = ort.SessionOptions()
    options.optimized_model_filepath = str(folder / "optimised.tmp")
    options.log_severity_level = 4
    ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    ops = [node.op_type for node in onnx.load(folder / "optimised.tmp").graph.node]
    return sum(op in ("QLinearConv", "QGemm") for op in ops), sum(op in ("Conv", "FusedConv", "Gemm") for op in ops)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--bin", type=Path, default=Path("target/release"))
    parser.add_argument("--ort-lib")
    parser.add_argument("--variant", default="resnext50_32x4d")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--cases", default="1:1,1:2,8:1,8:2", help="batch:threads,...")
    arguments = parser.parse_args()
    folder = arguments.folder
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "cpu.onnx").exists():
        make(folder, arguments.bin, arguments.ort_lib, arguments.variant)
    names = ["torch", "ort-quantizer", "portable", "groups of 32", "cpu", "cpu, full range"]
    print("onnxruntime", ort.__version__)
    for name in names:
        path = folder / f"{name}.onnx"
        print(f"{name:16s} {path.stat().st_size / 1e6:6.1f} MB, kernels in integers and not: {kernels(path, folder)}")
    for case in arguments.cases.split(","):
        batch, threads = map(int, case.split(":"))
        x = np.random.default_rng(1).normal(size=(batch, 3, 224, 224)).astype(np.float32)
        sessions = {}
        for name in names:
            options = ort.SessionOptions()
            options.intra_op_num_threads = threads
            options.add_session_config_entry("session.intra_op.allow_spinning", "0")
            options.log_severity_level = 4
            session = ort.InferenceSession(str(folder / f"{name}.onnx"), options, providers=["CPUExecutionProvider"])
            sessions[name] = (session, session.run(None, {"input": x})[0])
        same = all(np.array_equal(sessions["portable"][1], sessions[name][1]) for name in ("cpu", "groups of 32"))
        clock = time.process_time if threads == 1 else time.perf_counter
        times = {name: [] for name in names}
        order = list(names)
        for _ in range(arguments.rounds):
            random.shuffle(order)
            for name in order:
                start = clock()
                sessions[name][0].run(None, {"input": x})
                times[name].append(clock() - start)
        base = np.array(times["torch"])
        print(f"batch {batch}, {threads} threads; forms equal bit for bit: {same}")
        for name in names:
            low, middle, high = np.percentile(base / np.array(times[name]), [25, 50, 75])
            print(f"  {name:16s} {middle:5.2f} ({low:.2f} to {high:.2f})", flush=True)


main()
