"""How the search for copies grows with the number of films: processor time by stage, peak memory, recall, exponent.

    python benchmarks/audit_scale.py [--sizes 500 1000 2000 5000] [--bases 300] [--copies 0.1] [--seed 1]

Drawing tens of thousands of phantoms would take longer than auditing them, so most films are surrogates: a few hundred
phantoms, each bent by a smooth field of its own, given its own noise at four scales and its own exposure. Surrogates of
one phantom agree in outline more than two people's knees do, which makes the search harder than on real films; how
many are joined all the same is counted. A share of the films are altered copies of others, as in `copies_recall`.

Every size runs in a process of its own. Time is processor time of that process and its helpers, so a busy machine
does not change it; the exponent is the slope of log time over log n. Writes `audit_scale.csv` and prints it.
"""

from __future__ import annotations

import argparse
import multiprocessing
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import copies_recall
import numpy as np
import pandas as pd
import psutil
from PIL import Image
from scipy import ndimage

from osteo_utils.audit import copies
from osteo_utils.images import image_store
from osteo_utils.phantom import synthetic
from osteo_utils.study import results

SIDE = 256
# The middle strength of every alteration; a gamma that far is known to be hard.
ALTERATIONS = [(kind, change, by[1]) for kind, (change, by) in copies_recall.ALTERATIONS.items()]


def surrogate(base: np.ndarray, bone: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A film (256, 256) that shows another knee than its base: bent, re-textured and re-exposed by `rng`."""

    def smooth(cells: int, spread: float) -> np.ndarray:
        field = rng.normal(0, spread, (cells, cells)).astype(np.float32)
        return np.asarray(Image.fromarray(field).resize((SIDE, SIDE), Image.Resampling.BICUBIC))

    y, x = np.mgrid[:SIDE, :SIDE].astype(np.float32)
    zoom = rng.uniform(0.92, 1.08, 2)
    places = [
        zoom[0] * (y - SIDE / 2) + SIDE / 2 + smooth(6, 4.0),
        zoom[1] * (x - SIDE / 2) + SIDE / 2 + smooth(6, 4.0),
    ]
    film, bone = (
        ndimage.map_coordinates(np.float32(picture), places, order=1, mode="nearest") for picture in (base, bone)
    )
    texture = sum(smooth(cells, 6.0) for cells in (SIDE, SIDE // 2, SIDE // 4, SIDE // 8))
    film += texture * (0.2 + 0.8 * bone) * (film > 15)
    film = 255 * np.clip(film / 255, 0, 1) ** rng.uniform(0.8, 1.25)
    return np.clip(film * rng.uniform(0.8, 1.0) + rng.uniform(0, 15), 0, 255).astype(np.uint8)


def films(n: int, bases: int, share: float, seed: int) -> Iterator[tuple[np.ndarray, int, str]]:
    """n films with the number of the knee that they show and, for copies, the kind of alteration."""
    drawn = synthetic.draw(seed, bases, size=SIDE, copies=0.0)
    knees = n - round(share * n)

    def knee(number: int) -> np.ndarray:
        base = number % bases
        return surrogate(drawn.images[base], drawn.masks[base], np.random.default_rng([seed, number]))

    for number in range(knees):
        yield knee(number), number, ""
    copied = np.random.default_rng([seed, n]).permutation(knees)
    for place in range(n - knees):
        kind, change, by = ALTERATIONS[place % len(ALTERATIONS)]
        number = int(copied[place % knees])
        yield np.ascontiguousarray(change(knee(number), by)), number, kind


def write_store(path: Path, n: int, bases: int, share: float, seed: int) -> pd.DataFrame:
    """Write the films as an image store, uint8 (n, 512, 512); returns their manifest with knee and kind."""
    rows = []
    with path.open("wb") as stream:
        shape = (n, image_store.STORE_SIDE, image_store.STORE_SIDE)
        np.lib.format.write_array_header_1_0(stream, {"descr": "|u1", "fortran_order": False, "shape": shape})
        for row, (film, knee, kind) in enumerate(films(n, bases, share, seed)):
            square, scale, left, top = image_store.to_store(film)
            stream.write(square.tobytes())
            about = {"image_id": f"normal/{row:06d}.png", "label": 0, "status": "ok", "row": row}
            place = {"width": film.shape[1], "height": film.shape[0], "scale": scale, "pad_left": left, "pad_top": top}
            # Altered copies and surrogates never hold the same pixels.
            rows.append(about | place | {"pixel_sha256": str(row), "sha256": str(row), "knee": knee, "kind": kind})
    return pd.DataFrame(rows)


def audited(store: Path, manifest: pd.DataFrame, report: multiprocessing.SimpleQueue) -> None:
    """Compare the films of a store; put seconds by stage, peak memory in MiB, recall and knees joined on `report`."""
    spent = {"thumbnails": 0.0, "neighbours": 0.0}
    peak, stop = [0], threading.Event()

    def watch() -> None:
        while not stop.wait(0.2):
            peak[0] = max(peak[0], *(_resident(process) for process in _family()))

    def timed(stage: str, work: Callable) -> Callable:
        def run(*given):
            start = _processor()
            done = work(*given)
            spent[stage] += _processor() - start
            return done

        return run

    copies.of_store = timed("thumbnails", copies.of_store)
    copies.neighbours = timed("neighbours", copies.neighbours)
    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    start, clock = _processor(), time.perf_counter()
    pairs = copies.compare(np.load(store, mmap_mode="r"), manifest)
    total, clock = _processor() - start, time.perf_counter() - clock
    stop.set()
    watcher.join()
    joined = pairs[pairs["similarity"] >= copies.SAME_KNEE]
    place = pd.Series(range(len(manifest)), manifest["image_id"])
    links = list(zip(place[joined["first"]], place[joined["second"]], strict=True))
    group = copies.components(len(manifest), links)
    knee, kind = manifest["knee"].to_numpy(), manifest["kind"].to_numpy()
    home = group[: int((kind == "").sum())]
    copied = kind != ""
    knees = pd.Series(knee).groupby(group).nunique()
    report.put(
        {
            "n": len(manifest),
            "pairs": len(pairs),
            **spent,
            "registration": total - sum(spent.values()),
            "total": total,
            "clock": clock,
            "peak_mib": peak[0] / 2**20,
            "recall": float((group[copied] == home[knee[copied]]).mean()),
            "knees_joined": int((knees * (knees - 1) // 2).sum()),
        }
    )


def _family() -> list[psutil.Process]:
    own = psutil.Process()
    return [own, *own.children(recursive=True)]


def _processor() -> float:
    """Processor seconds of this process and its live helpers; joblib keeps its helpers between calls."""
    found = 0.0
    for process in _family():
        try:
            times = process.cpu_times()
        except psutil.NoSuchProcess:
            continue
        found += times.user + times.system
    return found


def _resident(process: psutil.Process) -> int:
    try:
        return process.memory_info().rss
    except psutil.NoSuchProcess:
        return 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[500, 1000, 2000, 5000])
    parser.add_argument("--bases", type=int, default=300, help="phantoms that the films are made from")
    parser.add_argument("--copies", type=float, default=0.1, help="share of films that are altered copies")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("reports/benchmarks"))
    asked = parser.parse_args()
    context = multiprocessing.get_context("spawn")
    rows = []
    for n in asked.sizes:
        with tempfile.TemporaryDirectory(prefix="audit-scale-") as scratch:
            store = Path(scratch) / "images.npy"
            manifest = write_store(store, n, asked.bases, asked.copies, asked.seed)
            report = context.SimpleQueue()
            child = context.Process(target=audited, args=(store, manifest, report))
            child.start()
            child.join()
            if child.exitcode:
                raise RuntimeError(f"{n} films: the audit ended with {child.exitcode}; its error is printed above")
            rows.append(report.get())
        table = pd.DataFrame(rows)
        # Of all sizes so far; one size has no slope.
        logs = np.log(table[["n", "total"]].to_numpy())
        table["exponent"] = np.polyfit(*logs.T, 1)[0] if len(table) > 1 else np.nan
        results.write_table(asked.out / "audit_scale.csv", table.round(3))
        print(table.tail(1).round(3).to_string(index=False), flush=True)
    first = table.iloc[0]
    print((table[["n", "total", "peak_mib"]] / first[["n", "total", "peak_mib"]]).round(2).to_string(index=False))


if __name__ == "__main__":
    main()
