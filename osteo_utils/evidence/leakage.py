"""One mistake at a time: the same cheap network under every protocol, honest and not.

The network is a small multilayer perceptron on pooled activations of a frozen backbone. Its size and its
epochs are fixed before any mistake is switched on, so a difference between two protocols is due to the
protocol alone. **Leakage in this room is deliberate**; nothing else in the project may import it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.special import expit, logit
from sklearn.metrics import accuracy_score
from sklearn.neural_network import MLPClassifier
from sklearn.preprocessing import StandardScaler

from osteo_utils.evidence import evaluation
from osteo_utils.study import runtime
from osteo_utils.study.results import Estimate

HIDDEN_UNITS = 64
PENALTY = 1.0
LEARNING_RATE = 1e-3
BATCH_SIZE = 128

MISTAKES = {
    "grouped": "none: groups stay together, groups with both labels are left out",
    "grouped_all": "none: groups stay together, groups with both labels are kept",
    "by_file": "the same knee can be on both sides of the split",
    "augment_first": "augmented views of one image are dealt to training and test",
    "resubstitution": "scored on the images that it was trained on",
    "tuned_on_test": "epoch and threshold chosen on the test fold",
}


@dataclass(frozen=True)
class Network:
    """The one network of the lab: settings that no protocol may change."""

    epochs: int
    hidden_units: int = HIDDEN_UNITS
    penalty: float = PENALTY
    learning_rate: float = LEARNING_RATE
    batch_size: int = BATCH_SIZE

    def train(self, features: np.ndarray, labels: np.ndarray, scored: np.ndarray, seed: int) -> np.ndarray:
        """Probabilities of `scored` after each epoch: float64 (epochs, n); no scored row touches the fit."""
        scaler = StandardScaler().fit(features)
        inputs = scaler.transform(features).astype(np.float32)
        targets = scaler.transform(scored).astype(np.float32)
        network = MLPClassifier(
            hidden_layer_sizes=(self.hidden_units,),
            alpha=self.penalty,
            learning_rate_init=self.learning_rate,
            batch_size=min(self.batch_size, len(inputs)),
            random_state=seed,
        )
        after_epoch = []
        for _ in range(self.epochs):
            network.partial_fit(inputs, labels, classes=[0, 1])
            after_epoch.append(network.predict_proba(targets)[:, 1])
        return np.array(after_epoch)


def run_protocol(
    network: Network,
    features: np.ndarray,
    images: pd.DataFrame,
    folds: pd.DataFrame,
    protocol: str,
    seed: int,
) -> pd.DataFrame:
    """Predictions of one protocol on one split, as a `predictions` table.

    `features` is (views, n, channels) in the order of `images` (image_id, label, group); `folds` holds the
    rows of `folds.csv` for this protocol and seed. Raises ValueError for an unknown protocol.
    """
    if protocol not in MISTAKES:
        raise ValueError(f"unknown protocol {protocol!r}; expected one of {', '.join(MISTAKES)}")
    if folds.empty:
        raise ValueError(f"folds.csv has no protocol {protocol!r} with seed {seed}; run 02_eda with it")
    position = pd.Series(np.arange(len(images)), index=images.image_id)
    samples = folds[folds.fold >= 0].assign(position=lambda frame: position.loc[frame.image_id].to_numpy())
    samples = samples.sort_values(["view", "position"], ignore_index=True)
    rows = features[samples.view, samples.position]
    labels = images.label.to_numpy(int)[samples.position]
    parts = []
    for fold in sorted(samples.fold.unique()):
        test = (samples.fold == fold).to_numpy()
        train = np.ones_like(test) if protocol == "resubstitution" else ~test
        fit_seed = runtime.derived_seed("leakage", protocol, seed, fold)
        by_epoch = network.train(rows[train], labels[train], rows[test], fit_seed)
        probability = by_epoch[-1]
        if protocol == "tuned_on_test":
            probability = tuned_on_test(by_epoch, labels[test])
        part = samples[test].assign(y_true=labels[test], y_prob=probability)
        parts.append(part)
    table = pd.concat(parts, ignore_index=True)
    table["group"] = images.group.to_numpy(int)[table.position]
    return table.assign(protocol=protocol, recipe="pooled_mlp", variant="full", seed=seed).drop(
        columns="position"
    )


def tuned_on_test(by_epoch: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The probabilities of the epoch, and moved to the threshold, that score best on these very labels.

    The logits are shifted so that 0.5 is the chosen threshold; their order stays.
    """
    best = (-1.0, 0, 0.5)
    for epoch, probability in enumerate(by_epoch):
        edges = np.unique(np.concatenate([[0.0], probability, [1.0]]))
        for threshold in (edges[1:] + edges[:-1]) / 2:
            accuracy = accuracy_score(labels, probability >= threshold)
            if accuracy > best[0]:
                best = (accuracy, epoch, threshold)
    _, epoch, threshold = best
    # In single precision 1 − 1e-9 is 1, whose logit is infinite.
    probability = np.clip(by_epoch[epoch].astype(np.float64), 1e-9, 1 - 1e-9)
    return expit(logit(probability) - logit(threshold))


def estimates(predictions: pd.DataFrame, n_resamples: int, seed: int) -> dict[str, Estimate]:
    """Accuracy and AUROC of every protocol, as `leakage/<protocol>/<metric>`, in the order of `MISTAKES`."""
    found = {}
    for protocol in MISTAKES:
        part = predictions[predictions.protocol == protocol]
        for name, one in evaluation.summarise(part, ("accuracy", "auroc"), n_resamples, seed).items():
            found[f"leakage/{protocol}/{name}"] = one
    return found


def increments(found: dict[str, Estimate]) -> pd.DataFrame:
    """Accuracy of each protocol with interval and n, how far it stands above `grouped`, and its mistake."""
    honest = found["leakage/grouped/accuracy"].value
    rows = []
    for protocol, mistake in MISTAKES.items():
        one = found[f"leakage/{protocol}/accuracy"]
        about = {"protocol": protocol, "value": one.value, "low": one.low, "high": one.high}
        rows.append({**about, "n_files": one.n_files, "n_groups": one.n_groups})
        rows[-1] |= {"above_grouped": one.value - honest, "mistake": mistake}
    return pd.DataFrame(rows)
