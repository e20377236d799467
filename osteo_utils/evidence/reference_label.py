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
from osteo_utils.sources import data_folders, registry, table_files, user_tables
from osteo_utils.statistics.two_labels import GRADES
from osteo_utils.study import results

# T-scores (WHO Technical Report Series 843, 1994): osteoporosis up to the first, normal from the second.
CUTS = (-2.5, -1.0)
# Columns of a reference.csv with numbers of another kind: what they are, and where each class begins.
SCALE = ("measure", "unit", "osteoporosis", "normal")
# A T-score beyond these is a wrong column or unit.
POSSIBLE = (-10.0, 10.0)
STEM = "reference"
COLUMNS = ("image_id", "value", "t_score", "severity", "source", "name")


def store(
    root: Path, dataset: str, manifest: pd.DataFrame, path: Path, say: Callable[[str], None] = print,
    external: Path | None = None,
) -> int:  # fmt: skip
    """Write the reference of each usable film to `path`; returns how many films have one.

    Columns: image_id; value (one of GRADES, empty where the source has several); t_score (empty where only the class is
    known); severity (a number that rises with the disease, empty where only the class is known); source (film of another set that it was cut from, or empty); name (what the reference is). Without a
    reference the file is removed, as that of an earlier data set must not pass for it. `say` is told of remarks, also on a table of the folder `external`, which is not used.
    Raises ValueError for a bad table.
    """
    files = usable(manifest)[["image_id", "sha256"]]
    if external and (theirs := user_tables.find(external, STEM)):
        say(f"external/{theirs.name} is not used: only the study's own films are held against a reference label")
    if table := user_tables.find(root, STEM):
        found = _of_table(table, manifest["image_id"].tolist(), say).merge(files["image_id"])
    elif registry.get(dataset).crosswalk:
        found = _of_crosswalk(dataset, files)
    elif (root / "phantom.json").is_file():
        truth = results.read_table(root / "truth.csv")[["image_id", "t_score"]]
        found = truth[truth["image_id"].isin(files["image_id"])].assign(name="T-score of the drawn density")
        found["value"], found["severity"] = found["t_score"].map(grade), -found["t_score"]
    else:
        found = pd.DataFrame()
    if found.empty or not found["value"].isin(GRADES).any():
        path.unlink(missing_ok=True)
        return 0
    found = found.reindex(columns=list(COLUMNS)).astype({"value": object, "source": object})
    found[["value", "source"]] = found[["value", "source"]].fillna("")
    results.write_table(path, found.sort_values("image_id", ignore_index=True))
    return int((found["value"] != "").sum())


def grade(number: float, cuts: tuple[float, float] = CUTS) -> str:
    """The class of a number, the WHO's of a T-score; `cuts` are where osteoporosis and where normal begins.

    With the first above the second, a higher number is worse.
    """
    sign = 1 if cuts[0] <= cuts[1] else -1
    at, osteoporosis, normal = (sign * value for value in (number, *cuts))
    return GRADES[2] if at <= osteoporosis else GRADES[1] if at < normal else GRADES[0]


def _of_table(path: Path, files: list[str], say: Callable[[str], None]) -> pd.DataFrame:
    known = user_tables.classes(path, files, "value", SCALE)
    for remark in known.remarks:
        say(remark)
    about = known.about
    cuts, own = _cuts(path, about)
    if own and cuts[0] == cuts[1]:
        say(
            f"{path.name}: both cut-offs are {cuts[0]:g}, so a lower number is taken for worse and no film has osteopenia"
        )
    name = about.get("measure", f"value in {path.name}") + (f" ({about['unit']})" if "unit" in about else "")
    rows = []
    for film, written in known.values.items():
        word, number = written.strip().lower(), _number(written)
        possible = number is not None and (own or POSSIBLE[0] <= number <= POSSIBLE[1])
        if not possible and (own or word not in GRADES):
            scale = (
                f"a number, as {path.name} has cut-offs"
                if own
                else f"a T-score between {POSSIBLE[0]:g} and {POSSIBLE[1]:g}"
            )
            words = "" if own else f"{', '.join(GRADES)}, or "
            raise ValueError(
                f"{path}: {film} has the value {written!r}; expected {words}{scale}; leave it empty where it is not known"
            )
        rows.append((film, word if number is None else grade(number, cuts), number))
    numbers = [number for *_, number in rows if number is not None]
    measure = about.get("measure", "")
    scored = "tscore" in table_files.bare(measure)
    if numbers and not own and measure and not scored:
        raise ValueError(
            f"{path}: the measure is {measure!r}, but there are no cut-offs, and numbers without them are T-scores; give "
            "them in the columns osteoporosis and normal, or name the measure so, such as T-score of the hip"
        )
    if not own and not scored and len(numbers) == len(rows) and min(numbers, default=-1) >= 0:
        raise ValueError(
            f"{path}: none of its {len(rows)} numbers is below 0, so they may be codes of classes or a density; expected "
            f"T-scores, or {', '.join(GRADES)}; write these words, also where all T-scores are 0 or more, or give the "
            "cut-offs of another measure in the columns osteoporosis and normal"
        )
    found = pd.DataFrame(rows, columns=["image_id", "value", "number"]).astype({"number": float})
    sign = -1 if cuts[0] <= cuts[1] else 1
    return found.assign(t_score=np.nan if own else found["number"], severity=sign * found["number"], name=name)


def _cuts(path: Path, about: Mapping[str, str]) -> tuple[tuple[float, float], bool]:
    """Where osteoporosis and where normal begins, and whether the table says so itself."""
    given = {name: about[name] for name in SCALE[2:] if name in about}
    if not given:
        return CUTS, False
    numbers = {name: _number(value) for name, value in given.items()}
    wrong = [
        f"{name} {repr(given[name]) if name in given else 'is not given'}"
        for name in SCALE[2:]
        if numbers.get(name) is None
    ]
    if wrong:
        raise ValueError(
            f"{path}: {' and '.join(wrong)}; expected two numbers in the columns osteoporosis and normal: the values at which "
            "either begins; without both columns the numbers are T-scores"
        )
    return (numbers["osteoporosis"], numbers["normal"]), True


def _number(written: str) -> float | None:
    try:
        # Python would read 1_0 as ten.
        number = float(written.replace(",", ".").replace("\u2212", "-"))
        return None if "_" in written or not np.isfinite(number) else number
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
