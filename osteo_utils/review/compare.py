"""What differs between two runs: parameters, data, code, versions and results; what differs by more than the seed moves it.

./run_all.sh compare STUDY STUDY, or python -m osteo_utils.review.compare FIRST SECOND; folders are allowed.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from osteo_utils.images.manifest import develop, usable
from osteo_utils.reporting import findings
from osteo_utils.reporting.tables import MODELS, as_text
from osteo_utils.statistics import evaluation, resampling, scores
from osteo_utils.study import commands, paths, results
from osteo_utils.study.results import Estimate

PATTERNS = ("predictions/*.csv", "history/*.csv", "tables/*.csv", "metrics/*.json", "claims.json")
# How long a step took, how much memory it had, and what a notebook recorded of itself: no results.
ASIDE = {"seconds", "peak_memory_gib", "_run"}
ABSENT = "not recorded"
_NONE = pd.DataFrame(columns=["image_id", "y_true"])
HEADS = ["number", "first", "second", "difference", "95 % interval", "beyond the seed", "seed floor", "why no interval"]


@dataclass
class Side:
    """One of the two runs: its folder, what is saved there, and what of it cannot be read."""

    name: str
    folder: Path
    metrics: dict[str, Estimate] = field(default_factory=dict)
    runs: dict[str, dict[str, Any]] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)

    @cached_property
    def files(self) -> set[Path]:
        """Every file of results, relative to the folder."""
        return {path.relative_to(self.folder) for pattern in PATTERNS for path in self.folder.glob(pattern)}

    @cached_property
    def tables(self) -> dict[str, pd.DataFrame]:
        """The predictions of each model, where they are there and can be read."""
        places = {model: self.folder / "predictions" / f"{model}.csv" for model in MODELS}
        there = {model: path for model, path in places.items() if path.is_file()}
        read = {m: self.tried(lambda p=path: results.read_table(p, "predictions"), path) for m, path in there.items()}
        return {model: table for model, table in read.items() if table is not None}

    @property
    def labels(self) -> pd.Series:
        """The label of each film that a model scored, by its name."""
        scored = pd.concat([table[["image_id", "y_true"]] for table in self.tables.values()] or [_NONE])
        return scored.drop_duplicates("image_id").set_index("image_id")["y_true"]

    @cached_property
    def hashes(self) -> pd.Series | None:
        """The SHA-256 of each usable film by its name, where the run was made here."""
        path = paths.StudyPaths(self.folder.name).manifest
        if self.folder.parent != paths.home() / "reports" or not path.is_file():
            return None
        listed = self.tried(lambda: usable(develop(results.read_table(path, "manifest"))), path)
        return None if listed is None else listed.set_index("image_id")["sha256"]

    def tried(self, read: Callable[[], Any], path: Path) -> Any:
        """What `read` returns; None and a remark where it cannot."""
        try:
            return read()
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            self.remarks.append(
                f"{path}: cannot be used ({type(error).__name__}: {' '.join(str(error).split())[:200]})"
            )
            return None

    @property
    def record(self) -> dict[str, dict[str, str]]:
        """What was recorded of the run, by the title that the page gives it."""
        counts = {name: as_text(one) for name, one in self.metrics.items() if name.startswith("data/")}
        codes = {name: str(about.get("code_sha256", ABSENT))[:12] for name, about in self.runs.items()}
        parameters, inputs = self._recorded("parameters"), self._recorded("inputs")
        parameters.pop("study", None)
        return {
            "Parameters": parameters,
            "Counts of the data": counts,
            "Files that the notebooks read (SHA-256)": {name: text[:12] for name, text in inputs.items()},
            "Code of the notebooks (hash)": codes,
            "Versions": self._recorded("versions"),
        }

    def _recorded(self, name: str) -> dict[str, str]:
        """What the notebooks recorded under `name`, as text; where they differ, all of it."""
        found: dict[str, list[str]] = {}
        for about in self.runs.values():
            saved = about.get(name)
            for key, value in (saved if isinstance(saved, dict) else {}).items():
                text = value if isinstance(value, str) else json.dumps(value)
                if text not in found.setdefault(key, []):
                    found[key].append(text)
        return {key: " / ".join(values) for key, values in found.items()}

    def setting(self, name: str, otherwise: Any) -> Any:
        """A parameter as a notebook recorded it, or `otherwise`."""
        parameters = [about.get("parameters") for about in self.runs.values()]
        return next((one[name] for one in parameters if isinstance(one, dict) and name in one), otherwise)


def opened(word: str) -> Side:
    """The run of a study, or in a folder. Raises ValueError where there is none."""
    study = paths.StudyPaths(word).reports
    folder = study if Path(word).name == word and study.is_dir() else Path(word).resolve()
    side = Side(word, folder)
    such = "name a study that was run, or a folder of results such as reports/published/phantom"
    if not folder.is_dir():
        raise ValueError(f"{word}: no study that was run, and no folder; {such}")
    if not side.files:
        raise ValueError(f"{folder}: no results there; {such}")
    for path in sorted((folder / "metrics").glob("*.json")):
        content = side.tried(lambda path=path: dict(results.read_json(path)), path) or {}
        about = content.pop("_run", None)
        if isinstance(about, dict):
            side.runs[path.stem] = about
        else:
            side.remarks.append(f"{path}: says nothing of the run that made it")
        known = {name: side.tried(lambda one=one: _estimate(one), path / name) for name, one in content.items()}
        side.metrics |= {name: one for name, one in known.items() if one}
    return side


def _estimate(saved: dict[str, Any]) -> Estimate:
    found = Estimate(**{one.name: saved[one.name] for one in fields(Estimate) if one.name in saved})
    as_text(found)  # what cannot be written is no number
    return found


def changed(first: dict[str, Any], second: dict[str, Any]) -> list[tuple[str, str, str]]:
    """Name and both values, as text, of whatever two records do not agree on."""
    names = [name for name in sorted({*first, *second}) if first.get(name) != second.get(name)]
    values = [(name, first.get(name, ABSENT), second.get(name, ABSENT)) for name in names]
    return [(name, *(as_text(one) if isinstance(one, Estimate) else one for one in both)) for name, *both in values]


def film_changes(first: Side, second: Side) -> list[tuple[str, list[str]]]:
    """Which films joined, left, or have other bytes or another label; by manifest, else by predictions, else none."""
    labels, hashes = [side.labels for side in (first, second)], [side.hashes for side in (first, second)]
    known = all(one is not None for one in hashes)
    names = [set(one.index) for one in (hashes if known else labels)]
    found = [("joined", sorted(names[1] - names[0])), ("left", sorted(names[0] - names[1]))]
    found += [("have other bytes", _unlike(*hashes))] if known else []
    found.append(("have another label", _unlike(*labels)))
    return [(what, films) for what, films in found if films and all(names)]


def _unlike(first: pd.Series, second: pd.Series) -> list[str]:
    shared = first.index.intersection(second.index)
    return sorted(shared[(first[shared] != second[shared]).to_numpy()])


def headline(first: Side, second: Side) -> list[list[str]]:
    """Every headline number that either run has, in the columns of HEADS, as text."""
    both = {**first.metrics, **second.metrics}
    if not any(f"{model}/grouped/accuracy" in both for model in MODELS):
        return []
    return [[row.name, *_judged(first, second, row.metric)] for row in findings.headline(both).itertuples(index=False)]


def _judged(first: Side, second: Side, metric: str) -> list[str]:
    values = [side.metrics.get(metric) for side in (first, second)]
    shown = ["absent" if one is None else f"{one.value:.3f}" for one in values]
    if None in values:
        return [*shown, "", "", "", "", ""]
    gap, interval, why = values[1].value - values[0].value, "", ""
    arm = scores.arm_of(metric, first.setting("primary_recipe", ""))
    pair = [scores.rows_of(side.tables, arm) for side in (first, second)]
    draws = first.setting("bootstrap_resamples", 2000), first.setting("seed", 0)
    try:
        found = evaluation.difference_of_runs(*pair, arm["score"], *draws).estimate
        interval = f"{found.low:+.3f} to {found.high:+.3f}"
    except ValueError as error:
        why = str(error)
    floor, by = max(filter(None, (_floor(side, metric, arm) for side in (first, second))), default=(None, ""))
    beyond = "not measured" if floor is None else "yes" if abs(gap) > floor else "no"
    beyond = "not comparable" if why and all(map(len, pair)) else beyond
    return [*shown, f"{gap:+.3f}", interval, beyond, "" if floor is None else f"{floor:.3f}, {by}", why]


def _floor(side: Side, metric: str, arm: dict[str, str]) -> tuple[float, str] | None:
    if found := side.tried(lambda: scores.seed_floor(side.tables, arm), side.folder / "predictions"):
        return found
    # A folder without predictions may still have the spread of the AUROC.
    saved = side.metrics.get(f"{metric.rsplit('/', 1)[0]}/seed_sd") if arm["score"] == "auroc" else None
    seeds = re.search(r"over (\d+) seeds", saved.note) if saved else None
    return seeds and (resampling.seed_floor(saved.value, int(seeds[1])), "its own seeds, as saved")


def differences(first: Side, second: Side) -> dict[str, str]:
    """What differs, to the bit, in each file of results that both have; empty where nothing does."""
    found = {}
    for name in sorted(first.files & second.files):
        places = [side.folder / name for side in (first, second)]
        values = [first.tried(lambda path=path: entries(path), path) for path in places]
        if any(one is None for one in values):
            same = len({path.read_bytes() for path in places}) == 1
            found[name.as_posix()] = "" if same else "it cannot be read"
            continue
        every = values[0].index.union(values[1].index, sort=False)
        one, other = (side.reindex(every, fill_value="absent") for side in values)
        unlike = every[(one != other).to_numpy()]
        text = ""
        if len(unlike):
            text = f"{len(unlike):,} of {len(every):,} values, the first: {unlike[0]}: {one[unlike[0]]}, {other[unlike[0]]}"
        found[name.as_posix()] = text
    return found


def entries(path: Path) -> pd.Series:
    """Every value of a table or of a JSON file as text, by its place; without those of ASIDE."""
    if path.suffix == ".csv":
        table = pd.read_csv(path, dtype=str, keep_default_na=False).drop(columns=list(ASIDE), errors="ignore")
        places = [f"{column}, row {row}" for column in table for row in range(2, len(table) + 2)]
        return pd.Series(table.to_numpy().ravel("F"), places, dtype=object)
    return pd.Series(dict(_values(results.read_json(path), "")), dtype=object)


def _values(content: Any, place: str) -> Iterator[tuple[str, str]]:
    if isinstance(content, dict | list):
        for name, value in content.items() if isinstance(content, dict) else enumerate(content):
            if name not in ASIDE:
                yield from _values(value, f"{place} > {name}" if place else str(name))
    else:
        yield place, json.dumps(content)


def compared(first: Side, second: Side) -> dict[str, Any]:
    """Everything that the page says. Raises ValueError where no file of results is in both."""
    if not (files := differences(first, second)):
        raise ValueError(f"{first.folder} and {second.folder}: no file of results is in both; nothing can be compared")
    # Films and headline numbers are read first: they may leave remarks.
    films, rows, records = film_changes(first, second), headline(first, second), (first.record, second.record)
    alone = {first.name: first.files - second.files, second.name: second.files - first.files}
    return {
        "first": first, "second": second, "films": films, "headline": rows,
        "parts": {title: changed(*(record[title] for record in records)) for title in records[0]},
        "numbers": changed(first.metrics, second.metrics),
        "files": {name: text for name, text in files.items() if text}, "compared": len(files),
        "alone": [(name, sorted(map(str, files))) for name, files in alone.items() if files],
        "remarks": list(dict.fromkeys(first.remarks + second.remarks)),
    }  # fmt: skip


def verdict(found: dict[str, Any]) -> str:
    """Same or not, in one line."""
    where, differ = f"the {found['compared']} files of results that both have", len(found["files"])
    return f"not the same: {differ} of {where} differ" if differ else f"the same: every number in {where}, to the bit"


def said(found: dict[str, Any]) -> list[str]:
    """What the terminal shows."""
    lines = [verdict(found)]
    for name, names in found["alone"]:
        lines.append(f"only in {name}: {len(names)} file{'s' * (len(names) > 1)}, such as {names[0]}")
    for title, rows in found["parts"].items():
        shown = "; ".join(f"{name} {first}, {second}" for name, first, second in rows[:4])
        lines += [f"{title}: {shown}{f' and {len(rows) - 4} more' if len(rows) > 4 else ''}"] if rows else []
    lines += [f"Films that {what}: {len(names)}, such as {', '.join(names[:3])}" for what, names in found["films"]]
    if found["files"] and found["headline"]:
        table = pd.DataFrame(found["headline"], columns=HEADS)
        lines += table.iloc[:, :6].to_string(index=False).splitlines()
        lines += [f"no interval: {why}" for why in table.iloc[:, -1].unique() if why]
    return [*lines, *found["remarks"]]


def main(arguments: Sequence[str] | None = None, door: bool = False) -> int:
    """Compare two runs; `commands.parser` has the words.

    Prints the short answer and writes a page. Returns 0 where all numbers that both have are the same, 1 where some
    differ, 2 where it cannot be done.
    """
    asked = commands.parser("compare", door).parse_args(arguments)
    try:
        if asked.page.is_dir():
            raise ValueError(f"{asked.page}: is a folder; expected the name of a file to write")
        found = compared(opened(asked.first), opened(asked.second))
        content = found | {"verdict": verdict(found), "heads": HEADS}
        results.write_text(asked.page, results.page(Path(__file__).with_name("compare.html.j2"), content))
    except (OSError, ValueError) as error:
        print(f"compare: {error}", file=sys.stderr)
        return 2
    commands.show([*said(found), f"page: {asked.page}"])
    return int(bool(found["files"]))


if __name__ == "__main__":
    sys.exit(commands.run(main, sys.argv[1:]))
