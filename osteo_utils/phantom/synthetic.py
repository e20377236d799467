"""Synthetic knee radiographs with known truth and planted faults.

A set is planned as a table (one row per file), each knee is drawn from its own seed, and files are written
with their truth beside them. Class differences lie in cortex and trabecular texture; brightness, size,
format and markers are drawn without looking at the class.
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
    """Drawn films of one shape, and the table whose rows they follow.

    images uint8 (n, h, w); masks uint8 (n, h, w), 1 = bone; parts uint8 (n, h, w), the sum of 1 femur, 2 tibia,
    4 fibula, 8 patella (`drawing` makes outlines and the joint line of them).
    """

    images: NDArray[np.uint8]
    masks: NDArray[np.uint8]
    parts: NDArray[np.uint8]
    table: pd.DataFrame


def _knee(row: pd.Series) -> Knee:
    """The knee of one planned file, before any alteration."""
    return draw_knee(
        seed=int(row["seed"]),
        density=float(row["density"]),
        size=int(max(row["height"], row["width"])),
        aspect=float(row["width"] / row["height"]),
        layout=str(row["layout"]),
        side=str(row["side"]),
        signal=float(row["signal"]),
        site=str(row["site"]),
        tagged=bool(row["tagged"]),
    )


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
        # A gamma other than 1, as another viewer's window would leave it.
        image = np.rint(255 * (image / 255.0) ** np.exp(row["strength"] * 1.5)).astype(np.uint8)
    return np.ascontiguousarray(image), np.ascontiguousarray(parts)


def draw(seed: int, n_knees: int, size: int = 512, *, workers: int | None = None, **settings: Any) -> PhantomSet:
    """Draw a set of square films as arrays, without files; `settings` as in `plan`.

    workers: threads (default: one per core, at most four). A film planned as JPEG goes through the encoder, so its pixels are those that its file would hold.
    """
    table = plan(n_knees, seed, size, square=True, **settings)
    images, parts = [], []
    for row, image, shown in _films(table, workers):
        images.append(_decode(_encode(image, row)) if row["format"] == "jpg" else image)
        parts.append(shown)
    bones = np.stack(parts)
    return PhantomSet(np.stack(images), (bones > 0).astype(np.uint8), bones, table)


def knees(n_knees: int, seed: int, size: int = 512, *, workers: int | None = None, **settings: Any) -> list[Knee]:
    """Draw one film per knee, in all shapes of a written set, without files; `settings` as in `plan`."""
    table = plan(n_knees, seed, size, **{"copies": 0.0, **settings})
    with ThreadPoolExecutor(workers or min(4, os.cpu_count() or 1)) as pool:
        return list(pool.map(_knee, (row for _, row in table.iterrows())))


def write(
    directory: Path | str,
    n_knees: int = 150,
    seed: int = 20240521,
    size: int = 512,
    *,
    workers: int | None = None,
    **settings: Any,
) -> pd.DataFrame:
    """Write a set to `directory` and return its table; `settings` as in `plan`.

    Leaves normal/ and osteoporosis/ (the films), truth.csv (the table of `plan`), truth_masks/<class>/<name>.png
    (bone = 255, in the file's own pixels), truth_parts/<class>/<name>.png (sum of 1 femur, 2 tibia,
    4 fibula, 8 patella), truth_outlines.json (`drawing.as_lists` of each film) and phantom.json (the arguments). The folder appears under its name only when it
    is complete. Called again with the same arguments it draws nothing; with others it draws anew.
    Raises FileExistsError where `directory` holds something that is no phantom set.
    """
    directory = Path(directory)
    arguments = {"generator": GENERATOR, "n_knees": n_knees, "seed": seed, "size": size, **settings}
    arguments = json.loads(json.dumps(arguments))
    table = plan(n_knees, seed, size, **settings)
    if _complete(directory, arguments, table):
        print(f"{directory.name}: already there ({len(table)} films of {n_knees} knees)")
        return table
    if directory.exists() and any(directory.iterdir()) and not (directory / "phantom.json").is_file():
        raise FileExistsError(
            f"{directory} holds files but no phantom.json, so it is not a phantom set and is left alone; "
            "give an empty or new folder"
        )
    directory.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{directory.name}-", dir=directory.parent) as scratch:
        fresh = Path(scratch) / "fresh"
        _write_all(fresh, table, workers)
        (fresh / "phantom.json").write_text(json.dumps(arguments, indent=1, sort_keys=True), encoding="utf-8")
        if directory.exists():
            directory.rename(Path(scratch) / "old")
        fresh.rename(directory)
    return table


def _complete(directory: Path, arguments: dict, table: pd.DataFrame) -> bool:
    noted = directory / "phantom.json"
    if not noted.is_file() or json.loads(noted.read_text(encoding="utf-8")) != arguments:
        return False
    wanted = [directory / "truth.csv", directory / "truth_outlines.json"]
    for name in table["image_id"]:
        wanted += [directory / name, _truth(directory, "truth_masks", name), _truth(directory, "truth_parts", name)]
    return all(path.is_file() for path in wanted)


def _truth(directory: Path, kind: str, image_id: str) -> Path:
    return (directory / kind / image_id).with_suffix(".png")


def _write_all(directory: Path, table: pd.DataFrame, workers: int | None) -> None:
    for kind in ("", "truth_masks", "truth_parts"):
        for name in CLASSES:
            (directory / kind / name).mkdir(parents=True)
    lines = {}
    for row, image, parts in _films(table, workers):
        lines[row["image_id"]] = drawing.as_lists(parts)
        (directory / row["image_id"]).write_bytes(_encode(image, row))
        Image.fromarray(parts).save(_truth(directory, "truth_parts", row["image_id"]))
        Image.fromarray(np.where(parts > 0, 255, 0).astype(np.uint8)).save(
            _truth(directory, "truth_masks", row["image_id"])
        )
    table.to_csv(directory / "truth.csv", index=False)
    (directory / "truth_outlines.json").write_text(json.dumps(lines), encoding="utf-8")


def _films(
    table: pd.DataFrame, workers: int | None
) -> Iterator[tuple[pd.Series, NDArray[np.uint8], NDArray[np.uint8]]]:
    """Each planned file's image and parts, in the table's order; threads, as NumPy lets go of the lock."""
    firsts = table[table["copy_of"] == ""].set_index("knee")
    rows = [row for _, row in table.iterrows()]
    # In slices, so that a large set never waits in memory for its turn to be written.
    with ThreadPoolExecutor(workers or min(4, os.cpu_count() or 1)) as pool:
        for start in range(0, len(rows), 32):
            some = rows[start : start + 32]
            drawn = pool.map(lambda row: _draw_row(row, firsts.loc[row["knee"]]), some)
            for row, (image, parts) in zip(some, drawn, strict=True):
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
