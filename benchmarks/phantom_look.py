"""Phantoms beside the statistics of real films: grey levels and spectrum, median and quartiles of both.

    python benchmarks/phantom_look.py --films DIR [--number 100] [--out reports/benchmarks]

DIR holds normal/ and osteoporosis/. Writes `phantom_look.png` (a page of phantoms with both statistics; no real film is in
it) and `phantom_look.csv`, and prints by how much the medians differ. Files lower than 380 pixels are left out:
enlarged ones have no fine detail to compare.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from PIL import Image

from osteo_utils.images import decode
from osteo_utils.phantom import design, synthetic
from osteo_utils.study import results

HEIGHT, PATCH, LOWEST = 480, 256, 380
LEVELS = np.linspace(0, 256, 17)
# Cycles per pixel at a height of 480.
BANDS = np.array([0.01, 0.02, 0.04, 0.06, 0.09, 0.13, 0.18, 0.25, 0.33, 0.42, 0.5])


def statistics(films: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
    """`histogram` (n, 16): share of pixels; `spectrum` (n, 10): log10 of the power in a central square."""
    histogram, spectrum = [], []
    for film in films:
        size = max(PATCH // 2, round(film.shape[1] * HEIGHT / film.shape[0])), HEIGHT
        grey = np.asarray(Image.fromarray(film).resize(size, Image.Resampling.LANCZOS), float)
        histogram.append(np.histogram(grey, LEVELS)[0] / grey.size)
        side = min(PATCH, size[0])
        top, left = (HEIGHT - side) // 2, (size[0] - side) // 2
        patch = grey[top : top + side, left : left + side]
        window = np.outer(np.hanning(side), np.hanning(side))
        power = np.abs(np.fft.fft2((patch - patch.mean()) * window)) ** 2 / (window**2).sum()
        frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(side), np.fft.fftfreq(side)))
        place = np.digitize(frequency, BANDS)
        spectrum.append([np.log10(power[place == band].mean()) for band in range(1, len(BANDS))])
    return {"histogram": np.array(histogram), "spectrum": np.array(spectrum)}


def quartiles(found: dict[str, np.ndarray], films: str) -> pd.DataFrame:
    """Rows: films, measure, start of the bin, first quartile, median, third quartile."""
    starts = {"histogram": LEVELS[:-1], "spectrum": BANDS[:-1]}
    parts = [
        pd.DataFrame(np.quantile(values, [0.25, 0.5, 0.75], axis=0).T, columns=["low", "median", "high"]).assign(
            films=films, measure=name, start=starts[name]
        )
        for name, values in found.items()
    ]
    return pd.concat(parts, ignore_index=True)[["films", "measure", "start", "low", "median", "high"]]


def page(films: Sequence[np.ndarray], table: pd.DataFrame) -> Figure:
    """Twelve phantoms above the two statistics, median as a line and the quartiles as a band."""
    figure = Figure(figsize=(11, 8), layout="constrained")
    above, below = figure.subfigures(2, 1, height_ratios=(3, 2))
    for axes, film in zip(above.subplots(2, 6).ravel(), films, strict=False):
        axes.imshow(film, cmap="gray", vmin=0, vmax=255)
        axes.set_axis_off()
    titles = {"histogram": "share of pixels, by grey level", "spectrum": "log10 of power, by cycles per pixel"}
    for axes, (measure, title) in zip(below.subplots(1, 2), titles.items(), strict=True):
        for name, rows in table[table.measure == measure].groupby("films"):
            axes.plot(rows.start, rows["median"], label=name)
            axes.fill_between(rows.start, rows.low, rows.high, alpha=0.25)
        axes.set_title(title)
        axes.legend()
    return figure


def read(folder: Path, number: int, seed: int = 0) -> list[np.ndarray]:
    """Up to `number` films of a folder, at random, those that are high enough."""
    names = sorted(path for name in design.CLASSES for path in (folder / name).iterdir() if path.is_file())
    if not names:
        raise FileNotFoundError(f"{folder}: expected films in normal/ and osteoporosis/")
    films = (decode.decode(path).pixels for path in np.random.default_rng(seed).permutation(names))
    chosen = [film for _, film in zip(range(3 * number), films, strict=False) if film.shape[0] >= LOWEST]
    return chosen[:number]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--films", type=Path, required=True, help="folder with normal/ and osteoporosis/")
    parser.add_argument("--number", type=int, default=100)
    parser.add_argument("--out", type=Path, default=Path("reports/benchmarks"))
    given = parser.parse_args()
    synthetic.write(given.out / "phantom_look", given.number, seed=3, copies=0)
    drawn, real = read(given.out / "phantom_look", given.number), read(given.films, given.number)
    table = pd.concat([quartiles(statistics(drawn), "phantom"), quartiles(statistics(real), "real")])
    results.write_table(given.out / "phantom_look.csv", table)
    page(drawn, table).savefig(given.out / "phantom_look.png", dpi=110)
    wide = table.pivot_table("median", ["measure", "start"], "films")
    print(wide.assign(difference=wide["phantom"] - wide["real"]).round(3).to_string())
    print(f"{len(drawn)} phantoms, {len(real)} real films")


if __name__ == "__main__":
    main()
