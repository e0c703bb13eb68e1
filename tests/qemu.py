"""Every value of int8 models that is an integer, on random images: written to a file, or compared with one.

    python tests/qemu.py save VALUES.npz MODEL... ; python tests/qemu.py compare VALUES.npz NAME MODEL...

Run by `tests/qemu.sh`, natively and under emulated processors. Needs onnx, for `save`, onnxruntime and numpy."""

import sys
from pathlib import Path

import numpy as np
import onnxruntime as ort


def expose(path):
    """A copy of the model of which every quantized value is an output: fused kernels make them anyway."""
    import onnx

    copy = path.with_suffix(".exposed.onnx")
    model = onnx.load(path)
    known = {output.name for output in model.graph.output}
    for node in model.graph.node:
        if node.op_type == "QuantizeLinear" and node.output[0] not in known:
            model.graph.output.append(onnx.helper.make_empty_tensor_value_info(node.output[0]))
    onnx.save(model, copy)


def values(path):
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    model = ort.InferenceSession(str(path.with_suffix(".exposed.onnx")), options, providers=["CPUExecutionProvider"])
    image = model.get_inputs()[0]
    shape = [extent if isinstance(extent, int) else 1 for extent in image.shape]
    # Wide, so that activations reach the ends of their ranges, where sums of products are largest.
    x = (np.random.default_rng(1).normal(size=shape) * 2).astype(np.float32)
    found = dict(zip((output.name for output in model.get_outputs()), model.run(None, {image.name: x})))
    return {name: value for name, value in found.items() if value.dtype in (np.uint8, np.int8)}


def main():
    verb, kept, *rest = sys.argv[1:]
    if verb == "save":
        for path in map(Path, rest):
            expose(path)
            np.savez(Path(kept).with_suffix(f".{path.stem}.npz"), **values(path))
        return
    processor, *paths = rest
    for path in map(Path, paths):
        native = np.load(Path(kept).with_suffix(f".{path.stem}.npz"))
        off = np.concatenate(
            [np.abs(value.astype(int) - native[name].astype(int)).ravel() for name, value in values(path).items()]
        )
        wrong = int((off > 1).sum())
        verdict = "ok" if wrong == 0 else "WRONG"
        print(f"{processor}\t{path.stem}\t{off.size}\t{int((off == 1).sum())}\t{wrong}\t{off.max()}\t{verdict}", flush=True)


main()
