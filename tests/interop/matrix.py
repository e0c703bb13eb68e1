"""Cells to a matrix: python matrix.py CELLS OLD NEW TABLE. Exit code 1 where a cell got worse than in OLD."""

import datetime
import json
import pathlib
import sys

cells_path, old_path, new_path, table_path = map(pathlib.Path, sys.argv[1:])
cells = [json.loads(line) for line in cells_path.read_text().splitlines() if line.startswith("{")]
cells.sort(key=lambda cell: (cell["stack"], cell["file"]))
old = json.loads(old_path.read_text())["cells"] if old_path.exists() else []
worse = []
for before in old:
    after = next((c for c in cells if (c["stack"], c["file"]) == (before["stack"], before["file"])), None)
    what = f"{before['stack']} {before['version']} on {before['file']}"
    if after is None:
        worse.append(f"{what}: not run")
    elif before["accepted"] and not after["accepted"]:
        worse.append(f"{what}: refused by {after['version']}: {after['said']}")
    elif before["accepted"] and after["difference"] > max(10 * before["difference"], 1e-5):
        worse.append(f"{what}: {before['difference']:.1e} became {after['difference']:.1e}")
new_path.write_text(json.dumps({"date": datetime.date.today().isoformat(), "cells": cells}, indent=1) + "\n")
files = sorted({cell["file"] for cell in cells})
lines = ["| stack | version | " + " | ".join(files) + " |", "|---|---|" + "---|" * len(files)]
for stack in dict.fromkeys(cell["stack"] for cell in cells):
    own = {cell["file"]: cell for cell in cells if cell["stack"] == stack}
    shown = [f"{own[f]['difference']:.1e}" if f in own and own[f]["accepted"] else "no" if f in own else "" for f in files]
    lines.append(f"| {stack} | {next(iter(own.values()))['version']} | " + " | ".join(shown) + " |")
table_path.write_text("\n".join(lines) + "\n")
print(table_path.read_text())
print("\n".join(worse) or "no cell is worse than before")
sys.exit(bool(worse))
