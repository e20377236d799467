"""Whether a folder holds a data set: its class folders, its counts, and its files against a list of SHA-256."""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path

import pandas as pd

from osteo_utils.sources.registry import LABELS, get, manual_steps
from osteo_utils.study import paths, results, runtime

CHECKSUMS = "SHA256SUMS"


COMPANIONS = (
    "patients.csv",
    "phantom.json",
    "truth.csv",
    "truth_outlines.json",
    "truth_masks",
    "truth_parts",
    CHECKSUMS,
)


def read_checksums(path: Path) -> dict[str, str]:
    """SHA-256 by file name (with `/`, relative to the listed folder); raises ValueError at a malformed line."""
    listed = {}
    for number, line in enumerate(Path(path).read_text("utf-8").splitlines(), 1):
        digest, gap, name = line[:64], line[64:66], line[66:]
        if gap != "  " or not name or set(digest) - set("0123456789abcdef"):
            raise ValueError(f"{path}, line {number}: {line!r}; expected a SHA-256, two spaces and a file name")
        listed[name] = digest
    return listed


def write_checksums(folder: Path) -> Path:
    """List every file below `folder` in its own `SHA256SUMS`; `sha256sum --check` can read it."""
    path = Path(folder) / CHECKSUMS
    lines = [f"{runtime.sha256_file(file)}  {name}\n" for name, file in _listed(folder).items()]
    results.write_text(path, "".join(lines))
    return path


def differences(folder: Path, ignore: Collection[str] = ()) -> dict[str, list[str]]:
    """Names that are `changed`, `missing` or `added` since `write`; a kind without a name is left out.

    `ignore` names entries directly in `folder` that may come later. All bytes are read: a size would not tell
    a film that was turned or saved again, and the notebook that follows reads every file in any case.
    """
    listed, found = read_checksums(Path(folder) / CHECKSUMS), _listed(folder)
    kinds = {
        "changed": [name for name in listed if name in found and runtime.sha256_file(found[name]) != listed[name]],
        "missing": [name for name in listed if name not in found],
        "added": [name for name in found if name not in listed and name.split("/")[0] not in ignore],
    }  # fmt: skip
    return {kind: names for kind, names in kinds.items() if names}


def _listed(folder: Path) -> dict[str, Path]:
    found = {path.relative_to(folder).as_posix(): path for path in Path(folder).rglob("*") if path.is_file()}
    return {name: found[name] for name in sorted(found) if name != CHECKSUMS}


def locate(dataset: str, data_dir: str = "") -> Path:
    """Folder of a data set that is on this machine, checked; a relative `data_dir` starts at the project's folder.

    Raises FileNotFoundError, NotADirectoryError or ValueError as `check_folder` does; where a Kaggle set is
    missing, the text lists the steps to get it.
    """
    entry = get(dataset)
    if not data_dir and dataset == "folder":
        raise ValueError("data_dir is empty: name the folder that holds normal/ and osteoporosis/ (--data DIR)")
    root = paths.home() / Path(data_dir).expanduser() if data_dir else paths.raw(dataset)
    if entry.slug and not data_dir and not root.exists():
        raise FileNotFoundError(f"{root}: not there.\n{manual_steps(dataset)}")
    check_folder(root)
    return root


def check_folder(root: Path) -> dict[str, Path]:
    """Folder of each class, by class name; upper and lower case are the same.

    Raises FileNotFoundError, NotADirectoryError, or ValueError where a class is missing, empty or there twice.
    """
    root = Path(root)
    wanted = " and ".join(f"{name}/" for name in LABELS)
    if not root.exists():
        raise FileNotFoundError(f"{root}: does not exist; expected a folder with {wanted} in it")
    if not root.is_dir():
        raise NotADirectoryError(f"{root}: is a file; expected a folder with {wanted} in it")
    folders = sorted(path for path in root.iterdir() if path.is_dir())
    matches = {name: [path for path in folders if path.name.lower() == name] for name in LABELS}
    if missing := [name for name, found in matches.items() if not found]:
        names = ", ".join(f"{path.name}/" for path in folders[:10]) or "no folder"
        deeper = [path for path in find_roots(root) if path != root]
        hint = f"; give {deeper[0]} instead, which has both" if deeper else "; rename or add the class folders"
        raise ValueError(f"{root}: lacks {' and '.join(missing)}/; found {names}, expected {wanted}{hint}")
    for name, found in matches.items():
        if len(found) > 1:
            raise ValueError(f"{root}: two folders for {name}: {', '.join(path.name for path in found)}; merge them")
        if not any(path.is_file() and not path.name.startswith(".") for path in found[0].rglob("*")):
            raise ValueError(f"{found[0]}: no file in it; put the {name} radiographs there")
    return {name: found[0] for name, found in matches.items()}


def check_external(root: Path, external: Path) -> dict[str, Path]:
    """Folder of each class of an external set, by class name, which must lie apart from the study's own folder `root`.

    Raises as `check_folder` does, and ValueError where one of the two folders holds the other.
    """
    ours, theirs = Path(root).resolve(), Path(external).resolve()
    if ours.is_relative_to(theirs) or theirs.is_relative_to(ours):
        raise ValueError(
            f"{external}: an external set must be films of another source, and this folder and the study's own, "
            f"{root}, hold one another; give a folder outside it"
        )
    return check_folder(theirs)


def find_roots(folder: Path) -> list[Path]:
    """Folders at or below `folder` that hold a folder for each class; the shallowest come first."""
    found = []
    for place, folders, _ in os.walk(folder):
        if set(LABELS) <= {name.lower() for name in folders}:
            found.append(Path(place))
    return sorted(found, key=lambda path: (len(path.parts), path))


def counts(root: Path) -> dict[str, int]:
    """Files of each folder directly in `root`, by its name in lower case."""
    found = {folder.name.lower(): 0 for folder in Path(root).iterdir() if folder.is_dir()}
    for path in Path(root).glob("*/**/*"):
        if path.is_file():
            found[path.relative_to(root).parts[0].lower()] += 1
    return found


def verify(root: Path, name: str) -> pd.DataFrame:
    """Compare the files of a folder with the published checksums: image_id, state.

    `state` is `identical`, `differs` (same name, other bytes), `missing` (published, not found) or `not listed`.
    An empty frame where the registry has no checksums.
    """
    entry = get(name)
    frame = pd.DataFrame({"image_id": pd.Series(dtype=str), "state": pd.Series(dtype=str)})
    if not entry.checksums:
        return frame
    published = read_checksums(Path(__file__).parent / entry.checksums)
    states = dict.fromkeys(published, "missing")
    for class_name, folder in check_folder(root).items():
        for path in folder.rglob("*"):
            if path.is_file():
                key = f"{class_name}/{path.relative_to(folder).as_posix()}"
                same = key in published and runtime.sha256_file(path) == published[key]
                states[key] = "identical" if same else "differs" if key in published else "not listed"
    return pd.DataFrame(sorted(states.items()), columns=["image_id", "state"])


def account(root: Path, name: str) -> list[str]:
    """What differs between a folder and the registry, one sentence a line; found against expected."""
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
            some = f", such as {chosen[0]}" if chosen and state != "identical" else ""
            lines.append(f"{len(chosen)} of {len(checked)} files {meaning}{some}")
    return lines
