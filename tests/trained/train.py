"""Draws the image set, measures a linear classifier on it, trains the network and saves it in three containers.

    python train.py | tee train.log

Training is tuned by a validation set drawn from its own seed; the held-out images judge what came out.
"""

import argparse
import platform
import time
from pathlib import Path

import numpy as np
import safetensors.torch
import torch
from PIL import Image
from torch.nn import functional as F

import draw
import linear
import network
import images

TRAIN_SEED, HELD_OUT_SEED, VALIDATION_SEED = 1, 2, 3
# Trained on crops from a margin around what is judged.
MARGIN = 72
started = time.monotonic()


def log(text):
    print(f"[{time.monotonic() - started:7.1f} s] {text}", flush=True)


def augmented(pixels, rng):
    """Crops of uint8 `[N, 72, 72, 3]`, flipped and turned by quarters, their channels shuffled, stretched, inverted;
    all of which leave every class what it is."""
    size = images.CROP
    out = np.empty((len(pixels), size, size, 3), np.float32)
    for index, image in enumerate(pixels):
        top, left = rng.integers(0, MARGIN - size + 1, 2)
        crop = image[top : top + size, left : left + size]
        crop = np.rot90(crop, rng.integers(4))
        crop = crop[:, ::-1] if rng.random() < 0.5 else crop
        out[index] = crop[:, :, rng.permutation(3)]
    gain = rng.choice([-1.0, 1.0], (len(pixels), 1, 1, 1), p=[0.3, 0.7]) * rng.uniform(0.7, 1.2, (len(pixels), 1, 1, 3))
    shift = rng.uniform(-25, 25, (len(pixels), 1, 1, 3))
    np.clip((out - 127.5) * gain + 127.5 + shift, 0, 255, out=out)
    return torch.from_numpy(images.normalized(out))


def groups_of_parameters(model, decay):
    """No weight decay on batch normalisation and biases."""
    weights = [p for p in model.parameters() if p.ndim > 1]
    rest = [p for p in model.parameters() if p.ndim == 1]
    return [{"params": weights, "weight_decay": decay}, {"params": rest, "weight_decay": 0.0}]


def logits_of(model, pixels, batch=300):
    model.eval()
    with torch.no_grad():
        x = torch.from_numpy(images.normalized(pixels)).to(memory_format=torch.channels_last)
        return torch.cat([model(part) for part in x.split(batch)]).numpy()


def top1(model, pixels, labels):
    return float((logits_of(model, pixels).argmax(1) == labels).mean())


def train(model, pixels, labels, validation, arguments):
    rng = np.random.default_rng(arguments.seed)
    steps = arguments.epochs * (len(labels) // arguments.batch)
    optimizer = torch.optim.SGD(
        groups_of_parameters(model, arguments.decay), lr=arguments.rate, momentum=0.9, nesterov=True
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, arguments.rate, total_steps=steps, pct_start=0.2, div_factor=10, final_div_factor=1000
    )
    for epoch in range(arguments.epochs):
        model.train()
        order, losses = rng.permutation(len(labels)), []
        for start in range(0, len(order) - arguments.batch + 1, arguments.batch):
            chosen = order[start : start + arguments.batch]
            x = augmented(pixels[chosen], rng).to(memory_format=torch.channels_last)
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), torch.from_numpy(labels[chosen]), label_smoothing=0.05)
            loss.backward()
            optimizer.step()
            schedule.step()
            losses.append(loss.item())
        judged = top1(model, *validation)
        log(f"epoch {epoch + 1:2}/{arguments.epochs}: loss {np.mean(losses):.4f}, validation {judged:.2%}")


def save(model, folder):
    """The same state_dict in three containers, named as torchvision names it."""
    state = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    torch.save(state, folder / "shapes.pth")
    torch.save(state, folder / "shapes-legacy.pth", _use_new_zipfile_serialization=False)
    safetensors.torch.save_file(state, folder / "shapes.safetensors", {"format": "pt"})
    (folder / "labels.txt").write_text("".join(f"{name}\n" for name in draw.CLASSES))


def main():
    parser = argparse.ArgumentParser(description="Train the network of the tests.")
    parser.add_argument("--output", type=Path, default=images.HERE)
    parser.add_argument("--cache", type=Path, default=images.HERE.parents[1] / "target" / "trained")
    parser.add_argument("--per-class", type=int, default=1500)
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--rate", type=float, default=0.2)
    parser.add_argument("--decay", type=float, default=5e-4)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--no-linear", action="store_true", help="leave the linear classifier out")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(arguments.seed)
    versions = {"torch": torch.__version__, "numpy": np.__version__, "pillow": Image.__version__}
    log(", ".join(f"{name} {version}" for name, version in versions.items()) + f", python {platform.python_version()}")
    log(" ".join(f"{name}={value}" for name, value in vars(arguments).items() if not isinstance(value, Path)))

    pixels, labels = images.drawn(TRAIN_SEED, arguments.per_class, MARGIN, arguments.cache, arguments.threads)
    validation = images.drawn(VALIDATION_SEED, 100, images.CROP, arguments.cache, arguments.threads)
    held_out = images.drawn(HELD_OUT_SEED, 25, images.CROP, arguments.cache, arguments.threads)
    log(f"{len(draw.CLASSES)} classes; {len(labels)} images to train on, {len(validation[1])} to tune on, "
        f"{len(held_out[1])} held out")
    if not arguments.no_linear:
        edge = (MARGIN - images.CROP) // 2
        centre = np.ascontiguousarray(pixels[:, edge:-edge, edge:-edge])
        best = linear.baseline((centre, labels), held_out, len(draw.CLASSES), log)
        log(f"linear: best top-1 on the held-out images {best:.2%}")
        if best >= 0.5:
            raise SystemExit("the image set is too easy: a linear classifier reaches half of it")

    model = network.shapes_network(len(draw.CLASSES)).to(memory_format=torch.channels_last)
    log(f"network: {sum(p.numel() for p in model.parameters())} parameters")
    before = time.monotonic()
    train(model, pixels, labels, validation, arguments)
    log(f"trained in {time.monotonic() - before:.0f} s on {arguments.threads} thread(s)")
    log(f"held-out top-1 {top1(model, *held_out):.2%}")
    save(model, arguments.output)


if __name__ == "__main__":
    main()
