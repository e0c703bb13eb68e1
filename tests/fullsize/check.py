"""The whole chain on full-size networks: torch checkpoint -> resnext-build -> several runtimes -> the same numbers.

    python check.py RESNEXT_BUILD FOLDER

FOLDER holds what checkpoints.py wrote. Fails, with the figure, where a bar is missed:
- relative L2 error of onnxruntime's f32 logits against torch's float64 at most 1e-6, and at most 1.2 times that of
  torch.onnx.export's file under the same onnxruntime on the same inputs;
- onnx.checker with full_check and strict shape inference pass; operator counts are the ONNX Zoo's;
- zip, legacy and safetensors give the same weights;
- OpenVINO and OpenCV DNN load the 50_32x4d file and agree with onnxruntime within 1e-4.
"""

import collections
import os
import subprocess
import sys
import warnings
from pathlib import Path

# Some virtual machines advertise AMX without granting it; runtimes that trust the advertisement die.
os.environ.setdefault("ONEDNN_MAX_CPU_ISA", "AVX512_CORE_BF16")

import numpy as np
import onnx
import onnxruntime
import torch
import torchvision

from checkpoints import MODELS

ZOO_COUNTS = {"Conv": 53, "Relu": 49, "Add": 16, "MaxPool": 1, "GlobalAveragePool": 1, "Flatten": 1, "Gemm": 1}


def build(program: str, *args: str) -> None:
    subprocess.run([program, *args, "--force", "-q"], check=True)


def run(path: Path, x: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return session.run(None, {"input": x})[0]


def error(found: np.ndarray, exact: np.ndarray) -> float:
    return float(np.linalg.norm(found - exact) / np.linalg.norm(exact))


def export_with_torch(model: torch.nn.Module, path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            model,
            (torch.zeros(1, 3, 224, 224),),
            path,
            dynamo=False,
            opset_version=17,
            input_names=["input"],
            output_names=["logits"],
            dynamic_axes={"input": {0: "batch"}, "logits": {0: "batch"}},
        )


def check_model(program: str, folder: Path, name: str) -> None:
    state = torch.load(folder / f"{name}.pth")
    model = torchvision.models.get_model(name, weights=None)
    model.load_state_dict(state)
    model.eval()
    x = torch.randn(2, 3, 224, 224, generator=torch.Generator().manual_seed(1))
    torch_path, digests = folder / f"{name}-torch.onnx", {}
    export_with_torch(model, torch_path)
    with torch.no_grad():
        exact = model.double()(x.double()).numpy()
    theirs = error(run(torch_path, x.numpy()), exact)
    for suffix in [".pth", "-legacy.pth", ".safetensors"]:
        path = folder / f"{name}{suffix}.onnx"
        build(program, "--weights", str(folder / f"{name}{suffix}"), "-o", str(path))
        proto = onnx.load(path)
        onnx.checker.check_model(proto, full_check=True)
        onnx.shape_inference.infer_shapes(proto, check_type=True, strict_mode=True, data_prop=True)
        digests[suffix] = [t.raw_data for t in proto.graph.initializer]
        ours = error(run(path, x.numpy()), exact)
        print(f"{name}{suffix}: relative L2 error {ours:.2e}, torch.onnx.export {theirs:.2e}, ratio {ours / theirs:.2f}")
        assert ours <= 1e-6, ours
        assert ours <= 1.2 * theirs, ours / theirs
        if name == "resnext50_32x4d":
            counts = collections.Counter(node.op_type for node in proto.graph.node)
            assert counts == ZOO_COUNTS, counts
    assert digests[".pth"] == digests["-legacy.pth"] == digests[".safetensors"], "containers differ"
    torch_path.unlink()


def check_other_runtimes(program: str, folder: Path) -> None:
    import cv2
    import openvino

    path = folder / "fixed.onnx"
    build(program, "--weights", str(folder / "resnext50_32x4d.pth"), "--batch", "1", "-o", str(path))
    x = np.random.default_rng(2).standard_normal((1, 3, 224, 224)).astype(np.float32)
    expected = run(path, x)
    core = openvino.Core()
    compiled = core.compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    net = cv2.dnn.readNetFromONNX(str(path))
    net.setInput(x)
    for runtime, found in [("OpenVINO", compiled(x)[0]), ("OpenCV DNN", net.forward())]:
        worst = float(np.abs(found - expected).max())
        print(f"{runtime}: largest difference from onnxruntime {worst:.2e}")
        assert worst <= 1e-4, worst


def main() -> None:
    program, folder = sys.argv[1], Path(sys.argv[2])
    for name in MODELS:
        check_model(program, folder, name)
    check_other_runtimes(program, folder)
    print("full-size chain: all bars met")


if __name__ == "__main__":
    main()
