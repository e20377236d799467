"""One row for every file of a data set, and the masks that go with its films."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from osteo_utils.data import datasets, patients, radiographs, stores
from osteo_utils.data.radiographs import STORE_SIDE, Unusable
from osteo_utils.study import results, runtime

LITTER = ("thumbs.db", "desktop.ini", "ehthumbs.db")
BATCH = 64
EXTERNAL = "external/"
OSTEOPENIA = "osteopenia"
WHOLE_NUMBERS = ("label", "width", "height", "bytes", "pad_left", "pad_top", "row")


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
    secret = patients.secret_of(root, salt)
    sources = [_Source(root, dataset, "develop", "", secret)]
    if external is not None:
        datasets.check_external(root, external)
        theirs = secret or patients.secret_of(Path(external), salt)
        sources.append(_Source(Path(external), "folder", "external", EXTERNAL, theirs))
    frames: list[pd.DataFrame] = []
    with (
        stores.Writer.opened(store, sum(len(source.files) for source in sources)) as writer,
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


def store_masks(masks: Iterator[np.ndarray], manifest: pd.DataFrame, path: Path) -> int:
    """Write masks as a uint8 array (n, 512, 512), fitted as the films are; returns n.

    `masks` yields one mask per usable film, in the manifest's order, at the film's own size; whatever is not 0
    is bone (1 in the store). Raises ValueError where a size or the number differs from the manifest's.
    """
    chosen = usable(manifest)
    with stores.Writer.opened(path, len(chosen)) as writer:
        for film, mask in zip(chosen.itertuples(), masks, strict=True):
            if mask.shape != (film.height, film.width):
                raise ValueError(
                    f"{film.image_id}: its mask is {mask.shape}, expected {(film.height, film.width)} as the film"
                )
            box = radiographs.content_box(film.width, film.height)
            small = Image.fromarray((mask > 0).astype(np.uint8)).resize(
                (box.width, box.height), Image.Resampling.NEAREST
            )
            stored = np.zeros((STORE_SIDE, STORE_SIDE), np.uint8)
            stored[box.top : box.top + box.height, box.left : box.left + box.width] = np.asarray(small)
            writer.append(stored)
    return len(chosen)


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


def store_truth_masks(root: Path, manifest: pd.DataFrame, path: Path) -> int:
    """Write the bone masks that a data set knows by construction; returns how many, 0 where there are none.

    The store is as that of `store_masks`. A film's mask is `truth_masks/<its name>.png`, not 0 = bone.
    Raises FileNotFoundError where the data set has masks but lacks one of a usable film.
    """
    folder = Path(root) / "truth_masks"
    if not folder.is_dir():
        # Masks of an earlier data set of this study would be taken for the truth of this one.
        path.unlink(missing_ok=True)
        return 0
    files = [(folder / image_id).with_suffix(".png") for image_id in usable(manifest)["image_id"]]
    return store_masks((_read_mask(file) for file in files), manifest, path)


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


def _classes_of(
    source: _Source, every_folder: bool, osteopenia: str
) -> tuple[dict[str, str], Mapping[str, int]]:
    """Class of each class folder, and the label of each class that has one."""
    folders = sorted({_folder(file) for file in source.files})
    if every_folder:
        return {name: name for name in folders}, {name: number for number, name in enumerate(folders)}
    classes = {folder.name: name for name, folder in datasets.check_folder(source.root).items()}
    classes |= {name: OSTEOPENIA for name in folders if name.lower() == OSTEOPENIA}
    if osteopenia == "exclude":
        return classes, datasets.LABELS
    return classes, {**datasets.LABELS, OSTEOPENIA: datasets.LABELS[osteopenia]}


def _rows_of(
    source: _Source,
    classes: Mapping[str, str],
    labels: Mapping[str, int],
    writer: stores.Writer,
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
    frame["patient"] = patients.pseudonyms(source.root, frame["image_id"], source.secret)
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
            f"class folder {folder} is neither {' nor '.join(datasets.LABELS)}"
            if class_name
            else "lies beside the class folders"
        )
        return {**row, **_fingerprint(path)}, None
    row |= {"label": labels[class_name], "status": "quarantined"}
    if path.name.startswith(".") or path.name.lower() in LITTER:
        return {**row, **_fingerprint(path), "reason": "hidden file of an operating system"}, None
    try:
        film = radiographs.decode(path)
    except Unusable as reason:
        return {**row, **_fingerprint(path), "reason": str(reason)}, None
    stored, scale, pad_left, pad_top = radiographs.to_store(film.pixels)
    row |= {"sha256": film.sha256, "pixel_sha256": film.pixel_sha256, "bytes": film.bytes}
    row |= {"width": film.width, "height": film.height, "mode": film.mode, "format": film.format}
    row |= {"scale": scale, "pad_left": pad_left, "pad_top": pad_top, "status": "ok", "reason": film.note}
    return row, stored


def _read_mask(path: Path) -> np.ndarray:
    if not path.is_file():
        raise FileNotFoundError(f"{path}: not there; expected the bone mask of this film, draw the set again")
    with Image.open(path) as mask:
        return np.asarray(mask)


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
        if entry.name in datasets.COMPANIONS:
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
    for name in datasets.LABELS:
        if counts.get(name, 0) == 0:
            reasons = frame.loc[frame["class_name"] == name, "reason"].value_counts()
            raise ValueError(
                f"{root}: no usable radiograph in {name}; "
                + "; ".join(f"{count} x {reason}" for reason, count in reasons.head(5).items())
            )
