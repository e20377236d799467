"""How many altered copies the audit finds, by kind and strength, and how many different knees it joins.

    python benchmarks/copies_recall.py [--knees 300] [--each 10] [--seed 1] [--out reports/benchmarks]

Synthetic knees, all different; copies of some of them, altered in 12 ways at three strengths each, each copy of a knee
of its own where there are enough. Writes `copies_recall.csv` and prints it. The same alterations, fewer of them, are
a test (`tests/test_copies.py`).
"""

from __future__ import annotations

import argparse
import hashlib
import io
import itertools
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from osteo_utils.audit import copies, groups
from osteo_utils.images import image_store
from osteo_utils.phantom import synthetic
from osteo_utils.study import results


def jpeg(film: np.ndarray, quality: int = 50) -> np.ndarray:
    """A film as it comes back from a JPEG of this quality."""
    buffer = io.BytesIO()
    Image.fromarray(film).save(buffer, "JPEG", quality=quality)
    return np.asarray(Image.open(buffer))


def resized(film: np.ndarray, width: float, height: float) -> np.ndarray:
    """A film with its sides multiplied by these factors."""
    size = round(film.shape[1] * width), round(film.shape[0] * height)
    return np.asarray(Image.fromarray(film).resize(size, Image.Resampling.BICUBIC))


def _grey(film: np.ndarray, change: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    return np.clip(change(film.astype(float)), 0, 255).astype(np.uint8)


def _noisy(film: np.ndarray, spread: float) -> np.ndarray:
    noise = np.random.default_rng(int(film[:8].sum())).normal(0, spread, film.shape)
    return _grey(film, lambda values: values + noise)


def _cropped(film: np.ndarray, share: float) -> np.ndarray:
    y, x = (max(1, round(side * share)) for side in film.shape)
    return film[y:-y, x:-x]


def _padded(film: np.ndarray, share: float) -> np.ndarray:
    y, x = (round(side * share) for side in film.shape)
    return np.pad(film, ((y, y // 2), (x, x)))


def _turned(film: np.ndarray, degrees: float) -> np.ndarray:
    return np.asarray(Image.fromarray(film).rotate(degrees, Image.Resampling.BICUBIC))


ALTERATIONS: dict[str, tuple[Callable[[np.ndarray, float], np.ndarray], Sequence[float]]] = {
    "resized": (lambda film, by: resized(film, by, by), (0.7, 0.5, 0.3)),
    "recompressed": (lambda film, by: jpeg(film, int(by)), (70, 40, 20)),
    "brighter": (lambda film, by: _grey(film, lambda values: values + by), (15, 30, 45)),
    "flatter": (lambda film, by: _grey(film, lambda values: 128 + (values - 128) * by), (0.8, 0.6, 0.4)),
    "gamma": (lambda film, by: _grey(film, lambda values: 255 * (values / 255) ** by), (0.8, 0.6, 0.45)),
    "mirrored and resized": (lambda film, by: resized(film[:, ::-1], by, by), (1.0, 0.7, 0.5)),
    "quarter turns": (lambda film, by: np.rot90(film, int(by)), (1, 2, 3)),
    "padded": (_padded, (0.05, 0.1, 0.2)),
    "cropped": (_cropped, (0.03, 0.06, 0.1)),
    "squeezed": (lambda film, by: resized(film, 1.0, by), (0.85, 0.7, 0.55)),
    "turned a little": (_turned, (1, 2, 4)),
    "noisy": (_noisy, (4, 8, 12)),
}


def planted(n_knees: int, each: int, seed: int, size: int = 384) -> tuple[np.ndarray, pd.DataFrame]:
    """Image store and manifest of knees and altered copies; the manifest also has knee, kind and strength."""
    knees = list(synthetic.draw(seed, n_knees, size=size, copies=0.0).images)
    rows: list[dict] = []
    stored: list[np.ndarray] = []

    def add(film: np.ndarray, knee: int, kind: str, strength: float) -> None:
        film = np.ascontiguousarray(film)
        square, scale, left, top = image_store.to_store(film)
        digest = hashlib.sha256(str(film.shape).encode() + film.tobytes()).hexdigest()
        place = {"row": len(stored), "width": film.shape[1], "height": film.shape[0], "scale": scale}
        place |= {"pad_left": left, "pad_top": top, "sha256": digest, "pixel_sha256": digest}
        about = {"image_id": f"normal/{len(stored):05d}.png", "label": 0, "class_name": "normal", "status": "ok"}
        rows.append({**about, **place, "knee": knee, "kind": kind, "strength": strength})
        stored.append(square)

    for knee, film in enumerate(knees):
        add(film, knee, "", np.nan)
    next_knee = itertools.cycle(range(n_knees))
    for kind, (change, strengths) in ALTERATIONS.items():
        for strength in strengths:
            for knee in itertools.islice(next_knee, each):
                add(change(knees[knee], strength), knee, kind, strength)
    return np.stack(stored), pd.DataFrame(rows)


def recall(images: np.ndarray, manifest: pd.DataFrame) -> tuple[pd.DataFrame, int]:
    """Share of copies in the group of their knee, by kind and strength; and how many pairs of knees are joined."""
    found = groups.audit(images, manifest, copies.compare(images, manifest))
    table = found.drop(columns="knee").merge(manifest)
    home = table[table.kind == ""].set_index("knee").group
    altered = table[table.kind != ""]
    altered = altered.assign(found=altered.group.to_numpy() == home.loc[altered.knee].to_numpy())
    by_kind = altered.groupby(["kind", "strength"], sort=False).found.agg(["mean", "size"]).reset_index()
    knees_per_group = table.groupby("group").knee.nunique()
    joined = int((knees_per_group * (knees_per_group - 1) // 2).sum())
    return by_kind.rename(columns={"mean": "recall", "size": "copies"}), joined


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--knees", type=int, default=300)
    parser.add_argument("--each", type=int, default=10, help="copies of each kind at each strength")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("reports/benchmarks"))
    asked = parser.parse_args()
    started = time.perf_counter()
    images, manifest = planted(asked.knees, asked.each, asked.seed)
    by_kind, joined = recall(images, manifest)
    overall = float(np.average(by_kind.recall, weights=by_kind.copies))
    results.write_table(asked.out / "copies_recall.csv", by_kind)
    print(by_kind.pivot_table("recall", "kind", by_kind.groupby("kind").cumcount() + 1, sort=False).to_string())
    print(f"overall {overall:.3f} of {by_kind.copies.sum()} copies; {joined} pairs of different knees joined")
    print(f"{len(manifest)} films, {time.perf_counter() - started:.0f} s")


if __name__ == "__main__":
    main()
