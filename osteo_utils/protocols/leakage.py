"""One mistake at a time: the same small network under every protocol, honest or not.

The network is a multilayer perceptron on pooled activations of a frozen backbone. Its penalty and number of epochs
are chosen on the honest split before any mistake is made, and every fit learns from the same number of films. A
difference between two protocols is therefore due to the protocol alone. **Leakage in this room is deliberate**; no
other room may import it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from scipy.special import expit, logit
from sklearn.feature_selection import f_classif
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.neural_network import MLPClassifier

from osteo_utils.protocols.definitions import SELECTED, Protocol
from osteo_utils.study import runtime

HIDDEN_UNITS = 64
LEARNING_RATE = 1e-3
BATCH_SIZE = 128
PENALTIES = (0.1, 1.0)
INNER_FOLDS = 4
# View and position of each sample, by epoch.
Epochs = list[tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True)
class Network:
    """The network of the lab; no protocol changes it."""

    epochs: int
    penalty: float = 1.0

    def train(self, features: np.ndarray, labels: np.ndarray, epochs: Epochs, seed: int) -> Iterator[MLPClassifier]:
        """The network after each epoch; features (views, n, channels)."""
        network = MLPClassifier(
            hidden_layer_sizes=(HIDDEN_UNITS,),
            alpha=self.penalty,
            learning_rate_init=LEARNING_RATE,
            batch_size=min(BATCH_SIZE, len(epochs[0][1])),
            random_state=seed,
        )
        for views, positions in epochs:
            network.partial_fit(features[views, positions], labels[positions], classes=[0, 1])
            yield network


@dataclass(frozen=True)
class Lab:
    """What all protocols share: the network, the films' features (views, n, channels) and the splits.

    `images` (image_id, label, group, knee) follows the features, `folds` is `folds.csv`; a fit learns from `size` films.
    """

    network: Network
    features: np.ndarray
    images: pd.DataFrame
    folds: pd.DataFrame
    size: int

    def samples(self, split: str, seed: int) -> pd.DataFrame:
        """View, position and fold of each sample of a split; raises ValueError where folds.csv lacks it."""
        rows = self.folds[(self.folds.protocol == split) & (self.folds.seed == seed) & (self.folds.fold >= 0)]
        if rows.empty:
            raise ValueError(f"folds.csv has no protocol {split!r} with seed {seed}; run 02_eda with it")
        position = pd.Series(np.arange(len(self.images)), index=self.images.image_id)
        table = rows[["view", "fold"]].assign(position=position.loc[rows.image_id].to_numpy())
        return table.sort_values(["view", "position"], ignore_index=True)

    def labels(self, shuffled: bool, seed: int) -> np.ndarray:
        """The labels, int (n,); shuffled ones are permuted between knees within a fold of `grouped`."""
        labels = self.images.label.to_numpy(int)
        if not shuffled:
            return labels
        fold = self.samples("grouped", seed).set_index("position").fold
        fold = fold.reindex(range(len(labels)), fill_value=-1).to_numpy()
        units = pd.DataFrame({"knee": self.images.knee, "fold": fold, "label": labels})
        units = units.drop_duplicates("knee").set_index("knee")
        generator = np.random.default_rng(runtime.derived_seed("leakage", "shuffled", seed))
        permuted = units.groupby("fold").label.transform(generator.permutation)
        return permuted.loc[self.images.knee].to_numpy(int)


def prepare(
    features: np.ndarray, images: pd.DataFrame, folds: pd.DataFrame, seeds: Sequence[int], most_epochs: int
) -> tuple[Lab, pd.DataFrame]:
    """A lab whose network is tuned on the honest split, and the inner accuracy of each penalty and epoch.

    Tuning uses inner folds of the training images of `grouped`, first seed. Of all settings within one standard error
    of the best it keeps the most epochs, then the smallest penalty: nothing would have stopped the training as long
    as honest accuracy did not suffer. Fits learn from as many films as the smallest training set of `grouped` has.
    Columns of the table: penalty, epoch, accuracy.
    """
    draft = Lab(Network(most_epochs), features, images, folds, 0)
    splits = [draft.samples("grouped", seed) for seed in seeds]
    size = min(len(split) - split.fold.value_counts().max() for split in splits)
    right = {penalty: _inner_right(draft, penalty, seeds[0]) for penalty in PENALTIES}
    epochs = np.arange(1, most_epochs + 1)
    parts = [
        pd.DataFrame({"penalty": penalty, "epoch": epochs, "accuracy": shares.mean(axis=0)})
        for penalty, shares in right.items()
    ]
    tried = pd.concat(parts, ignore_index=True).astype(float)
    best = tried.accuracy.max()
    groups = len(right[PENALTIES[0]])
    good = tried[tried.accuracy >= best - np.sqrt(best * (1 - best) / groups)]
    kept = good.sort_values(["epoch", "penalty"], ascending=[False, True]).iloc[0]
    network = replace(draft.network, epochs=int(kept.epoch), penalty=float(kept.penalty))
    return replace(draft, network=network, size=int(size)), tried


def _inner_right(lab: Lab, penalty: float, seed: int) -> np.ndarray:
    """Accuracy within each held-out group after each epoch: (groups, epochs)."""
    samples, labels = lab.samples("grouped", seed), lab.labels(shuffled=False, seed=seed)
    groups = lab.images.group.to_numpy()
    inner = StratifiedGroupKFold(INNER_FOLDS, shuffle=True, random_state=seed)
    shares = []
    for fold in sorted(samples.fold.unique()):
        outer = samples.position[samples.fold != fold].to_numpy()
        learnt, held = next(inner.split(outer, labels[outer], groups[outer]))
        scaled = _scaled(lab.features, outer[learnt])
        generator = np.random.default_rng(runtime.derived_seed("leakage", "inner", seed, fold))
        epochs = _epochs_of(outer[learnt], len(lab.features), lab.network.epochs, generator)
        rows = pd.DataFrame({"view": 0, "position": outer[held]})
        fits = replace(lab.network, penalty=penalty).train(scaled, labels, epochs, seed)
        called = np.array([_scores(fit, scaled, rows) >= 0.5 for fit in fits])
        right = pd.DataFrame((called == (labels[rows.position] == 1)).T)
        shares.append(right.groupby(groups[rows.position]).mean())
    return np.concatenate(shares)


def run(lab: Lab, names: Sequence[str], seeds: Sequence[int]) -> pd.DataFrame:
    """A `predictions` table of the named protocols on the splits of these seeds; `y_true` is the shuffled label if any."""
    protocols = [Protocol(name) for name in dict.fromkeys(names)]
    parts = []
    for fit in dict.fromkeys(one.fit for one in protocols):
        sharing = [one for one in protocols if one.fit == fit]
        for seed in seeds:
            parts += _run_fit(lab, sharing, seed)
    table = pd.concat(parts, ignore_index=True).assign(recipe="pooled_mlp", variant="full")
    return pd.concat([table[table.protocol == one.name] for one in protocols], ignore_index=True)


def _run_fit(lab: Lab, sharing: Sequence[Protocol], seed: int) -> list[pd.DataFrame]:
    first = sharing[0]
    samples, labels = lab.samples(first.split, seed), lab.labels(first.has("shuffled"), seed)
    generator = np.random.default_rng(runtime.derived_seed("leakage", first.split, seed))
    if first.split == "augment_first":
        # A smaller study: all views of as many films as the other fits learn from.
        chosen = generator.choice(np.unique(samples.position), lab.size, replace=False)
        samples = samples[samples.position.isin(chosen)].reset_index(drop=True)
    numbers = sorted(samples.fold.unique())
    parts = []
    for place, fold in enumerate(numbers):
        held, seen = samples[samples.fold == fold], samples[samples.fold == numbers[place - 1]]
        shown, epochs = _training(lab, first, samples, fold, seen, generator)
        inputs = _inputs(lab, first, labels, shown, np.unique(samples.position))
        every_epoch, by_epoch = any(one.has("tuned_on_test") for one in sharing), []
        for network in lab.network.train(inputs, labels, epochs, runtime.derived_seed("leakage", seed, fold)):
            if every_epoch:
                by_epoch.append(_scores(network, inputs, held))
        for one in sharing:
            rows, probability = held, by_epoch[-1] if every_epoch else _scores(network, inputs, held)
            if one.has("tuned_on_test"):
                probability = tuned_on_test(np.array(by_epoch), labels[held.position])
            elif one.has("resubstitution"):
                rows = seen[seen.position.isin(shown)]
                probability = _scores(network, inputs, rows)
            elif one.has("train_in_test"):
                if place > 0:
                    continue
                rows = pd.concat([held, samples[samples.position.isin(shown)]])
                probability = _scores(network, inputs, rows)
            table = lab.images.iloc[rows.position][["image_id", "group"]].reset_index(drop=True)
            about = {"protocol": one.name, "seed": seed, "fold": fold, "view": rows.view.to_numpy()}
            parts.append(table.assign(**about, y_true=labels[rows.position], y_prob=probability.astype(float)))
    return parts


def _training(
    lab: Lab, protocol: Protocol, samples: pd.DataFrame, fold: int, seen: pd.DataFrame, generator: np.random.Generator
) -> tuple[np.ndarray, Epochs]:
    """Positions of the films that a fit learns from, and the samples of each of its epochs: `lab.size` of each."""
    rest = samples[samples.fold != fold]
    if protocol.split == "augment_first":
        drawn = [generator.choice(len(rest), lab.size, replace=False) for _ in range(lab.network.epochs)]
        return np.unique(rest.position), [(rest.view.to_numpy()[d], rest.position.to_numpy()[d]) for d in drawn]
    # The films of `seen` come first, because resubstitution scores them.
    known = generator.permutation(seen.position)[: lab.size]
    others = rest.position[~rest.position.isin(seen.position)]
    films = np.sort(np.r_[known, generator.choice(others, lab.size - len(known), replace=False)])
    return films, _epochs_of(films, len(lab.features), lab.network.epochs, generator)


def _epochs_of(films: np.ndarray, views: int, epochs: int, generator: np.random.Generator) -> Epochs:
    """Every film once per epoch, in a view drawn for that epoch."""
    return [(generator.integers(views, size=len(films)), films) for _ in range(epochs)]


def _inputs(lab: Lab, protocol: Protocol, labels: np.ndarray, shown: np.ndarray, everything: np.ndarray) -> np.ndarray:
    """Selected and scaled features, float32 (views, n, channels), by the films that the protocol looks at."""
    features = lab.features
    if protocol.has("selected_inside") or protocol.has("selected_first"):
        looked_at = everything if protocol.has("selected_first") else shown
        varies = np.flatnonzero(np.ptp(features[0, looked_at], axis=0) > 0)
        strength, _ = f_classif(features[0][np.ix_(looked_at, varies)], labels[looked_at])
        features = features[:, :, varies[np.argsort(-strength, kind="stable")[:SELECTED]]]
    return _scaled(features, everything if protocol.has("scaled_first") else shown)


def _scaled(features: np.ndarray, looked_at: np.ndarray) -> np.ndarray:
    known = features[:, looked_at]
    middle, spread = known.mean(axis=(0, 1)), known.std(axis=(0, 1))
    # In place, to save memory: the features of many films in all views are large.
    del known
    scaled = features - middle
    scaled /= np.where(spread > 0, spread, 1)
    return scaled.astype(np.float32, copy=False)


def _scores(network: MLPClassifier, inputs: np.ndarray, rows: pd.DataFrame) -> np.ndarray:
    return network.predict_proba(inputs[rows.view, rows.position])[:, 1]


def tuned_on_test(by_epoch: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The probabilities of the epoch that scores best on these labels, shifted to the best threshold.

    by_epoch (epochs, n). A shift of the logits puts the threshold at 0.5 and keeps the order. Ties go to the first
    epoch, then to the lowest threshold.
    """
    best = (-1.0, 0, 0.5)
    for epoch, probability in enumerate(by_epoch):
        order = np.argsort(probability)
        levels, truth = probability[order].astype(np.float64), labels[order]
        # Number right when the first k are called normal.
        right = np.r_[0, np.cumsum(truth == 0)] + np.r_[np.cumsum((truth == 1)[::-1])[::-1], 0]
        edges = np.r_[0.0, levels, 1.0]
        possible = np.flatnonzero(np.diff(edges) > 0)
        cut = possible[np.argmax(right[possible])]
        if right[cut] > best[0]:
            best = (right[cut], epoch, (edges[cut] + edges[cut + 1]) / 2)
    _, epoch, threshold = best
    # In single precision 1 − 1e-9 is 1, whose logit is infinite.
    probability = np.clip(by_epoch[epoch].astype(np.float64), 1e-9, 1 - 1e-9)
    return expit(logit(probability) - logit(threshold))
