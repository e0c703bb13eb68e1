"""One stack on one bundle: loads its model, runs every golden case, prints a line of JSON.

    python cell.py STACK BUNDLE

Nothing of these programs is used: what counts is the bundle alone."""

import importlib.metadata
import json
import pathlib
import sys

import numpy as np


def cases(folder):
    """Feeds and expected outputs of every golden case, in the order of the model's inputs and outputs."""
    arrays = np.load(folder / "golden.npz")
    for at in range(int(arrays["cases"])):
        pick = lambda kind: [arrays[f"case_{at}_{kind}_{i}"] for i in range(99) if f"case_{at}_{kind}_{i}" in arrays]
        yield pick("input"), pick("output")


def onnxruntime(folder, providers=("CPUExecutionProvider",)):
    import onnxruntime as ort

    session = ort.InferenceSession(folder / "model.onnx", providers=list(providers))
    names = [port.name for port in session.get_inputs()]
    return lambda feeds: session.run(None, dict(zip(names, feeds)))


def reference(folder):
    import onnx
    from onnx.reference import ReferenceEvaluator

    onnx.checker.check_model(folder / "model.onnx", full_check=True)
    session = ReferenceEvaluator(str(folder / "model.onnx"))
    return lambda feeds: session.run(None, dict(zip(session.input_names, feeds)))


def openvino(folder):
    import openvino as ov

    core = ov.Core()
    compiled = core.compile_model(folder / "model.onnx", "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return lambda feeds: [value for _, value in sorted(compiled(feeds).items(), key=lambda one: one[0].index)]


def opencv(folder):
    import cv2
    import onnx

    net = cv2.dnn.readNetFromONNX(str(folder / "model.onnx"))
    graph = onnx.load(folder / "model.onnx", load_external_data=False).graph
    names = [output.name for output in graph.output]

    def run(feeds):
        net.setInput(feeds[0])
        return net.forward(names)

    return run


def onnxslim(folder):
    import onnxruntime as ort
    import onnxslim as slim

    session = ort.InferenceSession(slim.slim(str(folder / "model.onnx")).SerializeToString())
    names = [port.name for port in session.get_inputs()]
    return lambda feeds: session.run(None, dict(zip(names, feeds)))


def optimum(folder):
    import torch
    from optimum.onnxruntime import ORTModelForImageClassification

    place = folder.parent / "huggingface"
    model = ORTModelForImageClassification.from_pretrained(place, subfolder="onnx", file_name="model.onnx")
    return lambda feeds: [model(pixel_values=torch.from_numpy(feeds[0])).logits.numpy()]


STACKS = {
    "onnxruntime": (onnxruntime, "onnxruntime"),
    "onnx.reference": (reference, "onnx"),
    "openvino": (openvino, "openvino"),
    "opencv": (opencv, "opencv-python-headless"),
    "onnxslim": (onnxslim, "onnxslim"),
    "optimum": (optimum, "optimum-onnx"),
}


def main():
    name, bundle = sys.argv[1], pathlib.Path(sys.argv[2])
    load, package = STACKS[name]
    cell = {"stack": name, "version": importlib.metadata.version(package), "file": bundle.name}
    try:
        run = load(bundle / "onnx")
        worst = 0.0
        for feeds, expected in cases(bundle / "onnx"):
            for found, golden in zip(run(feeds), expected, strict=True):
                golden = golden.astype(np.float64)
                found = np.asarray(found).astype(np.float64)
                assert found.shape == golden.shape, f"{found.shape}, not {golden.shape}"
                off = np.abs(found - golden).max()
                # Golden outputs may all be zero.
                off = float(off and off / np.float64(np.abs(golden).max()))
                worst = max(worst, off if off == off else float("inf"))
        cell |= {"accepted": True, "difference": worst}
    except Exception as error:  # whatever a stack says is the cell
        said = str(error).strip().splitlines() or [type(error).__name__]
        cell |= {"accepted": False, "difference": None, "said": said[0][:160]}
    print(json.dumps(cell))


main()
