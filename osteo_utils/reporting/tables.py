"""Tables of the report: from metrics, and from the CSV files that the notebooks saved."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from osteo_utils.plots.style import NAMES
from osteo_utils.reporting.text import METRICS, PROTOCOLS
from osteo_utils.study.paths import StudyPaths
from osteo_utils.study.results import Estimate, read_table

Block = dict[str, Any]
Metrics = Mapping[str, Estimate]
MODELS = ("vgg16", "resnet50", "ensemble")
# The notebook that writes a metric is the first one with a matching beginning.
MAKERS = {
    "01_data_download": ("data/files", "data/usable", "data/patients", "data/osteopenia", "data/decided_"),
    "03_segmentation": ("segmentation/", "shortcut/background/", "texture/"),
    "02_eda": ("data/", "external/", "shortcut/"),
    "04_vgg16": ("vgg16/",),
    "05_resnet50": ("resnet50/",),
    "06_ensemble": ("ensemble/",),
    "07_leakage_lab": ("leakage/",),
}
# Figures of other notebooks that show the same as the counterpart of a figure of the paper, by its number.
SHOWN_BY = {
    1: ("flow",),
    2: ("films/samples",),
    3: ("vgg16_training_curves", "resnet50_training_curves"),
    4: ("ensemble_forest",),
    5: ("resnet50_confusion",),
}
LONGEST, HEAD = 20, 10  # a longer table is cut to its first rows
MAIN_METRICS = ("auroc", "accuracy", "balanced_accuracy", "sensitivity", "specificity", "f1")


def as_text(estimate: Estimate) -> str:
    """A metric as text: value with its 95 % interval; a count as a whole number."""
    if estimate.low is None:
        return f"{estimate.value:,.0f}" if float(estimate.value).is_integer() else f"{estimate.value:.3f}"
    ends = (estimate.value, estimate.low, estimate.high)
    # Tens of millimetres are not known to the micrometre.
    places = 3 if max(map(abs, ends)) < 10 else 1
    return _between(*(f"{number:.{places}f}" for number in ends))


def _between(value: str, low: str, high: str) -> str:
    """A value with the two ends of its interval; a dash beside a minus sign would be read as one."""
    return f"{value} ({low} to {high})" if low.startswith("-") else f"{value} ({low}–{high})"


class Cited(str):
    """The text of a cell that prints a metric, with the metric's name as `metric`."""

    metric: str


def cited(text: str, metric: str) -> Cited:
    """A text that prints a metric."""
    cell = Cited(text)
    cell.metric = metric
    return cell


def printed(metrics: Metrics, name: str) -> str:
    """A metric as a cell; empty where it was not saved."""
    return cited(as_text(metrics[name]), name) if name in metrics else ""


def paper_figures(study: StudyPaths, films: bool) -> tuple[list[Block], set[Path]]:
    """The counterparts of the paper's figures beside what the paper's show, and the figures that show the same elsewhere.

    From the table `paper_figures`; both are empty where notebook 08 has not written it. Without `films` the films are
    left out.
    """
    listed = study.tables / "paper_figures.csv"
    blocks: list[Block] = []
    same: set[Path] = {listed}
    for row in read_table(listed).itertuples() if listed.is_file() else ():
        path = (study.films if row.film else study.printed) / f"{row.name}.png"
        words = f"The paper's Fig. {row.figure}: {row.paper} Here: {row.here}"
        if row.film and not films:
            blocks.append({"kind": "note", "text": f"{words} Our figure shows films and was left out of this copy."})
        elif not path.is_file():
            blocks.append({"kind": "missing", "items": [path.relative_to(study.reports).as_posix()]})
        else:
            # What the paper's shows stands in the caption, which no end of a page parts from the figure.
            origin = path.relative_to(study.reports).as_posix()
            figure = {"kind": "figure", "path": str(path), "film": bool(row.film), "origin": [origin]}
            blocks.append({**figure, "caption": words})
            same |= {path, *(path.parent.parent / f"{name}.png" for name in SHOWN_BY[row.figure])}
    return blocks, same


def needed(metrics: Metrics, name: str) -> Estimate:
    """The metric `name`; if it is missing, a ValueError that names the notebook to run."""
    if name not in metrics:
        maker = next((notebook for notebook, starts in MAKERS.items() if name.startswith(starts)), "its notebook")
        raise ValueError(f"metrics: there is no {name!r}; run {maker} again, which writes it")
    return metrics[name]


def protocol_table(metrics: Metrics, model: str) -> list[Block]:
    """One table of a model's main metrics by protocol, each with its interval; no block where it has none."""
    found = [name.split("/") for name in metrics if name.startswith(f"{model}/") and name.count("/") == 2]
    protocols = [name for name in PROTOCOLS if any(parts[1] == name for parts in found)]
    shown = [name for name in MAIN_METRICS if any(parts[2] == name for parts in found)]
    rows = []
    for protocol in protocols:
        cells = [metrics.get(f"{model}/{protocol}/{metric}") for metric in shown]
        sizes = next((cell for cell in cells if cell is not None and cell.n_files is not None), None)
        rows.append(
            [NAMES.get(protocol, protocol), _count(sizes, "n_files"), _count(sizes, "n_groups")]
            + [printed(metrics, f"{model}/{protocol}/{metric}") or "not saved" for metric in shown]
        )
    base, _, variant = model.partition("-")
    title = NAMES.get(base, base) + (f" on {variant} films" if variant else "")
    heads = ["protocol", "files", "groups", *(METRICS[metric] for metric in shown)]
    return [table(f"{title} by protocol: value and 95 % interval.", heads, rows)] if rows else []


def _count(estimate: Estimate | None, name: str) -> str:
    count = getattr(estimate, name, None)
    return "" if count is None else f"{count:,}"


def nested_table(metrics: Metrics) -> list[Block]:
    """The AUROC of the chosen and of the fixed recipe, and their difference; no block where nothing was chosen."""
    rows = []
    for model in MODELS:
        if f"{model}/grouped/nested/auroc" in metrics:
            names = f"{model}/grouped/nested", f"{model}/grouped", f"comparison/{model}-nested-fixed/grouped"
            cells = [f"{name}/auroc" for name in names] + [f"{model}/grouped/nested/best_afterwards"]
            rows.append([NAMES[model], *(cited(as_text(needed(metrics, name)), name) for name in cells)])
    heads = ["model", "chosen by inner folds", "fixed recipe", "difference", "best candidate, seen afterwards"]
    return [table("AUROC under grouped, with its 95 % interval.", heads, rows)] if rows else []


def subject_of(name: str) -> str:
    """The model or topic that a metric is about, whatever the variant of its films."""
    return name.split("/")[0].removesuffix("-segmented").removesuffix("-background")


def other_metrics(metrics: Metrics, prefix: str, caption: str) -> list[Block]:
    """One table of every metric of a model or topic that `protocol_table` does not print; no block without any."""
    rows = [
        [name, cited(as_text(value), name), value.unit, _count(value, "n_files"), _count(value, "n_groups"), value.note]
        for name, value in sorted(metrics.items())
        if subject_of(name) == prefix
        and not (name.count("/") == 2 and name.split("/")[2] in MAIN_METRICS and name.split("/")[1] in PROTOCOLS)
    ]
    heads = ["metric", "value", "unit", "files", "groups", "note"]
    return [table(caption, heads, rows)] if rows else []


def table(caption: str, heads: list[str], rows: list[list[str]]) -> Block:
    """A table block without the columns that are empty throughout."""
    kept = [place for place in range(len(heads)) if any(row[place] != "" for row in rows)]
    return {
        "kind": "table",
        "caption": caption[:1].upper() + caption[1:],
        "columns": [heads[place] for place in kept],
        "rows": [[row[place] for place in kept] for row in rows],
        "folded": False,
        "numeric": [all(row[place][:1] in "0123456789-−" for row in rows) for place in kept],
    }


def saved_table(path: Path, caption: str, names: Sequence[str] = ()) -> Block:
    """A CSV of the study as a block, with the columns `names` (all by default); the caption says what is cut.

    A value and the two ends of its interval, in three columns, become one.
    """
    frame = read_table(path)
    shown = frame[list(names)] if names else frame
    if len(shown.columns) < len(frame.columns):
        caption += f" All {len(frame.columns)} columns are in tables/{path.name}."
    if len(frame) > LONGEST:
        shown = shown.head(HEAD)
        caption += f" First {HEAD} of {len(frame)} rows; the rest is in tables/{path.name}."
    if shown.empty:
        return {"kind": "text", "text": f"{caption} The table tables/{path.name} has no rows."}
    columns = _with_intervals(shown)
    if {"metric", "value"} <= {*frame.columns} and "value" in columns:
        columns["value"] = list(map(cited, columns["value"], frame["metric"].head(len(shown))))
    rows = [list(row) for row in zip(*columns.values(), strict=True)]
    block = table(caption, [str(name).replace("_", " ") for name in columns], rows)
    return {**block, "origin": [f"tables/{path.name}"]}


def readable(frame: pd.DataFrame) -> pd.DataFrame:
    """A table as a notebook shows it: the cells and columns of `saved_table`, with its own index."""
    columns = _with_intervals(frame)
    return pd.DataFrame(columns, index=frame.index).rename(columns=lambda name: name.replace("_", " "))


def _with_intervals(frame: pd.DataFrame) -> dict[str, list[str]]:
    """Columns as text, by name; `x`, `x_low` and `x_high` that stand side by side are one (`value`: low and high)."""
    cells = {str(name): _cells(frame[name]) for name in frame.columns}
    names = list(cells)
    for value, low, high in zip(names, names[1:], names[2:], strict=False):
        if low.removesuffix("low") == high.removesuffix("high") and low.endswith("low"):
            ends = zip(cells[value], cells.pop(low), cells.pop(high), strict=True)
            cells[value] = [_between(one, left, right) if left else one for one, left, right in ends]
    return cells


def _cells(column: pd.Series) -> list[str]:
    """A column as text: counts whole, other numbers as `_digits`."""
    if not pd.api.types.is_float_dtype(column):
        return [_cell(value) for value in column]
    whole = (column.dropna() % 1 == 0).all() and column.abs().max() > 1
    return ["" if pd.isna(value) else f"{value:,.0f}" if whole else _digits(value) for value in column]


def _digits(value: float) -> str:
    places = 3 if abs(value) < 10 else 1 if abs(value) < 100 else 0
    # What rounds to zero has no sign.
    return f"{round(value, places) + 0.0:,.{places}f}"


def _cell(value: Any) -> str:
    if pd.isna(value):
        return ""
    if isinstance(value, float):
        return _digits(value)
    return f"{value:,}" if pd.api.types.is_integer(value) else str(value)


def flow_in_words(steps: pd.DataFrame) -> str:
    """The table `flow` as a sentence: each step with its files, knees and groups as far as they are counted."""
    units = ("files", "knees", "groups")
    return "; ".join(
        f"{row['step']}: {', '.join(f'{row[unit]:,.0f} {unit}' for unit in units if pd.notna(row[unit]))}"
        for row in steps.to_dict("records")
    )


def lowest_and_highest(subgroups: pd.DataFrame) -> str:
    """The lowest and the highest AUROC in the table `ensemble_subgroups`; empty where no subgroup has both classes."""
    rows = subgroups.dropna(subset="auroc")
    if rows.empty:
        return ""
    low, high = (
        f"{as_text(Estimate(row.auroc, row.auroc_low, row.auroc_high))} ({row.heading}: {row.subgroup})"
        for row in (rows.loc[rows["auroc"].idxmin()], rows.loc[rows["auroc"].idxmax()])
    )
    return f"AUROC of both networks in {len(rows)} subgroups by kind of film: lowest {low}, highest {high}"


def worst_perturbations(*perturbed: pd.DataFrame) -> str:
    """The largest loss in AUROC in each of the tables `<network>_perturbed`, VGG16 first; empty where one has no row."""
    said = []
    for model, table in zip(MODELS, perturbed, strict=False):
        rows = table.dropna(subset="difference")
        if rows.empty:
            return ""
        row = rows.loc[rows["difference"].idxmin()]
        gap = as_text(Estimate(row.difference, row.difference_low, row.difference_high))
        said.append(f"{NAMES[model]} {gap} ({row.kind}, {row.strength:g} {row.unit})")
    return f"AUROC on perturbed films minus that on the same films unchanged, worst perturbation: {'; '.join(said)}"
