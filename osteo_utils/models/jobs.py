"""What is to be fitted: how the trainable part learns, and on which images of which fold."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from osteo_utils.data import splits


@dataclass(frozen=True)
class Recipe:
    """How the trainable part learns; see `config.PARAMETERS` for the meaning of each field."""

    fine_tune: str
    epochs: int = 1
    batch_size: int = 32
    learning_rate: float = 1e-4
    weight_decay: float = 0.0
    dropout: float = 0.0
    label_smoothing: float = 0.0

    @classmethod
    def from_parameters(cls, fine_tune: str, parameters: dict) -> Recipe:
        """The recipe that a notebook's parameters describe; a probe has no settings of its own."""
        if fine_tune == "none":
            return cls("none")
        names = [name for name in cls.__dataclass_fields__ if name != "fine_tune"]
        return cls(fine_tune, **{name: parameters[name] for name in names})


@dataclass(frozen=True)
class Fold:
    """One fold to be fitted: where each image stands and which fold is scored."""

    protocol: str
    seed: int
    fold: int
    table: pd.DataFrame  # image_id, label, group, fold, in the order of the activations

    @property
    def train(self) -> np.ndarray:
        """Positions of the training images."""
        return np.flatnonzero((self.table.fold >= 0) & (self.table.fold != self.fold))

    @property
    def test(self) -> np.ndarray:
        """Positions of the images that are scored."""
        return np.flatnonzero(self.table.fold == self.fold)

    @property
    def labels(self) -> np.ndarray:
        return self.table.label.to_numpy(int)

    @property
    def inner_groups(self) -> np.ndarray:
        """What an inner split keeps together; under `by_file` the mistake is made inside as well."""
        return np.arange(len(self.table)) if self.protocol == "by_file" else self.table.group.to_numpy()


def fold_list(
    images: pd.DataFrame, folds: pd.DataFrame, protocols: list[str], seeds: list[int]
) -> list[Fold]:
    """Every fold of the named protocols and seeds.

    `images` has image_id, label and group, in the order of the activations; `folds` is `folds.csv`.
    Raises ValueError where a protocol is not in `folds`, misses an image, or has a group on both sides.
    """
    jobs = []
    for protocol in protocols:
        for seed in seeds:
            chosen = folds[(folds.protocol == protocol) & (folds.seed == seed) & (folds.view == 0)]
            if chosen.empty:
                raise ValueError(
                    f"folds.csv has no protocol {protocol!r} with seed {seed}; run 02_eda with it"
                )
            table = images.merge(
                chosen[["image_id", "fold"]], on="image_id", how="left", validate="one_to_one"
            )
            if table.fold.isna().any():
                raise ValueError(
                    f"folds.csv, {protocol}: no fold for {table.image_id[table.fold.isna()].iloc[0]}"
                )
            table["fold"] = table.fold.astype(int)
            if protocol != "by_file":
                splits.check_no_leak(table.set_index("image_id").fold, table.set_index("image_id").group)
            jobs += [Fold(protocol, seed, fold, table) for fold in sorted(set(table.fold) - {-1})]
    return jobs
