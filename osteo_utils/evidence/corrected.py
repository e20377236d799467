"""The corrected set: for each film its knee, person, conflict, reference and folds under its SHA-256, with an erratum.

A product for people who have the films and not this project: one table, a page of text, a loader and metadata in two
formats, Croissant 1.0 (https://docs.mlcommons.org/croissant/docs/croissant-spec.html) and RO-Crate 1.1
(https://w3id.org/ro/crate/1.1). No film is in it.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import yaml
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from osteo_utils.images.manifest import usable
from osteo_utils.protocols import definitions, splits
from osteo_utils.sources import registry
from osteo_utils.sources.data_folders import films_of_sources, read_checksums
from osteo_utils.sources.registry import DataSet
from osteo_utils.statistics.two_labels import GRADES
from osteo_utils.study import paths, results, runtime

TABLE = "films.csv"
TEXT, WHOLE, NUMBER = "sc:Text", "sc:Integer", "sc:Float"
COLUMNS = {
    "sha256": (TEXT, "SHA-256 of the file"),
    "copy": (WHOLE, "0, 1, ... among files with the same bytes, in the order of their paths"),
    "image_id": (TEXT, "folder and name of the file"),
    "as_published": (WHOLE, "1: the file examined has these bytes; 0: it is a copy of this name with other bytes"),
    "folder": (TEXT, "class that the set gives the film"),
    "knee": (WHOLE, "films with the same number show the same knee"),
    "person": (WHOLE, "films with the same number are of one person; where persons are unknown, each knee has its own"),
    "relation": (
        TEXT,
        "how the film is joined to others: exact, pixel, perceptual, decision, patient; unique: not at all",
    ),
    "conflict": (WHOLE, "1: films of this knee lie under both labels"),
    "reference": (TEXT, "class by the second label; empty where there is none, or several"),
    "reference_name": (TEXT, "what the second label is"),
    "t_score": (NUMBER, "T-score behind the second label"),
    "source": (TEXT, "film of another set that this file shows"),
    "certainty": (TEXT, "how sure it is that the source shows this film"),
}
# Of a reader's own films these may name or describe a patient.
PRIVATE = ("image_id", "source", "t_score")
FOLD = "fold_{}_s{}"
FILES = {
    TABLE: ("text/csv", "one row per film"),
    "ERRATUM.md": ("text/markdown", "what is wrong with the set, and what to do"),
    "load.py": ("text/x-python", "finds each film of the table in a folder by its SHA-256"),
    "croissant.json": ("application/ld+json", "metadata as Croissant 1.0"),
}


def of_study(study: str, dataset: str) -> dict[str, str]:
    """The product of a study that was run, as text by file name.

    Raises FileNotFoundError without its tables, and ValueError where they do not belong to its results, where a film is
    not one of those published, and for a synthetic set, whose truth is known.
    """
    entry = registry.get(dataset)
    if dataset == "phantom":
        raise ValueError("a synthetic set needs no correction: its truth is known")
    study_paths = paths.StudyPaths(study)
    _require_same_run(study_paths)
    beside = results.read_table(study_paths.reference) if study_paths.reference.is_file() else None
    table = films(
        usable(results.read_table(study_paths.manifest, "manifest")),
        results.read_table(study_paths.audit, "audit"),
        results.read_table(study_paths.folds, "folds"),
        beside,
        entry,
    )
    text = table.to_csv(index=False, lineterminator="\n")
    return {TABLE: text, **documents(text, study, entry, study_paths.reports)}


def _require_same_run(study_paths: paths.StudyPaths) -> None:
    """Raise ValueError where a table is missing or not the one that the results were made from."""
    for name in ("manifest", "audit", "folds", "reference"):
        table = getattr(study_paths, name)
        digest = runtime.sha256_file(table) if table.is_file() else None
        for metrics in sorted(study_paths.metrics.glob("*.json")):
            noted = results.read_json(metrics)["_run"]["inputs"].get(table.name, digest)
            if noted != digest:
                state = "not the table that" if digest else "missing, a table that"
                raise ValueError(f"{table}: {state} {metrics.name} was made from; run the study again")


def films(
    images: pd.DataFrame, audit: pd.DataFrame, folds: pd.DataFrame, reference: pd.DataFrame | None, entry: DataSet
) -> pd.DataFrame:
    """One row per film, sorted by `image_id`, key (sha256, copy): those of COLUMNS that the set has, then its folds.

    `images` are the usable rows of the manifest; the others are audit.csv, folds.csv and reference.csv. A set with
    published checksums has the published names and SHA-256, so that whoever downloads it finds its films; raises
    ValueError for a film that is not one of them. Folds are those of the honest protocols; raises ValueError where one
    of them has a person in two folds. Of films of one's own nothing is kept that may name a patient.
    """
    if "knee" not in audit:
        raise ValueError("audit.csv has no column knee, so an earlier version made it; run 02_eda again")
    table = images[["image_id", "sha256", "class_name"]].rename(columns={"class_name": "folder"})
    joined = audit[["image_id", "knee", "group", "relation", "conflict"]].rename(columns={"group": "person"})
    table = table.merge(joined, on="image_id", how="left", validate="one_to_one")
    if reference is not None:
        known = reference.rename(columns={"value": "reference", "name": "reference_name"})
        table = table.merge(known, on="image_id", how="left", validate="one_to_one")
    table = table.merge(_folds(folds), on="image_id", how="left", validate="one_to_one")
    needed = ["knee", *(name for name in table if name.startswith("fold_"))]
    if (lost := table[needed].isna().any(axis=1)).any():
        raise ValueError(f"{table.image_id[lost].iloc[0]}: not in audit.csv and folds.csv; run 02_eda again")
    for name in needed[1:]:
        splits.check_no_leak(table.set_index("image_id")[name], table.set_index("image_id")["person"])
    if entry.checksums:
        listed = read_checksums(Path(registry.__file__).parent / entry.checksums)
        names = published_names(table, listed)
        digests = names.map(listed)
        table = table.assign(image_id=names, as_published=(table.sha256 == digests).astype(int), sha256=digests)
    if entry.crosswalk and "source" in table and table["source"].notna().any():
        walked = pd.read_csv(Path(registry.__file__).parent / entry.crosswalk, keep_default_na=False)
        table = table.merge(films_of_sources(walked)[["image_id", "certainty"]], on="image_id", how="left")
    table = table.sort_values("image_id", ignore_index=True)
    table["copy"] = table.groupby("sha256").cumcount()
    whole = {name: int for name in table if name.startswith("fold_") or COLUMNS.get(name, ("",))[0] == WHOLE}
    table = table.dropna(axis="columns", how="all").astype(whole)
    order = [*COLUMNS, *sorted(name for name in table if name.startswith("fold_"))]
    left_out = PRIVATE if entry.name == "folder" else ()
    return table[[name for name in order if name in table and name not in left_out]]


def published_names(table: pd.DataFrame, listed: Mapping[str, str]) -> pd.Series:
    """The published name of each film (image_id, sha256, folder): by its bytes, else by class and name.

    `listed` has SHA-256 by name. Among files with the same bytes one of its own name goes before others. Raises
    ValueError for a film that has neither bytes nor name of a published one.
    """
    own = table["folder"] + "/" + table["image_id"].str.rsplit("/", n=1).str[-1]
    same = own.map(listed) == table["sha256"]
    found, taken = own.where(same), set(own[same])
    for row in table.index[~same]:
        alike = [name for name, digest in listed.items() if digest == table.sha256[row]] or [own[row]]
        free = [name for name in sorted(alike) if name in listed and name not in taken]
        if not free:
            raise ValueError(
                f"{table.image_id[row]}: neither its bytes nor its name are those of a published film, or they are those "
                "of a film that is there already; expected the set as it is published, or a copy with the same names"
            )
        found[row] = free[0]
        taken.add(free[0])
    return found


def _folds(folds: pd.DataFrame) -> pd.DataFrame:
    chosen = folds[folds["protocol"].isin(definitions.HONEST) & (folds["view"] == 0)]
    wide = chosen.pivot_table(index="image_id", columns=["protocol", "seed"], values="fold", aggfunc="first")
    return wide.set_axis([FOLD.format(*column) for column in wide], axis=1).reset_index()


def documents(text: str, study: str, entry: DataSet, reports: Path) -> dict[str, str]:
    """Erratum, loader, croissant.json and ro-crate-metadata.json that go with the text of a table of `films`.

    `reports` is the folder of the study's results or of its published ones.
    """
    table = pd.read_csv(io.StringIO(text), keep_default_na=False, na_values=[""])
    metrics = results.load_metrics(reports)
    finished = results.read_json(reports / "metrics" / "02_eda.json")["_run"]["finished"]
    about = _about(study, entry, finished, sourced="source" in table)
    made = {TABLE: text, "ERRATUM.md": _rendered("erratum.md.j2", {**about, **facts(table, metrics)})}
    made["load.py"] = _rendered("load.py.j2", {})
    about["columns"] = [(name, *(COLUMNS.get(name) or (WHOLE, _fold_meaning(name)))) for name in table]
    for name, template in (("croissant.json", "croissant.json.j2"), ("ro-crate-metadata.json", "ro_crate.json.j2")):
        listed = [_file(name, text) for name, text in made.items()]
        filled = json.loads(_rendered(template, {**about, "files": listed}))
        made[name] = json.dumps(filled, indent=1, ensure_ascii=False) + "\n"
    del made[TABLE]
    return made


def _rendered(template: str, content: Mapping[str, Any]) -> str:
    """A template filled with plain text; `results.page` would escape it for HTML."""
    jinja = Environment(
        loader=FileSystemLoader(Path(__file__).parent), undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    jinja.filters["json"] = partial(json.dumps, ensure_ascii=False)
    return jinja.get_template(template).render(content).rstrip() + "\n"


def _file(name: str, text: str) -> dict[str, str | int]:
    kind, meaning = FILES[name]
    content = text.encode()
    digest = hashlib.sha256(content).hexdigest()
    return {"name": name, "format": kind, "meaning": meaning, "size": len(content), "sha256": digest}


def _fold_meaning(column: str) -> str:
    protocol, seed = column.removeprefix("fold_").rsplit("_s", 1)
    return f"fold of {protocol}, seed {seed}, -1 where left out; mistake of this split: {definitions.TERMS[protocol]}"


def _about(study: str, entry: DataSet, finished: str, sourced: bool) -> dict[str, Any]:
    """Who made the product, of which set, with what, when and under which licence."""
    cited = yaml.safe_load((paths.code_root() / "CITATION.cff").read_text("utf-8"))
    author, spdx = cited["authors"][0]["name"], f"https://spdx.org/licenses/{cited['license']}"
    source = registry.get(entry.crosswalk_to) if entry.crosswalk_to and sourced else None
    title, films_licence = entry.slug or entry.title, entry.licence
    licence = {"id": spdx, "address": spdx, "name": f"{cited['license']}, {author}"}
    if entry.name == "folder":
        # What somebody finds in their own films is theirs to license.
        author, title = f"Whoever ran the study {study}", f"the films of the study {study}"
        films_licence = "not stated"
        unknown = "not chosen yet by whoever ran the study"
        licence = {"id": "#licence", "address": unknown, "name": unknown}
    return {
        "study": study,
        "title": title,
        "name": f"Corrected labels and groups of {title}",
        "description": f"For each film of {title}: which films show the same knee or are of one person, which labels "
        "contradict each other, folds that keep persons apart, and a second label where one is known, by the SHA-256 of "
        "the file. No film is included. For research and teaching only.",
        "finished": finished,
        "date": finished[:10],
        "version": cited["version"],
        "software": f"{cited['title'].split(':')[0]} {cited['version']}",
        "software_licence": spdx,
        "author": author,
        "licence": licence,
        "films_licence": films_licence,
        "source": source,
        "basis": [{"address": _address(one), "entry": one} for one in (entry, source) if one and _address(one)],
    }


def _address(entry: DataSet) -> str:
    doi = re.search(r"https://doi\.org/\S*\w", entry.citation)
    return entry.page or (doi.group() if doi else "")


def facts(table: pd.DataFrame, metrics: Mapping[str, results.Estimate]) -> dict[str, Any]:
    """What the erratum says in numbers: counted in a table of `films`, and the kappa of the study's `metrics`."""
    known = table[table["reference"].isin(GRADES)] if "reference" in table else table[:0]
    conflict = table[table["conflict"] == 1]
    crossed = [
        {"folder": folder, "films": len(part), "reference": _listed(part["reference"].value_counts().reindex(GRADES))}
        for folder, part in known.groupby("folder")
    ]
    return {
        "films": len(table),
        "unused": int(metrics["data/files"].value) - len(table),
        "folders": _listed(table["folder"].value_counts().sort_index()),
        "copied": int(table["knee"].duplicated(keep=False).sum()),
        "same_bytes": int(table["sha256"].duplicated(keep=False).sum()),
        "knees": table["knee"].nunique(),
        "persons": table["person"].nunique(),
        "patients": int(metrics["data/patients"].value),
        "decided": sum(int(one.value) for name, one in metrics.items() if name.startswith("data/decided_")),
        "conflict_films": len(conflict),
        "conflict_knees": conflict["knee"].nunique(),
        "changed": int((table["as_published"] == 0).sum()) if "as_published" in table else 0,
        "referred": len(known),
        "reference_name": known["reference_name"].iloc[0] if len(known) else "",
        "crossed": crossed,
        "kappa": metrics.get("reference/kappa"),
    }


def _listed(counts: pd.Series) -> str:
    *most, last = [f"{number:.0f} {name}" for name, number in counts.fillna(0).items()]
    return f"{', '.join(most)} and {last}" if most else last
