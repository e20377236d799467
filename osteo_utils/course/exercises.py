"""The exercises: for each its right answer and what its usual mistakes lead to, computed from the results of a study.

The words (kind of answer, hint, mistakes) are in `exercises.yaml`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats
from sklearn.metrics import roc_auc_score

from osteo_utils.papers import claims
from osteo_utils.study import paths, results

PREVALENCE, WANTED_SENSITIVITY, TESTED = 0.05, 0.9, 149
TOY_ROWS, TOY_FOLDS = 1000, 5
# The right answer, and then the value of each mistake in the order of `exercises.yaml`.
Values = tuple[float | bool | str, ...]


@dataclass(frozen=True)
class Results:
    """What a study has saved, in `folder`: `reports/<study>` or its published copy."""

    study: str
    folder: Path

    @cached_property
    def metrics(self) -> dict[str, results.Estimate]:
        """All metrics by name."""
        return results.load_metrics(self.folder)

    @cached_property
    def claims(self) -> pd.DataFrame:
        """The paper's claims with their verdicts, one a row."""
        return pd.DataFrame(results.read_json(self.folder / "claims.json"))

    def table(self, name: str) -> pd.DataFrame:
        """The table `tables/<name>.csv`."""
        return results.read_table(self.folder / "tables" / f"{name}.csv")

    def predictions(self, model: str, protocol: str = "grouped", recipe: str = "") -> pd.DataFrame:
        """Out-of-fold predictions of whole films in the first split, sorted by image_id; the primary recipe unless named.

        Raises ValueError where the study has none like these.
        """
        if not recipe:
            about = results.read_json(self.folder / "metrics" / f"{paths.MODEL_NOTEBOOKS[model]}.json")["_run"]
            recipe = about["parameters"]["primary_recipe"]
        every = results.read_table(self.folder / "predictions" / f"{model}.csv", "predictions")
        chosen = every.query("protocol == @protocol and recipe == @recipe and variant == 'full' and view == 0")
        if chosen.empty:
            raise ValueError(
                f"{self.study}: {model} has no predictions for {protocol}, {recipe}; run its notebook with both"
            )
        return chosen[chosen.seed == chosen.seed.min()].sort_values("image_id", ignore_index=True)


def _toy_accuracy(_: Results | None) -> Values:
    trained = (TOY_ROWS - TOY_ROWS / TOY_FOLDS) / (TOY_ROWS - 1)
    return trained + (1 - trained) / 2, trained, 1.0, 0.5


def _toy_interval(_: Results | None) -> Values:
    return 2.0, 4.0, 0.5


def _usable(study: Results) -> pd.Series:
    return study.table("data_files_by_class").set_index("class_name")["ok"]


def _share_of_class(study: Results) -> Values:
    usable = _usable(study)
    share = usable["osteoporosis"] / usable.sum()
    return share, usable["osteoporosis"] / usable["normal"], 1 - share


def _baseline(study: Results) -> Values:
    larger = _usable(study).max() / _usable(study).sum()
    return larger, 1 - larger, 0.5


def _file_size(study: Results) -> Values:
    middle = study.table("data_sizes").query("measure == 'kilobytes'").set_index("class_name")["50%"]
    normal, other = middle["normal"], middle["osteoporosis"]
    return other / normal - 1, other - normal, other / normal, 1 - normal / other


def _files(study: Results) -> pd.DataFrame:
    return study.predictions("vgg16", "by_file", "none")


def _groups(study: Results) -> Values:
    size = _files(study).groupby("group").size()
    return len(size), int(size.sum()), int((size > 1).sum())


def _copies(study: Results) -> Values:
    size = _files(study).groupby("group").size()
    return int(size[size > 1].sum()), int(size.sum() - len(size)), int((size == 1).sum())


def _conflicts(study: Results) -> Values:
    labels = _files(study).groupby("group").y_true
    both = labels.min() != labels.max()
    return int(both.sum()), int(labels.size()[both].sum()), int((~both).sum())


def _separated(study: Results) -> Values:
    files = _files(study)
    size = files.groupby("group").image_id.transform("size")
    apart = size > files.groupby(["group", "fold"]).image_id.transform("size")
    return apart.mean(), (size > 1).mean(), apart.groupby(files.group).any().mean()


def _both_sides(study: Results) -> Values:
    groups = _files(study).groupby("group")
    first_fold, size = groups.fold.min(), groups.size()
    split = first_fold < groups.fold.max()
    first = split & (first_fold == 0)
    return int(split.sum()), int(first.sum()), int(size[split].sum()), int((size > 1).sum())


def _worst_bone(study: Results) -> Values:
    dice = study.table("mask_trial").query("method == 'unet' and bone != 'all'").groupby("bone").dice.mean()
    return dice.idxmin(), dice.idxmax(), "all"


def _iou(study: Results) -> Values:
    trial = study.table("mask_trial").query("method == 'classical' and bone == 'all'")
    return (trial.dice / (2 - trial.dice)).mean(), trial.dice.mean(), trial.dice.mean() / 2


def _texture_gap(study: Results) -> Values:
    gap, accuracy = (
        study.metrics[f"texture/grouped/{metric}"].value - study.metrics[f"vgg16/grouped/{metric}"].value
        for metric in ("auroc", "accuracy")
    )
    return gap, -gap, accuracy


def _rates(films: pd.DataFrame) -> tuple[float, float, float, float]:
    """Sensitivity, specificity, precision and accuracy at 0.5."""
    called, ill = films.y_prob >= 0.5, films.y_true == 1
    return called[ill].mean(), (~called)[~ill].mean(), ill[called].mean(), (called == ill).mean()


def _sensitivity(study: Results) -> Values:
    return _rates(study.predictions("vgg16"))


def _threshold(study: Results) -> Values:
    films = study.predictions("vgg16")
    found = np.sort(films.y_prob[films.y_true == 1])[::-1]
    cut = found[int(np.ceil(WANTED_SENSITIVITY * len(found))) - 1]
    specificity = (films.y_prob[films.y_true == 0] < cut).mean()
    return specificity, _rates(films)[1], 1 - specificity, cut


def _standard_error(study: Results) -> Values:
    films = study.predictions("vgg16")
    right = ((films.y_prob >= 0.5) == films.y_true).astype(float)
    sums = (right - right.mean()).groupby(films.group).sum()
    by_group = np.sqrt((sums**2).sum()) / len(films)
    return by_group, np.sqrt(right.mean() * (1 - right.mean()) / len(films)), 1.96 * by_group


def _split_gain(study: Results) -> Values:
    gain, probes = (
        study.metrics[f"vgg16/by_file{recipe}/accuracy"].value - study.metrics[f"vgg16/grouped{recipe}/accuracy"].value
        for recipe in ("", "/none")
    )
    return gain, -gain, probes


def _gain_shown(study: Results) -> Values:
    return (bool(study.metrics["comparison/resnet50-vgg16/grouped/auroc"].low > 0),)


def _errors(study: Results) -> tuple[pd.Series, pd.Series]:
    """Which films each network gets wrong, VGG16 first; the same films in the same order."""
    first, second = study.predictions("vgg16"), study.predictions("resnet50")
    return (first.y_prob >= 0.5) != first.y_true, (second.y_prob >= 0.5) != second.y_true


def _shared_errors(study: Results) -> Values:
    vgg, resnet = _errors(study)
    return vgg[resnet].mean(), resnet[vgg].mean(), (vgg & resnet).sum() / (vgg | resnet).sum()


def _mcnemar(study: Results) -> Values:
    vgg, resnet = _errors(study)
    one, other = int((vgg & ~resnet).sum()), int((resnet & ~vgg).sum())
    exact = stats.binomtest(one, max(one + other, 1)).pvalue
    return exact, exact / 2, stats.chi2.sf((one - other) ** 2 / max(one + other, 1), 1)


def _disagreement(study: Results) -> Values:
    rows = study.table("ensemble_agreement").set_index("name")
    return rows.accuracy["they differ"], rows.coverage["they differ"], rows.accuracy["both say the same"]


def _agreement(one: pd.Series, other: pd.Series) -> float:
    """Cohen's kappa of two columns of True and False."""
    chance = one.mean() * other.mean() + (1 - one.mean()) * (1 - other.mean())
    return ((one == other).mean() - chance) / (1 - chance)


def _kappa(study: Results) -> Values:
    vgg, resnet = study.predictions("vgg16"), study.predictions("resnet50")
    one, other = vgg.y_prob >= 0.5, resnet.y_prob >= 0.5
    return _agreement(one, other), (one == other).mean(), _agreement(one, vgg.y_true == 1)


def _average(study: Results) -> Values:
    vgg, resnet = study.predictions("vgg16"), study.predictions("resnet50")
    scores = (vgg.y_prob + resnet.y_prob) / 2, vgg.y_prob, resnet.y_prob
    both, *own = (roc_auc_score(vgg.y_true, score) for score in scores)
    return both, np.mean(own), *own


def _predictive_value(study: Results) -> Values:
    sensitivity, specificity, precision, _ = _rates(study.predictions("resnet50"))
    true, false = PREVALENCE * sensitivity, (1 - PREVALENCE) * (1 - specificity)
    return true / (true + false), sensitivity, precision


def _worst_mistake(study: Results) -> Values:
    gain = study.table("leakage").set_index("protocol").above_grouped
    several = gain.index.str.contains("+", regex=False)
    return gain[~several].idxmax(), gain[several].idxmax() if several.any() else "", "grouped"


def _meaningless(study: Results) -> Values:
    shuffled = study.table("leakage_shuffled").set_index("protocol").value
    found = shuffled["augment_first+shuffled"]
    return found - 0.5, found, found - shuffled["grouped+shuffled"]


def _selection(study: Results) -> Values:
    true, shuffled = (study.table(name).set_index("protocol").value for name in ("leakage", "leakage_shuffled"))
    first = shuffled["selected_first+shuffled"]
    return first - shuffled["selected_inside+shuffled"], true["selected_first"] - true["selected_inside"], first


def _judged(study: Results) -> Values:
    away = int(study.claims.verdict.str.startswith("not applicable").sum())
    return len(study.claims) - away, len(study.claims), away


def _surplus(study: Results) -> Values:
    support = study.table("paper_fig5").support
    return int(support.sum()) - claims.load()["images"], int(support.sum()), int(support.max())


def _wrong_rows(study: Results) -> Values:
    possible = study.table("fig5_matrices")
    wrong = possible["normal, wrong"] + possible["osteoporosis, wrong"]
    return int(wrong.min()), round(0.02 * possible.images.iloc[0]), int(possible["normal, wrong"].min())


def _wilson(study: Results) -> Values:
    row = study.table("paper_intervals").query("id == 'C3' and tested == @TESTED").iloc[0]
    return row.low, row.accuracy - 1.96 * np.sqrt(row.accuracy * (1 - row.accuracy) / TESTED), row.high


EXERCISES: dict[str, Callable[[Results], Values]] = {
    "00.1": _toy_accuracy, "00.2": _toy_interval,
    "01.1": _share_of_class, "01.2": _baseline, "01.3": _file_size,
    "02.1": _groups, "02.2": _copies, "02.3": _conflicts, "02.4": _separated, "02.5": _both_sides,
    "03.1": _worst_bone, "03.2": _iou, "03.3": _texture_gap,
    "04.1": _sensitivity, "04.2": _threshold, "04.3": _standard_error, "04.4": _split_gain,
    "05.1": _gain_shown, "05.2": _shared_errors, "05.3": _mcnemar,
    "06.1": _disagreement, "06.2": _kappa, "06.3": _average, "06.4": _predictive_value,
    "07.1": _worst_mistake, "07.2": _meaningless, "07.3": _selection,
    "08.1": _judged, "08.2": _surplus, "08.3": _wrong_rows, "08.4": _wilson,
}  # fmt: skip
