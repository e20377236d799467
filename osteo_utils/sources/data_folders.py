"""Check that a folder holds a data set: class folders, file counts, and files against published SHA-256 sums."""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path

import pandas as pd

from osteo_utils.sources.registry import LABELS, get, manual_steps
from osteo_utils.study import paths, results, runtime

CHECKSUMS = "SHA256SUMS"
# What may lie beside the class folders of a data set without being a film.
COMPANIONS = (*"patients.csv phantom.json truth.csv truth_outlines.json truth_masks truth_parts".split(), CHECKSUMS)


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


def locate(dataset: str, data_dir: str = "") -> Path:
    """Folder of a data set, checked by `check_folder`; a relative `data_dir` starts at the project's folder."""
    entry = get(dataset)
    if not data_dir and dataset == "folder":
        raise ValueError("data_dir is empty: name the folder that holds normal/ and osteoporosis/ (--data DIR)")
    root = paths.home() / Path(data_dir).expanduser() if data_dir else paths.raw(dataset)
    if entry.slug and not data_dir and not root.exists():
        raise FileNotFoundError(f"{root}: not there.\n{manual_steps(dataset)}")
    check_folder(root)
    return root


def check_folder(root: Path) -> dict[str, Path]:
    """Folder of each class, whose name may be in upper or lower case.

    Raises FileNotFoundError, NotADirectoryError, or ValueError where a class is missing, empty or duplicated.
    """
    expected = " and ".join(f"{name}/" for name in LABELS)
    if not root.is_dir():
        problem, kind = ("is a file", NotADirectoryError) if root.exists() else ("does not exist", FileNotFoundError)
        raise kind(f"{root}: {problem}; expected a folder with {expected} in it")
    folders = sorted(path for path in root.iterdir() if path.is_dir())
    matches = {name: [path for path in folders if path.name.lower() == name] for name in LABELS}
    if missing := [name for name, found in matches.items() if not found]:
        names = ", ".join(f"{path.name}/" for path in folders[:10]) or "no folder"
        deeper = [path for path in find_roots(root) if path != root]
        hint = f"; give {deeper[0]} instead, which has both" if deeper else "; rename or add the class folders"
        raise ValueError(f"{root}: lacks {' and '.join(missing)}/; found {names}, expected {expected}{hint}")
    for name, found in matches.items():
        if len(found) > 1:
            raise ValueError(f"{root}: two folders for {name}: {', '.join(path.name for path in found)}; merge them")
        if not any(path.is_file() and not path.name.startswith(".") for path in found[0].rglob("*")):
            raise ValueError(f"{found[0]}: no file in it; put the {name} radiographs there")
    return {name: found[0] for name, found in matches.items()}


def check_external(root: Path, external: Path) -> dict[str, Path]:
    """`check_folder` of an external set; ValueError where it holds the study's folder `root` or lies in it."""
    ours, theirs = root.resolve(), external.resolve()
    if ours.is_relative_to(theirs) or theirs.is_relative_to(ours):
        raise ValueError(f"{external}: an external set must be films of another source; give a folder outside {root}")
    return check_folder(theirs)


def find_roots(folder: Path) -> list[Path]:
    """Folders at or below `folder` that hold a folder for each class; the shallowest come first."""
    walked = os.walk(folder)
    found = [Path(place) for place, folders, _ in walked if set(LABELS) <= {name.lower() for name in folders}]
    return sorted(found, key=lambda path: (len(path.parts), path))


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
    for class_name, folder in check_folder(root).items():
        for path in folder.rglob("*"):
            if path.is_file():
                key = f"{class_name}/{path.relative_to(folder).as_posix()}"
                same = key in published and runtime.sha256_file(path) == published[key]
                states[key] = "identical" if same else "differs" if key in published else "not listed"
    return pd.DataFrame(sorted(states.items()), columns=["image_id", "state"])


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
