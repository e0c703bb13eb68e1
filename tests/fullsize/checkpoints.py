"""Full-size checkpoints written by torch, with made-up but lively statistics, for the chain's checks and timings.

    python checkpoints.py FOLDER [MODEL ...]

Writes MODEL.pth (zip container), MODEL-legacy.pth and MODEL.safetensors. Weights are torchvision's own initialisation;
running statistics, scales and shifts are drawn so that every one of them matters and activations stay in range.
"""

import sys
from pathlib import Path

import torch
import torchvision
from safetensors.torch import save_file

MODELS = ["resnext50_32x4d", "resnext101_32x8d", "resnext101_64x4d", "resnet50"]


def lively(name: str, seed: int = 0) -> torch.nn.Module:
    """The network with statistics as training leaves them: measured on noise, then perturbed."""
    torch.manual_seed(seed)
    model = torchvision.models.get_model(name, weights=None)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.uniform_(module.bias, -0.2, 0.2)
    # The last normalisation of a block is damped, so that the sum over many blocks does not grow without bound.
    for key, module in model.named_modules():
        if key.endswith("bn3"):
            module.weight.data *= 0.3
    model.train()
    with torch.no_grad():
        for _ in range(2):
            model(torch.randn(4, 3, 224, 224))
    model.eval()
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean += 0.1 * torch.randn_like(module.running_mean) * module.running_var.sqrt()
            module.running_var *= torch.empty_like(module.running_var).uniform_(0.8, 1.25)
    return model


def main() -> None:
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for name in sys.argv[2:] or MODELS:
        state = lively(name).state_dict()
        torch.save(state, folder / f"{name}.pth")
        torch.save(state, folder / f"{name}-legacy.pth", _use_new_zipfile_serialization=False)
        save_file({key: value.contiguous() for key, value in state.items()}, folder / f"{name}.safetensors")
        print(name, sum(p.numel() for p in state.values()))


if __name__ == "__main__":
    main()
