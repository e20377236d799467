"""Writes the notebooks and the exercises without their solutions into a folder for students.

./run_all.sh student DIR
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from osteo_utils.study import commands, paths

SOLUTION = "solution"  # the tag of every cell that holds or announces one


class InUse(Exception):
    """The folder holds something that a copy would overwrite."""


def without_solutions(notebook: str) -> str:
    """The text of a notebook without the cells that are tagged as a solution, and without outputs."""
    content = json.loads(notebook)
    content["cells"] = [cell for cell in content["cells"] if SOLUTION not in cell["metadata"].get("tags", [])]
    for cell in content["cells"]:
        if cell["cell_type"] == "code":
            cell |= {"outputs": [], "execution_count": None}
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def sources() -> list[Path]:
    """What students get, relative to the folder of the notebooks: notebooks, exercises and the glossary."""
    root = paths.notebooks_dir()
    found = [*root.glob("*.ipynb"), *root.glob("exercises/*.ipynb"), root / "glossary.md"]
    return sorted(path.relative_to(root) for path in found)


def write(folder: Path) -> list[Path]:
    """Fill `folder` with the copies, whole or not at all; returns their names. An empty folder stays the one it was.

    Raises InUse where it is a file or holds something already, OSError where it cannot be written.
    """
    if folder.exists() and not folder.is_dir():
        raise InUse(f"{folder} is a file; name a new folder")
    if folder.is_dir() and any(folder.iterdir()):
        raise InUse(
            f"{folder} is not empty, and a student's answers may be in it; nothing was written. "
            "Name a new folder, or empty this one first"
        )
    folder.mkdir(parents=True, exist_ok=True)
    names = sources()
    # Into the folder and never in its place: a shell may stand in it, it may be a link or a disk of its own.
    with tempfile.TemporaryDirectory(prefix=".student-", dir=folder) as temporary:
        staged = Path(temporary) / "copies"
        for name in names:
            text = (paths.notebooks_dir() / name).read_text("utf-8")
            (staged / name).parent.mkdir(parents=True, exist_ok=True)
            (staged / name).write_text(without_solutions(text) if name.suffix == ".ipynb" else text, "utf-8")
        for path in sorted(staged.iterdir()):
            path.replace(folder / path.name)
    return names


def main(arguments: Sequence[str] | None = None, door: bool = False) -> int:
    """The command `student`: 0 written, 1 the folder is in use, 2 it cannot be written."""
    asked = commands.parser("student", door).parse_args(arguments)
    folder = asked.folder.expanduser().absolute()
    try:
        names = write(folder)
    except InUse as problem:
        print(f"student: {problem}", file=sys.stderr)
        return 1
    except OSError as problem:
        print(f"student: {folder} cannot be written: {problem.strerror}", file=sys.stderr)
        return 2
    notebooks = [name for name in names if name.suffix == ".ipynb"]
    with_exercises = sum(name.parent.name == "exercises" for name in notebooks)
    commands.show(
        [
            f"{len(notebooks)} notebooks without solutions, {with_exercises} of them exercises: {folder}",
            "They use this project's package and results. To open them:",
            f'  ./run_all.sh lab "{folder}"',
        ]
    )
    return 0


if __name__ == "__main__":
    sys.exit(commands.run(main, sys.argv[1:]))
