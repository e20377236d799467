"""Copy what may be shown of a study to `reports/published/<study>`: what is not on the list stays here."""

from __future__ import annotations

import base64
import csv
import json
import shutil
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from osteo_utils.reporting.report import compact

# Numbers, and drawings of numbers. Patterns do not reach into folders below, so figures/films stays out.
NUMBERS = (
    "claims.json",
    "metrics/*.json",
    "tables/*.csv",
    "history/*.csv",
    "predictions/*.csv",
    "figures/*.png",  # the same as SVG is left where it was made
)
# Only where no patient is behind a film: executed notebooks show films. The report is left where it was made: it holds
# these numbers and drawings once more, and one command makes it.
WITH_FILMS = ("notebooks/*.ipynb",)
SYNTHETIC = "phantom"
STRANGERS = "folder"
# A stranger's file names may hold names or numbers of patients.
NAMING_COLUMNS = {"image_id", "patient", "nearest"}
TEXT = {".json", ".csv", ".ipynb"}
LARGEST_FILE = 3_000_000
LARGEST_IN_ALL = 12_000_000


@dataclass
class Published:
    """What was copied and what was left out, each file with the reason."""

    folder: Path
    files: list[Path] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)


def publish(reports: Path, target: Path, dataset: str, private: Iterable[Path]) -> Published:
    """Fill `target` anew from `reports` (the folder of one study); `target` changes whole or not at all.

    `private` are folders of this
    machine that no text may name. Raises FileNotFoundError where there are no results, RuntimeError where
    a text names a private folder or everything together is too large. Of a study with an external set no film and
    no executed notebook is copied, and no table that names a file of that set.
    """
    if not (reports / "claims.json").is_file():
        raise FileNotFoundError(f"{reports}: no claims.json there; run the study first, then publish it")
    films = dataset == SYNTHETIC and not _has_external(reports)
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".publish-", dir=target.parent) as temporary:
        staged = Published(Path(temporary) / target.name)
        staged.folder.mkdir()
        for pattern in NUMBERS + (WITH_FILMS if films else ()):
            for source in sorted(reports.glob(pattern)):
                _copy(source, source.relative_to(reports), dataset, staged)
        _check(staged.folder, list(private))
        if target.exists():
            shutil.rmtree(target)
        staged.folder.rename(target)
    files = sorted(path.relative_to(target) for path in target.rglob("*") if path.is_file())
    return Published(target, files, staged.left_out)


def _copy(source: Path, name: Path, dataset: str, staged: Published) -> None:
    size = source.stat().st_size
    if source.is_symlink():
        staged.left_out[name.as_posix()] = "a link"
    elif size > LARGEST_FILE:
        staged.left_out[name.as_posix()] = f"{size / 1e6:.1f} MB, more than {LARGEST_FILE / 1e6:.0f}"
    elif dataset == STRANGERS and name.suffix == ".csv" and _names_files(source):
        staged.left_out[name.as_posix()] = "names files of your folder"
    elif "external" in name.stem and name.suffix == ".csv" and _names_files(source):
        staged.left_out[name.as_posix()] = "may name files of the external set"
    else:
        copy = staged.folder / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        if name.suffix == ".ipynb":
            copy.write_text(_made_small(source), "utf-8")
        else:
            shutil.copyfile(source, copy)


def _names_files(table: Path) -> bool:
    with table.open(encoding="utf-8", newline="") as stream:
        rows = csv.reader(stream)
        return bool(NAMING_COLUMNS & set(next(rows, []))) and next(rows, None) is not None


def _has_external(reports: Path) -> bool:
    metrics = reports / "metrics" / "02_eda.json"
    return "external/files" in json.loads(metrics.read_text("utf-8"))


def _made_small(notebook: Path) -> str:
    """The notebook's text without the paths that papermill notes in it, and with large pictures as JPEG."""
    content = json.loads(notebook.read_text("utf-8"))
    for name in ("input_path", "output_path"):
        content["metadata"].get("papermill", {}).pop(name, None)
    for output in (output for cell in content["cells"] for output in cell.get("outputs", [])):
        if picture := output.get("data", {}).pop("image/png", None):
            kind, data = compact(base64.b64decode(picture))
            output["data"][f"image/{kind}"] = base64.b64encode(data).decode()
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def _check(folder: Path, private: list[Path]) -> None:
    files = [path for path in folder.rglob("*") if path.is_file()]
    for path in files:
        if path.suffix in TEXT:
            text = path.read_text("utf-8", "replace")
            for place in private:
                if f"{place}/" in text or f'{place}"' in text:
                    raise RuntimeError(
                        f"{path.relative_to(folder)}: names {place}, a folder of this machine; nothing was "
                        "published. Make the cell or the table that writes it name files within the project."
                    )
    total = sum(path.stat().st_size for path in files)
    if total > LARGEST_IN_ALL:
        largest = max(files, key=lambda path: path.stat().st_size)
        raise RuntimeError(
            f"{total / 1e6:.1f} MB in all, expected at most {LARGEST_IN_ALL / 1e6:.0f}; nothing was published. "
            f"The largest file is {largest.relative_to(folder)}, {largest.stat().st_size / 1e6:.1f} MB."
        )
