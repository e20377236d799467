"""Class activation maps: where a model's evidence lies, and how much of it lies on bone.

For a network that ends in global average pooling and one dense unit, the logit is the mean over positions of
a weighted sum of feature maps, plus the bias. That sum is the class activation map (Zhou et al. 2016); it is
what Grad-CAM gives for such a network, without its ReLU and up to the factor 1 / (height · width).
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from scipy import ndimage


def class_activation_map(maps: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """Evidence per position, float32 (n, h, w), in units of the logit; positive speaks for osteoporosis.

    `maps` (n, h, w, c) are the feature maps before pooling, `kernel` (c, 1) the weights of the head. The mean
    of a map plus the head's bias is the logit. Source: Zhou et al. 2016, CVPR, equation 2.
    """
    maps, kernel = np.asarray(maps, np.float32), np.asarray(kernel, np.float32)
    if maps.ndim != 4 or kernel.shape != (maps.shape[-1], 1):
        raise ValueError(
            f"class_activation_map: maps {maps.shape} and kernel {kernel.shape}; expected (n, h, w, c) and (c, 1)"
        )
    return maps @ kernel[:, 0]


def upsample(cam: np.ndarray, size: int) -> np.ndarray:
    """Maps (n, h, w) at the size of the image, float32 (n, size, size), linear between the cells' centres."""
    if cam.ndim != 3:
        raise ValueError(f"upsample: got shape {cam.shape}; expected (n, h, w)")
    rows, columns = (_cell_positions(size, cells) for cells in cam.shape[1:])
    grid = np.meshgrid(rows, columns, indexing="ij")
    maps = [
        ndimage.map_coordinates(one, grid, order=1, mode="nearest") for one in np.asarray(cam, np.float32)
    ]
    return np.stack(maps) if maps else np.zeros((0, size, size), np.float32)


def share_inside(cam: np.ndarray, masks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Share of the positive evidence that lies on bone, and the bone's share of the area; two arrays (n,).

    `cam` (n, h, w) are maps at any resolution, brought to that of `masks` (n, s, s), 1 on bone. The second share is
    what evidence spread evenly over the film would give, hence the level of chance. A map without positive evidence
    has the share NaN: there is nothing to place.
    """
    share, area = np.full(len(cam), np.nan), np.zeros(len(cam))
    for place, (evidence, bone) in enumerate(_positive(cam, masks)):
        area[place] = bone.mean()
        if total := evidence.sum():
            share[place] = evidence[bone].sum() / total
    return share, area


def share_of_others(cam: np.ndarray, masks: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Mean share of the positive evidence of other groups' maps that lies on each film's bone: (n,).

    Shapes as for `share_inside`, every map with some positive evidence; `groups` (n,). NaN where all films are of
    one group. Time grows with n, as the mean over the others is the sum over all less that over the film's own group.
    """
    _, number, counts = np.unique(groups, return_inverse=True, return_counts=True)
    everyone, own = np.zeros(masks.shape[1:]), np.zeros(len(cam))
    for mine in np.split(np.argsort(number, kind="stable"), np.cumsum(counts)[:-1]):
        together = sum(evidence / evidence.sum() for evidence, _ in _positive(cam[mine], masks[mine]))
        everyone += together
        own[mine] = [together[np.asarray(masks[place], bool)].sum() for place in mine]
    others = len(number) - counts[number]
    total = np.array([everyone[np.asarray(mask, bool)].sum() for mask in masks]) - own
    return np.divide(total, others, out=np.full(len(cam), np.nan), where=others > 0)


def _positive(cam: np.ndarray, masks: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Film by film, so that memory does not grow with their number: positive evidence float64 (s, s), bone bool (s, s)."""
    if len(cam) != len(masks) or masks.ndim != 3 or masks.shape[1] != masks.shape[2]:
        raise ValueError(
            f"evidence on bone: maps {cam.shape} and masks {masks.shape}; expected (n, h, w) and (n, s, s) of the same films"
        )
    for one, mask in zip(cam, masks, strict=True):
        fine = upsample(one[None], len(mask))[0].astype(np.float64)
        yield np.maximum(fine, 0), np.asarray(mask, bool)


def _cell_positions(size: int, cells: int) -> np.ndarray:
    return (np.arange(size) + 0.5) * cells / size - 0.5
