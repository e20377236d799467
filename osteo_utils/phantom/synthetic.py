"""Synthetic knee radiographs with known truth and planted faults.

A set is planned as a table (one row per file), each knee is drawn from its own seed, and files are written
with their truth beside them. The classes differ in cortex and trabecular texture; brightness, size, format
and markers are independent of the class.
"""

import io
import json
import os
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from osteo_utils.phantom import drawing
from osteo_utils.phantom.design import CLASSES, plan
from osteo_utils.phantom.drawing import Knee, draw_knee

GENERATOR = 3


@dataclass(frozen=True)
class PhantomSet:
    """Films, uint8 (n, h, w), with their `parts` as in `Knee`, in the order of the table of `plan`."""

    images: NDArray[np.uint8]
    parts: NDArray[np.uint8]
    table: pd.DataFrame

    @property
    def masks(self) -> NDArray[np.uint8]:
        """Bone as 1, uint8 (n, h, w)."""
        return (self.parts > 0).astype(np.uint8)


def _knee(row: pd.Series) -> Knee:
    """The knee of one planned file, before any alteration."""
    size, aspect = int(max(row["height"], row["width"])), float(row["width"] / row["height"])
    same = row[["layout", "side", "signal", "site"]].to_dict()
    return draw_knee(int(row["seed"]), float(row["density"]), size, aspect=aspect, tagged=bool(row["tagged"]), **same)


def _draw_row(row: pd.Series, original: pd.Series) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Image and parts of one planned file, alteration included."""
    knee = _knee(original)
    image, parts = knee.image, knee.parts
    if row["alteration"] == "mirrored":
        image, parts = image[:, ::-1], parts[:, ::-1]
    if row["alteration"] == "rescaled":
        to = (int(row["width"]), int(row["height"]))
        image = np.asarray(Image.fromarray(image).resize(to, Image.Resampling.LANCZOS))
        parts = np.asarray(Image.fromarray(parts).resize(to, Image.Resampling.NEAREST))
    if row["alteration"] == "brightness":
        # Another gamma, as from another viewer's window.
        image = np.rint(255 * (image / 255.0) ** np.exp(row["strength"] * 1.5)).astype(np.uint8)
    return np.ascontiguousarray(image), np.ascontiguousarray(parts)


def draw(seed: int, n_knees: int, size: int = 512, *, workers: int | None = None, **settings: Any) -> PhantomSet:
    """Draw a set of square films as arrays, with the pixels that their files would hold; `settings` as in `plan`.

    workers: threads (default: one per core, at most four).
    """
    table = plan(n_knees, seed, size, square=True, **settings)
    images, parts = [], []
    for row, image, shown in _films(table, workers):
        images.append(_decode(_encode(image, row)) if row["format"] == "jpg" else image)
        parts.append(shown)
    return PhantomSet(np.stack(images), np.stack(parts), table)


def knees(n_knees: int, seed: int, size: int = 512, **settings: Any) -> list[Knee]:
    """Draw one film per knee, in all shapes of a written set, without files; `settings` as in `plan`."""
    table = plan(n_knees, seed, size, **{"copies": 0.0, **settings})
    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
        return list(pool.map(_knee, (row for _, row in table.iterrows())))


def write(directory: Path, n_knees: int, seed: int, size: int = 512, **settings: Any) -> pd.DataFrame:
    """Write a set to `directory` and return its table; `settings` as in `plan`.

    Writes normal/ and osteoporosis/ (the films), truth.csv (the table of `plan`), truth_masks/<class>/<name>.png
    (bone = 255, in the file's own pixels), truth_parts/<class>/<name>.png (`parts` as in `Knee`),
    truth_outlines.json (`drawing.as_lists` of each film) and phantom.json (the arguments). The folder gets its name
    only once it is complete. A second call with the same arguments draws nothing; other arguments replace the set.
    Raises FileExistsError where `directory` holds anything other than a phantom set.
    """
    arguments = {"generator": GENERATOR, "n_knees": n_knees, "seed": seed, "size": size, **settings}
    arguments = json.loads(json.dumps(arguments))
    table = plan(n_knees, seed, size, **settings)
    if _complete(directory, arguments, table):
        print(f"{directory.name}: already there ({len(table)} films of {n_knees} knees)")
        return table
    if directory.exists() and any(directory.iterdir()) and not (directory / "phantom.json").is_file():
        raise FileExistsError(
            f"{directory} holds files and is not a phantom set (no phantom.json); give another folder"
        )
    directory.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{directory.name}-", dir=directory.parent) as scratch:
        fresh = Path(scratch) / "fresh"
        _write_all(fresh, table)
        (fresh / "phantom.json").write_text(json.dumps(arguments, indent=1, sort_keys=True), encoding="utf-8")
        if directory.exists():
            directory.rename(Path(scratch) / "old")
        fresh.rename(directory)
    return table


def _complete(directory: Path, arguments: dict, table: pd.DataFrame) -> bool:
    saved = directory / "phantom.json"
    if not saved.is_file() or json.loads(saved.read_text(encoding="utf-8")) != arguments:
        return False
    expected = [directory / "truth.csv", directory / "truth_outlines.json"]
    for name in table["image_id"]:
        expected += [directory / name, _truth(directory, "truth_masks", name), _truth(directory, "truth_parts", name)]
    return all(path.is_file() for path in expected)


def _truth(directory: Path, kind: str, image_id: str) -> Path:
    return (directory / kind / image_id).with_suffix(".png")


def _write_all(directory: Path, table: pd.DataFrame) -> None:
    for kind in ("", "truth_masks", "truth_parts"):
        for name in CLASSES:
            (directory / kind / name).mkdir(parents=True)
    lines = {}
    for row, image, parts in _films(table):
        lines[row["image_id"]] = drawing.as_lists(parts)
        (directory / row["image_id"]).write_bytes(_encode(image, row))
        mask = np.where(parts > 0, 255, 0).astype(np.uint8)
        Image.fromarray(parts).save(_truth(directory, "truth_parts", row["image_id"]))
        Image.fromarray(mask).save(_truth(directory, "truth_masks", row["image_id"]))
    table.to_csv(directory / "truth.csv", index=False)
    (directory / "truth_outlines.json").write_text(json.dumps(lines), encoding="utf-8")


def _films(
    table: pd.DataFrame, workers: int | None = None
) -> Iterator[tuple[pd.Series, NDArray[np.uint8], NDArray[np.uint8]]]:
    """Each planned file's image and parts, in the table's order; in threads, because NumPy releases the lock."""
    firsts = table[table["copy_of"] == ""].set_index("knee")
    rows = [row for _, row in table.iterrows()]
    # In slices, so that a large set does not pile up in memory before it is written.
    with ThreadPoolExecutor(workers or min(4, os.cpu_count() or 1)) as pool:
        for start in range(0, len(rows), 32):
            chunk = rows[start : start + 32]
            drawn = pool.map(lambda row: _draw_row(row, firsts.loc[row["knee"]]), chunk)
            for row, (image, parts) in zip(chunk, drawn, strict=True):
                yield row, image, parts


def _encode(image: NDArray[np.uint8], row: pd.Series) -> bytes:
    target = io.BytesIO()
    picture = Image.fromarray(image).convert(row["mode"])
    if row["format"] == "png":
        picture.save(target, "PNG", compress_level=3)
    else:
        picture.save(target, "JPEG", quality=int(row["quality"]))
    return target.getvalue()


def _decode(content: bytes) -> NDArray[np.uint8]:
    return np.asarray(Image.open(io.BytesIO(content)).convert("L"))
