"""Bring a data set onto this machine: drawn, found or downloaded; whole and checked, or not at all."""

from __future__ import annotations

import errno
import shutil
import stat
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from time import sleep
from typing import Any

from filelock import FileLock, Timeout

from osteo_utils.phantom import synthetic
from osteo_utils.sources import data_folders, kaggle_command, registry
from osteo_utils.sources.kaggle_command import KaggleError
from osteo_utils.study import paths, runtime

DOWNLOAD_SECONDS = 3600
DISK_FULL = (errno.ENOSPC, errno.EDQUOT)
# Pauses before the second and later tries where Kaggle is busy and names no time, and the longest that we wait.
PAUSES = (15, 60, 240)
LONGEST_PAUSE = 600


def fetch(dataset: str, data_dir: str = "", seed: int = 0, knees: int = 120, size: int = 512, **controls: Any) -> Path:
    """Folder of a data set, checked: drawn (phantom), found, or downloaded where it is missing (Kaggle sets).

    `data_dir` names the folder instead of the data set's own place. `seed`, `knees`, `size` (pixels) and
    `controls` (as in `design.plan`) concern the phantom alone. Raises as `locate` and `download` do.
    """
    if dataset == "phantom" and not data_dir:
        return draw_phantom(seed, knees, size, **controls)
    if registry.get(dataset).slug and not data_dir:
        return download(dataset)
    return data_folders.locate(dataset, data_dir)


def draw_phantom(seed: int, knees: int, size: int, **controls: Any) -> Path:
    """Folder of the synthetic set for these settings; drawn once, whole or not at all.

    The folder's name holds a hash of the settings and of the drawing code, so an old drawing is never taken for
    a new one.
    """
    code = runtime.code_hash(Path(synthetic.__file__).parent.glob("*.py"))
    key = runtime.hash_of({"seed": seed, "knees": knees, "size": size, "code": code, **controls})[:8]
    root = paths.raw("phantom") / f"{knees}-knees-{size}-px-seed-{seed}-{key}"
    synthetic.write(root, n_knees=knees, seed=seed, size=size, **controls)
    return root


def download(name: str, destination: Path | None = None) -> Path:
    """Download a Kaggle set with the kaggle command line, check it, and only then give it its final name.

    Returns `destination` (default: the set's place under `data/raw`), which then holds `SHA256SUMS` beside the
    class folders. Prints what differs from the registry and goes on while both classes are there. What a broken
    download left is kept in `.unfinished-<name>` beside it, and the next call goes on from there. Raises
    RuntimeError with the reason and the steps by hand where it fails.
    """
    entry = registry.get(name)
    if not entry.slug:
        raise ValueError(f"{name}: is not on Kaggle; there is nothing to download")
    root = Path(destination) if destination else paths.raw(name)
    if root.exists():
        data_folders.check_folder(root)
        print(_already_there(root))
        return root
    work = root.parent / f".unfinished-{root.name}"
    try:
        with _workshop(work):
            archive = _archive(entry.slug, work)
            chosen = _content(archive, work / "content")
            lines = data_folders.account(chosen, name)
            data_folders.write_checksums(chosen)
            chosen.rename(root)
            archive.unlink()
    except (OSError, ValueError, RuntimeError) as error:
        lines = [f"{name}: the download failed: {error}", *_kept(work), registry.manual_steps(name)]
        if getattr(error, "errno", None) in DISK_FULL:
            lines.insert(1, "The disk is full: make room, or set OSTEO_HOME to a folder on a larger disk.")
        raise RuntimeError("\n".join(lines)) from error
    print("\n".join([*lines, f"downloaded: {root}"]))
    return root


def unpack(archive: Path, folder: Path) -> None:
    """Unzip into a new folder.

    Raises ValueError where the archive is damaged, and before writing anything where an entry would leave the
    folder; OSError where the disk is or would be full.
    """
    try:
        with zipfile.ZipFile(archive) as content:
            for entry in content.infolist():
                _refuse_tricks(archive, entry)
            needed = sum(entry.file_size for entry in content.infolist())
            free = shutil.disk_usage(archive.parent).free
            if needed > 0.9 * free:
                raise OSError(
                    errno.ENOSPC, f"{needed / 1e9:.1f} GB to unpack, {free / 1e9:.1f} GB are free", str(archive)
                )
            folder.mkdir(parents=True)
            content.extractall(folder)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
        raise ValueError(f"{archive.name}: the archive is damaged ({error})") from error


def _refuse_tricks(archive: Path, entry: zipfile.ZipInfo) -> None:
    name = PurePosixPath(entry.filename.replace("\\", "/"))
    # zipfile would quietly rewrite such names; an archive that holds one is not the one we expect.
    if name.is_absolute() or ".." in name.parts or ":" in name.as_posix().split("/")[0]:
        raise ValueError(f"{archive.name}: entry {entry.filename!r} leads out of the folder; refused")
    if stat.S_ISLNK(entry.external_attr >> 16):
        raise ValueError(f"{archive.name}: entry {entry.filename!r} is a link; refused")


def _archive(slug: str, work: Path) -> Path:
    """The downloaded zip file; waits and tries again where Kaggle is busy, as its client does not."""
    pauses = list(PAUSES)
    while True:
        try:
            archive, said = kaggle_command.download(slug, work, DOWNLOAD_SECONDS)
            break
        except KaggleError as error:
            if error.status != 429 or not pauses or (error.wait or 0) > LONGEST_PAUSE:
                raise
            usual = pauses.pop(0)
            pause = usual if error.wait is None else error.wait
        print(f"Kaggle is busy (429): trying again in {pause:.0f} s, {len(pauses)} more times after that", flush=True)
        sleep(pause)
    # Kaggle's own word on address and licence, which the registry could not look up.
    print("\n".join(line for line in said if line.startswith(("Dataset URL", "License"))))
    return archive


def _content(archive: Path, folder: Path) -> Path:
    """The unpacked folder that holds the classes; an archive that is damaged or another set is deleted."""
    shutil.rmtree(folder, ignore_errors=True)  # of a run that was killed
    try:
        unpack(archive, folder)
        roots = data_folders.find_roots(folder)
        if not roots:
            found = sorted({path.parent.name for path in folder.rglob("*") if path.is_file()})
            raise ValueError(f"{archive.name}: no folder with normal/ and osteoporosis/; found {found[:10]}")
        # A set may come with a split into train and test of its own beside the whole.
        root = max(roots, key=_films)
        data_folders.check_folder(root)
    except ValueError as error:
        archive.unlink()
        raise ValueError(f"{error}; it was deleted, so the next try starts afresh") from error
    if left := [path for path in folder.rglob("*") if path.is_file() and not path.is_relative_to(root)]:
        example = left[0].relative_to(folder).as_posix()
        print(f"{len(left)} files of the archive lie outside {root.name}/ and are left out, such as {example}")
    return root


def _films(root: Path) -> int:
    found = data_folders.counts(root)
    return sum(found[name] for name in registry.LABELS)


def _already_there(root: Path) -> str:
    if not (root / data_folders.CHECKSUMS).is_file():
        return f"already there: {root}; no {data_folders.CHECKSUMS} in it, so it was not compared with a download"
    changes = data_folders.differences(root, ignore=data_folders.COMPANIONS)
    if not changes:
        return f"already there: {root}, byte for byte as downloaded"
    told = "; ".join(f"{len(names)} files {kind}, such as {names[0]}" for kind, names in changes.items())
    return f"already there: {root}, but it DIFFERS from what was downloaded: {told}. Delete it to download again."


def _kept(work: Path) -> list[str]:
    size = sum(path.stat().st_size for path in work.glob("*.zip"))
    there = f"{size / 1e6:.1f} MB are kept in {work}: run again to go on from there, or delete that folder."
    return [there] if size else []


@contextmanager
def _workshop(folder: Path) -> Iterator[None]:
    """Folder for unfinished work, beside the final place so that the last rename stays on one disk; one user.

    It outlives a failure as long as there is an archive in it, whole or not, with which the next try can go on.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / "lock", timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise RuntimeError(f"another download is at work in {folder}; wait for it, then run again") from None
    try:
        yield
    finally:
        shutil.rmtree(folder / "content", ignore_errors=True)
        if not _kept(folder):
            shutil.rmtree(folder, ignore_errors=True)
        lock.release()
