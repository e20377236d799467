"""Which films belong to one person: pseudonyms from a `patients.csv` beside the class folders."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from osteo_utils.study import runtime

TABLE = "patients.csv"


def secret_of(root: Path, salt: str) -> str:
    """What the pseudonyms of a data set are made with, from its own table; empty where it has none.

    Without the file's own hash in it, a pseudonym could be found by trying out all numbers.
    """
    path = root / TABLE
    return f"{salt}|{runtime.sha256_file(path)}" if path.is_file() else ""


def pseudonyms(root: Path, names: Sequence[str], secret: str) -> list[str]:
    """A pseudonym for each file (path below `root`) whose patient is named, an empty text for each other one.

    `patients.csv` has the columns image_id, patient; two sets that share a `secret` share their pseudonyms.
    Raises ValueError for other columns, an image that stands twice, or one that is not there.
    """
    path = root / TABLE
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
