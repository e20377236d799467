"""Class activation maps: where a model's evidence lies, and how much of it lies on bone.

For a network that ends in global average pooling and one dense unit, the logit is the mean over positions of
a weighted sum of feature maps, plus the bias. That sum is the class activation map (Zhou et al. 2016); it is
what Grad-CAM gives for such a network, without its ReLU and up to the factor 1 / (height · width).
"""

from __future__ import annotations

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


def share_inside(
    cam: np.ndarray, masks: np.ndarray, frames: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Share of the positive evidence that lies on bone, and the bone's share of the area; two arrays (n,).

    `cam` (n, s, s), `masks` (n, s, s) with 1 on bone, `frames` (n, s, s) with 1 where the view shows the film
    and not padding (None: everywhere). The second share is what evidence spread evenly over the film would
    give, hence the level of chance. A map without positive evidence has the share NaN: there is nothing to
    place.
    """
    if cam.shape != masks.shape or (frames is not None and frames.shape != cam.shape):
        raise ValueError(
            f"share_inside: maps {cam.shape}, masks {masks.shape}, frames {None if frames is None else frames.shape}; "
            "expected the same shape (n, s, s)"
        )
    film = np.ones(cam.shape, bool) if frames is None else np.asarray(frames, bool)
    bone = np.asarray(masks, bool) & film
    positive = np.where(film, np.maximum(np.asarray(cam, np.float64), 0), 0)
    total = positive.sum(axis=(1, 2))
    inside = (positive * bone).sum(axis=(1, 2))
    share = np.divide(inside, total, out=np.full(len(cam), np.nan), where=total > 0)
    area = bone.sum(axis=(1, 2)) / np.maximum(film.sum(axis=(1, 2)), 1)
    return share, area


def share_of_others(cam: np.ndarray, masks: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Mean share of the positive evidence of other groups' maps that lies on each film's bone: (n,).

    Shapes as for `share_inside`, every map with some positive evidence; `groups` (n,). NaN where all films are of
    one group.
    """
    evidence = np.maximum(cam.reshape(len(cam), -1), 0).astype(np.float32)
    evidence /= evidence.sum(axis=1, keepdims=True)
    on_bone = evidence @ masks.reshape(len(masks), -1).astype(np.float32).T
    apart = np.asarray(groups)[:, None] != np.asarray(groups)[None]
    counts = apart.sum(axis=0)
    total = np.where(apart, on_bone, 0).sum(axis=0)
    return np.divide(total, counts, out=np.full(len(cam), np.nan), where=counts > 0)


def _cell_positions(size: int, cells: int) -> np.ndarray:
    return (np.arange(size) + 0.5) * cells / size - 0.5
