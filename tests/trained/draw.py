"""Draws the image set: twelve classes of shapes, textures and arrangements, from a seed.

An image is a function of (seed, class, index) alone, so that any of them can be drawn again without the others. The
class never shows in colour, position, size, rotation or background: those are drawn alike for all classes, which is
what keeps a linear classifier on pixels low. Images are JPEG of many sizes, aspect ratios, qualities, chroma
subsamplings, some progressive, some grey, so that decoding and resizing count.

    python draw.py heldout --seed 2 --per-class 25
"""

import argparse
import io
from pathlib import Path

import numpy as np
from PIL import Image, ImageFile, ImageFilter

TAU = 2 * np.pi
# Pillow writes a progressive JPEG only into a buffer that holds all of it.
ImageFile.MAXBLOCK = 1 << 20


# Signed distances, negative inside. `u`, `v` are coordinates in units of the subject's radius, centred on it.


def disc(u, v, radius=1.0):
    return np.hypot(u, v) - radius


def polygon(u, v, corners, radius=1.0):
    angles = TAU * np.arange(corners) / corners
    sides = [np.cos(a) * u + np.sin(a) * v for a in angles]
    return np.maximum.reduce(sides) - radius * np.cos(np.pi / corners)


def plus(u, v, arm, radius=1.0):
    u, v = np.abs(u), np.abs(v)
    return np.minimum(np.maximum(u - radius, v - arm), np.maximum(u - arm, v - radius))


def star_of(u, v, points, inner):
    angle = np.pi / points
    folded = np.abs(np.mod(np.arctan2(v, u), 2 * angle) - angle)
    rho = np.hypot(u, v)
    x, y = rho * np.cos(angle - folded), rho * np.sin(angle - folded)
    dx, dy = inner * np.cos(angle) - 1.0, inner * np.sin(angle)
    return ((x - 1.0) * dy - y * dx) / np.hypot(dx, dy)


def small_thing(rng, corners=(3, 4, 5)):
    """One of the things that arrangements are made of and that lie about as clutter: a function of u, v, radius."""
    kind = rng.integers(5)
    if kind == 0:
        return disc
    if kind == 1:
        return lambda u, v, r: plus(u, v, 0.38 * r, r)
    count = int(rng.choice(corners))
    return lambda u, v, r: polygon(u, v, count, r)


# Subjects: each takes the generator and u, v and returns a signed distance.


def crescent(rng, u, v):
    bite, shift = rng.uniform(0.75, 0.95), rng.uniform(0.4, 0.6)
    return np.maximum(disc(u, v), -disc(u - shift, v, bite))


def cross(rng, u, v):
    return plus(u, v, rng.uniform(0.2, 0.4))


def hexagon(_, u, v):
    return polygon(u, v, 6)


def ring(rng, u, v):
    half = rng.uniform(0.1, 0.25)
    return np.abs(np.hypot(u, v) - (1 - half)) - half


def star(rng, u, v):
    return star_of(u, v, int(rng.integers(5, 8)), rng.uniform(0.4, 0.6))


def triangle(_, u, v):
    return polygon(u, v, 3, 1.15)


def bent(rng, u, v):
    """Lines of a texture are not quite straight."""
    phase = rng.uniform(0, TAU)
    return u + rng.uniform(0, 0.1) * np.sin(rng.uniform(1, 3) * v + phase), v


def stripes(rng, u, v):
    u, v = bent(rng, u, v)
    period = rng.uniform(0.35, 0.75)
    return (np.abs(np.mod(u / period, 1.0) - 0.5) - rng.uniform(0.18, 0.3)) * period


def chequers(rng, u, v):
    u, v = bent(rng, u, v)
    cell = rng.uniform(0.25, 0.5)
    a, b = np.mod(u / cell, 2.0) - 1.0, np.mod(v / cell, 2.0) - 1.0
    near = np.minimum.reduce([np.abs(a), 1 - np.abs(a), np.abs(b), 1 - np.abs(b)])
    return -np.sign(a * b) * near * cell


def spots(rng, u, v):
    u, v = bent(rng, u, v)
    # No squares: in staggered rows they would be chequers.
    period, thing = rng.uniform(0.45, 0.75), small_thing(rng, corners=(3, 5))
    row = np.floor(v / period)
    u = u + rng.choice([0.0, 0.5]) * period * np.mod(row, 2)
    a, b = np.mod(u, period) - period / 2, np.mod(v, period) - period / 2
    return thing(a, b, rng.uniform(0.28, 0.4) * period)


def together(rng, u, v, centres, radius):
    thing, turn = small_thing(rng), rng.uniform(0, TAU)
    cos, sin = np.cos(turn), np.sin(turn)
    parts = []
    for x, y in centres:
        x, y = x + rng.normal(0, 0.12 * radius), y + rng.normal(0, 0.12 * radius)
        a, b = u - x, v - y
        parts.append(thing(cos * a + sin * b, cos * b - sin * a, radius * rng.uniform(0.85, 1.1)))
    return np.minimum.reduce(parts)


def row(rng, u, v):
    count = int(rng.integers(3, 6))
    places = np.linspace(-1, 1, count)
    return together(rng, u, v, [(x, 0.0) for x in places], rng.uniform(0.6, 0.85) / count)


def wreath(rng, u, v):
    count = int(rng.integers(5, 9))
    angles = TAU * np.arange(count) / count
    return together(rng, u, v, [(0.85 * np.cos(a), 0.85 * np.sin(a)) for a in angles], rng.uniform(1.3, 1.9) / count)


def nested(rng, u, v):
    corners, count = int(rng.integers(3, 8)), int(rng.integers(2, 4))
    outside = disc(u, v) if corners == 7 else polygon(u, v, corners)
    depth = -outside * count / (1.0 if corners == 7 else np.cos(np.pi / corners))
    lines = np.abs(np.mod(depth, 1.0) - 0.3) - 0.2
    return np.maximum(outside, lines / count)


SUBJECTS = {
    f.__name__: f
    for f in (chequers, crescent, cross, hexagon, nested, ring, row, spots, star, stripes, triangle, wreath)
}
TEXTURES = (chequers, spots, stripes)
CLASSES = sorted(SUBJECTS)


def colour(rng):
    return rng.uniform(0.0, 1.0, 3).astype(np.float32)


def colour_apart(rng, other, distance):
    """A colour at least `distance` (of the cube's side, mean over channels) from another, so that there is something
    to see, lighter or darker by chance."""
    while True:
        candidate = colour(rng)
        if np.abs(candidate - other).mean() >= distance:
            return candidate


def clouds(rng, height, width, cells):
    """Smooth noise of mean 0, `[height, width, 3]`."""
    coarse = rng.normal(0, 1, (cells, cells, 3)).astype(np.float32)
    planes = [Image.fromarray(coarse[:, :, c]).resize((width, height), Image.Resampling.BICUBIC) for c in range(3)]
    return np.stack([np.asarray(p) for p in planes], axis=2)


def paint(canvas, distance, pixel, fill, opacity=1.0):
    """Lays `fill` where `distance` is negative, with an edge one pixel soft."""
    cover = np.clip(0.5 - distance / pixel, 0, 1)[:, :, None] * np.float32(opacity)
    canvas += cover * (fill - canvas)


class Frame:
    """Pixel coordinates of an image, and local coordinates of things in it."""

    def __init__(self, width, height):
        self.width, self.height, self.short = width, height, min(width, height)
        self.y, self.x = np.mgrid[0:height, 0:width].astype(np.float32) + 0.5

    def local(self, x, y, radius, turn, stretch=1.0):
        a, b = (self.x - x) / radius, (self.y - y) / radius
        u = (np.cos(turn) * a + np.sin(turn) * b) * np.float32(stretch)
        v = (np.cos(turn) * b - np.sin(turn) * a) / np.float32(stretch)
        return u, v


def background(rng, frame):
    base = colour(rng)
    canvas = np.broadcast_to(base, (frame.height, frame.width, 3)).astype(np.float32)
    canvas = canvas + rng.uniform(0.02, 0.14) * clouds(rng, frame.height, frame.width, int(rng.integers(3, 12)))
    if rng.random() < 0.3:
        # A faint texture everywhere: having lines is not yet being the texture.
        u, v = frame.local(0, 0, frame.short * rng.uniform(0.2, 0.5), rng.uniform(0, TAU))
        pattern = TEXTURES[rng.integers(len(TEXTURES))](rng, u, v)
        paint(canvas, pattern, 2 / frame.short, colour(rng), rng.uniform(0.05, 0.2))
    return canvas, base


def clutter(rng, frame, canvas):
    """Small things and strokes about the image, behind the subject."""
    for _ in range(rng.integers(0, 7)):
        radius = frame.short * rng.uniform(0.03, 0.1)
        x, y = rng.uniform(0, frame.width), rng.uniform(0, frame.height)
        u, v = frame.local(x, y, radius, rng.uniform(0, TAU), rng.uniform(0.7, 1.4))
        if rng.random() < 0.3:
            distance = np.maximum(np.abs(v) - 0.2, np.abs(u) - 5.0)
        else:
            distance = small_thing(rng)(u, v, 1.0)
        paint(canvas, distance, 1 / radius, colour(rng), rng.uniform(0.5, 1.0))


def subject(rng, frame, canvas, make, base):
    radius = frame.short * rng.uniform(0.2, 0.4)
    x = frame.width / 2 + frame.short * rng.uniform(-0.12, 0.12)
    y = frame.height / 2 + frame.short * rng.uniform(-0.12, 0.12)
    u, v = frame.local(x, y, radius, rng.uniform(0, TAU), np.exp(rng.uniform(-0.25, 0.25)))
    distance = make(rng, u, v)
    pixel = 1 / radius
    apart = rng.uniform(0.13, 0.35)
    if make in TEXTURES:
        # A texture has no outline of its own: it fills a patch of any outline and colour.
        patch = small_thing(rng)(*frame.local(x, y, radius, rng.uniform(0, TAU)), rng.uniform(1.0, 1.3))
        if rng.random() < 0.6:
            base = colour_apart(rng, base, 0.1)
            paint(canvas, patch, pixel, base)
        distance = np.maximum(distance, patch)
    fill = colour_apart(rng, base, apart)
    fill = fill + rng.uniform(0.0, 0.1) * clouds(rng, frame.height, frame.width, 4)
    paint(canvas, distance, pixel, fill, rng.uniform(0.75, 1.0))
    return x, y, radius


def occlude(rng, frame, canvas, x, y, radius):
    """Something in front of part of the subject: a bar across it or a thing over an edge of it."""
    angle, away = rng.uniform(0, TAU), rng.uniform(0.3, 1.0) * radius
    u, v = frame.local(x + away * np.cos(angle), y + away * np.sin(angle), radius, rng.uniform(0, TAU))
    if rng.random() < 0.5:
        distance = np.abs(v) - rng.uniform(0.06, 0.18)
    else:
        distance = small_thing(rng)(u, v, rng.uniform(0.25, 0.55))
    paint(canvas, distance, 1 / radius, colour(rng))


def draw(seed, label, index):
    """The image of class number `label`, as RGB."""
    rng = np.random.default_rng([seed, label, index])
    short = np.exp(rng.uniform(np.log(60), np.log(240)))
    ratio = np.exp(rng.uniform(np.log(1.0), np.log(1.8)))
    width, height = int(short * ratio), int(short)
    if rng.random() < 0.5:
        width, height = height, width
    frame = Frame(width, height)
    canvas, base = background(rng, frame)
    clutter(rng, frame, canvas)
    x, y, radius = subject(rng, frame, canvas, SUBJECTS[CLASSES[label]], base)
    for _ in range(rng.choice([0, 1, 2], p=[0.4, 0.4, 0.2])):
        occlude(rng, frame, canvas, x, y, radius)
    image = Image.fromarray((np.clip(canvas, 0, 1) * 255).astype(np.uint8))
    if rng.random() < 0.5:
        image = image.filter(ImageFilter.GaussianBlur(float(short * rng.uniform(0.002, 0.022))))
    grain = rng.uniform(0, 22) * (short / 240) ** 0.5
    noisy = np.asarray(image, np.float32) + rng.normal(0, grain, (height, width, 3))
    return Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8)), rng


def jpeg(seed, label, index):
    """The same image as the bytes of a JPEG file."""
    image, rng = draw(seed, label, index)
    if rng.random() < 0.06:
        image = image.convert("L")
    options = {
        "quality": int(rng.integers(40, 93)),
        "subsampling": ["4:4:4", "4:2:2", "4:2:0"][rng.integers(3)],
        "progressive": bool(rng.random() < 0.25),
        "optimize": True,
    }
    if image.mode == "L":
        del options["subsampling"]
    data = io.BytesIO()
    image.save(data, "JPEG", **options)
    return data.getvalue()


def main():
    parser = argparse.ArgumentParser(description="Draw images into a folder of class folders.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seed", type=int, default=2)
    parser.add_argument("--per-class", type=int, default=25)
    arguments = parser.parse_args()
    for label, name in enumerate(CLASSES):
        folder = arguments.folder / name
        folder.mkdir(parents=True, exist_ok=True)
        for index in range(arguments.per_class):
            (folder / f"{name}-{index:03}.jpg").write_bytes(jpeg(arguments.seed, label, index))


if __name__ == "__main__":
    main()
