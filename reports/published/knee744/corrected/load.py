"""Joins the films of a folder with what the corrected set says of each. Needs Python and pandas."""

import hashlib
from pathlib import Path

import pandas as pd


def load(folder: str) -> pd.DataFrame:
    """The rows of films.csv with the path of each film; `folder` holds the films as published, and nothing else."""
    films = pd.read_csv(Path(__file__).with_name("films.csv"))
    paths = sorted((path for path in Path(folder).rglob("[!.]*") if path.is_file()), key=Path.as_posix)
    here = pd.DataFrame({"path": paths, "sha256": [hashlib.sha256(path.read_bytes()).hexdigest() for path in paths]})
    here["copy"] = here.groupby("sha256").cumcount()
    both = films.merge(here.astype({"sha256": str}), how="outer", on=["sha256", "copy"], indicator="where")
    missing, unknown = (both[both["where"] == side] for side in ("left_only", "right_only"))
    named = [*missing.get("image_id", missing["sha256"]).head(3), *unknown["path"].head(3).map(str)]
    if named:
        raise ValueError(
            f"{folder}: {len(missing)} films are missing and {len(unknown)} files are not in films.csv, such as {named}; "
            f"expected the {len(films)} films as they were published, byte for byte, and nothing else"
        )
    return both.drop(columns="where")
