"""The folder of a data set, checked: class folders, counts, files against published SHA-256, films of another set."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from osteo_utils.sources import user_tables
from osteo_utils.sources.film_folders import Layout, arrange
from osteo_utils.sources.folder_tree import CHECKSUMS
from osteo_utils.sources.registry import LABELS, get, manual_steps
from osteo_utils.study import paths, results, runtime


def read_checksums(path: Path) -> dict[str, str]:
    """SHA-256 by file name, relative to the listed folder; raises ValueError for a malformed line."""
    listed = {}
    for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
        digest, gap, name = line[:64], line[64:66], line[66:]
        if gap != "  " or not name or set(digest) - set("0123456789abcdef"):
            raise ValueError(f"{path}, line {number}: {line!r}; expected a SHA-256, two spaces and a file name")
        listed[name] = digest
    return listed


def write_checksums(folder: Path) -> Path:
    """List every file below `folder` in its `SHA256SUMS`, which `sha256sum --check` can read."""
    path = folder / CHECKSUMS
    lines = [f"{runtime.sha256_file(file)}  {name}\n" for name, file in _listed(folder).items()]
    results.write_text(path, "".join(lines))
    return path


def differences(folder: Path, ignore: Collection[str] = ()) -> dict[str, list[str]]:
    """Names `changed`, `missing` or `added` since `write_checksums`; kinds without a name are left out.

    `ignore` lists entries of `folder` that may be added. All bytes are read: a rotated or re-saved film can keep its
    size, and the next notebook reads every file anyway.
    """
    listed, found = read_checksums(folder / CHECKSUMS), _listed(folder)
    kinds = {
        "changed": [name for name in listed if name in found and runtime.sha256_file(found[name]) != listed[name]],
        "missing": [name for name in listed if name not in found],
        "added": [name for name in found if name not in listed and name.split("/")[0] not in ignore],
    }  # fmt: skip
    return {kind: names for kind, names in kinds.items() if names}


def _listed(folder: Path) -> dict[str, Path]:
    found = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    return {name: found[name] for name in sorted(found) if name != CHECKSUMS}


def locate(dataset: str, data_dir: str = "", classes: Sequence[str] = ()) -> Path:
    """Folder of a data set, checked by `check_folder`; a relative `data_dir` starts at the project's folder."""
    entry = get(dataset)
    if not data_dir and dataset == "folder":
        raise ValueError("data_dir is empty: name the folder that holds normal/ and osteoporosis/ (--data DIR)")
    root = paths.home() / Path(data_dir).expanduser() if data_dir else paths.raw(dataset)
    if entry.slug and not data_dir and not root.exists():
        raise FileNotFoundError(f"{root}: not there.\n{manual_steps(dataset)}")
    check_folder(root, classes)
    return root


def check_folder(root: Path, classes: Sequence[str] = ()) -> Layout:
    """The films of a folder in their two classes, as `film_folders.arrange` finds them.

    Raises FileNotFoundError, NotADirectoryError, or ValueError where a class is missing, empty or duplicated.
    """
    if not root.is_dir():
        problem, kind = ("is a file", NotADirectoryError) if root.exists() else ("does not exist", FileNotFoundError)
        expected = " and ".join(f"{name}/" for name in LABELS)
        raise kind(f"{root}: {problem}; expected a folder with {expected} in it")
    return arrange(root, classes)


def remarks(root: Path, layout: Layout) -> list[str]:
    """What is to be told of a folder and its table of patients; ValueError for a table that cannot be used."""
    table = user_tables.find(root, "patients")
    told = user_tables.patients(table, list(layout.places)).remarks if table else without_patients(root)
    return layout.remarks + told


def without_patients(root: Path) -> list[str]:
    """Remarks on tables of a folder without `patients.csv` that name patients all the same."""
    return [
        f"{name} names patients, who are not used; save it as patients.csv too, so that a patient's films stay together"
        for name in user_tables.overlooked(root, "patient")
    ]


def check_external(root: Path, external: Path, classes: Sequence[str] = ()) -> Layout:
    """`check_folder` of an external set; ValueError where it holds the study's folder `root` or lies in it."""
    ours, theirs = root.resolve(), external.resolve()
    if ours.is_relative_to(theirs) or theirs.is_relative_to(ours):
        raise ValueError(f"{external}: an external set must be films of another source; give a folder outside {root}")
    return check_folder(theirs, classes)


def counts(root: Path) -> dict[str, int]:
    """Number of files in each folder of `root`, by its name in lower case."""
    found = {folder.name.lower(): 0 for folder in root.iterdir() if folder.is_dir()}
    for path in root.glob("*/**/*"):
        if path.is_file():
            found[path.relative_to(root).parts[0].lower()] += 1
    return found


def verify(root: Path, name: str) -> pd.DataFrame:
    """Compare files with the published checksums: image_id, state; empty where the registry has none.

    `state` is `identical`, `differs` (same name, other bytes), `missing` (published, not found) or `not listed`.
    """
    if not (listed := get(name).checksums):
        return pd.DataFrame(columns=["image_id", "state"], dtype=str)
    published = read_checksums(Path(__file__).parent / listed)
    states = dict.fromkeys(published, "missing")
    for name, place in check_folder(root).places.items():
        if place.class_name in LABELS and (root / name).is_file():
            key = f"{place.class_name}/{name.removeprefix(f'{place.folder}/')}"
            same = key in published and runtime.sha256_file(root / name) == published[key]
            states[key] = "identical" if same else "differs" if key in published else "not listed"
    return pd.DataFrame(sorted(states.items()), columns=["image_id", "state"])


def films_of_sources(walked: pd.DataFrame) -> pd.DataFrame:
    """One row per film of a crosswalk: image_id, sha256, class_name, source (the surest), source_class, certainty, person.

    `source_class` is empty where the film has no source or its sources are of several classes, which `certainty` then
    says (`several classes`). Films that share a source, or a chain of them, are of one `person`: the first of these
    sources by name, empty where the film has none.
    """
    first = walked.drop_duplicates("image_id")[
        ["image_id", "sha256", "class_name", "source", "source_class", "certainty"]
    ]
    torn = first["image_id"].map(walked.groupby("image_id")["source_class"].nunique()) > 1
    return first.assign(
        source_class=first["source_class"].mask(torn, ""),
        certainty=first["certainty"].mask(torn, "several classes"),
        person=first["image_id"].map(_persons(walked[walked["source"] != ""])).fillna(""),
    ).reset_index(drop=True)


def _persons(pairs: pd.DataFrame) -> pd.Series:
    """The person of each film, by image_id, from pairs of a film and its source."""
    films, film_names = pd.factorize(pairs["image_id"])
    sources, source_names = pd.factorize(pairs["source"])
    size = len(film_names) + len(source_names)
    graph = coo_array((np.ones(len(pairs)), (films, len(film_names) + sources)), shape=(size, size))
    parts = connected_components(graph, directed=False)[1]
    first = pd.Series(source_names, index=parts[len(film_names) :]).groupby(level=0).min()
    return pd.Series(first.reindex(parts[: len(film_names)]).to_numpy(), index=film_names, dtype=object)


def known_sources(dataset: str, files: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """The films of a registered set that its crosswalk knows, and remarks; no row where the set has none.

    `files` has image_id and sha256. A film is known by its bytes; in a scaled copy of the set, which holds no name but
    published ones, by its name. Returns image_id of `files` and source, source_class, certainty, person of
    `films_of_sources`.
    """
    columns = ["image_id", "source", "source_class", "certainty", "person"]
    if not (listed := get(dataset).crosswalk):
        return pd.DataFrame(columns=columns, dtype=str), []
    one = films_of_sources(pd.read_csv(Path(__file__).with_name(listed), keep_default_na=False))
    names = files["sha256"].map(one.drop_duplicates("sha256").set_index("sha256")["image_id"])
    by_bytes = names.notna()
    if set(files["image_id"]) <= set(one["image_id"]):
        names = names.where(by_bytes, files["image_id"])
    remarks = []
    if renamed := int((~by_bytes).sum()):
        how = "known by their name" if names.notna().all() else "without a source"
        remarks.append(f"{renamed} of {len(files)} films have other bytes than published; they are {how}")
    known = files[["image_id"]].assign(known=names).dropna()
    found = known.merge(one.rename(columns={"image_id": "known"}), on="known")
    return found.loc[found["source"] != "", columns].reset_index(drop=True), remarks


def account(root: Path, name: str) -> list[str]:
    """What differs between a folder and the registry, one sentence per line."""
    entry, lines, found = get(name), [], counts(root)
    for class_name, expected in entry.expected.items():
        number = found.get(class_name, 0)
        verdict = "as expected" if number == expected else f"DIFFERS, expected {expected}"
        lines.append(f"{class_name}: {number} files ({verdict})")
    checked = verify(root, name)
    if not entry.checksums:
        lines.append(f"{name}: no published checksums, so there is nothing to compare the files with")
    for state, meaning in (
        ("identical", "byte for byte as published"),
        ("differs", "bear a published name with other content: a copy that was scaled, re-saved or changed"),
        ("missing", "are published but not here"),
        ("not listed", "are here but not published"),
    ):
        chosen = checked.loc[checked["state"] == state, "image_id"].tolist()
        if chosen or (state == "identical" and len(checked)):
            example = f", such as {chosen[0]}" if chosen and state != "identical" else ""
            lines.append(f"{len(chosen)} of {len(checked)} files {meaning}{example}")
    return lines
