"""Copy what may be shown of a study to `reports/published/<study>`: what is not on the list stays here."""

import base64
import csv
import json
import re
import shutil
import tempfile
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

from osteo_utils.reporting.report import compact

# Numbers, and drawings of numbers as PNG alone. Patterns do not reach into folders below, so figures/films stays out.
NUMBERS = (
    "claims.json metrics/*.json tables/*.csv history/*.csv predictions/*.csv figures/*.png figures/paper/*.png".split()
)
# Executed notebooks show films; the glossary and the exercises that they link to go with them. The report is left where
# it was made: one command makes it from what is published.
FILMS = "notebooks/*.ipynb notebooks/exercises/*.ipynb notebooks/glossary.md".split()
# A stranger's file names may hold names or numbers of patients.
NAMING_COLUMNS = {"image_id", "patient", "nearest"}
LARGEST_FILE = 3_000_000
LARGEST_IN_ALL = 12_000_000


def publish(
    reports: Path,
    target: Path,
    dataset: str,
    private: list[Path],
    corrected: Mapping[str, str] | None = None,
    pages: Callable[[Collection[str]], Mapping[str, str]] | None = None,
) -> tuple[list[Path], dict[Path, str]]:
    """Fill `target` anew from `reports` (the folder of one study); `target` changes whole or not at all.

    Gives the names of the files published, and those left out with the reason. `corrected` has the texts of the folder
    `corrected/` by file name; `pages` makes further texts by file name, given the files that they may link to. `private` are folders of this machine that no text may name. Of a study with an external
    set no film and no executed notebook is copied, and no table that names a file of that set. Raises FileNotFoundError
    where there are no results, RuntimeError where a text names a private folder or everything together is too large.
    """
    if not (reports / "claims.json").is_file():
        raise FileNotFoundError(f"{reports}: no claims.json there; run the study first, then publish it")
    # No patient is behind a synthetic film; the films of an external set are somebody's.
    eda = json.loads((reports / "metrics" / "02_eda.json").read_text("utf-8"))
    patterns = [*NUMBERS, *FILMS] if dataset == "phantom" and "external/files" not in eda else NUMBERS
    sources = sorted(source for pattern in patterns for source in reports.glob(pattern))
    reasons = {source.relative_to(reports): _reason_to_leave_out(source, dataset) for source in sources}
    files = [name for name in reasons if not reasons[name]]
    product = {Path("corrected") / name: text.encode() for name, text in (corrected or {}).items()}
    if large := _too_large(max(map(len, product.values()), default=0)):
        reasons[Path("corrected")] = large
    else:
        files += product
    if pages:
        written = {Path(name): text.encode() for name, text in pages({name.as_posix() for name in files}).items()}
        product |= written
        files += written
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".publish-", dir=target.parent) as temporary:
        staged = Path(temporary) / target.name
        for name in files:
            (staged / name).parent.mkdir(parents=True, exist_ok=True)
            if name in product:
                (staged / name).write_bytes(product[name])
            elif name.suffix == ".ipynb":
                (staged / name).write_text(_made_small(reports / name), "utf-8")
            else:
                shutil.copyfile(reports / name, staged / name)
        _check(staged, files, private)
        if target.exists():
            shutil.rmtree(target)
        staged.rename(target)
    return files, {name: reason for name, reason in reasons.items() if reason}


def _reason_to_leave_out(source: Path, dataset: str) -> str:
    if source.is_symlink():
        return "a link"
    if large := _too_large(source.stat().st_size):
        return large
    if source.suffix == ".csv" and (dataset == "folder" or "external" in source.stem) and _names_files(source):
        return "names files of your folder" if dataset == "folder" else "may name files of the external set"
    return ""


def _too_large(size: int) -> str:
    return f"{size / 1e6:.1f} MB, more than {LARGEST_FILE / 1e6:.0f}" if size > LARGEST_FILE else ""


def _names_files(table: Path) -> bool:
    with table.open(encoding="utf-8", newline="") as stream:
        rows = csv.reader(stream)
        return bool(NAMING_COLUMNS & set(next(rows, []))) and next(rows, None) is not None


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


def private_folder(text: str, private: Sequence[Path]) -> Path | None:
    """The first of the `private` folders of this machine that a text names, in whatever signs it stands.

    The root of all folders, which is the home in some containers, says nothing of a machine.
    """
    named = (place for place in private if place != Path("/"))
    return next((place for place in named if re.search(rf"{re.escape(str(place))}(?![\w.-])", text)), None)


def _check(folder: Path, files: list[Path], private: list[Path]) -> None:
    for name in files:
        text = (folder / name).read_text("utf-8", "replace")
        if named := private_folder(text, private):
            raise RuntimeError(
                f"{name}: names {named}, a folder of this machine; nothing was published. "
                "Make the cell or the table that writes it name files within the project."
            )
    sizes = {name: (folder / name).stat().st_size for name in files}
    if (total := sum(sizes.values())) > LARGEST_IN_ALL:
        largest = max(sizes, key=sizes.__getitem__)
        raise RuntimeError(
            f"{total / 1e6:.1f} MB in all, expected at most {LARGEST_IN_ALL / 1e6:.0f}; nothing was published. "
            f"The largest file is {largest}, {sizes[largest] / 1e6:.1f} MB."
        )
