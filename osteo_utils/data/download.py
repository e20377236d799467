"""Bring a data set onto this machine: drawn, found or downloaded; whole and checked, or not at all."""

from __future__ import annotations

import shutil
import stat
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from osteo_utils.data import datasets, phantom
from osteo_utils.study import paths, runtime

DOWNLOAD_SECONDS = 3600


def fetch(dataset: str, data_dir: str = "", seed: int = 0, knees: int = 120, size: int = 512) -> Path:
    """Folder of a data set, checked: drawn (phantom), found, or downloaded where it is missing (Kaggle sets).

    `data_dir` names the folder instead of the data set's own place. `seed`, `knees` and `size` (pixels) concern
    the phantom alone. Raises as `locate` and `download` do.
    """
    if dataset == "phantom" and not data_dir:
        return draw_phantom(seed, knees, size)
    if datasets.get(dataset).slug and not data_dir:
        return download(dataset)
    return datasets.locate(dataset, data_dir)


def draw_phantom(seed: int, knees: int, size: int) -> Path:
    """Folder of the synthetic set for these settings; drawn once, whole or not at all.

    The folder's name holds a hash of the settings and of the drawing code, so an old drawing is never taken for
    a new one.
    """
    code = runtime.code_hash(Path(phantom.__file__).parent.glob("phantom*.py"))
    key = runtime.hash_of({"seed": seed, "knees": knees, "size": size, "code": code})[:8]
    root = paths.raw("phantom") / f"{knees}-knees-{size}-px-seed-{seed}-{key}"
    phantom.write(root, n_knees=knees, seed=seed, size=size)
    return root


def download(name: str, destination: Path | None = None) -> Path:
    """Download a Kaggle set with the kaggle command line, check it, and only then give it its final name.

    Returns `destination` (default: the set's place under `data/raw`). Prints what differs from the registry
    and goes on while both classes are there. Raises RuntimeError with the steps by hand where it fails.
    """
    entry = datasets.get(name)
    if not entry.slug:
        raise ValueError(f"{name}: is not on Kaggle; there is nothing to download")
    root = Path(destination) if destination else paths.raw(name)
    if root.exists():
        datasets.check_folder(root)
        print(f"already there: {root}")
        return root
    with _workshop(root.parent) as work:
        try:
            archive = _run_kaggle(entry.slug, work)
            unpack(archive, work / "content")
            roots = datasets.find_roots(work / "content")
            if not roots:
                found = sorted({path.parent.name for path in (work / "content").rglob("*") if path.is_file()})
                raise ValueError(
                    f"{archive.name}: no folder with normal/ and osteoporosis/; found {found[:10]}"
                )
            datasets.check_folder(roots[0])
        except (OSError, ValueError, RuntimeError, zipfile.BadZipFile, subprocess.SubprocessError) as error:
            raise RuntimeError(
                f"{name}: the download failed: {error}\n{datasets.manual_steps(name)}"
            ) from error
        for line in datasets.account(roots[0], name):
            print(line)
        roots[0].rename(root)
    print(f"downloaded: {root}")
    return root


def unpack(archive: Path, folder: Path) -> None:
    """Unzip into a new folder; raises ValueError before writing anything if an entry would leave it."""
    with zipfile.ZipFile(archive) as content:
        for entry in content.infolist():
            name = PurePosixPath(entry.filename.replace("\\", "/"))
            # zipfile would quietly rewrite such names; an archive that holds one is not the one we expect.
            if name.is_absolute() or ".." in name.parts or ":" in name.as_posix().split("/")[0]:
                raise ValueError(f"{archive.name}: entry {entry.filename!r} leads out of the folder; refused")
            if stat.S_ISLNK(entry.external_attr >> 16):
                raise ValueError(f"{archive.name}: entry {entry.filename!r} is a link; refused")
        needed = sum(entry.file_size for entry in content.infolist())
        free = shutil.disk_usage(archive.parent).free
        if needed > 0.9 * free:
            raise ValueError(
                f"{archive.name}: needs {needed / 1e9:.1f} GB unpacked, {free / 1e9:.1f} GB are free"
            )
        folder.mkdir(parents=True)
        content.extractall(folder)


def _run_kaggle(slug: str, folder: Path) -> Path:
    # As a library, or by `python -m`, the client asks for credentials; public sets need none by its command.
    program = shutil.which("kaggle", path=str(Path(sys.executable).parent))
    if program is None:
        raise RuntimeError(
            "the kaggle command is not installed beside this Python; expected it from the lock"
        )
    command = [program, "datasets", "download", slug, "-p", str(folder), "--quiet"]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=DOWNLOAD_SECONDS, stdin=subprocess.DEVNULL
    )
    said = [line for line in (done.stdout + "\n" + done.stderr).splitlines() if line.strip()]
    archives = sorted(folder.glob("*.zip"))
    if done.returncode != 0 or len(archives) != 1:
        shown = "\n  ".join(said[-6:]) or "no message"
        raise RuntimeError(f"kaggle datasets download {slug} ended with code {done.returncode}:\n  {shown}")
    # Kaggle's own word on address and licence, which the registry could not look up.
    print("\n".join(line for line in said if line.startswith(("Dataset URL", "License"))))
    return archives[0]


@contextmanager
def _workshop(folder: Path) -> Iterator[Path]:
    """Temporary folder beside the final place, so that the last rename stays on one disk."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".unfinished-", dir=folder) as name:
        yield Path(name)
