"""The usual PyTorch training loop on VGG16 and ResNet50, for `training_speed.py`; needs torch, and nothing of torchvision."""

from __future__ import annotations

import time

import numpy as np
import torch
from torch import nn

VGG_BLOCKS = ((2, 64), (2, 128), (3, 256), (3, 512), (3, 512))
RESNET_STAGES = ((3, 64), (4, 128), (6, 256), (3, 512))


class Bottleneck(nn.Module):
    """Three convolutions with a way around them (He et al. 2016, figure 5)."""

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        wide = 4 * width
        self.main = nn.Sequential(
            *_convolution(channels, width, 1, stride), nn.ReLU(), *_convolution(width, width, 3), nn.ReLU(),
            *_convolution(width, wide, 1),
        )  # fmt: skip
        around = channels != wide or stride > 1
        self.around = nn.Sequential(*_convolution(channels, wide, 1, stride)) if around else nn.Identity()

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.main(values) + self.around(values))


def parts(backbone: str) -> tuple[nn.Module, nn.Module]:
    """The frozen part and the last block with its head, cut as the study cuts them, with random weights."""
    layers: list[nn.Module] = []
    channels = 3
    if backbone == "vgg16":
        for count, width in VGG_BLOCKS:
            for _ in range(count):
                layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU()]
                channels = width
            layers.append(nn.MaxPool2d(2))
        learning = 3
    else:
        layers = [*_convolution(3, 64, 7, 2), nn.ReLU(), nn.MaxPool2d(3, 2, 1)]
        channels = 64
        for stage, (count, width) in enumerate(RESNET_STAGES):
            for number in range(count):
                layers.append(Bottleneck(channels, width, 2 if stage and not number else 1))
                channels = 4 * width
        learning = 1
    frozen = nn.Sequential(*layers[:-learning]).requires_grad_(False).eval()
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 1)]
    trained = nn.Sequential(*layers[-learning:], *head)
    for layer in trained.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.eval().requires_grad_(False)
    return frozen, trained


def seconds_per_step(backbone: str, films: np.ndarray, batch_size: int, threads: int, steps: int) -> float:
    """Seconds of the quickest of `steps` training steps on films uint8 (n, s, s), the first one not counted."""
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    frozen, trained = parts(backbone)
    optimiser = torch.optim.AdamW([value for value in trained.parameters() if value.requires_grad], lr=1e-4)
    batch = np.resize(films, (batch_size, *films.shape[1:]))
    labels = (torch.arange(batch_size) % 2).float()[:, None]
    taken = []
    for _ in range(steps + 1):
        started = time.perf_counter()
        images = torch.from_numpy(batch).float()[:, None].repeat(1, 3, 1, 1) - 114.0
        with torch.no_grad():
            activations = frozen(images)
        loss = nn.functional.binary_cross_entropy_with_logits(trained(activations), labels)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        taken.append(time.perf_counter() - started)
    return min(taken[1:])


def _convolution(channels: int, width: int, side: int, stride: int = 1) -> list[nn.Module]:
    return [nn.Conv2d(channels, width, side, stride, side // 2), nn.BatchNorm2d(width)]
