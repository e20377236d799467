"""Counterparts of the paper's figures: drawn from a study's saved results, with a sentence on each by rule.

./run_all.sh figures STUDY, or python -m osteo_utils.reporting.paper_figures STUDY
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from osteo_utils.images import image_store, manifest
from osteo_utils.papers import claims
from osteo_utils.papers.printed_report import plural
from osteo_utils.plots import paper
from osteo_utils.plots.style import NAMES
from osteo_utils.reporting import findings, report
from osteo_utils.reporting.tables import Metrics, as_text, needed
from osteo_utils.statistics import evaluation
from osteo_utils.study import commands, config, paths, results
from osteo_utils.study.paths import StudyPaths

FILES = {1: "fig1_steps", 2: "fig2_samples", 3: "fig3_training", 4: "fig4_accuracy", 5: "fig5_report"}
PAPERS = {
    1: "A flow chart: choose the two networks and a data set, resize its films and scale their values, train, test on other "
    "films, compute accuracy, confusion matrix and classification report. It counts nothing.",
    2: "Sample films; the caption speaks of osteoporosis alone.",
    3: "Accuracy of VGG16 by epoch, in training and validation, of one run.",
    4: "The accuracy of VGG16 in the final test: 78 %, without an interval.",
    5: "The classification report of ResNet50 as scikit-learn prints it, without an interval.",
}
# What a step does, beside its films; the names in braces are parameters that its notebook recorded.
_DOES = {
    "02": "{n_folds} folds, no group on both sides",
    "03": "bone found by {mask_method}",
    "04": "squares of {image_size} pixels, trained: {recipes}",
    "05": "squares of {image_size} pixels, trained: {recipes}",
}
_VALUES = {"unet": "a U-Net", "classical": "edges", "none": "probe", "last_block": "last block"}
_VALUES |= {"last_stage": "last stage", "all": "whole network", "paper": "by the paper's text"}
_FORMATS: dict[str, dict[str, Any]] = {"png": {"Software": None}, "svg": {"Date": None}, "pdf": {"CreationDate": None}}


@dataclass(frozen=True)
class Counterpart:
    """One figure beside its description: the paper's number, what its figure shows, and what ours shows."""

    number: int
    figure: Figure
    here: str

    @property
    def about(self) -> dict[str, Any]:
        """Its row of the table `paper_figures`."""
        named = {"figure": self.number, "name": FILES[self.number], "film": int(self.number == 2)}
        return named | {"paper": PAPERS[self.number], "here": self.here}

    @property
    def file(self) -> str:
        """Its PNG below the folder of the study's reports."""
        return f"figures/{'films' if self.number == 2 else 'paper'}/{FILES[self.number]}.png"

    @property
    def words(self) -> str:
        """Both descriptions as Markdown."""
        return f"**The paper's Fig. {self.number}.** {PAPERS[self.number]}\n\n**Here.** {self.here}"


def redraw(study: StudyPaths, films: bool = True) -> list[Counterpart]:
    """Draw all figures and save each as PNG, SVG and PDF, and what they show as the table `paper_figures`.

    Without `films` the figure of films is left out. Raises FileNotFoundError where a result is missing.
    """
    metrics, runs = results.load_metrics(study.reports), report.recorded_runs(study.study)
    drawn = [_steps(study, metrics, runs), *([_samples(study, runs)] if films else [])]
    drawn += [_training(study, metrics, runs), _accuracy(metrics, runs), _report(study, metrics, runs)]
    for one in drawn:
        files_of(study, one.number)[0].parent.mkdir(parents=True, exist_ok=True)
        for place, about in zip(files_of(study, one.number), _FORMATS.values(), strict=True):
            with results.atomic_path(place) as temporary:
                one.figure.savefig(temporary, metadata=about)
    results.write_table(study.tables / "paper_figures.csv", pd.DataFrame([one.about for one in drawn]))
    return drawn


def files_of(study: StudyPaths, number: int) -> list[Path]:
    """Where a figure goes, in each format."""
    folder = study.films if number == 2 else study.printed
    return [folder / f"{FILES[number]}.{suffix}" for suffix in _FORMATS]


def _steps(study: StudyPaths, metrics: Metrics, runs: findings.Runs) -> Counterpart:
    reads = {number: set(read) for number, (read, _) in paths.exchanged(study).items()}
    writes = {number: set(written) for number, (_, written) in paths.exchanged(study).items()}
    parents = {step: [other for other in reads if other < step and reads[step] & writes[other]] for step in reads}
    steps, arrows = layered(parents)
    flow = results.read_table(study.tables / "flow.csv")
    titles = {name[:2]: _title(paths.notebooks_dir() / f"{name}.ipynb") for name in config.NOTEBOOKS}
    texts = _texts(study, metrics, runs, flow)
    models = {name[:2]: model for model, name in paths.MODEL_NOTEBOOKS.items()}
    steps = steps.assign(
        title=steps["step"].map(titles), text=steps["step"].map(texts), model=steps["step"].map(models).fillna("")
    )
    where = f"n = {flow['files'].iloc[0]:,} files · {_dataset(runs)} · from 03 on as scored under grouped; an arrow leads to a step that reads what another wrote"
    first, last = flow.iloc[0], flow.iloc[-1]
    here = (
        f"Of {first.files:,} files found, {_counted(last.files, last.knees, last.groups)} are analysed under grouped, in the "
        f"{len(steps)} steps that were run; each box counts what it had."
    )
    return Counterpart(1, paper.flow_chart(steps, arrows, where), here)


def layered(parents: Mapping[str, Sequence[str]]) -> tuple[pd.DataFrame, list[tuple[str, str]]]:
    """Where each step of a flow chart stands, and its arrows without those that others imply.

    `parents` of each step, in an order in which parents come first. Returns step, layer (the longest way from a step without
    parents), left and right: the widest layer has a column for each step, and every other step spans those of it that
    it comes from or leads to.
    """
    above: dict[str, set[str]] = {}
    for step, own in parents.items():
        above[step] = set(own).union(*(above[one] for one in own))
    arrows = [
        (one, step) for step, own in parents.items() for one in own if not any(one in above[other] for other in own)
    ]
    layer: dict[str, int] = {}
    for step, own in parents.items():
        layer[step] = 1 + max((layer[one] for one in own), default=-1)
    by_layer = [[step for step in layer if layer[step] == number] for number in range(max(layer.values()) + 1)]
    widest = max(by_layer, key=len)
    rows = []
    for step in parents:
        spanned = [
            place for place, one in enumerate(widest) if one == step or one in above[step] or step in above[one]
        ] or list(range(len(widest)))
        rows.append((step, layer[step], min(spanned), max(spanned)))
    return pd.DataFrame(rows, columns=["step", "layer", "left", "right"]), arrows


def _texts(study: StudyPaths, metrics: Metrics, runs: findings.Runs, flow: pd.DataFrame) -> dict[str, list[str]]:
    """The lines of each step's box."""
    # From the first row with knees on, notebook 02 counted.
    audited = flow["knees"].notna().cummax()
    texts = {number: _rows(flow[part]) for number, part in (("01", ~audited), ("02", audited))}
    people = needed(metrics, "data/groups").value < needed(metrics, "data/knees").value
    for notebook in list(runs)[2:]:
        saved = results.read_json(study.metrics / f"{notebook}.json")
        scored = [(one["n_files"], one["n_groups"]) for name, one in saved.items() if "/grouped/" in name]
        files, groups = max((one for one in scored if all(one)), default=(0, 0))
        unit = "persons, at most" if people else "knees"
        texts[notebook[:2]] = [f"{files:,} films of {groups:,} {unit}"] if files else []
    for number, words in _DOES.items():
        about = next(about for notebook, about in runs.items() if notebook.startswith(number))
        shown = {name: value if isinstance(value, list) else [value] for name, value in about["parameters"].items()}
        named = {
            name: ", ".join(_VALUES.get(one, str(one)) for one in map(str, value)) for name, value in shown.items()
        }
        texts[number].append(words.format_map(named))
    texts["08"] = [f"{len(results.read_json(study.claims))} claims of the paper judged"]
    return texts


def _rows(flow: pd.DataFrame) -> list[str]:
    return [f"{row.step}: {_counted(row.files, row.knees, row.groups)}" for row in flow.itertuples() if row.files]


def _counted(files: int, knees: float, groups: float) -> str:
    def of(count: float, thing: str) -> str:
        return f"{count:,.0f} {thing}{'' if count == 1 else 's'}"

    text = of(files, "film")
    if pd.isna(knees):
        return text
    text += f" of {of(knees, 'knee')}"
    return f"{text} of at most {of(groups, 'person')}" if groups < knees else text


def _title(notebook: Path) -> str:
    first = results.read_json(notebook)["cells"][0]["source"]
    return "".join(first).splitlines()[0].lstrip("# ")


def _samples(study: StudyPaths, runs: findings.Runs) -> Counterpart:
    every = results.read_table(study.manifest, "manifest")
    images = manifest.usable(manifest.develop(every))
    seed = runs["02_eda"]["parameters"]["seed"]
    figure = paper.samples(images, image_store.load(study.images, every), seed)
    shown = min(6, images["class_name"].value_counts().min())
    counts = " and ".join(
        f"{count:,} of {name}" for name, count in images["class_name"].value_counts().sort_index().items()
    )
    here = f"{shown} films of each class, drawn at random with the study's seed from {counts}, so both classes can be compared."
    return Counterpart(2, figure, here)


def _training(study: StudyPaths, metrics: Metrics, runs: findings.Runs) -> Counterpart:
    printed, histories, said = claims.printed_accuracies(), {}, []
    for model, notebook in paths.MODEL_NOTEBOOKS.items():
        recipe = runs[notebook]["parameters"]["primary_recipe"]
        history = results.read_table(study.history / f"{model}.csv", "history")
        chosen = (history[["protocol", "recipe", "variant"]] == ["grouped", recipe, "full"]).all(axis=1)
        histories[model] = history[chosen]
        # Fits that stop early end before others do.
        last = histories[model].sort_values("epoch").groupby(["seed", "fold"]).tail(1)
        fits, scored = last["val_accuracy"], needed(metrics, f"{model}/grouped/accuracy")
        said.append(
            f"{NAMES[model]} ends at {last['accuracy'].mean():.0%} on the films it learns from and at {fits.mean():.0%} on those "
            f"it is watched on ({plural(len(fits), 'fit', 'fits')}, {fits.min():.0%} to {fits.max():.0%}). Out of fold it "
            f"reaches {as_text(scored)}"
        )
    where = f"{_scored(metrics, 'vgg16', runs)}, {recipe}; thin lines: one fit each; dotted: the paper's final accuracy"
    accuracies = {model: printed[f"{model}/grouped/accuracy"] for model in histories}
    return Counterpart(3, paper.training(histories, where, accuracies), f"{'. '.join(said)}.")


def _accuracy(metrics: Metrics, runs: findings.Runs) -> Counterpart:
    numbers = findings.headline(metrics)
    rows = numbers[numbers["metric"].str.endswith("/accuracy") & ~numbers["metric"].str.contains("background")]
    rows = rows.assign(name=rows["name"].str.removesuffix(": accuracy"))
    said = []
    for row in rows.dropna(subset="paper").itertuples():
        side = "above" if row.paper > row.high else "below" if row.paper < row.low else "inside"
        said.append(f"{row.name} {as_text(metrics[row.metric])}, the paper's {row.paper:.2f} lies {side} the interval")
    figure = paper.accuracy(rows, f"{_scored(metrics, 'vgg16', runs)}, out of fold")
    return Counterpart(4, figure, f"{'; '.join(said)}.")


def _report(study: StudyPaths, metrics: Metrics, runs: findings.Runs, model: str = "resnet50") -> Counterpart:
    settings = runs[paths.MODEL_NOTEBOOKS[model]]["parameters"]
    saved = results.read_table(study.predictions / f"{model}.csv", "predictions")
    arm = ["grouped", settings["primary_recipe"], "full"]
    scored = saved[(saved[["protocol", "recipe", "variant"]] == arm).all(axis=1)]
    printed = findings.paper_report().set_index("class")
    # F1 of normal alone is measured with the classes exchanged, by other resamples; calls, so that a tie stays on its side.
    exchanged = scored.assign(y_true=1 - scored["y_true"], y_prob=(scored["y_prob"] < 0.5).astype(float))
    words = ("precision", "recall", "f1-score")
    drawn, rows = (settings["bootstrap_resamples"], settings["seed"]), []
    found = evaluation.summarise(scored, ["npv", "specificity", "precision", "sensitivity", "f1"], *drawn)
    normal = [found["npv"], found["specificity"], evaluation.summarise(exchanged, ["f1"], *drawn)["f1"]]
    for name, measured in (
        ("normal", normal),
        ("osteoporosis", [found[key] for key in ("precision", "sensitivity", "f1")]),
    ):
        rows += [(f"{name}: {word}", one, printed.loc[name, word]) for word, one in zip(words, measured, strict=True)]
    overall = needed(metrics, f"{model}/grouped/accuracy")
    accuracy = claims.printed_accuracies()[f"{model}/grouped/accuracy"]
    rows.append(("accuracy", overall, accuracy))
    table = pd.DataFrame(
        [(name, one.value, one.low, one.high, value) for name, one, value in rows],
        columns=["name", "value", "low", "high", "paper"],
    )
    matrix, images = evaluation.confusion(scored), printed["support"].sum()
    where = f"{_scored(metrics, model, runs)}, {arm[1]}, out of fold · the paper: as printed for {images:,} images"
    right, splits = int(matrix.trace()), scored["seed"].nunique()
    where += f"; matrix over {splits} splits" if splits > 1 else ""
    here = (
        f"{NAMES[model]} calls {right:,} of {matrix.sum():,} {'films' if splits == 1 else 'predictions'} right: accuracy {as_text(overall)}, recall of normal "
        f"{as_text(rows[1][1])} and of osteoporosis {as_text(rows[4][1])}. The paper's report counts {images:,} images and "
        f"prints {accuracy:.2f}."
    )
    return Counterpart(5, paper.report(matrix, table, where, model), here)


def _dataset(runs: findings.Runs) -> str:
    return runs["01_data_download"]["parameters"]["dataset"]


def _scored(metrics: Metrics, model: str, runs: findings.Runs) -> str:
    of = needed(metrics, f"{model}/grouped/accuracy")
    return f"n = {of.n_files:,} films in {of.n_groups:,} groups · {_dataset(runs)} · grouped"


def main(arguments: Sequence[str] | None = None, door: bool = False) -> int:
    """Draw the figures of a study anew; `commands.parser` has the words.

    Prints where they are. Returns 1 where the results are a mixture of runs, 2 where one is missing, else 0.
    """
    asked = commands.parser("figures", door).parse_args(arguments)
    study = StudyPaths(asked.study)
    try:
        report.check_consistency(asked.study)
        drawn = redraw(study, config.load(asked.study)["films"])
    except FileNotFoundError as error:
        print(f"figures: {error}", file=sys.stderr)
        return 2
    except ValueError as error:
        print(f"figures: {error}", file=sys.stderr)
        return 1
    for one in drawn:
        commands.show([f"Fig. {one.number}: {one.here}", *(f"  {place}" for place in files_of(study, one.number))])
    return 0


if __name__ == "__main__":
    sys.exit(commands.run(main, sys.argv[1:]))
