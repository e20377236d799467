"""What notebooks 04 and 05 do alike: one network of a study, section by section.

A section is a method. It writes its metrics, tables and figures, and returns what the notebook shows. What several
sections need (films, weights, activations, fits, predictions) is a step: notebook 04 takes each step in its cells and sets
the attribute. A step that no cell took is taken when a section first needs it, as in notebook 05.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from osteo_utils.interpretation import activation_maps, perturbations, sanity
from osteo_utils.networks import ablation, inputs, scoring, training
from osteo_utils.networks.inputs import Activations
from osteo_utils.plots import figures, films
from osteo_utils.plots.style import NAMES
from osteo_utils.protocols.splits import Fold
from osteo_utils.sources import weights
from osteo_utils.sources.weights import Weights
from osteo_utils.statistics import comparisons, evaluation, resampling, scores
from osteo_utils.study import progress, results
from osteo_utils.study.results import Estimate

DIFFERENCES = ["n_files", "value", "low", "high", "difference", "difference_low", "difference_high"]


@dataclass
class Network:
    """`vgg16` or `resnet50` in the run of a notebook: its films, weights, activations, fits and predictions."""

    run: results.Run
    backbone: str

    @cached_property
    def images(self) -> pd.DataFrame:
        """The films that take part, as `inputs.usable_images` gives them."""
        return inputs.usable_images(self.run)

    @cached_property
    def folds(self) -> pd.DataFrame:
        """The fold of each film under every protocol and seed, as notebook 02 wrote them."""
        return self.run.read(self.run.paths.folds, "folds")

    @cached_property
    def weights(self) -> Weights:
        """Verified ImageNet weights, or what the parameter asks for."""
        return weights.resolve(self.run.parameters[f"{self.backbone}_weights"], self.backbone, self.run.p.seed)

    @cached_property
    def squares(self) -> np.ndarray:
        """Whole films in the study's view, uint8 (n, size, size)."""
        return inputs.square_films(self.run, self.images, "full", self.run.p.view, self.run.p.image_size)

    @cached_property
    def masks(self) -> np.ndarray:
        """Bone masks in the geometry of `squares`."""
        return inputs.square_masks(self.run, self.images, self.run.p.view, self.run.p.image_size)

    @cached_property
    def activations(self) -> dict[str, Activations]:
        """Trunk activations of every variant."""
        run, views = self.run, self.run.p.augmented_views
        return {v: inputs.trunk_views(run, self.images, self.backbone, v, self.weights, views) for v in run.p.variants}

    @cached_property
    def fits(self) -> dict[tuple[str, str], list[tuple[Fold, Path]]]:
        """The fits of each recipe and variant; what is missing is fitted now."""
        return training.fit_study(self.run, self.images, self.folds, self.activations, self.weights)

    @cached_property
    def predictions(self) -> pd.DataFrame:
        """Out-of-fold predictions of all fits."""
        return training.gather(self.folders)[0]

    @cached_property
    def history(self) -> pd.DataFrame:
        """Loss and accuracy of each epoch of all fits."""
        return training.gather(self.folders)[1]

    @property
    def folders(self) -> list[Path]:
        """Where each fit is kept."""
        return [folder for fitted in self.fits.values() for _, folder in fitted]

    @cached_property
    def maps(self) -> activation_maps.StudyMaps:
        """A class activation map for every film, from the `last_block` fit that left it out."""
        return activation_maps.out_of_fold_maps(self.fits["last_block", "full"], self.activations["full"], self.weights)

    @cached_property
    def cases(self) -> pd.DataFrame:
        """Films whose predictions are the surest right, the surest wrong and the least sure."""
        tail = "recipe == 'last_block' and variant == 'full' and protocol == 'grouped'"
        return activation_maps.pick_cases(self.predictions.query(tail))

    def show_films(self) -> pd.DataFrame:
        """Files, groups and files of a knee with both labels, by class; from here on progress is counted."""
        work = training.planned(self.run, self.backbone, self.images, self.folds)
        count = min(self.run.p.perturbed_films or len(self.images), len(self.images))
        work[progress.PASSES].planned += perturbations.passes(count)
        progress.plan(progress.path_of(self.run.paths, self.run.notebook), work, results.write_text)
        columns = {"files": ("image_id", "size"), "groups": ("group", "nunique"), "conflicts": ("conflict", "sum")}
        return self.images.groupby("class_name").agg(**columns)

    def show_views(self) -> Figure:
        """One film in the views that training shows."""
        count, run = self.run.p.augmented_views, self.run
        names = ["itself", "mirrored", *(f"random {n}" for n in range(1, count))][:count]
        first = self.squares[:1], self.images.image_id[:1]
        shown = [inputs.augmented(*first, index, run.p.seed)[0] for index in range(count)]
        where = f"{self._films} · one film, {count} views"
        return self._figure("views", films.grid(shown, names, where, ncols=count, title="Views of one film"), film=True)

    def show_weights(self) -> pd.Series:
        """Where the weights come from and the hash that they were checked against."""
        own = self.weights
        return pd.Series({"source": own.source, "sha256": own.sha256[:16], "arrays": len(own.tensors)})

    def show_trunk(self) -> pd.DataFrame:
        """Number and shape of the stored activations of each variant."""
        about = {v: {"views": len(a.views), "shape": str(a.views[0].shape)} for v, a in self.activations.items()}
        return pd.DataFrame(about)

    def show_fits(self) -> pd.DataFrame:
        """Write predictions and history; images and folds of each recipe, variant and protocol."""
        paths, table = self.run.paths, f"{self.backbone}.csv"
        results.write_table(paths.predictions / table, self.predictions, "predictions")
        results.write_table(paths.history / table, self.history, "history")
        arms = self.predictions.groupby(["recipe", "variant", "protocol"])
        return arms.agg(images=("image_id", "nunique"), folds=("fold", "nunique"))

    def training_curves(self, paper: float | None = None) -> Figure:
        """Accuracy by epoch of `last_block` under `grouped`; `paper` draws the accuracy that the paper gives."""
        trained = self.history.query("recipe == 'last_block' and variant == 'full' and protocol == 'grouped'")
        where = f"{self._films} · grouped, {trained.fold.nunique()} folds"
        drawing = figures.training_curves(trained, where, paper=paper, model=self.backbone)
        return self._figure("training_curves", drawing)

    @cached_property
    def estimates(self) -> dict[str, Estimate]:
        """Every reported metric with its interval, by its full name."""
        return self._named(self.predictions)

    def overview(self) -> pd.DataFrame:
        """One row for each split, recipe and variant; prints how far the result moves with the seed."""
        self.run.keep(self.estimates)
        print(resampling.describe_spread(self.predictions, self.run.p.primary_recipe))
        return self.run.table(f"{self.backbone}_overview", scores.overview(self.estimates))

    def calibration(self) -> pd.DataFrame:
        """Calibration and predictive values."""
        columns = (*scores.CALIBRATED, "ppv@0.1", "npv@0.1")
        return self.run.table(f"{self.backbone}_calibration", scores.overview(self.estimates, columns))

    def ablation(self) -> pd.DataFrame:
        """What the probe would have reached with other squares and depths, each beside the study's own."""
        run, view = self.run, self.run.p.view
        found = ablation.predict(run, self.images, self.folds, self.activations["full"], self.weights)
        tables = {name: comparisons.compared(arms, view, "auroc", *self._resampling) for name, arms in found.items()}
        table = pd.concat(tables, names=["protocol"]).reset_index("protocol")
        self._save_rows("ablation", table, table.protocol + "/" + table.name)
        shown = run.table(f"{self.backbone}_ablation", table)
        return shown.set_index(["protocol", "name"])[[*DIFFERENCES, "p_holm"]].round(3)

    def primary(self, protocol: str) -> pd.DataFrame:
        """Predictions of whole films by the primary recipe under one protocol."""
        wanted = {"protocol": protocol, "variant": "full", "recipe": self.run.p.primary_recipe}
        return self.predictions[(self.predictions[list(wanted)] == pd.Series(wanted)).all(axis=1)]

    def confusion(self) -> Figure:
        """Confusion matrix of the primary recipe under `grouped`."""
        honest = self.primary("grouped")
        counted = f"n = {len(honest)} predictions, {honest.group.nunique()} groups"
        where = f"{counted} · {self._dataset} · grouped, out of fold"
        drawing = figures.confusion(evaluation.confusion(honest), where, title=NAMES[self.backbone])
        return self._figure("confusion", drawing)

    def classification_report(self) -> pd.DataFrame:
        """Precision, recall and F1 of the same predictions, as scikit-learn prints them."""
        report = evaluation.classification_report_frame(self.primary("grouped"))
        self.run.table(f"{self.backbone}_classification_report", report.reset_index(names="class"))
        return report.round(2)

    def roc(self) -> Figure:
        """ROC curve of each protocol."""
        curves = {protocol: self.primary(protocol) for protocol in self.run.p.protocols}
        where = f"{self._films} · {NAMES[self.backbone]}, {self.run.p.primary_recipe}, out of fold"
        return self._figure("roc", figures.roc(curves, where, *self._resampling))

    def activation_maps(self) -> Figure:
        """Save the class activation maps of all films and draw those of a few."""
        activation_maps.save(self.run.paths.activation_maps(self.backbone), self.maps, self.images)
        drawn = activation_maps.drawn(self.cases, self.maps, self.squares, self.masks, self.images)
        counted = f"n = {len(self.cases)} of {len(self.maps.positions)} films"
        where = f"{counted} · {self._dataset} · grouped, out of fold; outline: bone mask"
        title = f"{NAMES[self.backbone]}: what speaks for osteoporosis"
        return self._figure("activation_maps", films.grid(**drawn, where=where, ncols=3, title=title), film=True)

    def evidence_on_bone(self) -> pd.Series:
        """Share of the positive evidence that lies on bone, beside two levels of chance."""
        found = activation_maps.inside_bone(self.maps, self.masks, self.images)
        shares = {"share_inside_bone": found.share, "bone_area": found.area, "share_swapped": found.swapped}
        shares |= {f"share_above_{name}": found.share - found[name] for name in ("area", "swapped")}
        return self._means("activation_map", {name: (values, found.group) for name, values in shares.items()})

    def randomised_weights(self) -> pd.Series:
        """Rank correlation of the maps with those of a network whose weights are drawn anew, part by part."""
        fits, seen = self.fits["last_block", "full"], self.activations["full"]
        drawn = sanity.randomised(fits, seen, self.weights, self.squares, self.run.p.seed).dropna()
        by_part = {part: (found.correlation, found.group) for part, found in drawn.groupby("part", sort=False)}
        return self._means("activation_map/randomised", by_part).rename("rank correlation")

    def occlusion(self) -> pd.DataFrame:
        """Rank correlation of the map with what hiding each place does to the logit, for two films."""
        few = self.cases[self.cases.case != "unsure"].groupby("case", sort=False).head(1)
        places = pd.Series(range(len(self.images)), index=self.images.image_id)[few.image_id].to_numpy()
        fits, seen = self.fits["last_block", "full"], self.activations["full"]
        falls, mapped = sanity.occlusion(fits, places, self.squares, seen, self.weights)
        correlation = sanity.rank_correlation(falls, mapped)
        return few[["case", "y_true", "y_prob"]].assign(rank_correlation=correlation).round(2)

    def perturbed_film(self) -> Figure:
        """One film under every perturbation."""
        run, fitted = self.run, self.fits[self.run.p.primary_recipe, "full"]
        one = self.images.iloc[perturbations.chosen_films(fitted, run.p.perturbed_films, run.p.seed)[:1]]
        shown = {
            f"{kind}: {s:g} ({each.unit})": perturbations.squares(run, one, kind, s, run.p.view, run.p.image_size)[0]
            for kind, each in perturbations.PERTURBATIONS.items()
            for s in each.strengths
        }
        where = f"one film · {self._dataset} · five perturbations, from mild to strong"
        page = films.grid(list(shown.values()), list(shown), where, ncols=3, title="One film, perturbed")
        return self._figure("perturbed_films", page, film=True)

    @cached_property
    def perturbed_scores(self) -> pd.DataFrame:
        """AUROC of each perturbation beside that of the unchanged films."""
        arms = perturbations.predict(self.run, self.images, self.fits[self.run.p.primary_recipe, "full"], self.weights)
        return perturbations.judge(arms, perturbations.UNCHANGED, *self._resampling)

    def perturbed(self) -> pd.DataFrame:
        """Save and tabulate `perturbed_scores`."""
        table = self.perturbed_scores
        self._save_rows("perturbed", table, table.name)
        shown = self.run.table(f"{self.backbone}_perturbed", table)
        return shown.set_index(["kind", "strength", "unit"])[[*DIFFERENCES, "flipped"]].round(3)

    def draw_perturbed(self) -> Figure:
        """`perturbed_scores` by strength."""
        counted = f"n = {self.perturbed_scores.n_files.iloc[0]} films, one of a knee"
        where = f"{counted} · {self._dataset} · grouped, {self.run.p.primary_recipe}, out of fold"
        return self._figure("perturbed", figures.perturbations(self.perturbed_scores, where, self.backbone))

    def external(self) -> pd.DataFrame | str:
        """Score an external set with the fits of `grouped`; prints what became of its films."""
        outside, about = scoring.external_images(self.run)
        scored = scoring.score_external(self.run, outside, self.fits, self.weights)
        results.write_or_clear(self.run.paths.external_predictions(self.backbone), scored, "predictions")
        print(about)
        if scored.empty:
            return "no external film to score"
        found = self._named(scored)
        self.run.keep(found)
        return scores.overview(found)

    @property
    def _dataset(self) -> str:
        return self.images.dataset.iloc[0]

    @property
    def _films(self) -> str:
        return f"n = {len(self.images)} films · {self._dataset}"

    @property
    def _resampling(self) -> tuple[int, int]:
        return self.run.p.bootstrap_resamples, self.run.p.seed

    def _named(self, predictions: pd.DataFrame) -> dict[str, Estimate]:
        return scores.named_estimates(predictions, self.backbone, self.run.p.primary_recipe, *self._resampling)

    def _means(self, topic: str, measured: dict[str, tuple[pd.Series, pd.Series]]) -> pd.Series:
        """The mean of each (values, their groups) with its interval, saved and as text."""
        means = {name: scores.mean_estimate(*one, *self._resampling) for name, one in measured.items()}
        self.run.keep({f"{self.backbone}/{topic}/{name}": mean for name, mean in means.items()})
        return pd.Series({name: str(mean) for name, mean in means.items()})

    def _save_rows(self, topic: str, table: pd.DataFrame, names: pd.Series) -> None:
        """The AUROC of each row of a table of comparisons as a metric."""
        for name, row in zip(names, table.itertuples(), strict=True):
            estimate = Estimate(row.value, row.low, row.high, row.n_files, row.n_groups)
            self.run.metric(f"{self.backbone}/{topic}/{name}/auroc", estimate)

    def _figure(self, name: str, figure: Figure, film: bool = False) -> Figure:
        return self.run.figure(figure, f"{self.backbone}_{name}", film=film)
