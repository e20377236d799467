"""Named measures of trabecular texture and cortical thickness, and a logistic regression on them.

This is the interpretable baseline of the networks. Films are resized to one height, because resolution may go with the
class. The measures: contrast, correlation, energy and homogeneity of neighbouring grey levels (co-occurrence, across
and along the leg, at 1 and 3 pixels); share of each local binary pattern; fractal dimension (2 smooth, 3 rough);
gradient along the leg over gradient across it; cortex as a share of the shaft's width.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable

import numpy as np
import pandas as pd
from PIL import Image
from scipy import ndimage
from skimage.feature import graycomatrix, graycoprops, local_binary_pattern
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from osteo_utils.protocols import splits

HEIGHT = 256
STRENGTH = 0.1
SUMMARY = "texture of the spongy bone and thickness of the cortex, measured by hand"
_LEVELS = 16
_KINDS = ("contrast", "correlation", "energy", "homogeneity")
_DISTANCES = (1, 3)
_ANGLES = {"across": 0.0, "along": np.pi / 2}
_SCALES = (1, 2, 4, 8)
_MIN_PIXELS = 400
_NAMES = (
    *(f"{kind}_{way}_{distance}" for kind in _KINDS for way in _ANGLES for distance in _DISTANCES),
    *(f"lbp_{code}" for code in range(10)),
    "fractal_dimension",
    "anisotropy",
    "cortical_index",
)


def measure_film(film: np.ndarray, mask: np.ndarray) -> dict[str, float]:
    """Named measures of one film, grey uint8 (h, w), inside its bone mask (h, w), not 0 on bone.

    Grey levels are normalised by local contrast, so exposure does not matter. Texture is NaN where less than 400 pixels
    of bone (at a height of 256) are left without its rim.
    """
    if film.shape != mask.shape or film.ndim != 2:
        raise ValueError(f"measure_film: the film is {film.shape}, its mask {mask.shape}; expected the same")
    size = max(8, round(film.shape[1] * HEIGHT / film.shape[0])), HEIGHT
    grey = _resized(film, size, Image.Resampling.BOX if film.shape[0] > HEIGHT else Image.Resampling.BICUBIC)
    bone = _resized((mask > 0).astype(np.uint8), size, Image.Resampling.NEAREST) > 0
    inner = ndimage.binary_erosion(bone, iterations=max(2, round(0.03 * size[0])))
    detail = _local_contrast(grey.astype(np.float32), bone)
    found = dict.fromkeys(_NAMES, np.nan) | {"cortical_index": cortical_index(grey, bone)}
    if inner.sum() >= _MIN_PIXELS:
        found |= _co_occurrence(detail, inner) | _binary_patterns(grey, inner)
        found |= {"fractal_dimension": fractal_dimension(detail, inner), "anisotropy": _anisotropy(detail, inner)}
    return found


def measure_all(films: Iterable[np.ndarray], masks: Iterable[np.ndarray]) -> pd.DataFrame:
    """`measure_film` for each film, one row each."""
    return pd.DataFrame([measure_film(film, mask) for film, mask in zip(films, masks, strict=True)])


def cortical_index(grey: np.ndarray, bone: np.ndarray) -> float:
    """Cortex on both sides as a share of the shaft's width; median over the rows at both ends of the leg.

    The inner border of the cortex is where the grey level, from the brightest point of a side to the darkest of the
    middle, has fallen by half (after Barnett and Nordin 1960, who measured femur and metacarpal by eye). NaN where no
    row shows a canal between two bright borders.
    """
    rows = np.flatnonzero(bone.any(axis=1))
    if len(rows) < 20:
        return np.nan
    ends = np.concatenate([rows[: len(rows) // 5], rows[-len(rows) // 5 :]])
    values = []
    for row in ends:
        pieces, count = ndimage.label(bone[row])
        widest = pieces == 1 + np.argmax(np.bincount(pieces, minlength=count + 1)[1:])
        profile = ndimage.gaussian_filter1d(grey[row, widest].astype(float), 1.0)
        width = len(profile)
        if width < 12:
            continue
        third = width // 3
        left, right = int(np.argmax(profile[:third])), width - 1 - int(np.argmax(profile[::-1][:third]))
        middle = left + int(np.argmin(profile[left : right + 1]))
        if profile[middle] >= min(profile[left], profile[right]) - 2:
            continue
        inner = [_half_way(profile, side, middle) for side in (left, right)]
        values.append(1 - (inner[1] - inner[0]) / width)
    return float(np.median(values)) if values else np.nan


def fractal_dimension(grey: np.ndarray, inside: np.ndarray) -> float:
    """Fractal dimension of the grey surface: 2 (smooth) to 3 (rough).

    The mean absolute difference over a distance grows with the power 3 − D for fractional Brownian motion
    (Pentland, IEEE Trans. Pattern Anal. Mach. Intell. 1984). Only pairs with both ends inside count.
    """
    steps = []
    for scale in _SCALES:
        pairs = [
            np.abs(grey[scale:] - grey[:-scale])[inside[scale:] & inside[:-scale]],
            np.abs(grey[:, scale:] - grey[:, :-scale])[inside[:, scale:] & inside[:, :-scale]],
        ]
        steps.append(np.concatenate(pairs).mean() if any(map(len, pairs)) else np.nan)
    growth = np.polyfit(np.log(_SCALES), np.log(np.maximum(steps, 1e-6)), 1)[0]
    return float(np.clip(3 - growth, 2, 3))


def predict(features: pd.DataFrame, images: pd.DataFrame, folds: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Out-of-fold predictions of a logistic regression on the measures, and its mean coefficients.

    `images` has image_id, label, group, in the order of `features`; `folds` holds rows of `folds.csv` of one protocol
    and seed. Missing values are filled with the training median; the penalty is fixed. Columns measure, coefficient
    (per standard deviation), low and high over the folds.
    """
    fold = folds.set_index("image_id").fold.loc[images.image_id].to_numpy()
    labels = images.label.to_numpy(int)
    arm = {"protocol": folds.protocol.iloc[0], "recipe": "handcrafted", "variant": "segmented"}
    arm["seed"] = folds.seed.iloc[0]
    parts, coefficients = [], []
    for number in sorted(set(fold) - {-1}):
        train, test = (fold >= 0) & (fold != number), fold == number
        middle = features[train].median()
        model = make_pipeline(StandardScaler(), LogisticRegression(C=STRENGTH, max_iter=1000))
        model.fit(features[train].fillna(middle), labels[train])
        probability = model.predict_proba(features[test].fillna(middle))[:, 1]
        scored = images[test].assign(label=labels[test])
        parts.append(splits.predictions(scored, probability, arm | {"fold": number}))
        coefficients.append(model[-1].coef_[0])
    functions = {"coefficient": np.mean, "low": np.min, "high": np.max}
    columns = {name: function(coefficients, axis=0) for name, function in functions.items()}
    table = pd.DataFrame({"measure": features.columns, **columns})
    table = table.sort_values("coefficient", key=np.abs, ascending=False, ignore_index=True)
    return pd.concat(parts, ignore_index=True), table


def _resized(picture: np.ndarray, size: tuple[int, int], how: Image.Resampling) -> np.ndarray:
    return np.asarray(Image.fromarray(np.ascontiguousarray(picture)).resize(size, how))


def _local_contrast(grey: np.ndarray, bone: np.ndarray) -> np.ndarray:
    """Grey levels less their surroundings, over the surroundings' spread; only bone counts as surroundings."""
    weight = np.maximum(ndimage.gaussian_filter(bone.astype(np.float32), 8), 1e-6)
    around, square = (ndimage.gaussian_filter(np.where(bone, values, 0), 8) / weight for values in (grey, grey**2))
    return (grey - around) / (np.sqrt(np.maximum(square - around**2, 0)) + 2.0)


def _co_occurrence(detail: np.ndarray, inside: np.ndarray) -> dict[str, float]:
    # Level 0 is the outside; its row and column are removed before anything is computed.
    levels = 1 + np.clip(((detail + 2) / 4 * _LEVELS).astype(int), 0, _LEVELS - 1)
    levels = np.where(inside, levels, 0).astype(np.uint8)
    matrix = graycomatrix(levels, _DISTANCES, list(_ANGLES.values()), _LEVELS + 1, symmetric=True)[1:, 1:]
    return {
        f"{kind}_{way}_{distance}": float(values[place, angle])
        for kind in _KINDS
        for values in [graycoprops(matrix, kind)]
        for place, distance in enumerate(_DISTANCES)
        for angle, way in enumerate(_ANGLES)
    }


def _binary_patterns(grey: np.ndarray, inside: np.ndarray) -> dict[str, float]:
    with warnings.catch_warnings():
        # scikit-image asks for integer pictures, which these are.
        warnings.simplefilter("ignore", UserWarning)
        codes = local_binary_pattern(grey, 8, 1, "uniform")
    shares = np.bincount(codes[inside].astype(int), minlength=10) / inside.sum()
    return {f"lbp_{code}": float(share) for code, share in enumerate(shares)}


def _anisotropy(detail: np.ndarray, inside: np.ndarray) -> float:
    along = np.abs(np.diff(detail, axis=0))[inside[1:] & inside[:-1]].mean()
    across = np.abs(np.diff(detail, axis=1))[inside[:, 1:] & inside[:, :-1]].mean()
    return float(along / max(across, 1e-6))


def _half_way(profile: np.ndarray, side: int, middle: int) -> int:
    """Where the profile, going from `side` to `middle`, first lies below the mean of both ends."""
    way = np.arange(side, middle, 1 if middle > side else -1)
    below = way[profile[way] < (profile[side] + profile[middle]) / 2]
    return int(below[0]) if len(below) else middle
