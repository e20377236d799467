"""Get a data set: draw, find or download it; complete and checked, or not at all."""

from __future__ import annotations

import errno
import shutil
import stat
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from time import sleep
from typing import Any

from filelock import FileLock, Timeout

from osteo_utils.phantom import synthetic
from osteo_utils.sources import data_folders, film_folders, folder_tree, kaggle_command, registry
from osteo_utils.sources.kaggle_command import KaggleError
from osteo_utils.study import paths, runtime

DOWNLOAD_SECONDS = 3600
DISK_FULL = (errno.ENOSPC, errno.EDQUOT)
# Pauses in seconds between tries where Kaggle is busy and names no time, and the longest wait that we accept.
PAUSES = (15, 60, 240)
LONGEST_PAUSE = 600


def fetch(
    dataset: str, data_dir: str = "", seed: int = 0, knees: int = 120, size: int = 512, classes: Sequence[str] = (),
    **controls: Any,
) -> Path:  # fmt: skip
    """Checked folder of a data set: drawn (phantom), found, or downloaded if missing (Kaggle sets).

    `data_dir` replaces the data set's own folder, `classes` the names of its class folders. `seed`, `knees`, `size` (pixels) and `controls` (as in
    `design.plan`) apply to the phantom alone. Raises as `locate` and `download` do.
    """
    if data_dir or not (dataset == "phantom" or registry.get(dataset).slug):
        return data_folders.locate(dataset, data_dir, classes)
    if dataset != "phantom":
        return download(dataset)
    # The folder's name hashes settings and drawing code, so an outdated set is never reused.
    code = runtime.code_hash(Path(synthetic.__file__).parent.glob("*.py"))
    key = runtime.hash_of({"seed": seed, "knees": knees, "size": size, "code": code, **controls})[:8]
    root = paths.raw("phantom") / f"{knees}-knees-{size}-px-seed-{seed}-{key}"
    synthetic.write(root, n_knees=knees, seed=seed, size=size, **controls)
    return root


def download(name: str) -> Path:
    """Download a Kaggle set with the kaggle command line, check it, and only then give it its final name.

    Returns its folder under `data/raw`, with `SHA256SUMS` beside the class folders. Prints what differs from the
    registry, and continues as long as both classes are there. A broken download stays in `.unfinished-<name>`, where
    the next call resumes it. Raises RuntimeError with the reason and the steps by hand where it fails.
    """
    entry = registry.get(name)
    if not entry.slug:
        raise ValueError(f"{name}: is not on Kaggle; there is nothing to download")
    root = paths.raw(name)
    if root.exists():
        data_folders.check_folder(root)
        print(_already_there(root))
        return root
    work = root.parent / f".unfinished-{root.name}"
    try:
        with _work_folder(work):
            archive = _archive(entry.slug, work)
            chosen = _content(archive, work / "content")
            lines = data_folders.account(chosen, name)
            data_folders.write_checksums(chosen)
            chosen.rename(root)
            archive.unlink()
    except (OSError, ValueError, RuntimeError) as error:
        lines = [f"{name}: the download failed: {error}", *_resume_hint(work), registry.manual_steps(name)]
        if getattr(error, "errno", None) in DISK_FULL:
            lines.insert(1, "The disk is full: make room, or set OSTEO_HOME to a folder on a larger disk.")
        raise RuntimeError("\n".join(lines)) from error
    print("\n".join([*lines, f"downloaded: {root}"]))
    return root


def unpack(archive: Path, folder: Path) -> None:
    """Unzip into a new folder; ValueError for a damaged archive or an entry outside, OSError where the disk is full."""
    try:
        with zipfile.ZipFile(archive) as content:
            for entry in content.infolist():
                _refuse_tricks(archive, entry)
            needed = sum(entry.file_size for entry in content.infolist())
            free = shutil.disk_usage(archive.parent).free
            if needed > 0.9 * free:
                space = f"{needed / 1e9:.1f} GB to unpack, {free / 1e9:.1f} GB are free"
                raise OSError(errno.ENOSPC, space, str(archive))
            folder.mkdir(parents=True)
            content.extractall(folder)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
        raise ValueError(f"{archive.name}: the archive is damaged ({error})") from error


def _refuse_tricks(archive: Path, entry: zipfile.ZipInfo) -> None:
    name = PurePosixPath(entry.filename.replace("\\", "/"))
    # zipfile would silently rewrite such a name, but the archive that we expect has none.
    if name.is_absolute() or ".." in name.parts or ":" in name.as_posix().split("/")[0]:
        raise ValueError(f"{archive.name}: entry {entry.filename!r} leads out of the folder; refused")
    if stat.S_ISLNK(entry.external_attr >> 16):
        raise ValueError(f"{archive.name}: entry {entry.filename!r} is a link; refused")


def _archive(slug: str, work: Path) -> Path:
    """The downloaded zip file; waits and retries where Kaggle is busy, which its client does not do."""
    pauses = list(PAUSES)
    while True:
        try:
            archive, output = kaggle_command.download(slug, work, DOWNLOAD_SECONDS)
            break
        except KaggleError as error:
            if error.status != 429 or not pauses or (error.wait or 0) > LONGEST_PAUSE:
                raise
            usual = pauses.pop(0)
            pause = usual if error.wait is None else error.wait
        print(f"Kaggle is busy (429): trying again in {pause:.0f} s, {len(pauses)} more times after that", flush=True)
        sleep(pause)
    # Address and licence as Kaggle states them; the registry could not look them up.
    print("\n".join(line for line in output if line.startswith(("Dataset URL", "License"))))
    return archive


def _content(archive: Path, folder: Path) -> Path:
    """The unpacked folder that holds the classes; deletes an archive that is damaged or holds another set."""
    shutil.rmtree(folder, ignore_errors=True)  # left by a killed run
    try:
        unpack(archive, folder)
        roots = film_folders.find_roots(folder)
        if not roots:
            found = sorted({path.parent.name for path in folder.rglob("*") if path.is_file()})
            raise ValueError(f"{archive.name}: no folder with normal/ and osteoporosis/; found {found[:10]}")
        # A set may hold its own split into train and test besides the whole.
        root = max(roots, key=lambda root: sum(data_folders.counts(root)[name] for name in registry.LABELS))
        data_folders.check_folder(root)
    except ValueError as error:
        archive.unlink()
        raise ValueError(f"{error}; it was deleted, so the next try starts afresh") from error
    if left := [path for path in folder.rglob("*") if path.is_file() and not path.is_relative_to(root)]:
        example = left[0].relative_to(folder).as_posix()
        print(f"{len(left)} files of the archive lie outside {root.name}/ and are left out, such as {example}")
    return root


def _already_there(root: Path) -> str:
    if not (root / folder_tree.CHECKSUMS).is_file():
        return f"already there: {root}; no {folder_tree.CHECKSUMS} in it, so it was not compared with a download"
    # What a user has put beside the films is no change of the download.
    own = [path.name for path in folder_tree.tables(root)]
    changes = data_folders.differences(root, ignore=[*folder_tree.COMPANIONS, *own])
    if not changes:
        return f"already there: {root}, byte for byte as downloaded"
    summary = "; ".join(f"{len(names)} files {kind}, such as {names[0]}" for kind, names in changes.items())
    return f"already there: {root}, but it DIFFERS from what was downloaded: {summary}. Delete it to download again."


def _resume_hint(work: Path) -> list[str]:
    size = sum(path.stat().st_size for path in work.glob("*.zip"))
    return [f"{size / 1e6:.1f} MB are kept in {work}: run again to resume, or delete that folder."] if size else []


@contextmanager
def _work_folder(folder: Path) -> Iterator[None]:
    """Locked folder for unfinished work; after a failure it stays if it holds an archive to resume from."""
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
        if not _resume_hint(folder):
            shutil.rmtree(folder, ignore_errors=True)
        lock.release()
