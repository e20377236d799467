"""The parameters of a study: what each means, its type and limits, and which notebook takes it."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import Any

NOTEBOOKS = (
    "01_data_download",
    "02_eda",
    "03_segmentation",
    "04_vgg16",
    "05_resnet50",
    "06_ensemble",
    "07_leakage_lab",
    "08_report",
)
PROTOCOLS = ("grouped", "grouped_all", "by_file")
RECIPES = ("none", "last_block", "last_stage", "all", "paper")
VIEWS = ("squeeze", "pad", "crop", "knee")
VARIANTS = ("full", "segmented", "background")
MASK_METHODS = ("unet", "classical")
CLASSES = ("normal", "osteoporosis", "osteopenia")
OSTEOPENIA = ("exclude", "normal", "osteoporosis")


@dataclass(frozen=True)
class Parameter:
    """One parameter: which notebooks take it, its type, its meaning and its allowed values.

    `limits` is (smallest, largest) for numbers, or the tuple of allowed words. The entries of a list are of the type
    `item`; the list is not empty unless `may_be_empty`.
    """

    notebooks: str
    kind: type
    meaning: str
    limits: tuple[Any, ...] | None = None
    item: type = str
    may_be_empty: bool = False

    def problem(self, value: Any) -> str:
        """What is wrong with `value`; empty when nothing is."""
        if self.kind is list:
            if not isinstance(value, list) or not (value or self.may_be_empty):
                least = "" if self.may_be_empty else "at least one "
                return f"expected a list of {least}{self.item.__name__}"
            if len(set(map(str, value))) < len(value):
                return "an entry is listed twice"
            return next((text for entry in value if (text := self._problem_of_one(entry, self.item))), "")
        return self._problem_of_one(value, self.kind)

    def _problem_of_one(self, value: Any, kind: type) -> str:
        accepted = (int, float) if kind is float else (kind,)
        if not isinstance(value, accepted) or (kind is not bool and isinstance(value, bool)):
            return f"expected {kind.__name__}, found {value!r} ({type(value).__name__})"
        if self.limits and kind is str and value not in self.limits:
            return f"expected one of {', '.join(self.limits)}; {nearest(value, self.limits)}"
        if self.limits and kind in (int, float) and not self.limits[0] <= value <= self.limits[1]:
            return f"expected {self.limits[0]} to {self.limits[1]}, found {value}"
        return ""


ALL = "01 02 03 04 05 06 07 08"
FITTED = "04 05"

PARAMETERS: dict[str, Parameter] = {
    "study": Parameter(ALL, str, "name of the study: where results go"),
    "seed": Parameter(ALL, int, "every random step derives from it", (0, 2**31 - 1)),
    "dataset": Parameter("01", str, "which data set", ("phantom", "knee744", "folder")),
    "data_dir": Parameter("01", str, "folder with normal/ and osteoporosis/; empty = the data set's own place"),
    "external_dir": Parameter(
        "01", str, "folder with normal/ and osteoporosis/ of another source, only ever scored; empty = none"
    ),
    "classes": Parameter(
        "01", list, "other names of the class folders, such as normal=Normal Knee; empty = none", may_be_empty=True
    ),
    "osteopenia": Parameter(
        "01", str, "what becomes of films in a folder osteopenia/: left out, or the class they count as", OSTEOPENIA
    ),
    "phantom_knees": Parameter("01", int, "synthetic knees to draw", (10, 100_000)),
    "phantom_size": Parameter("01", int, "pixels along a synthetic film's longer side", (96, 1024)),
    "phantom_copies": Parameter("01", float, "further files per synthetic knee, on average", (0.0, 4.0)),
    "phantom_conflicts": Parameter(
        "01", float, "share of the copied synthetic knees whose copy lies under the other label", (0.0, 1.0)
    ),
    "phantom_signal": Parameter(
        "01", float, "how much a synthetic film's bone knows of the label: 0 nothing, 1 all", (0.0, 1.0)
    ),
    "phantom_shortcut": Parameter(
        "01", float, "how far a lead ball in the corner goes with the label: 0 not, 1 always", (0.0, 1.0)
    ),
    "phantom_label_noise": Parameter("01", float, "share of synthetic knees under the wrong label", (0.0, 1.0)),
    "phantom_relabel": Parameter(
        "01",
        float,
        "above 0, half of the synthetic knees come from another scanner, and this share is labelled by its scanner",
        (0.0, 1.0),
    ),
    "phantom_site": Parameter(
        "01", str, "the scanner that synthetic films come from", ("flat_panel", "storage_phosphor")
    ),
    "protocols": Parameter("02 03 04 05 06", list, "how files are split", PROTOCOLS),
    "split_seeds": Parameter("02 03 04 05", list, "one split of each protocol per seed", (0, 2**31 - 1), int),
    "trained_seeds": Parameter(
        FITTED, int, "for how many of the split_seeds networks are trained; probes are fitted for all", (1, 1000)
    ),
    "n_folds": Parameter("02 06", int, "folds of a split", (2, 20)),
    "augment_first_views": Parameter("02 07", int, "views of each image in the protocol augment_first", (2, 16)),
    "mask_method": Parameter("03", str, "how bone is found", MASK_METHODS),
    "mask_trial_knees": Parameter(
        "03", int, "synthetic knees of an unseen scanner on which both methods are judged", (2, 10_000)
    ),
    "mask_min_area": Parameter("03", float, "smallest plausible share of bone in a film", (0.0, 1.0)),
    "mask_max_area": Parameter("03", float, "largest plausible share of bone in a film", (0.0, 1.0)),
    "vgg16_weights": Parameter("04", str, "imagenet, random (tests only) or the path of a weights file"),
    "resnet50_weights": Parameter("05 07", str, "imagenet, random (tests only) or the path of a weights file"),
    "view": Parameter("04 05 07", str, "how a film becomes a square", VIEWS),
    "image_size": Parameter("04 05 07", int, "pixels along the side of the network's input", (64, 512)),
    "recipes": Parameter(FITTED, list, "what is trained", RECIPES),
    "primary_recipe": Parameter("04 05 06", str, "the recipe that headline numbers come from", RECIPES),
    "nested_recipes": Parameter(
        FITTED,
        list,
        "recipes that the nested choice chooses from; empty = no nested choice",
        RECIPES,
        may_be_empty=True,
    ),
    "nested_folds": Parameter(FITTED, int, "inner folds, at least, that choose for each fold", (2, 20)),
    "variants": Parameter("04 05", list, "whole film, bone alone, or all but the bone", VARIANTS),
    "compared_views": Parameter(
        FITTED, list, "further ways to make a film a square, for the ablation; empty = none", VIEWS, may_be_empty=True
    ),
    "augmented_views": Parameter(
        FITTED, int, "cached views of each training image: itself, its mirror image, then random ones", (1, 16)
    ),
    "epochs": Parameter(FITTED, int, "passes over the training folds", (1, 500)),
    "batch_size": Parameter(FITTED, int, "images per training step", (2, 1024)),
    "learning_rate": Parameter(FITTED, float, "highest step size, reached after one epoch", (1e-7, 1.0)),
    "weight_decay": Parameter(FITTED, float, "pull of the weights towards zero (AdamW)", (0.0, 1.0)),
    "dropout": Parameter(FITTED, float, "share of pooled features left out in a training step", (0.0, 0.95)),
    "label_smoothing": Parameter(FITTED, float, "how far targets are moved from 0 and 1", (0.0, 0.5)),
    "class_weight": Parameter(
        FITTED, str, "what a class counts in the loss: each image alike, or both classes alike", ("none", "balanced")
    ),
    "inner_validation": Parameter(
        FITTED,
        float,
        "share of the training groups that the best epoch is chosen by; 0 = every epoch, the last is kept",
        (0.0, 0.5),
    ),
    "patience": Parameter(FITTED, int, "epochs without a smaller inner validation loss before a fit stops", (1, 500)),
    "layer_decay": Parameter(
        FITTED, float, "recipe all: step size of a stage, as a share of the next stage's", (0.05, 1.0)
    ),
    "perturbed_films": Parameter(
        FITTED, int, "films scored under every perturbation, one of a group; 0 = one of each", (0, 100_000)
    ),
    "cache_gb": Parameter("04 05 07", float, "largest size of the trunk cache in GB", (0.001, 10_000.0)),
    "label_permutations": Parameter(
        "02 03 06", int, "shuffles of the labels that a shortcut is compared with", (10, 100_000)
    ),
    "bootstrap_resamples": Parameter("02 03 04 05 06 07", int, "resamples behind each interval", (100, 100_000)),
    "target_sensitivity": Parameter("06", float, "sensitivity for which a threshold is chosen", (0.5, 0.999)),
    "leakage_seeds": Parameter("02 07", list, "splits of the leakage lab, one per seed", (0, 2**31 - 1), int),
    "leakage_epochs": Parameter("07", int, "passes over the training images in the leakage lab", (1, 1000)),
    "films": Parameter("08", bool, "show radiographs in the report"),
}


def nearest(word: str, known: Any) -> str:
    """A hint at what may have been meant, as the end of a sentence."""
    close = difflib.get_close_matches(str(word), list(known), n=1, cutoff=0.4)
    return f"did you mean {close[0]!r}?" if close else "nothing known is like it."
