"""What notebooks 04 and 05 will have to do, from their parameters: films through the trunk and fits, for the progress line.

The costs are multiply-adds. They decide only what share of a run counts as done before the first piece of a kind has
been timed.
"""

from __future__ import annotations

import pandas as pd

from osteo_utils.interpretation import perturbations
from osteo_utils.networks.recipes import Recipe
from osteo_utils.study import results
from osteo_utils.study.progress import PASSES, Kind

# Multiply-adds of the tail as a share of those of the trunk at `last_block`, by what is trained; counted from Simonyan and
# Zisserman 2015 (table 1, D) and He et al. 2016 (table 1). A whole network is the trunk and the tail.
TAIL_SHARES = {
    "vgg16": {"last_block": 0.03, "last_stage": 0.1, "all": 1.03, "paper": 0.001},
    "resnet50": {"last_block": 0.06, "last_stage": 0.27, "all": 1.06, "paper": 0.001},
}
# A training step goes forward and back; the second takes twice as long as the first.
STEP = 3
# A probe is a logistic regression and takes about as long as two films.
PROBE = 2.0


def planned(run: results.Run, backbone: str, images: pd.DataFrame, folds: pd.DataFrame) -> dict[str, Kind]:
    """Passes through the trunk and fits of each recipe that a notebook's parameters ask for, cached ones among them."""
    p, n_images = run.p, len(images)
    squares = len(p.variants) * p.augmented_views + len(p.compared_views)
    squares += sum(_own_squares(recipe, run) for recipe in p.recipes)
    passes = squares * n_images + perturbations.passes(min(p.perturbed_films or n_images, n_images))
    work = {PASSES: Kind(passes)}
    n_folds = folds[folds.fold >= 0].groupby(["protocol", "seed"]).fold.nunique()
    for recipe in p.recipes:
        seeds = p.split_seeds if recipe == "none" else p.split_seeds[: p.trained_seeds]
        fits = 0
        for variant in p.variants:
            if (variant != "full" and recipe == "paper") or (variant == "background" and recipe != "none"):
                continue
            protocols = p.protocols if variant == "full" else ["grouped"]
            fits += int(n_folds.loc[n_folds.index.isin([(one, seed) for one in protocols for seed in seeds])].sum())
        work[recipe] = Kind(fits, _cost(recipe, run, backbone, n_images))
    return work


def _own_squares(recipe: str, run: results.Run) -> int:
    """Views of every film that a recipe needs beside those of `last_block`, whole and bone alone."""
    settings = Recipe.from_parameters(recipe, run.parameters)
    same = (settings.cut, settings.view or run.p.view) == (Recipe.named("last_block").cut, run.p.view)
    if same or settings.cut == "all":
        return 0
    variants = 1 if recipe == "paper" else len([variant for variant in run.p.variants if variant != "background"])
    return variants * run.p.augmented_views


def _cost(recipe: str, run: results.Run, backbone: str, n_images: int) -> float:
    if recipe == "none":
        return PROBE
    return TAIL_SHARES[backbone][recipe] * STEP * Recipe.from_parameters(recipe, run.parameters).epochs * n_images
