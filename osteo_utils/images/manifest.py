"""One row for every file of a data set: what it is, whether it can be used, its label and its patient's pseudonym."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from osteo_utils.images import decode, image_store
from osteo_utils.images.decode import Unusable
from osteo_utils.sources import data_folders, registry
from osteo_utils.study import results, runtime

LITTER = ("thumbs.db", "desktop.ini", "ehthumbs.db")
BATCH = 64
EXTERNAL = "external/"
OSTEOPENIA = "osteopenia"
WHOLE_NUMBERS = ("label", "width", "height", "bytes", "pad_left", "pad_top", "row")


PATIENTS = "patients.csv"


def build_manifest(
    root: Path,
    dataset: str,
    salt: str = "",
    store: Path | None = None,
    workers: int = 2,
    every_folder: bool = False,
    external: Path | None = None,
    osteopenia: str = "exclude",
) -> pd.DataFrame:
    """The manifest (columns of the contract `manifest`): a row per file, sorted by `image_id`.

    `row` counts the usable films (status `ok`) from 0 in that order; it and `label` are empty elsewhere. A
    file of a class folder that cannot be used is `quarantined`, one that lies outside the class folders is
    `excluded`, both with the reason; the reason of a usable film is a remark, such as a wrong extension. With
    `store` the films are written there in the same pass, as a uint8 array (n, 512, 512). `salt` goes into the
    patients' pseudonyms, which come from `patients.csv` (image_id, patient) beside the class folders. With
    `every_folder` each folder is a class of its own, labelled by its place in the alphabet, and none is excluded.
    Films of a folder osteopenia/ keep that `class_name`; `osteopenia` says which label they get, if any.

    The files of `external`, a folder of another source, follow those of `root` with the role `external`, the
    dataset `folder` and `external/` before their path; the rows of `root` are the same with and without it. One
    patient of both sets has one pseudonym where both have a patients.csv.
    Raises ValueError for a bad folder, an unusable class or a bad patients.csv, OSError where the disk is full.
    """
    root = Path(root)
    secret = _secret_of(root, salt)
    sources = [_Source(root, dataset, "develop", "", secret)]
    if external is not None:
        data_folders.check_external(root, external)
        theirs = secret or _secret_of(Path(external), salt)
        sources.append(_Source(Path(external), "folder", "external", EXTERNAL, theirs))
    frames: list[pd.DataFrame] = []
    with (
        image_store.Writer.opened(store, sum(len(source.files) for source in sources)) as writer,
        ThreadPoolExecutor(workers) as pool,
    ):
        for source in sources:
            classes, labels = _classes_of(source, every_folder, osteopenia)
            frames.append(_rows_of(source, classes, labels, writer, pool))
            if not every_folder:
                _require_both_classes(source.root, frames[-1])
        frame = pd.concat(frames, ignore_index=True)
        if (twice := frame["image_id"].duplicated()).any():
            raise ValueError(
                f"{root}: {frame.loc[twice, 'image_id'].iloc[0]} lies in it, and so would a film of the external set "
                f"be named; rename the folder {EXTERNAL}"
            )
    return frame


def develop(manifest: pd.DataFrame) -> pd.DataFrame:
    """The rows of the study's own files; whatever describes or trains takes these and no other."""
    return manifest[manifest["role"] == "develop"]


def usable(manifest: pd.DataFrame, role: str = "develop") -> pd.DataFrame:
    """The rows with status `ok` of one role, with `label` and `row` as plain integers and a fresh index."""
    chosen = manifest[(manifest["status"] == "ok") & (manifest["role"] == role)].reset_index(drop=True)
    return chosen.astype({"label": int, "row": int, "width": int, "height": int})


def store_truth_labels(root: Path, manifest: pd.DataFrame, path: Path) -> int:
    """Keep `truth.csv`'s label of each usable film (image_id, true_label) of a synthetic set; returns how many."""
    source = Path(root) / "truth.csv"
    # A stranger's folder may hold a file of that name.
    if not (source.is_file() and (Path(root) / "phantom.json").is_file()):
        # Labels of an earlier data set of this study would be taken for the truth of this one.
        path.unlink(missing_ok=True)
        return 0
    truth = results.read_table(source)[["image_id", "true_label"]]
    kept = truth[truth.image_id.isin(usable(manifest).image_id)]
    results.write_table(path, kept)
    return len(kept)


def _folder(image_id: str) -> str:
    return image_id.split("/")[0] if "/" in image_id else ""


@dataclass(frozen=True)
class _Source:
    """One folder of films, what its rows are called, and the secret of its pseudonyms."""

    root: Path
    dataset: str
    role: str
    prefix: str
    secret: str

    @cached_property
    def files(self) -> list[str]:
        return _files_of(self.root)


def _classes_of(source: _Source, every_folder: bool, osteopenia: str) -> tuple[dict[str, str], Mapping[str, int]]:
    """Class of each class folder, and the label of each class that has one."""
    folders = sorted({_folder(file) for file in source.files})
    if every_folder:
        return {name: name for name in folders}, {name: number for number, name in enumerate(folders)}
    classes = {folder.name: name for name, folder in data_folders.check_folder(source.root).items()}
    classes |= {name: OSTEOPENIA for name in folders if name.lower() == OSTEOPENIA}
    if osteopenia == "exclude":
        return classes, registry.LABELS
    return classes, {**registry.LABELS, OSTEOPENIA: registry.LABELS[osteopenia]}


def _rows_of(
    source: _Source,
    classes: Mapping[str, str],
    labels: Mapping[str, int],
    writer: image_store.Writer,
    pool: ThreadPoolExecutor,
) -> pd.DataFrame:
    rows: list[dict[str, Any]] = []
    for start in range(0, len(source.files), BATCH):
        names = source.files[start : start + BATCH]
        for row, stored in pool.map(lambda name: _read(source.root, name, classes, labels), names):
            if stored is not None:
                row["row"] = writer.append(stored)
            rows.append({"dataset": source.dataset, "role": source.role, **row})
    frame = pd.DataFrame(rows).reindex(columns=list(results.CONTRACTS["manifest"].columns))
    frame = frame.astype(dict.fromkeys(WHOLE_NUMBERS, "Int64"))
    frame["patient"] = pseudonyms(source.root, frame["image_id"], source.secret)
    return frame.assign(image_id=[source.prefix + name for name in frame["image_id"]])


def _read(
    root: Path, image_id: str, classes: Mapping[str, str], labels: Mapping[str, int]
) -> tuple[dict[str, Any], np.ndarray | None]:
    path, folder = root / image_id, _folder(image_id)
    class_name = classes.get(folder, folder)
    row: dict[str, Any] = {"image_id": image_id, "class_name": class_name, "reason": "", "status": "excluded"}
    if class_name == OSTEOPENIA and OSTEOPENIA not in labels:
        return {**row, **_fingerprint(path), "reason": "osteopenia, excluded by the study's rule"}, None
    if folder not in classes:
        row["reason"] = (
            f"class folder {folder} is neither {' nor '.join(registry.LABELS)}"
            if class_name
            else "lies beside the class folders"
        )
        return {**row, **_fingerprint(path)}, None
    row |= {"label": labels[class_name], "status": "quarantined"}
    if path.name.startswith(".") or path.name.lower() in LITTER:
        return {**row, **_fingerprint(path), "reason": "hidden file of an operating system"}, None
    try:
        film = decode.decode(path)
    except Unusable as reason:
        return {**row, **_fingerprint(path), "reason": str(reason)}, None
    stored, scale, pad_left, pad_top = image_store.to_store(film.pixels)
    row |= {"sha256": film.sha256, "pixel_sha256": film.pixel_sha256, "bytes": film.bytes}
    row |= {"width": film.width, "height": film.height, "mode": film.mode, "format": film.format}
    row |= {"scale": scale, "pad_left": pad_left, "pad_top": pad_top, "status": "ok", "reason": film.note}
    return row, stored


def _fingerprint(path: Path) -> dict[str, Any]:
    """Size and SHA-256 of a file that is not decoded; empty where it cannot be read."""
    try:
        return {"bytes": path.stat().st_size, "sha256": runtime.sha256_file(path)}
    except OSError:
        return {}


def _files_of(root: Path) -> list[str]:
    """`image_id` of every file below `root` but the companions of a data set, sorted."""
    found = []
    for entry in sorted(root.iterdir()):
        if entry.name in data_folders.COMPANIONS:
            continue
        if not entry.is_dir():
            found.append(entry.name)
            continue
        for place, _, names in os.walk(entry, onerror=_raise):
            found += [(Path(place) / name).relative_to(root).as_posix() for name in names]
    for name in found:
        try:
            name.encode()
        except UnicodeEncodeError:
            raise ValueError(f"{name!r}: this file name is not UTF-8 text; rename the file") from None
    return sorted(found)


def _raise(error: OSError) -> None:
    raise error


def _require_both_classes(root: Path, frame: pd.DataFrame) -> None:
    counts = frame.loc[frame["status"] == "ok", "class_name"].value_counts()
    for name in registry.LABELS:
        if counts.get(name, 0) == 0:
            reasons = frame.loc[frame["class_name"] == name, "reason"].value_counts()
            raise ValueError(
                f"{root}: no usable radiograph in {name}; "
                + "; ".join(f"{count} x {reason}" for reason, count in reasons.head(5).items())
            )


def _secret_of(root: Path, salt: str) -> str:
    """What the pseudonyms of a data set are made with, from its own table; empty where it has none.

    Without the file's own hash in it, a pseudonym could be found by trying out all numbers.
    """
    path = root / PATIENTS
    return f"{salt}|{runtime.sha256_file(path)}" if path.is_file() else ""


def pseudonyms(root: Path, names: Sequence[str], secret: str) -> list[str]:
    """A pseudonym for each file (path below `root`) whose patient is named, an empty text for each other one.

    `patients.csv` has the columns image_id, patient; two sets that share a `secret` share their pseudonyms.
    Raises ValueError for other columns, an image that stands twice, or one that is not there.
    """
    path = root / PATIENTS
    if not path.is_file():
        return [""] * len(names)
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    if list(table.columns) != ["image_id", "patient"] or table["image_id"].duplicated().any():
        raise ValueError(
            f"{path}: expected the columns image_id, patient and each image once, found {list(table.columns)}"
        )
    if unknown := sorted(set(table["image_id"]) - set(names)):
        raise ValueError(
            f"{path}: names {len(unknown)} files that are not there, such as {unknown[0]!r}; "
            "expected paths below the folder, such as normal/101.jpg"
        )
    known = dict(table.itertuples(index=False))
    people = [known.get(name, "") for name in names]
    return [hashlib.sha256(f"{secret}|{name}".encode()).hexdigest()[:16] if name else "" for name in people]
