"""Shortcuts: how well the label can be predicted, out of fold, from what is not bone.

Each set of features goes through the same linear model. A score well above that of shuffled labels shows that a network
could have learnt the label from there, not that one did.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from PIL import Image
from scipy.special import expit
from sklearn.compose import make_column_transformer
from sklearn.decomposition import PCA
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import KBinsDiscretizer, OneHotEncoder, StandardScaler

from osteo_utils.images import film_views
from osteo_utils.statistics import evaluation
from osteo_utils.statistics.metrics import measure
from osteo_utils.study.results import Estimate

MEANING = {
    "metadata": "the file: format, mode, bytes, bytes per pixel, width, height",
    "size": "width, height and their ratio",
    "border": "grey levels along the four edges of the film",
    "marker": "the four corners, where side markers stand",
    "thumbnail": "the whole film at 32 by 32 pixels",
    "histogram": "how many pixels have which grey level",
    "background": "the film at 32 by 32 pixels with the bone painted over",
}
SIDE = 32
# Fixed in advance and the same for all sets: no setting is chosen by looking at a score.
COMPONENTS = 30
PENALTY = 40.0
BINS = 6
_EDGE = 0.04
_CORNER = 0.22


@dataclass(frozen=True)
class Finding:
    """How well one set of features separates the classes, beside shuffled labels.

    `null` is the mean AUROC of the shuffled labels with its 2.5 and 97.5 percentiles; `p_value` is the share of shuffles
    that reach the true value, the true labels counted as one of them.
    """

    auroc: Estimate
    null: Estimate
    p_value: float


def of_files(images: pd.DataFrame) -> dict[str, np.ndarray]:
    """Features that need no pixel: `metadata` and `size`, one row per row of the manifest."""
    width, height = images["width"].to_numpy(float), images["height"].to_numpy(float)
    measures = np.column_stack([width, height, width / height])
    size = images["bytes"].to_numpy(float)
    kinds = OneHotEncoder(sparse_output=False).fit_transform(images[["format", "mode"]].astype(str))
    return {"metadata": np.column_stack([measures, size, size / (width * height), kinds]), "size": measures}


def of_films(films: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
    """Features of grey films, uint8 (h, w) each: `border`, `marker`, `thumbnail`, `histogram`."""
    return {
        "border": np.array([_border(film) for film in films]),
        "marker": np.array([_corners(film) for film in films]),
        "thumbnail": np.array([_thumbnail(film).ravel() for film in films]),
        "histogram": np.array([np.histogram(film, 32, (0, 256))[0] / film.size for film in films]),
    }


def background(films: Sequence[np.ndarray], bones: Sequence[np.ndarray]) -> np.ndarray:
    """Thumbnails (n, 1024) of films without their bone (`film_views.without_bone`).

    `bones` are masks of the films' shapes, not 0 on bone. An empty mask leaves its film unchanged, so keep such films
    out of the folds.
    """
    pairs = zip(films, bones, strict=True)
    bare = (film_views.without_bone(film, bone) if bone.any() else film for film, bone in pairs)
    return np.array([_thumbnail(film).ravel() for film in bare])


def predict(features: np.ndarray, images: pd.DataFrame, folds: pd.Series) -> pd.DataFrame:
    """Out-of-fold predictions of the label from features (n, ...): image_id, group, seed, fold, y_true, y_prob.

    `images` has image_id, label and group, in the order of `features`; `folds` is indexed by image_id, −1 is left
    out. Up to `COMPONENTS` features are cut at their quantiles, so that any shape of dependence counts; more are reduced
    to principal components. All of this is learnt from the training folds alone.
    """
    fold = folds.loc[images["image_id"]].to_numpy()
    return _predicted(prepare(features, fold), images, fold)


def _predicted(prepared: Mapping[int, np.ndarray], images: pd.DataFrame, fold: np.ndarray) -> pd.DataFrame:
    labels, kept = images["label"].to_numpy(int), fold >= 0
    chosen = images.loc[kept, ["image_id", "group"]].assign(
        seed=0, fold=fold[kept], y_true=labels[kept], y_prob=_out_of_fold(prepared, fold, labels)[kept]
    )
    return chosen.reset_index(drop=True)


def compare_with_shuffled(
    features: np.ndarray, images: pd.DataFrame, folds: pd.Series, n_permutations: int, n_resamples: int, seed: int
) -> Finding:
    """The AUROC of `predict` beside that of shuffled labels.

    A shuffle permutes the labels of whole groups within each fold, so that copies still agree and each fold keeps its
    share of osteoporosis. Where the two knees of a patient differ, each label of the group is a unit of its own. Raises
    ValueError where a group lies in two folds.
    """
    fold = folds.loc[images["image_id"]].to_numpy()
    prepared = prepare(features, fold)
    true = evaluation.summarise(_predicted(prepared, images, fold), ["auroc"], n_resamples, seed)["auroc"]
    kept = fold >= 0
    labels = shuffled_labels(images, fold, n_permutations, seed)
    probability = _out_of_fold(prepared, fold, labels)
    columns = zip(labels[kept].T, probability[kept].T, strict=True)
    reached = np.array([measure(truth, predicted, ["auroc"])["auroc"][0] for truth, predicted in columns])
    low, high = np.quantile(reached, [0.025, 0.975])
    note = f"mean and 95 % range of {n_permutations} shuffles of the labels between groups"
    null = Estimate(float(reached.mean()), float(low), float(high), true.n_files, true.n_groups, note=note)
    return Finding(true, null, (1 + int((reached >= true.value).sum())) / (n_permutations + 1))


def shuffled_labels(images: pd.DataFrame, fold: np.ndarray, n_permutations: int, seed: int) -> np.ndarray:
    """Labels (n, n_permutations) shuffled between whole groups within each fold, as `compare_with_shuffled` says.

    `fold` (n,) has -1 for images that are left out; the labels they get here mean nothing.
    """
    kept = fold >= 0
    table = images.loc[kept, ["group", "label"]].assign(fold=fold[kept])
    units = table.drop_duplicates(ignore_index=True)
    twice = units.duplicated(["group", "label"])
    if twice.any():
        raise ValueError(
            f"group {units['group'][twice].iloc[0]} lies in two folds; "
            "the shuffled labels need folds of the protocol grouped"
        )
    known, of_images = (pd.MultiIndex.from_frame(one[["group", "label"]]) for one in (units, images))
    rng = np.random.default_rng(seed)
    by_fold = units.groupby("fold")["label"]
    shuffled = [by_fold.transform(rng.permutation).to_numpy() for _ in range(n_permutations)]
    # Images that are left out have no unit, and get those of the last one.
    return np.column_stack(shuffled)[known.get_indexer(of_images)]


def compare_all(
    sets: Mapping[str, np.ndarray],
    images: pd.DataFrame,
    folds: pd.Series,
    n_permutations: int,
    n_resamples: int,
    seed: int,
) -> dict[str, Finding]:
    """`compare_with_shuffled` for every named set of features, in the order given."""
    settings = (images, folds, n_permutations, n_resamples, seed)
    return {name: compare_with_shuffled(features, *settings) for name, features in sets.items()}


def as_table(findings: Mapping[str, Finding]) -> pd.DataFrame:
    """One row per set of features: name, meaning, AUROC with interval, the shuffled labels' range, p value."""
    rows = []
    for name, one in findings.items():
        row = {"features": name, "meaning": MEANING.get(name, name)}
        row |= {"value": one.auroc.value, "low": one.auroc.low, "high": one.auroc.high}
        row |= {"shuffled": one.null.value, "shuffled_low": one.null.low, "shuffled_high": one.null.high}
        rows.append(row | {"p_value": one.p_value, "n_files": one.auroc.n_files, "n_groups": one.auroc.n_groups})
    return pd.DataFrame(rows)


def prepare(features: np.ndarray, fold: np.ndarray) -> dict[int, np.ndarray]:
    """For every fold the features of all images, transformed as its training images say."""
    features = np.asarray(features, float).reshape(len(features), -1)
    few = features.shape[1] <= COMPONENTS
    found = {}
    for number in sorted(set(fold) - {-1}):
        train = features[(fold >= 0) & (fold != number)]
        bins = KBinsDiscretizer(BINS, encode="onehot-dense", quantile_method="averaged_inverted_cdf")
        reduce = PCA(min(COMPONENTS, *train.shape), svd_solver="full")
        # Quantiles would lose a yes or no whose share is none of them.
        words = np.isin(features, (0, 1)).all(axis=0)
        cut = make_column_transformer((bins, ~words), ("passthrough", words))
        steps = [cut, StandardScaler()] if few else [StandardScaler(), reduce, StandardScaler()]
        with warnings.catch_warnings():
            # A feature with a single value has no quantiles to cut at; it stays in one bin.
            warnings.filterwarnings("ignore", message=".*(constant|Bins whose width are too small).*")
            found[int(number)] = make_pipeline(*steps).fit(train).transform(features)
    return found


def _out_of_fold(prepared: Mapping[int, np.ndarray], fold: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Probabilities for labels (n,), or (n, shuffles): least squares has a closed form that fits all at once.

    Each label is centred on its fold's share of osteoporosis. Otherwise a fold with many cases would leave few to train
    on, and chance would fall below 0.5. A logistic curve of the same slope keeps the result in (0, 1).
    """
    distance, found = np.zeros(labels.shape), np.full(labels.shape, np.nan)
    for number in prepared:
        distance[fold == number] = labels[fold == number] - labels[fold == number].mean(axis=0)
    for number in prepared:
        train, test = (fold >= 0) & (fold != number), fold == number
        model = Ridge(PENALTY).fit(prepared[number][train], distance[train])
        found[test] = expit(4 * model.predict(prepared[number][test]))
    return found


def _border(film: np.ndarray) -> np.ndarray:
    """Mean and spread of eight pieces of each of the four edge strips: float (64,)."""
    height, width = film.shape
    tall, broad = max(2, round(height * _EDGE)), max(2, round(width * _EDGE))
    strips = film[:tall], film[-tall:], film[:, :broad].T, film[:, -broad:].T
    pieces = [piece for strip in strips for piece in np.array_split(strip.astype(float), 8, axis=1)]
    return np.array([value for piece in pieces for value in (piece.mean(), piece.std())])


def _corners(film: np.ndarray) -> np.ndarray:
    """The four corners at 8 by 8 pixels: float (256,)."""
    height, width = film.shape
    tall, broad = max(8, round(height * _CORNER)), max(8, round(width * _CORNER))
    corners = film[:tall, :broad], film[:tall, -broad:], film[-tall:, :broad], film[-tall:, -broad:]
    return np.concatenate([_thumbnail(corner, 8).ravel() for corner in corners])


def _thumbnail(film: np.ndarray, side: int = SIDE) -> np.ndarray:
    small = Image.fromarray(np.ascontiguousarray(film)).resize((side, side), Image.Resampling.BOX)
    return np.asarray(small, dtype=float)
