"""A folder of films: found and checked, and every way in which it can leave its list of SHA-256."""

import hashlib
import shutil
import subprocess

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


def test_patients_in_a_table_of_another_name_are_told_of(tmp_path):
    root = fill(
        tmp_path, {"normal/1.png": b"x", "osteoporosis/1.png": b"x", "notes.csv": b"a,b\n1,2\n", "bad.xlsx": b"PK\3\4"}
    )
    assert data_folders.remarks(root, data_folders.check_folder(root)) == []
    fill(root, {"metadata.csv": b"sex;File name;Subject ID\nf;normal/1.png;7\n"})
    (said,) = data_folders.remarks(root, data_folders.check_folder(root))
    assert said.startswith("metadata.csv names patients, who are not used; save it as patients.csv too")
    fill(root, {"patients.csv": b"image_id,patient\nnormal/1.png,7\n"})
    assert data_folders.remarks(root, data_folders.check_folder(root)) == []


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


def test_list_has_the_known_hash_and_pleases_sha256sum(tmp_path):
    fill(tmp_path, {"normal/a b.png": b"abc", "osteoporosis/deeper/1.png": b""})
    listed = data_folders.read_checksums(data_folders.write_checksums(tmp_path))
    # The one-block example of FIPS 180-2, appendix B.1, and the well-known hash of nothing.
    assert listed == {
        "normal/a b.png": "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
        "osteoporosis/deeper/1.png": "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    }
    if shutil.which("sha256sum"):
        subprocess.run(["sha256sum", "--check", "--strict", "SHA256SUMS"], cwd=tmp_path, check=True)


def test_every_difference_is_named_even_at_the_same_size(tmp_path):
    fill(tmp_path, {"normal/1.png": b"one", "normal/2.png": b"two", "osteoporosis/3.png": b"three"})
    data_folders.write_checksums(tmp_path)
    assert data_folders.differences(tmp_path) == {}
    fill(tmp_path, {"normal/1.png": b"One", "normal/4.png": b"four", "patients.csv": b"image_id,patient\n"})
    (tmp_path / "normal" / "2.png").unlink()
    assert data_folders.differences(tmp_path, ignore=["patients.csv"]) == {
        "changed": ["normal/1.png"],
        "missing": ["normal/2.png"],
        "added": ["normal/4.png"],
    }


@pytest.mark.parametrize("line", ["abc  x.png", "0" * 64 + " *x.png", "0" * 64 + "  ", "g" * 64 + "  x.png"])
def test_malformed_line_is_named(tmp_path, line):
    (tmp_path / "list").write_text("0" * 64 + "  fine.png\n" + line + "\n")
    with pytest.raises(ValueError, match=r"list, line 2: .* expected a SHA-256, two spaces and a file name"):
        data_folders.read_checksums(tmp_path / "list")


def test_films_that_share_a_source_or_a_chain_of_them_are_of_one_person():
    rows = [("a", "s2"), ("a", "s1"), ("b", "s2"), ("c", "s3"), ("d", ""), ("e", "")]
    walked = pd.DataFrame(rows, columns=["image_id", "source"]).assign(
        sha256="x", class_name="normal", certainty="registered"
    )
    walked["source_class"] = walked.source.map({"s1": "normal", "s2": "osteopenia", "s3": "normal", "": ""})
    one = data_folders.films_of_sources(walked)
    assert one.image_id.tolist() == list("abcde") and one.source.tolist() == ["s2", "s2", "s3", "", ""]
    assert one.person.tolist() == ["s1", "s1", "s3", "", ""]
    assert one.source_class.tolist() == ["", "osteopenia", "normal", "", ""] and one.certainty[0] == "several classes"


def test_films_of_knee744_are_known_by_bytes_or_in_a_scaled_copy_by_name():
    walked = pd.read_csv(data_folders.Path(registry.__file__).with_name("knee744_crosswalk.csv"), keep_default_na=False)
    files = walked.drop_duplicates("image_id")[["image_id", "sha256"]].reset_index(drop=True)
    known, remarks = data_folders.known_sources("knee744", files)
    assert len(known) == 724 and remarks == [] and known.person.nunique() == 215
    scaled = files.assign(sha256=files.sha256.where(files.index % 2 == 0, "other"))
    by_name, remarks = data_folders.known_sources("knee744", scaled)
    assert by_name.equals(known)
    assert remarks == ["372 of 744 films have other bytes than published; they are known by their name"]
    strange = scaled.assign(image_id="x/" + scaled.image_id)
    fewer, remarks = data_folders.known_sources("knee744", strange)
    assert 0 < len(fewer) < 400 and remarks[0].endswith("they are without a source")
    assert fewer.image_id.str.startswith("x/").all()
    none, remarks = data_folders.known_sources("folder", files)
    assert none.empty and remarks == []
