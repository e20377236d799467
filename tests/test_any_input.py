"""Random folders, films, tables and names through the door of `audit`: used, refused by name, or named in a remark."""

import contextlib
import io
import shutil
from pathlib import Path

import pandas as pd
import pytest
import samples
from hypothesis import given, settings
from hypothesis import strategies as st

from osteo_utils.audit import command
from osteo_utils.study import commands

# Any letter and sign that a file system takes, line breaks among them.
ANY = st.text(st.characters(codec="utf-8", exclude_characters="\0/"), min_size=1, max_size=12).filter(
    lambda name: name not in (".", "..") and len(name.encode()) < 60
)
USUAL = st.sampled_from("normal osteoporosis Normal OP train test val patient_1 S0001 @eaDir .hidden".split())
FOLDERS = st.lists(st.one_of(USUAL, USUAL, ANY), max_size=3).map(tuple)
ENDS = st.sampled_from([".png", ".png", ".PNG", ".jpg", ".tif", ".dcm", "", ".csv", ".txt", ".zip"])
FILM = samples.film(200)
CONTENTS = st.one_of(
    st.integers(40, 255).map(samples.film),
    st.sampled_from([b"", FILM[:60], b"\xff\xd8\xff", b"<html></html>", b"PK\3\4"]),
)
FILES = st.dictionaries(st.tuples(FOLDERS, ANY, ENDS), CONTENTS, max_size=8)
CELL = st.one_of(st.sampled_from(["", "NA", "train", "test", "normal", "1", "1.0", "P01 ", '"', "a;b"]), ANY)
HEADS = st.sampled_from(["image_id,split", "filename;set", "file\tpatient_id", "image_id,class", "split", "", "a,b,c"])
TABLE = st.tuples(
    HEADS, st.lists(st.lists(CELL, max_size=3), max_size=4), st.sampled_from(["utf-8", "utf-16", "cp1252"])
)
TABLES = st.dictionaries(
    st.sampled_from(["patients.csv", "labels.csv", "split.csv", "Patients.CSV"]), TABLE, max_size=2
)


def write(root: Path, files: dict, tables: dict) -> list[str]:
    """The tree on disk; returns the files that lie there."""
    for (folders, stem, suffix), content in files.items():
        # A name may be taken by a folder already, or a folder's by a file.
        with contextlib.suppress(OSError):
            samples.fill(root, {"/".join([*folders, stem + suffix]): content})
    for name, (head, rows, encoding) in tables.items():
        sign = next((sign for sign in ",;\t" if sign in head), ",")
        text = "\n".join([head, *(sign.join(row) for row in rows)])
        (root / name).write_bytes(text.encode(encoding, "replace"))
    return [str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()]


@pytest.mark.parametrize("examples", [40, pytest.param(1000, marks=pytest.mark.long)])
def test_any_folder_is_audited_or_refused_and_no_film_is_lost(tmp_path: Path, examples: int) -> None:
    # The few are always the same ones; the many differ from run to run.
    @settings(max_examples=examples, deadline=None, derandomize=examples < 1000)
    @given(ANY, FILES, TABLES, st.booleans(), st.none() | ANY)
    def audited(name: str, files: dict, tables: dict, split: bool, mapped: str | None) -> None:
        root, page, table = tmp_path / name, tmp_path / "page.html", tmp_path / "table.csv"
        root.mkdir()
        try:
            there = write(root, files, tables)
            words = [str(root), f"--page={page}", f"--table={table}"]
            words += [f"--split={root / 'split.csv'}"] if split else []
            words += ["--classes", f"normal={mapped}"] if mapped else []
            said, complained = (
                io.TextIOWrapper(io.BytesIO(), "utf-8", newline=""),
                io.TextIOWrapper(io.BytesIO(), "utf-8", newline=""),
            )
            with contextlib.redirect_stdout(said), contextlib.redirect_stderr(complained):
                code = commands.run(command.main, words, door=True)
            said, complained = (stream.seek(0) or stream.read() for stream in (said, complained))
            assert (code == 2) == bool(complained) and code in (0, 1, 2)
            if code < 2:
                used = pd.read_csv(table, dtype=str, keep_default_na=False, lineterminator="\n").image_id.tolist()
                for film in map(Path, there):
                    # A folder that is no class is named whole.
                    name, folder = commands.printable(film.name), commands.printable(film.parts[0])
                    assert str(film) in used or name in said or (len(film.parts) > 1 and folder in said), film
        finally:
            shutil.rmtree(root)
            page.unlink(missing_ok=True)

    audited()
