"""Hashes that see meaning and nothing else, and seeds that depend on all their parts."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from osteo_utils.study import paths, runtime

CODE = '''"""What it is."""


def double(x: int) -> int:
    """Twice as much."""
    # because
    return 2 * x
'''


def hash_of_code(folder: Path, text: str) -> str:
    (folder / "room.py").write_text(text)
    return runtime.code_hash([folder / "room.py"])


@pytest.mark.parametrize(
    "edit",
    [
        lambda text: text.replace("# because", "# for a better reason"),
        lambda text: text.replace("Twice as much", "Two times"),
        lambda text: text.replace("What it is", "What it was"),
        lambda text: text.replace("return 2 * x", "return (2   *  x)"),
        lambda text: text.replace('    """Twice as much."""\n', ""),
    ],
)
def test_prose_and_layout_do_not_change_the_hash_of_code(tmp_path: Path, edit) -> None:
    changed = edit(CODE)
    assert changed != CODE
    assert hash_of_code(tmp_path, changed) == hash_of_code(tmp_path, CODE)


def test_a_changed_number_changes_the_hash_of_code(tmp_path: Path) -> None:
    assert hash_of_code(tmp_path, CODE.replace("2 * x", "3 * x")) != hash_of_code(tmp_path, CODE)


def notebook(folder: Path, prose: str, code: str, parameter: str) -> Path:
    cells = [
        {"cell_type": "markdown", "metadata": {}, "source": [prose]},
        {"cell_type": "code", "metadata": {"tags": ["parameters"]}, "source": [parameter]},
        {"cell_type": "code", "metadata": {}, "source": [code]},
    ]
    path = folder / "01_a.ipynb"
    path.write_text(json.dumps({"cells": cells}))
    return path


def test_prose_and_parameters_of_a_notebook_do_not_change_its_hash(tmp_path: Path) -> None:
    code = "from osteo_utils.study import paths\nprint(paths.home())"
    first = runtime.notebook_code_hash(notebook(tmp_path, "Hello", code, "epochs = 1"))
    assert runtime.notebook_code_hash(notebook(tmp_path, "Good day", code, "epochs = 2")) == first
    assert runtime.notebook_code_hash(notebook(tmp_path, "Hello", code + "\nx = 1", "epochs = 1")) != first


def test_rooms_reached_through_another_room_count(tmp_path: Path) -> None:
    path = notebook(tmp_path, "", "from osteo_utils.study import results", "")
    names = {room.stem for room in runtime.rooms_used_by(path)}
    assert names == {"results", "config", "order", "parameters", "paths", "runtime"}


def test_data_and_templates_that_a_room_names_count_and_others_do_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paths, "code_root", lambda: tmp_path)
    wing = tmp_path / "osteo_utils" / "wing"
    (wing / "lists").mkdir(parents=True)
    (wing / "room.py").write_text('from pathlib import Path\n\nPAGE, LISTS = "page.html.j2", Path("lists")\n')
    for name, text in {
        "page.html.j2": '{% include "own.js" %}',
        "own.js": "1",
        "lists/a.yaml": "a",
        "idle.txt": "x",
    }.items():
        (wing / name).write_text(text)
    path = notebook(tmp_path, "", "from osteo_utils.wing import room", "")
    assert [file.name for file in runtime.data_used_by(runtime.rooms_used_by(path))] == [
        "a.yaml",
        "own.js",
        "page.html.j2",
    ]
    before = runtime.notebook_code_hash(path)
    (wing / "idle.txt").write_text("y")
    assert runtime.notebook_code_hash(path) == before
    for name in ("page.html.j2", "own.js", "lists/a.yaml"):
        (wing / name).write_text((wing / name).read_text() + " ")
        assert runtime.notebook_code_hash(path) != before, name
        before = runtime.notebook_code_hash(path)


def test_what_the_report_is_made_of_counts_for_its_notebook_alone() -> None:
    folder = paths.notebooks_dir()
    used = {
        number: {file.name for file in runtime.data_used_by(runtime.rooms_used_by(folder / f"{name}.ipynb"))}
        for number, name in (("01", "01_data_download"), ("08", "08_report"))
    }
    made_of = {"claims.yaml", "facts.yaml", "report.html.j2", "report.js", "report.typ"}
    assert made_of <= used["08"] and not made_of & used["01"]


def test_a_notebook_that_is_not_python_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"01_a.ipynb: line 1 is not Python"):
        runtime.notebook_code_hash(notebook(tmp_path, "", "x = = 1", ""))


@given(st.dictionaries(st.text(max_size=5), st.integers() | st.text(max_size=5), max_size=5))
def test_the_order_of_keys_does_not_matter(content: dict) -> None:
    backwards = dict(reversed(content.items()))
    assert runtime.hash_of(content) == runtime.hash_of(backwards)


def test_arrays_are_hashed_by_type_shape_and_content() -> None:
    row = np.arange(6, dtype=np.uint8)
    hashes = {runtime.hash_of(value) for value in (row, row.reshape(2, 3), row.astype(np.int16), row + 1)}
    assert len(hashes) == 4
    assert runtime.hash_of(row.reshape(2, 3).T) == runtime.hash_of(np.ascontiguousarray(row.reshape(2, 3).T))


def test_derived_seeds_differ_in_every_part() -> None:
    seeds = {runtime.derived_seed("vgg16", "grouped", seed, fold) for seed in range(20) for fold in range(20)}
    assert len(seeds) == 400
    assert runtime.derived_seed("a", 1) == runtime.derived_seed("a", 1)
    assert all(0 <= seed < 2**31 for seed in seeds)


def test_sha256_of_a_file_is_the_published_one(tmp_path: Path) -> None:
    (tmp_path / "abc").write_bytes(b"abc")
    # FIPS 180-4, the one-block example.
    expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert runtime.sha256_file(tmp_path / "abc") == expected


def test_the_home_can_be_elsewhere_but_the_code_stays(home: Path) -> None:
    assert paths.StudyPaths("x").manifest == home.resolve() / "data" / "interim" / "x" / "manifest.csv"
    assert (paths.code_root() / "osteo_utils").is_dir()


def test_the_backend_gets_the_threads_and_small_matrix_products_one() -> None:
    program = """
from osteo_utils.study import runtime
import os, threadpoolctl
runtime.prepare(0, threads=3)
import scipy.linalg, sklearn.decomposition
pools = [one["num_threads"] for one in threadpoolctl.threadpool_info() if one["user_api"] == "blas"]
print(os.environ["TF_NUM_INTRAOP_THREADS"], sorted(set(pools)), len(pools) > 1)
"""
    environment = {n: v for n, v in os.environ.items() if not n.endswith("_THREADS")}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True)
    assert done.stdout.split("\n")[0] == "3 [1] True", done.stderr
