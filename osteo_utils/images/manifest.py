"""One row per file of a data set: its class and label, format, patient's pseudonym, and why it cannot be used."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from osteo_utils.images import decode, image_store
from osteo_utils.images.decode import Unusable
from osteo_utils.images.image_store import Append
from osteo_utils.sources import data_folders, film_folders, registry, user_tables
from osteo_utils.sources.class_names import OSTEOPENIA
from osteo_utils.sources.film_folders import Layout, Place
from osteo_utils.study import results, runtime

LITTER = ("thumbs.db", "desktop.ini", "ehthumbs.db")
BATCH = 64
EXTERNAL = "external/"
WHOLE_NUMBERS = ("label", "width", "height", "bytes", "pad_left", "pad_top", "row")
PATIENTS = "patients"
# How the reason of a film begins that people left out; who, when and why follow.
DECIDED = "excluded by a decision of "


def build_manifest(
    root: Path,
    dataset: str,
    salt: str = "",
    store: Path | None = None,
    workers: int = 2,
    every_folder: bool = False,
    external: Path | None = None,
    osteopenia: str = "exclude",
    classes: Sequence[str] = (),
    excluded: Mapping[str, str] | None = None,
    say: Callable[[str], None] = print,
) -> pd.DataFrame:
    """The manifest (columns of the contract `manifest`): one row per file, sorted by `image_id`.

    `row` numbers the usable films (status `ok`) in that order; it and `label` are empty elsewhere. Unusable files of
    a class folder are `quarantined`, files outside the class folders `excluded`, each with a reason; the reason of a
    usable film is a remark, such as a wrong extension. `store`: where the films are written in the same pass, uint8
    (n, 512, 512). `salt`: part of the patients' pseudonyms, which come from `patients.csv` (image_id, patient) beside
    the class folders, as `user_tables` reads it, or else from the registry's crosswalk: films of one source film are of
    one person. `classes` and `every_folder` as in `film_folders.arrange`; where each
    folder is a class, labels follow the alphabet. `osteopenia`: the label of films in a folder osteopenia/, if any;
    they keep that `class_name`. `excluded`: who left out which film, when and why, by `image_id`; such a film is
    `excluded` and never opened. `say` is told of what is remarkable about folders and tables.

    Files of `external`, a folder of another source, come last, with the role `external`, the dataset `folder` and
    `external/` before their path. They do not change the rows of `root`. A patient of both sets has one pseudonym
    where both have a patients.csv.
    Raises ValueError for a bad folder, an unusable class or a bad patients.csv, OSError where the disk is full.
    """
    layout = film_folders.arrange(root, classes, True) if every_folder else data_folders.check_folder(root, classes)
    secret = _secret_of(root, salt)
    sources = [_Source(root, dataset, "develop", "", secret, layout)]
    if external is not None:
        found = data_folders.check_external(root, external, classes)
        theirs = secret or _secret_of(external, salt)
        sources.append(_Source(external, "folder", "external", EXTERNAL, theirs, found))
    frames: list[pd.DataFrame] = []
    with (
        image_store.writer(store, sum(len(source.layout.places) for source in sources)) as append,
        ThreadPoolExecutor(workers) as pool,
    ):
        for source in sources:
            films = list(source.layout.places)
            people, remarks = pseudonyms(source.root, films, source.secret)
            for remark in (*source.layout.remarks, *remarks):
                say(source.prefix + remark)
            labels = _labels(source.layout, every_folder, osteopenia)
            names = [source.prefix + name for name in films]
            source = _without(source, excluded or {})
            frames.append(_rows_of(source, labels, append, pool).assign(patient=people, image_id=names))
            if not user_tables.find(source.root, PATIENTS):
                for remark in _fill_persons(frames[-1], source):
                    say(source.prefix + remark)
            if not every_folder:
                _require_both_classes(source.root, frames[-1])
        frame = pd.concat(frames, ignore_index=True)
        if (twice := frame["image_id"].duplicated()).any():
            name = frame.loc[twice, "image_id"].iloc[0]
            raise ValueError(f"{root}: {name} lies in it and in the external set; rename the folder {EXTERNAL}")
    return frame


def develop(manifest: pd.DataFrame) -> pd.DataFrame:
    """The rows of the study's own files, the only ones to describe or train on."""
    return manifest[manifest["role"] == "develop"]


def usable(manifest: pd.DataFrame, role: str = "develop") -> pd.DataFrame:
    """The rows with status `ok` of one role, with `label` and `row` as plain integers and a fresh index."""
    chosen = manifest[(manifest["status"] == "ok") & (manifest["role"] == role)].reset_index(drop=True)
    return chosen.astype({"label": int, "row": int, "width": int, "height": int})


def store_truth_labels(root: Path, manifest: pd.DataFrame, path: Path) -> int:
    """Write the true label of each usable film (image_id, true_label) of a synthetic set; returns how many."""
    source = root / "truth.csv"
    # Another folder may hold a file of that name.
    if not (source.is_file() and (root / "phantom.json").is_file()):
        # Labels of an earlier data set must not pass for the truth about this one.
        path.unlink(missing_ok=True)
        return 0
    truth = results.read_table(source)[["image_id", "true_label"]]
    truth = truth[truth.image_id.isin(usable(manifest).image_id)]
    results.write_table(path, truth)
    return len(truth)


@dataclass(frozen=True)
class _Source:
    """One folder of films: its data set, role and prefix in the manifest, secret of its pseudonyms, and files."""

    root: Path
    dataset: str
    role: str
    prefix: str
    secret: str
    layout: Layout


def _without(source: _Source, excluded: Mapping[str, str]) -> _Source:
    """The source with the films that people left out marked so, unless they lie outside its classes anyway."""
    places = dict(source.layout.places)
    for name, place in places.items():
        if (said := excluded.get(source.prefix + name)) and not place.excluded:
            places[name] = replace(place, excluded=DECIDED + said)
    return replace(source, layout=replace(source.layout, places=places))


def _labels(layout: Layout, every_folder: bool, osteopenia: str) -> Mapping[str, int]:
    """The label of each class that has one."""
    if every_folder:
        names = {place.class_name for place in layout.places.values() if not (place.excluded or place.unusable)}
        return {name: number for number, name in enumerate(sorted(names))}
    if osteopenia == "exclude":
        return registry.LABELS
    return {**registry.LABELS, OSTEOPENIA: registry.LABELS[osteopenia]}


def _rows_of(source: _Source, labels: Mapping[str, int], append: Append, pool: ThreadPoolExecutor) -> pd.DataFrame:
    rows: list[dict[str, Any]] = []
    places = list(source.layout.places.items())
    for start in range(0, len(places), BATCH):
        batch = places[start : start + BATCH]
        for row, stored in pool.map(lambda item: _read(source.root, *item, labels), batch):
            if stored is not None:
                row["row"] = append(stored)
            rows.append({"dataset": source.dataset, "role": source.role, **row})
    frame = pd.DataFrame(rows).reindex(columns=list(results.CONTRACTS["manifest"].columns))
    return frame.astype(dict.fromkeys(WHOLE_NUMBERS, "Int64"))


def _read(
    root: Path, image_id: str, place: Place, labels: Mapping[str, int]
) -> tuple[dict[str, Any], np.ndarray | None]:
    path = root / image_id
    row: dict[str, Any] = {"image_id": image_id, "class_name": place.class_name}

    def refused(status: str, reason: str) -> tuple[dict[str, Any], None]:
        with suppress(OSError):
            row.update(bytes=path.stat().st_size, sha256=runtime.sha256_file(path))
        return {**row, "status": status, "reason": reason}, None

    if row["class_name"] == OSTEOPENIA and OSTEOPENIA not in labels:
        return refused("excluded", "osteopenia, excluded by the study's rule")
    if place.excluded:
        return refused("excluded", place.excluded)
    row["label"] = labels.get(place.class_name)
    if place.unusable:
        return refused("quarantined", place.unusable)
    if path.exists() and not path.is_file():
        return {**row, "status": "quarantined", "reason": "a pipe, socket or device: expected a file"}, None
    if path.name.startswith(".") or path.name.lower() in LITTER:
        return refused("quarantined", "hidden file of an operating system")
    try:
        film = decode.decode(path)
    except Unusable as reason:
        return refused("quarantined", str(reason))
    stored, scale, pad_left, pad_top = image_store.to_store(film.pixels)
    row |= {"sha256": film.sha256, "pixel_sha256": film.pixel_sha256, "bytes": film.bytes}
    row |= {"width": film.width, "height": film.height, "mode": film.mode, "format": film.format}
    row |= {"scale": scale, "pad_left": pad_left, "pad_top": pad_top, "status": "ok", "reason": film.note}
    return row, stored


def _require_both_classes(root: Path, frame: pd.DataFrame) -> None:
    for name in registry.LABELS:
        files = frame[frame["class_name"] == name]
        if not (files["status"] == "ok").any():
            reasons = files["reason"].value_counts().head(5).items()
            summary = "; ".join(f"{count} x {reason}" for reason, count in reasons)
            raise ValueError(f"{root}: no usable radiograph in {name}; {summary}")


def _fill_persons(frame: pd.DataFrame, source: _Source) -> list[str]:
    """Write the person of each film that the registry's crosswalk knows into `frame`; returns remarks."""
    files = frame.loc[frame["status"] == "ok", ["image_id", "sha256"]]
    known, remarks = data_folders.known_sources(source.dataset, files)
    if len(known):
        person = frame["image_id"].map(known.set_index("image_id")["person"])
        frame["patient"] = person.radd(f"{registry.get(source.dataset).crosswalk_to} ").fillna("")
    return remarks


def _secret_of(root: Path, salt: str) -> str:
    """Secret of a data set's pseudonyms; empty where it has no table of patients."""
    path = user_tables.find(root, PATIENTS)
    # With the file's hash, so that a pseudonym cannot be broken by trying all patient numbers.
    return f"{salt}|{runtime.sha256_file(path)}" if path else ""


def pseudonyms(root: Path, names: Sequence[str], secret: str) -> tuple[list[str], list[str]]:
    """A pseudonym for each file whose patient is known, an empty string for the others; and remarks on the table.

    Two sets with the same `secret` share their pseudonyms. Raises ValueError as `user_tables.patients` does.
    """
    path = user_tables.find(root, PATIENTS)
    if not path:
        return [""] * len(names), data_folders.without_patients(root)
    known = user_tables.patients(path, list(names))
    people = [known.values.get(name, "") for name in names]
    hashed = [hashlib.sha256(f"{secret}|{name}".encode()).hexdigest()[:16] if name else "" for name in people]
    return hashed, known.remarks
