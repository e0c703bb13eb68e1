"""Writes the ranges of the values inside the network on the bundled images, in float64, from the committed files:
ranges.json. Values are called as in the exported graph with batch normalisation folded.

    python export_ranges.py
"""

import json

import numpy as np
import torch

import images
from export_expected import checkpoint, model_in_float64

# A block calls its one ReLU three times; the last is the block's own output, and what goes into it is the sum.
RELUS = ("{}.relu1", "{}.relu2", "{}")


def recorded(model, x):
    """Smallest and largest element of each value of the graph."""
    ranges = {}

    def record(name, value):
        ranges[name] = [value.min().item(), value.max().item()]

    def relu(block):
        calls = iter(RELUS)

        def before(module, inputs):
            name = next(calls).format(block)
            if name == block:
                record(f"{block}.add", inputs[0])
            module.value = name

        return before

    for name, module in model.named_modules():
        kind = type(module).__name__
        if kind == "BatchNorm2d":
            conv = name.replace("downsample.1", "downsample.0").replace("bn", "conv")
            module.register_forward_hook(lambda _, __, out, conv=conv: record(conv, out))
        elif kind == "ReLU":
            block = name.removesuffix(".relu")
            if block != name:
                module.register_forward_pre_hook(relu(block))
                module.register_forward_hook(lambda module, _, out: record(module.value, out))
            else:
                module.register_forward_hook(lambda _, __, out: record("relu", out))
        elif name in ("maxpool", "avgpool", "fc"):
            value = "logits" if name == "fc" else name
            module.register_forward_hook(lambda _, __, out, value=value: record(value, out))
    with torch.no_grad():
        model(x)
    return ranges


def main():
    here = images.HERE
    labels = (here / "labels.txt").read_text().split()
    pixels = np.load(here / "bundled-pixels.npy")
    model = model_in_float64(checkpoint(here), len(labels))
    ranges = recorded(model, torch.from_numpy(images.normalized(pixels, np.float64)))
    expected = {
        "schema_version": 1,
        "made_by": {"torch": torch.__version__.split("+")[0]},
        "arithmetic": "float64, weights and preprocessing too",
        "images": "bundled-pixels.npy",
    }
    head = json.dumps(expected, indent=1)[:-2]
    body = ",\n  ".join(f"{json.dumps(name)}: {json.dumps(bounds)}" for name, bounds in ranges.items())
    (here / "ranges.json").write_text(head + ',\n "min_max": {\n  ' + body + "\n }\n}\n")
    print(f"{len(ranges)} values, the largest {max(abs(b) for bounds in ranges.values() for b in bounds):.4g}")


if __name__ == "__main__":
    main()
