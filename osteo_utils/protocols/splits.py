"""From protocols to folds: which films are trained on and which are scored; one fold, ready to fit."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

from osteo_utils.study import results

PROTOCOLS = ("grouped", "grouped_all", "grouped_knees", "by_file", "augment_first", "resubstitution", "tuned_on_test")
LEFT_OUT = -1
_MORE_ORDERS = 100


def make_folds(images: pd.DataFrame, protocol: str, n_folds: int, seed: int, views: int = 1) -> pd.DataFrame:
    """Assign images to folds: columns protocol, seed, image_id, view, fold (-1 = left out).

    `images` has one row per image: image_id, label (0 or 1), group, conflict (0 or 1) and, for `grouped_knees`, knee.
    `grouped` and `tuned_on_test` keep groups together and leave out knees with both labels; `grouped_all` keeps those too;
    `grouped_knees` keeps knees together but not the knees of a person; `by_file` ignores groups; `augment_first` splits `views` views of each image as if each were an image; `resubstitution` has one fold
    0 for training and scoring. Every other fold holds films of both classes. The result depends on the seed, not on the
    order of rows. Raises ValueError for an impossible request, and for external images, which must never get a fold.
    """
    if protocol not in PROTOCOLS:
        raise ValueError(f"unknown protocol {protocol!r}; expected one of {', '.join(PROTOCOLS)}")
    if "role" in images and (foreign := images.loc[images.role != "develop", "image_id"]).any():
        raise ValueError(f"{foreign.iloc[0]} is of the external set; expected only images from manifest.usable")
    unit = unit_of(protocol)
    table = images[["image_id", "label", unit, "conflict"]].sort_values("image_id", ignore_index=True)
    if (twice := table.image_id.duplicated()).any():
        raise ValueError(f"image {table.image_id[twice].iloc[0]} is listed twice; expected one row each")
    n_views = views if protocol == "augment_first" else 1
    samples = pd.concat([table.assign(view=view) for view in range(n_views)], ignore_index=True)
    samples["fold"] = LEFT_OUT
    if protocol == "resubstitution":
        samples["fold"] = 0
    elif protocol in ("by_file", "augment_first"):
        _check_possible(samples.label, samples.index.to_series(), n_folds, protocol)
        splitter = StratifiedKFold(n_folds, shuffle=True, random_state=seed)
        samples["fold"] = _numbers(splitter.split(samples, samples.label), len(samples))
    else:
        kept = samples if protocol == "grouped_all" else samples[samples.conflict == 0]
        _check_possible(kept.label, kept[unit], n_folds, protocol)
        samples.loc[kept.index, "fold"] = _whole_groups(kept.label, kept[unit], n_folds, seed, protocol)
    return samples.assign(protocol=protocol, seed=seed)[["protocol", "seed", "image_id", "view", "fold"]]


def _whole_groups(label: pd.Series, unit: pd.Series, n_folds: int, seed: int, protocol: str) -> np.ndarray:
    """Folds of whole groups, stratified. Where groups carry both labels, the split may leave a fold of one class.

    Then other orders of the groups are tried, the same ones for the same seed.
    """
    orders = [seed, *np.random.default_rng(seed).integers(2**31, size=_MORE_ORDERS).tolist()]
    for order in orders:
        splitter = StratifiedGroupKFold(n_folds, shuffle=True, random_state=order)
        folds = _numbers(splitter.split(label, label, unit), len(label))
        counts = pd.crosstab(folds, label.to_numpy()).reindex(range(n_folds), fill_value=0)
        if counts.shape[1] == 2 and counts.to_numpy().min() > 0:
            return folds
    lone = counts.index[counts.min(axis=1) == 0][0]
    raise ValueError(
        f"{protocol}, seed {seed}: {len(orders)} ways to assign {unit.nunique()} groups to {n_folds} folds all leave a "
        f"fold of one class (at last fold {lone}, {int(counts.loc[lone].sum())} films), as groups carry both labels or differ "
        f"in size; choose fewer than {n_folds} folds (n_folds), or add patients"
    )


def unit_of(protocol: str) -> str:
    """The column of images whose values a protocol that knows groups keeps on one side."""
    return "knee" if protocol == "grouped_knees" else "group"


def check_no_leak(folds: pd.Series, groups: pd.Series) -> None:
    """Raise ValueError where a group lies in two folds; both are indexed by image_id, fold -1 does not count."""
    scored = folds[folds != LEFT_OUT]
    spread = scored.groupby(groups.loc[scored.index]).nunique()
    if (spread > 1).any():
        group = spread[spread > 1].index[0]
        films = ", ".join(scored.index[groups.loc[scored.index] == group][:4])
        raise ValueError(f"group {group} lies in more than one fold ({films}); run 02_eda again")


def _check_possible(labels: pd.Series, units: pd.Series, n_folds: int, protocol: str) -> None:
    counts = {int(label): int(units[labels == label].nunique()) for label in (0, 1)}
    fewest = min(counts.values())
    if fewest < n_folds:
        what = "images" if protocol in ("by_file", "augment_first") else "groups"
        remedy = f"n_folds of at most {fewest} would work" if fewest >= 2 else "more images of that class are needed"
        need = f"{n_folds} folds need at least {n_folds} {what} of each class"
        raise ValueError(f"{protocol}: {need}; found {counts[0]} normal and {counts[1]} osteoporosis; {remedy}")


def _numbers(split: Iterable[tuple[np.ndarray, np.ndarray]], n: int) -> np.ndarray:
    folds = np.full(n, LEFT_OUT)
    for number, (_, scored) in enumerate(split):
        folds[scored] = number
    return folds


@dataclass(frozen=True)
class Fold:
    """One fold to fit: the fold of each image, and which fold is scored."""

    protocol: str
    seed: int
    number: int
    table: pd.DataFrame  # image_id, label, group, knee, fold, in the order of the activations

    @property
    def train(self) -> np.ndarray:
        """Positions of the training images."""
        return np.flatnonzero((self.table.fold >= 0) & (self.table.fold != self.number))

    @property
    def test(self) -> np.ndarray:
        """Positions of the images that are scored."""
        return np.flatnonzero(self.table.fold == self.number)

    @property
    def labels(self) -> np.ndarray:
        return self.table.label.to_numpy(int)

    @property
    def inner_groups(self) -> np.ndarray:
        """Groups for an inner split, which repeats the mistake of the outer one."""
        if self.protocol == "by_file":
            return np.arange(len(self.table))
        return self.table[unit_of(self.protocol)].to_numpy()

    def arm(self, recipe: str, variant: str) -> dict[str, object]:
        """The columns that identify a fit of this fold."""
        ours = {"seed": self.seed, "fold": self.number}
        return {"protocol": self.protocol, "recipe": recipe, "variant": variant, **ours}

    def inner_split(self, share: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """Positions to train on and to validate on (about `share` of the training images): whole groups, stratified."""
        train = self.train
        if share == 0:
            return train, train[:0]
        splitter = StratifiedGroupKFold(max(2, round(1 / share)), shuffle=True, random_state=seed)
        learn, held = next(splitter.split(train, self.labels[train], self.inner_groups[train]))
        return train[learn], train[held]


def predictions(images: pd.DataFrame, probability: np.ndarray, arm: Mapping[str, object]) -> pd.DataFrame:
    """A `predictions` table of these images (image_id, group, label), in their order; `arm` as `Fold.arm` gives it."""
    columns = {"image_id": images.image_id, "view": 0, "group": images.group, "y_true": images.label}
    table = pd.DataFrame(columns).assign(**arm, y_prob=probability.astype(float))
    return table[list(results.CONTRACTS["predictions"].columns)].reset_index(drop=True)


def fold_list(images: pd.DataFrame, folds: pd.DataFrame, protocols: list[str], seeds: list[int]) -> list[Fold]:
    """Every fold of the named protocols and seeds.

    `images` has image_id, label, group and knee, in the order of the activations; `folds` is `folds.csv`. Raises ValueError
    where `folds` lacks a protocol or an image, or splits a group.
    """
    found = []
    for protocol in protocols:
        for seed in seeds:
            chosen = folds[(folds.protocol == protocol) & (folds.seed == seed) & (folds.view == 0)]
            if chosen.empty:
                raise ValueError(f"folds.csv has no protocol {protocol!r} with seed {seed}; run 02_eda with it")
            table = images.merge(chosen[["image_id", "fold"]], on="image_id", how="left", validate="one_to_one")
            if table.fold.isna().any():
                raise ValueError(f"folds.csv, {protocol}: no fold for {table.image_id[table.fold.isna()].iloc[0]}")
            table["fold"] = table.fold.astype(int)
            if protocol != "by_file":
                check_no_leak(table.set_index("image_id").fold, table.set_index("image_id")[unit_of(protocol)])
            found += [Fold(protocol, seed, number, table) for number in sorted(set(table.fold) - {-1})]
    return found
