"""Lists of SHA-256 as the `sha256sum` command writes them, and how a folder differs from its list."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from osteo_utils.study import results, runtime

NAME = "SHA256SUMS"


def read(path: Path) -> dict[str, str]:
    """SHA-256 by file name (with `/`, relative to the listed folder); raises ValueError at a malformed line."""
    listed = {}
    for number, line in enumerate(Path(path).read_text("utf-8").splitlines(), 1):
        digest, gap, name = line[:64], line[64:66], line[66:]
        if gap != "  " or not name or set(digest) - set("0123456789abcdef"):
            raise ValueError(
                f"{path}, line {number}: {line!r}; expected a SHA-256, two spaces and a file name"
            )
        listed[name] = digest
    return listed


def write(folder: Path) -> Path:
    """List every file below `folder` in its own `SHA256SUMS`; `sha256sum --check` can read it."""
    path = Path(folder) / NAME
    lines = [f"{runtime.sha256_file(file)}  {name}\n" for name, file in _files(folder).items()]
    results.write_text(path, "".join(lines))
    return path


def differences(folder: Path, ignore: Collection[str] = ()) -> dict[str, list[str]]:
    """Names that are `changed`, `missing` or `added` since `write`; a kind without a name is left out.

    `ignore` names entries directly in `folder` that may come later. All bytes are read: a size would not tell
    a film that was turned or saved again, and the notebook that follows reads every file in any case.
    """
    listed, found = read(Path(folder) / NAME), _files(folder)
    kinds = {
        "changed": [name for name in listed if name in found and runtime.sha256_file(found[name]) != listed[name]],
        "missing": [name for name in listed if name not in found],
        "added": [name for name in found if name not in listed and name.split("/")[0] not in ignore],
    }  # fmt: skip
    return {kind: names for kind, names in kinds.items() if names}


def _files(folder: Path) -> dict[str, Path]:
    found = {path.relative_to(folder).as_posix(): path for path in Path(folder).rglob("*") if path.is_file()}
    return {name: found[name] for name in sorted(found) if name != NAME}
