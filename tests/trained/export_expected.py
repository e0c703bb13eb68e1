"""Writes what torch says of the held-out images, in float64, from the committed files: expected.json, and the pixels
of the bundled images as they enter the network.

    python export_expected.py [--predictions FILE]
"""

import argparse
import json
from pathlib import Path

import numpy as np
import torch
import torchvision
from PIL import Image, features
from safetensors.torch import load_file

import network
import images
from contact_sheet import spread


def checkpoint(folder):
    """The state_dict, once it is seen to be the same in all three containers."""
    state = load_file(folder / "shapes.safetensors")
    for name in ("shapes.pth", "shapes-legacy.pth"):
        other = torch.load(folder / name, weights_only=True)
        if other.keys() != state.keys() or not all(torch.equal(other[key], state[key]) for key in state):
            raise SystemExit(f"{name} and shapes.safetensors hold different weights")
    return state


def model_in_float64(state, classes):
    model = network.shapes_network(classes)
    model.load_state_dict(state)
    return model.double().eval()


def logits_of(model, pixels):
    """One image at a time, as little as possible shared between them."""
    x = torch.from_numpy(images.normalized(pixels, np.float64))
    with torch.no_grad():
        return torch.cat([model(one) for one in x.split(1)])


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--predictions", type=Path, help="also write label and probability, for contact_sheet.py")
    arguments = parser.parse_args()
    here = images.HERE
    labels = (here / "labels.txt").read_text().split()
    files, truth = images.held_out()
    names = [file.relative_to(here / "heldout").as_posix() for file in files]
    pixels = np.stack([images.cropped(Image.open(file)) for file in files])
    logits = logits_of(model_in_float64(checkpoint(here), len(labels)), pixels)
    best = logits.topk(5).indices.numpy()
    probabilities = logits.softmax(1).max(1).values.tolist()
    expected = {
        "schema_version": 1,
        "made_by": {
            "torch": torch.__version__.split("+")[0],
            "torchvision": torchvision.__version__.split("+")[0],
            "pillow": Image.__version__,
            "libjpeg_turbo": features.version("libjpeg_turbo"),
        },
        "checkpoint": "shapes.safetensors",
        "arithmetic": "float64, weights and preprocessing too; decoded and resized by Pillow in 8 bits",
        "labels": labels,
        "images_count": len(files),
        "top1_correct": int((best[:, 0] == truth).sum()),
        "top5_correct": int((best == truth[:, None]).any(1).sum()),
        "images": [
            {"file": name, "truth": int(label), "top1": int(top[0]), "margin": float(row[top[0]] - row[top[1]]),
             "logits": row.tolist()}
            for name, label, top, row in zip(names, truth, best, logits)
        ],
    }
    (here / "expected.json").write_text(lines(expected))
    # The sample for a first try: at equal distances through the right answers and then the wrong ones, so that the
    # share of wrong ones is that of the whole.
    sample = sorted(spread(np.argsort(best[:, 0] != truth, stable=True).tolist(), 16))
    (here / "bundled.txt").write_text("".join(f"{names[n]}\n" for n in sample))
    np.save(here / "bundled-pixels.npy", pixels[sample])
    if arguments.predictions:
        rows = [{"file": f"heldout/{name}", "label": labels[top[0]], "probability": probability}
                for name, top, probability in zip(names, best, probabilities)]
        arguments.predictions.write_text(json.dumps(rows, indent=1) + "\n")
    total = len(files)
    print(f"top-1 {expected['top1_correct']}/{total}, top-5 {expected['top5_correct']}/{total}; "
          f"of the {len(sample)} bundled {int((best[sample, 0] == truth[sample]).sum())} right")
    margins = np.sort([image["margin"] for image in expected["images"]])
    print("smallest margins", np.round(margins[:6], 4).tolist(), "median", round(float(np.median(margins)), 3))


def lines(expected):
    """JSON with a line for each image."""
    head = {key: value for key, value in expected.items() if key != "images"}
    body = ",\n  ".join(json.dumps(image) for image in expected["images"])
    return json.dumps(head, indent=1)[:-2] + ',\n "images": [\n  ' + body + "\n ]\n}\n"


if __name__ == "__main__":
    main()
