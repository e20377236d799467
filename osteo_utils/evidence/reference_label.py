"""A reference label beside the folders, such as a T-score: where it comes from, and what can learn it.

It comes from a table `reference.csv` beside the class folders, from the registry's crosswalk to another set, or from
the density that a synthetic knee was drawn with.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from osteo_utils.evidence import shortcuts
from osteo_utils.images.manifest import usable
from osteo_utils.protocols import splits
from osteo_utils.sources import data_folders, registry, user_tables
from osteo_utils.statistics.two_labels import GRADES
from osteo_utils.study import results

# T-scores (WHO Technical Report Series 843, 1994): osteoporosis up to the first, normal from the second.
CUTS = (-2.5, -1.0)
# A T-score beyond these is a wrong column or unit.
POSSIBLE = (-10.0, 10.0)
STEM = "reference"
COLUMNS = ("image_id", "value", "t_score", "source", "name")


def store(root: Path, dataset: str, manifest: pd.DataFrame, path: Path, say: Callable[[str], None] = print) -> int:
    """Write the reference of each usable film to `path`; returns how many films have one.

    Columns: image_id; value (one of GRADES, empty where the source has several); t_score (empty where only the class is
    known); source (film of another set that it was cut from, or empty); name (what the reference is). Without a
    reference the file is removed, as that of an earlier data set must not pass for it. `say` is told of remarks.
    Raises ValueError for a bad table.
    """
    files = usable(manifest)[["image_id", "sha256"]]
    if table := user_tables.find(root, STEM):
        found = _of_table(table, manifest["image_id"].tolist(), say).merge(files["image_id"])
    elif registry.get(dataset).crosswalk:
        found = _of_crosswalk(dataset, files)
    elif (root / "phantom.json").is_file():
        truth = results.read_table(root / "truth.csv")[["image_id", "t_score"]]
        found = truth[truth["image_id"].isin(files["image_id"])].assign(name="T-score of the drawn density")
        found["value"] = found["t_score"].map(grade)
    else:
        found = pd.DataFrame()
    if found.empty or not found["value"].isin(GRADES).any():
        path.unlink(missing_ok=True)
        return 0
    found = found.reindex(columns=list(COLUMNS)).astype({"value": object, "source": object})
    found[["value", "source"]] = found[["value", "source"]].fillna("")
    results.write_table(path, found.sort_values("image_id", ignore_index=True))
    return int((found["value"] != "").sum())


def grade(t_score: float) -> str:
    """The WHO's class of a T-score."""
    return GRADES[2] if t_score <= CUTS[0] else GRADES[1] if t_score < CUTS[1] else GRADES[0]


def _of_table(path: Path, files: list[str], say: Callable[[str], None]) -> pd.DataFrame:
    known = user_tables.classes(path, files, "value")
    for remark in known.remarks:
        say(remark)
    rows = []
    for name, written in known.values.items():
        word, number = written.strip().lower(), _number(written)
        if word not in GRADES and (number is None or not POSSIBLE[0] <= number <= POSSIBLE[1]):
            raise ValueError(
                f"{path}: {name} has the value {written!r}; expected {', '.join(GRADES)}, or a T-score between "
                f"{POSSIBLE[0]:g} and {POSSIBLE[1]:g}; leave it empty where it is not known"
            )
        rows.append((name, word if number is None else grade(number), number))
    numbers = [number for *_, number in rows if number is not None]
    if len(numbers) == len(rows) and min(numbers, default=-1) >= 0:
        raise ValueError(
            f"{path}: none of its {len(rows)} numbers is below 0, so they may be codes of classes or a density; expected "
            f"T-scores, or {', '.join(GRADES)}; write these words, also where all T-scores are 0 or more"
        )
    return pd.DataFrame(rows, columns=["image_id", "value", "t_score"]).assign(name=f"value in {path.name}")


def _number(written: str) -> float | None:
    try:
        # Python would read 1_0 as ten.
        return None if "_" in written else float(written.replace(",", ".").replace("\u2212", "-"))
    except ValueError:
        return None


def _of_crosswalk(dataset: str, files: pd.DataFrame) -> pd.DataFrame:
    """The class of each film's source."""
    found, _ = data_folders.known_sources(dataset, files)
    return found.assign(value=found["source_class"], name=f"class in {registry.get(dataset).crosswalk_to}")


def joined(reference: pd.DataFrame, images: pd.DataFrame) -> pd.DataFrame:
    """The films with a reference: image_id, label (0, 1), class_name, value, level (0 to 2), t_score, source, group.

    `images` has image_id, label, class_name and group, the person as far as persons are known.
    """
    table = images[["image_id", "label", "class_name", "group"]].merge(reference, on="image_id")
    known = table[table["value"].isin(GRADES)]
    return known.assign(level=known["value"].map(GRADES.index)).reset_index(drop=True)


def counted(table: pd.DataFrame) -> pd.DataFrame:
    """Files, and in brackets persons, by folder (rows) and reference (columns)."""

    cells = {
        value: {
            name: f"{len(part)} ({part['group'].nunique()})"
            for name, part in table[table["value"] == value].groupby("class_name")
        }
        for value in GRADES
    }
    return pd.DataFrame(cells).fillna("0 (0)").sort_index().rename_axis("class_name")


def probe(
    features: Mapping[str, np.ndarray],
    table: pd.DataFrame,
    n_folds: int,
    n_permutations: int,
    n_resamples: int,
    seed: int,
) -> dict[str, shortcuts.Finding]:
    """What a linear model learns that is trained on the reference, normal against osteoporosis, persons kept apart.

    `features` has for each network the rows of `table`, (n, c). Empty where the persons are too few for folds that all
    have both classes.
    """
    extreme = (table["level"] != 1).to_numpy()
    chosen = table[extreme].reset_index(drop=True)
    chosen = chosen.assign(label=(chosen["level"] == 2).astype(int), conflict=0)
    try:
        folds = splits.make_folds(chosen, "grouped_all", n_folds, seed).set_index("image_id")["fold"]
    except ValueError:
        return {}
    sets = {name: rows[extreme] for name, rows in features.items()}
    return shortcuts.compare_all(sets, chosen, folds, n_permutations, n_resamples, seed)
