"""The registry, a stranger's folder, and the published checksums."""

import hashlib
import re
from pathlib import Path

import pandas as pd
import pytest
from samples import fill

from osteo_utils.sources import data_folders, registry


@pytest.mark.parametrize(
    ("files", "error", "text"),
    [
        ({}, FileNotFoundError, "does not exist; expected a folder with normal/ and osteoporosis/"),
        ({"healthy/1.png": b"x", "osteoporosis/1.png": b"x"}, ValueError, "lacks normal/; found healthy/, osteoporosis/"),
        ({"readme.txt": b"x"}, ValueError, "lacks normal and osteoporosis/; found no folder"),
        ({"normal/1.png": b"x", "osteoporosis/.DS_Store": b"x"}, ValueError, "osteoporosis: no file in it"),
        ({"in/normal/1.png": b"x", "in/osteoporosis/1.png": b"x"}, ValueError, "films/in instead, which has both"),
        ({f"{c}/1.png": b"x" for c in ("normal", "Normal", "osteoporosis")}, ValueError, "two folders for normal"),
    ],
)  # fmt: skip
def test_bad_folder_is_refused_with_what_was_found(tmp_path, files, error, text):
    fill(tmp_path / "films", files)
    if len(files) == 3 and len(list((tmp_path / "films").iterdir())) < 3:
        pytest.skip("this file system does not tell upper from lower case")
    with pytest.raises(error, match=text):
        data_folders.check_folder(tmp_path / "films")


def test_file_in_place_of_a_folder(tmp_path):
    (tmp_path / "films.zip").write_bytes(b"PK")
    with pytest.raises(NotADirectoryError, match="is a file"):
        data_folders.check_folder(tmp_path / "films.zip")


def test_locate_says_what_to_do(home):
    with pytest.raises(FileNotFoundError, match=r"(?s)knee744: not there.*1\. Open https.*4\. Run again"):
        data_folders.locate("knee744")
    with pytest.raises(ValueError, match="data_dir is empty"):
        data_folders.locate("folder")
    with pytest.raises(ValueError, match=r"'knee'.*expected one of phantom, knee744, folder"):
        data_folders.locate("knee")
    root = fill(home / "mine", {"normal/1.png": b"x", "osteoporosis/1.png": b"x"})
    assert data_folders.locate("folder", "mine") == data_folders.locate("knee744", str(root)) == root


def test_registry_agrees_with_its_checksums():
    entry = registry.get("knee744")
    lines = Path(data_folders.__file__).with_name(entry.checksums).read_text().splitlines()
    counts = pd.Series([line.split("  ")[1].split("/")[0] for line in lines]).value_counts().to_dict()
    assert counts == dict(entry.expected) == {"normal": 372, "osteoporosis": 372}


def test_registry_says_how_to_cite_and_what_else_holds_the_films():
    entries = registry.REGISTRY.values()
    named = {entry.name: set(re.findall(r"knee\d+\w*", entry.relation)) - {entry.name} for entry in entries}
    for entry in entries:
        assert entry.citation.endswith(".") and entry.relation.endswith(".")
        assert (entry.page in entry.citation) and (entry.slug in entry.page)
        assert named[entry.name] <= set(registry.REGISTRY)
    # A relation has two ends.
    assert all(name in named[other] for name, others in named.items() for other in others)
    assert "10.17632/fxjm8fb6mw.2" in registry.get("knee239").citation


def test_films_of_a_class_without_label_are_counted_too(tmp_path):
    fill(tmp_path, {f"Normal/{number}.jpg": b"x" for number in range(36)})
    fill(tmp_path, {f"Osteoporosis/deeper/{number}.jpg": b"x" for number in range(48)})
    fill(tmp_path, {"Osteopenia/1.jpg": b"x", "notes.txt": b"x"})
    assert data_folders.account(tmp_path, "knee239")[:3] == [
        "normal: 36 files (as expected)",
        "osteopenia: 1 files (DIFFERS, expected 154)",
        "osteoporosis: 48 files (DIFFERS, expected 49)",
    ]


def test_verify_tells_identical_from_changed(tmp_path, monkeypatch):
    root = fill(tmp_path, {"Normal/1.png": b"one", "Normal/2.png": b"TWO", "osteoporosis/9.png": b"nine"})
    listed = {"normal/1.png": b"one", "normal/2.png": b"two", "osteoporosis/3.png": b"three"}
    text = "".join(f"{hashlib.sha256(data).hexdigest()}  {name}\n" for name, data in listed.items())
    (tmp_path / "list.sha256").write_text(text)
    entry = registry.DataSet(
        "tiny", "", "", "", "", "a/b", {"normal": 2, "osteoporosis": 2}, str(tmp_path / "list.sha256")
    )
    monkeypatch.setitem(registry.REGISTRY, "tiny", entry)
    states = data_folders.verify(root, "tiny").set_index("image_id")["state"].to_dict()
    assert states == {
        "normal/1.png": "identical",
        "normal/2.png": "differs",
        "osteoporosis/3.png": "missing",
        "osteoporosis/9.png": "not listed",
    }
    said = data_folders.account(root, "tiny")
    assert said[:2] == ["normal: 2 files (as expected)", "osteoporosis: 1 files (DIFFERS, expected 2)"]
    assert "1 of 4 files byte for byte as published" in said
