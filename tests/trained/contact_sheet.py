"""Lays classified images out on one sheet, right answers in green, wrong ones in red with the true class.

    python contact_sheet.py PREDICTIONS.json -o contact-sheet.png

PREDICTIONS.json: [{"file": "heldout/ring/ring-000.jpg", "label": "ring", "probability": 0.98}, ...], files relative to
this folder or to the one given by --images; the true class is the name of an image's folder.
"""

import argparse
import json
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont, ImageOps

TILE, GAP, CAPTION = 120, 14, 40
RIGHT, WRONG, INK, PAPER = (18, 110, 60), (190, 30, 30), (90, 90, 90), (255, 255, 255)


def spread(rows, count):
    """`count` of them at equal distances through the list, so that no one chooses the flattering ones."""
    count = min(count, len(rows))
    return [rows[(2 * n + 1) * len(rows) // (2 * count)] for n in range(count)]


def caption(draw, x, y, row, truth):
    right = row["label"] == truth
    small, large = ImageFont.load_default(12), ImageFont.load_default(15)
    draw.text((x, y), f"{row['label']} {row['probability']:.0%}", RIGHT if right else WRONG, large)
    if not right:
        draw.text((x, y + 18), f"is: {truth}", INK, small)


def sheet(rows, folder, columns):
    height = -(-len(rows) // columns) * (TILE + CAPTION + GAP) + GAP
    paper = Image.new("RGB", (columns * (TILE + GAP) + GAP, height), PAPER)
    draw = ImageDraw.Draw(paper)
    for place, row in enumerate(rows):
        file = folder / row["file"]
        x = GAP + place % columns * (TILE + GAP)
        y = GAP + place // columns * (TILE + CAPTION + GAP)
        with Image.open(file) as image:
            paper.paste(ImageOps.fit(image.convert("RGB"), (TILE, TILE), Image.Resampling.BILINEAR), (x, y))
        right = row["label"] == file.parent.name
        draw.rectangle((x - 2, y - 2, x + TILE + 1, y + TILE + 1), outline=RIGHT if right else WRONG, width=2)
        caption(draw, x, y + TILE + 4, row, file.parent.name)
    return paper


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("predictions", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--images", type=Path, default=Path(__file__).resolve().parent)
    parser.add_argument("--count", type=int, default=24)
    parser.add_argument("--columns", type=int, default=8)
    arguments = parser.parse_args()
    rows = sorted(json.loads(arguments.predictions.read_text()), key=lambda row: row["file"])
    paper = sheet(spread(rows, arguments.count), arguments.images, arguments.columns)
    # 32 levels a channel: the eye misses nothing, and grain, which PNG packs badly, takes half the room.
    paper.point([round(value // 8 * 255 / 31) for value in range(256)] * 3).save(arguments.output, optimize=True)


if __name__ == "__main__":
    main()
