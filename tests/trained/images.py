"""From a JPEG file to the network's input, as preprocess.json says, and the drawn set kept in memory."""

import io
import json
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image
from torchvision.transforms import v2 as transforms

import draw

HERE = Path(__file__).resolve().parent
PREPROCESS = json.loads((HERE / "preprocess.json").read_text())
RESIZE, CROP = PREPROCESS["resize"], PREPROCESS["crop"]
MEAN, STD = PREPROCESS["mean"], PREPROCESS["std"]

# Resized by Pillow: bilinear with antialiasing, in 8 bits, shorter side first.
resized = transforms.Resize(RESIZE, transforms.InterpolationMode.BILINEAR)


def cropped(image, size=CROP):
    """The centre of the resized image, uint8 `[size, size, 3]`."""
    return np.asarray(transforms.CenterCrop(size)(resized(image.convert("RGB"))))


def normalized(pixels, dtype=np.float32):
    """uint8 `[N, H, W, 3]` to the network's input `[N, 3, H, W]`."""
    scaled = (pixels.astype(dtype) / 255 - np.array(MEAN, dtype)) / np.array(STD, dtype)
    return np.ascontiguousarray(scaled.transpose(0, 3, 1, 2))


def drawn_one(seed, size, place):
    return cropped(Image.open(io.BytesIO(draw.jpeg(seed, *place))), size)


def drawn(seed, per_class, size, cache, workers):
    """A drawn set through JPEG and back, uint8 `[N, size, size, 3]`, and its labels; kept in the folder `cache`."""
    file = cache / f"images-{seed}-{per_class}-{size}.npy"
    places = [(label, index) for label in range(len(draw.CLASSES)) for index in range(per_class)]
    if not file.exists():
        cache.mkdir(parents=True, exist_ok=True)
        with ProcessPoolExecutor(workers) as pool:
            pixels = np.stack(list(pool.map(partial(drawn_one, seed, size), places, chunksize=64)))
        np.save(file, pixels)
    return np.load(file), np.array([label for label, _ in places])


def held_out():
    """The committed images: their paths in this folder's `heldout`, and labels."""
    files = sorted((HERE / "heldout").glob("*/*.jpg"))
    return files, np.array([draw.CLASSES.index(file.parent.name) for file in files])
