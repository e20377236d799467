"""Are two result folders of one study the same: every prediction, table and metric, to the bit?

    python benchmarks/compare_results.py REPORTS OTHER_REPORTS

Each is a folder `reports/<study>`, or one that `./run_all.sh publish` made. Compared are predictions, histories, tables,
metrics and claims.json. What is no result is left aside: columns and metrics of seconds and memory, and under `_run` the
hash of the code, versions, times and the hashes of files. Ends with 1 where anything differs, and says what and by how much.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

PATTERNS = ("predictions/*.csv", "history/*.csv", "tables/*.csv", "metrics/*.json", "claims.json")
# How long a step took, how much memory it had, and what code, when and where: these may differ.
ASIDE = {"seconds", "peak_memory_gib", "code_sha256", "versions", "threads", "finished", "inputs"}


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("first", type=Path)
    parser.add_argument("second", type=Path)
    asked = parser.parse_args(arguments)
    names = [
        {path.relative_to(folder) for pattern in PATTERNS for path in folder.glob(pattern)}
        for folder in (asked.first, asked.second)
    ]
    if not names[0]:
        parser.error(f"{asked.first}: no results there; expected a folder such as reports/smoke")
    found = [
        f"{name}: only in {folder}"
        for folder, own, other in zip((asked.first, asked.second), names, reversed(names), strict=True)
        for name in sorted(own - other)
    ]
    for name in sorted(names[0] & names[1]):
        found += [f"{name}: {text}" for text in differences(asked.first / name, asked.second / name)]
    print("\n".join(found) or f"the same: {len(names[0])} files, to the bit but for {', '.join(sorted(ASIDE))}")
    return int(bool(found))


def differences(first: Path, second: Path) -> list[str]:
    """What differs between two files of the same name."""
    if first.suffix == ".csv":
        return list(of_tables(*(pd.read_csv(path, dtype=str, keep_default_na=False) for path in (first, second))))
    return list(of_values(*(json.loads(path.read_text("utf-8")) for path in (first, second)), ""))


def of_tables(first: pd.DataFrame, second: pd.DataFrame) -> Iterator[str]:
    if list(first.columns) != list(second.columns) or len(first) != len(second):
        yield f"{first.shape} with {list(first.columns)} against {second.shape} with {list(second.columns)}"
        return
    for name in first.columns.difference(list(ASIDE), sort=False):
        other = first[name] != second[name]
        if other.any():
            row = other.idxmax()
            numbers = [pd.to_numeric(table[name], errors="coerce") for table in (first, second)]
            gap = (numbers[0] - numbers[1]).abs().max()
            by = "" if math.isnan(gap) else f", by {gap:.3g} at most"
            yield f"{name} differs in {other.sum()} of {len(first)} rows{by}; row {row}: {first[name][row]!r}, {second[name][row]!r}"


def of_values(first: Any, second: Any, place: str) -> Iterator[str]:
    if isinstance(first, dict) and isinstance(second, dict):
        for name in sorted({*first, *second} - ASIDE):
            yield from of_values(first.get(name), second.get(name), f"{place}/{name}")
    elif isinstance(first, list) and isinstance(second, list) and len(first) == len(second):
        for number, pair in enumerate(zip(first, second, strict=True)):
            yield from of_values(*pair, f"{place}[{number}]")
    elif first != second:
        yield f"{place}: {first!r}, {second!r}"


if __name__ == "__main__":
    sys.exit(main())
