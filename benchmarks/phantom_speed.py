"""How many synthetic films are drawn per second, and what a second thread is worth.

    python benchmarks/phantom_speed.py [--films 40] [--size 512] [--out reports/benchmarks]

Square films as `synthetic.draw` makes them, JPEG encoding included. Threads take turns in one process, in rounds, so that a
machine that slows down slows both; the quickest round counts. Writes `phantom_speed.csv` and prints it.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import pandas as pd

from osteo_utils.phantom import synthetic
from osteo_utils.study import results

ROUNDS = 3


def measure(films: int, size: int, threads: tuple[int, ...] = (1, 2)) -> pd.DataFrame:
    """Columns: threads, films_per_second, processor_seconds_per_film, against_one (ratio of the rates)."""
    synthetic.draw(0, 4, size, copies=0)
    taken: dict[int, list[tuple[float, float]]] = {count: [] for count in threads}
    for number in range(ROUNDS):
        for count in threads:
            start, busy = time.perf_counter(), time.process_time()
            synthetic.draw(number, films, size, copies=0, workers=count)
            taken[count].append((time.perf_counter() - start, time.process_time() - busy))
    best = {count: (min(t for t, _ in rounds), min(b for _, b in rounds)) for count, rounds in taken.items()}
    return pd.DataFrame(
        {
            "threads": count,
            "films_per_second": films / wall,
            "processor_seconds_per_film": busy / films,
            "against_one": best[threads[0]][0] / wall,
        }
        for count, (wall, busy) in best.items()
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--films", type=int, default=40)
    parser.add_argument("--size", type=int, default=512, help="pixels along each side")
    parser.add_argument("--out", type=Path, default=Path("reports/benchmarks"))
    given = parser.parse_args()
    table = measure(given.films, given.size)
    results.write_table(given.out / "phantom_speed.csv", table)
    print(table.round(3).to_string(index=False))


if __name__ == "__main__":
    main()
