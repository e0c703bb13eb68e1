"""What each `--range-method` of `resnext-build --dtype int8` loses: the trained network on images that did not calibrate it,
and a variant with seeded weights on seeded inputs.

    python benches/ranges.py FOLDER --fresh DIR --bin target/release

Needs onnxruntime 1.32, torchvision, numpy and Pillow. FOLDER keeps the models; DIR has images in class folders beside the 300 held-out
ones (`tests/trained/draw.py DIR --seed 77 --per-class 250`), and `FOLDER/calibration`, those that calibrate, is drawn with
seed 5."""

import argparse
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime as ort

TRAINED = Path(__file__).parent.parent / "tests" / "trained"
METHODS = ["min-max", "percentile=99.9", "percentile=99.99", "percentile=99.999", "mse", "entropy"]


def session(path):
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def pixels(folder):
    """All images of a folder of classes, prepared, and their classes."""
    sys.path.insert(0, str(TRAINED))
    import images
    from PIL import Image

    classes = (TRAINED / "labels.txt").read_text().split("\n")
    paths = sorted(Path(folder).glob("*/*"))
    made = images.normalized(np.stack([images.cropped(Image.open(path)) for path in paths]))
    return made, np.array([classes.index(path.parent.name) for path in paths])


def logits(path, inputs):
    model = session(path)
    name = model.get_inputs()[0].name
    return np.concatenate([model.run(None, {name: inputs[at : at + 50]})[0] for at in range(0, len(inputs), 50)])


def distance(exact, found):
    return np.linalg.norm(exact - found) / np.linalg.norm(exact)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--fresh", type=Path, required=True)
    parser.add_argument("--bin", type=Path, default=Path("target/release"))
    parser.add_argument("--ort-lib")
    parser.add_argument("--variant", default="50_32x4d")
    arguments = parser.parse_args()
    folder = arguments.folder
    folder.mkdir(parents=True, exist_ok=True)

    def tool(name, *words):
        subprocess.run([arguments.bin / name, *map(str, words)], check=True, stdout=subprocess.DEVNULL)

    calibration = folder / "calibration"
    if not calibration.exists():
        draw = [sys.executable, TRAINED / "draw.py", calibration, "--seed", "5", "--per-class", "25"]
        subprocess.run(list(map(str, draw)), check=True, stdout=subprocess.DEVNULL)
    library = ["--ort-lib", arguments.ort_lib] if arguments.ort_lib else []
    trained = ["--weights", TRAINED / "shapes.safetensors", "--image-size", 64, "--labels", TRAINED / "labels.txt"]
    trained += ["--preprocess", TRAINED / "preprocess.json"]
    seeded = ["--variant", arguments.variant, "--seed", 1]
    images = ["--images", calibration, "--batch-size", 16]
    for kind, network, inputs in [("trained", trained, images), ("seeded", seeded, ["--count", 32, "--seed", 1])]:
        model, ranges = folder / f"{kind}.onnx", folder / f"{kind}.json"
        if not ranges.exists():
            tool("resnext-build", *network, "-o", model, "--force", "-q")
            ignored = [arguments.bin / "resnext-run", "calibrate", model, *inputs, "-o", ranges, "--force", "-q", *library]
            # f16 need not be safe.
            subprocess.run(list(map(str, ignored)), stdout=subprocess.DEVNULL)
        int8 = ["--dtype", "int8", "--calibration", ranges, "--force", "-q"]
        for method in METHODS:
            tool("resnext-build", *network, "-o", folder / f"{kind}-{method}.onnx", *int8, "--range-method", method)
    held, held_classes = pixels(TRAINED / "heldout")
    fresh, fresh_classes = pixels(arguments.fresh)
    noise = np.random.default_rng(9).normal(size=(8, 3, 224, 224)).astype(np.float32)
    exact = {"held": logits(folder / "trained.onnx", held), "fresh": logits(folder / "trained.onnx", fresh)}
    seeded_exact = logits(folder / "seeded.onnx", noise)
    right = exact["fresh"].argmax(1) == fresh_classes
    print(f"f32: {(exact['held'].argmax(1) == held_classes).sum()} of {len(held)}, {right.sum()} of {len(fresh)} right")
    for method in METHODS:
        path = folder / f"trained-{method}.onnx"
        of_held, of_fresh = logits(path, held), logits(path, fresh)
        now = of_fresh.argmax(1) == fresh_classes
        of_seeded = distance(seeded_exact, logits(folder / f"seeded-{method}.onnx", noise))
        print(
            f"{method:18s} held-out right {(of_held.argmax(1) == held_classes).sum()}, fresh right {now.sum()} "
            f"(lost {(right & ~now).sum()}, gained {(~right & now).sum()}), other answers "
            f"{(of_fresh.argmax(1) != exact['fresh'].argmax(1)).sum()}, relative L2 {distance(exact['fresh'], of_fresh):.4f}; "
            f"seeded {of_seeded:.4f}",
            flush=True,
        )


main()
