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

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from osteo_utils.data.phantom_knee import YOUNG_MEAN, YOUNG_SD, draw_knee, is_osteoporosis

GENERATOR = 1
CLASSES = ("normal", "osteoporosis")
ALTERATIONS = ("exact", "jpeg", "rescaled", "mirrored", "brightness")

_COLUMNS = [
    *("image_id", "knee", "label", "class_name", "true_label", "density", "t_score", "copy_of", "alteration"),
    *("conflict", "seed", "side", "layout", "height", "width", "format", "quality", "mode", "strength"),
]


@dataclass(frozen=True)
class PhantomSet:
    """Drawn films of one shape: images and masks uint8 (n, h, w), and the table whose rows they follow."""

    images: NDArray[np.uint8]
    masks: NDArray[np.uint8]
    table: pd.DataFrame


def plan(
    n_knees: int,
    seed: int,
    size: int = 512,
    *,
    copies: float = 0.25,
    conflicts: float = 0.1,
    signal: float = 1.0,
    square: bool = False,
) -> pd.DataFrame:
    """Plan a set: one row per file, half of the knees with osteoporosis.

    copies: share of knees present as two files; conflicts: share of those whose second file lies under the
    other label. square: every file is size x size (no rescaled copies), for studies on arrays. Shape,
    format, side and marker are drawn without looking at the class. Columns: image_id, knee, label (the
    folder's), class_name, true_label (WHO's definition), density (g/cm²), t_score, copy_of (image_id),
    alteration, conflict (0/1, both files of the knee), seed, side, layout, height, width, format, quality,
    mode, strength (of the alteration).
    """
    if n_knees < 4:
        raise ValueError(f"n_knees is {n_knees}; expected at least 4, two of each class")
    for name, value in (("copies", copies), ("conflicts", conflicts), ("signal", signal)):
        if not 0 <= value <= 1:
            raise ValueError(f"{name} is {value}; expected a share from 0 to 1")
    rng = np.random.default_rng([seed, 0])
    sick = rng.permutation(n_knees) < n_knees // 2
    # Triangular: most knees lie well inside their class, few near the threshold.
    scores = np.where(
        sick, rng.triangular(-4.5, -3.2, -2.6, n_knees), rng.triangular(-1.0, 0.0, 1.5, n_knees)
    )
    n_copied = round(copies * n_knees)
    copied = rng.choice(n_knees, n_copied, replace=False)
    crossed = set(rng.choice(copied, round(conflicts * n_copied), replace=False).tolist())
    known = [name for name in ALTERATIONS if not (square and name == "rescaled")]
    kinds = dict(zip(copied.tolist(), rng.permutation(np.resize(known, n_copied)), strict=True))

    rows: list[dict] = []
    for knee in range(n_knees):
        first = _first_file(knee, seed, float(scores[knee]), size, square)
        first["conflict"] = int(knee in crossed)
        rows.append(first)
        if knee in kinds:
            rows.append(_second_file(first, str(kinds[knee]), seed))
    table = pd.DataFrame(rows)
    table["class_name"] = [CLASSES[label] for label in table["label"]]
    # Numbers are dealt at random, so that neither the order nor the number of a file tells of its twin.
    numbers = rng.permutation(len(table)) + 1
    table["image_id"] = [
        f"{name}/P{number:04d}.{ending}"
        for name, number, ending in zip(table["class_name"], numbers, table["format"], strict=True)
    ]
    firsts = table.drop_duplicates("knee").set_index("knee")["image_id"]
    second = table.duplicated("knee")
    table["copy_of"] = table["knee"].map(firsts).where(second, "")
    table["signal"] = float(signal)
    return table[[*_COLUMNS, "signal"]].sort_values("image_id", ignore_index=True)


def _first_file(knee: int, seed: int, score: float, size: int, square: bool) -> dict:
    rng = np.random.default_rng([seed, 1, knee])
    shapes = [(0.5, "open"), (0.42, "open"), (0.5, "collimated"), (0.62, "collimated"), (1.25, "open")]
    aspect, layout = shapes[rng.choice(len(shapes), p=[0.4, 0.15, 0.2, 0.1, 0.15])]
    edge = round(size * rng.choice([1.0, 0.9, 0.8]))
    height, width = (edge, round(edge * aspect)) if aspect <= 1 else (round(edge / aspect), edge)
    if square:
        height, width = size, size
    density = YOUNG_MEAN + YOUNG_SD * score
    label = int(is_osteoporosis(density))
    return {
        **{"knee": knee, "label": label, "true_label": label, "density": density, "t_score": score},
        **{"alteration": "", "conflict": 0, "seed": int(rng.integers(2**31)), "layout": layout},
        **{"side": str(rng.choice(["L", "R"])), "height": height, "width": width, "strength": 0.0},
        **{"format": str(rng.choice(["jpg", "png"], p=[0.7, 0.3])), "quality": int(rng.integers(80, 96))},
        "mode": str(rng.choice(["L", "RGB"])),
    }


def _second_file(first: dict, alteration: str, seed: int) -> dict:
    rng = np.random.default_rng([seed, 2, first["knee"]])
    row = {**first, "alteration": alteration}
    if first["conflict"]:
        row["label"] = 1 - first["label"]
    if alteration == "jpeg":
        row.update(format="jpg", quality=int(rng.integers(45, 70)))
    if alteration == "rescaled":
        scale = float(rng.uniform(0.55, 0.85))
        row.update(height=round(first["height"] * scale), width=round(first["width"] * scale), strength=scale)
    if alteration == "brightness":
        row["strength"] = float(rng.choice([-1, 1]) * rng.uniform(0.12, 0.3))
    return row


def _draw_row(row: pd.Series, original: pd.Series) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Image and parts of one planned file, alteration included."""
    knee = draw_knee(
        seed=int(row["seed"]),
        density=float(row["density"]),
        size=int(max(original["height"], original["width"])),
        aspect=float(original["width"] / original["height"]),
        layout=str(row["layout"]),
        side=str(row["side"]),
        signal=float(row["signal"]),
    )
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


def draw(seed: int, n_knees: int, size: int = 512, **settings: float) -> PhantomSet:
    """Draw a set of square films as arrays, without files; `settings` as in `plan`.

    A film planned as JPEG goes through the encoder, so its pixels are those that its file would hold.
    """
    table = plan(n_knees, seed, size, square=True, **settings)
    images, masks = [], []
    for row, image, parts in _films(table, workers=None):
        images.append(_decode(_encode(image, row)) if row["format"] == "jpg" else image)
        masks.append((parts > 0).astype(np.uint8))
    return PhantomSet(np.stack(images), np.stack(masks), table)


def write(
    directory: Path | str,
    n_knees: int = 150,
    seed: int = 20240521,
    size: int = 512,
    *,
    workers: int | None = None,
    **settings: float,
) -> pd.DataFrame:
    """Write a set to `directory` and return its table; `settings` as in `plan`.

    Leaves normal/ and osteoporosis/ (the films), truth.csv (the table of `plan`), truth_masks/<class>/<name>.png
    (bone = 255, in the file's own pixels), truth_parts/<class>/<name>.png (sum of 1 femur, 2 tibia,
    4 fibula, 8 patella) and phantom.json (the arguments). The folder appears under its name only when it
    is complete. Called again with the same arguments it draws nothing; with others it draws anew.
    Raises FileExistsError where `directory` holds something that is no phantom set.
    """
    directory = Path(directory)
    arguments = {"generator": GENERATOR, "n_knees": n_knees, "seed": seed, "size": size, **settings}
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
    wanted = [directory / "truth.csv"]
    for name in table["image_id"]:
        wanted += [
            directory / name,
            _truth(directory, "truth_masks", name),
            _truth(directory, "truth_parts", name),
        ]
    return all(path.is_file() for path in wanted)


def _truth(directory: Path, kind: str, image_id: str) -> Path:
    return (directory / kind / image_id).with_suffix(".png")


def _write_all(directory: Path, table: pd.DataFrame, workers: int | None) -> None:
    for kind in ("", "truth_masks", "truth_parts"):
        for name in CLASSES:
            (directory / kind / name).mkdir(parents=True)
    for row, image, parts in _films(table, workers):
        (directory / row["image_id"]).write_bytes(_encode(image, row))
        Image.fromarray(parts).save(_truth(directory, "truth_parts", row["image_id"]))
        Image.fromarray(np.where(parts > 0, 255, 0).astype(np.uint8)).save(
            _truth(directory, "truth_masks", row["image_id"])
        )
    table.to_csv(directory / "truth.csv", index=False)


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
