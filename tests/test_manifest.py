"""The manifest and the stores: what a small folder, a hostile one and a synthetic set become."""

import os

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from samples import fill, film

from osteo_utils.bone import masks
from osteo_utils.images import image_store, manifest
from osteo_utils.sources import data_folders, download, registry
from osteo_utils.study import results, runtime


@pytest.fixture
def small(tmp_path):
    """Two usable films of each class, and one of every kind of trouble."""
    return fill(
        tmp_path / "films",
        {
            "Normal/2.png": film(200),
            "Normal/1.jpg": film(220, (100, 50)),
            "Normal/.DS_Store": b"\0\0\0\1Bud1",
            "Normal/Thumbs.db": b"\xd0\xcf\x11\xe0",
            "Normal/empty.png": b"",
            "OSTEOPOROSIS/a.png": film(100),
            "OSTEOPOROSIS/deeper/b.png": film(120),
            "OSTEOPOROSIS/letter.jpg": b"Dear colleague",
            "osteopenia/c.png": film(150),
            "notes.txt": b"taken in 2019",
            "truth.csv": b"image_id\n",
            "SHA256SUMS": b"",
        },
    )


def test_manifest_of_a_small_folder_is_exact(small, tmp_path):
    table = manifest.build_manifest(small, "folder", store=tmp_path / "images.npy")
    assert table["image_id"].tolist() == [
        "Normal/.DS_Store",
        "Normal/1.jpg",
        "Normal/2.png",
        "Normal/Thumbs.db",
        "Normal/empty.png",
        "OSTEOPOROSIS/a.png",
        "OSTEOPOROSIS/deeper/b.png",
        "OSTEOPOROSIS/letter.jpg",
        "notes.txt",
        "osteopenia/c.png",
    ]
    q, o, e = "quarantined", "ok", "excluded"
    assert table["status"].tolist() == [q, o, o, q, q, o, o, q, e, e]
    assert table["row"].fillna(-1).tolist() == [-1, 0, 1, -1, -1, 2, 3, -1, -1, -1]
    assert table["label"].fillna(-1).tolist() == [0, 0, 0, 0, 0, 1, 1, 1, -1, -1]
    assert table["class_name"].tolist() == ["normal"] * 5 + ["osteoporosis"] * 3 + ["", "osteopenia"]
    reasons = table.set_index("image_id")["reason"]
    assert reasons["Normal/1.jpg"] == "named .jpg, content is PNG"
    assert reasons["Normal/2.png"] == ""
    assert reasons["Normal/empty.png"] == "zero bytes"
    assert reasons["Normal/Thumbs.db"] == "hidden file of an operating system"
    assert "not an image" in reasons["OSTEOPOROSIS/letter.jpg"]
    assert reasons["osteopenia/c.png"] == "osteopenia, excluded by the study's rule"
    wide = table.set_index("image_id").loc["Normal/1.jpg"]
    assert (wide["width"], wide["height"], wide["scale"]) == (100, 50, 5.12)
    assert (wide["pad_left"], wide["pad_top"]) == (0, 128)
    assert wide["sha256"] == runtime.sha256_file(small / "Normal/1.jpg")


@pytest.mark.parametrize(("rule", "label"), [("normal", 0), ("osteoporosis", 1)])
def test_osteopenia_counts_as_the_class_that_the_rule_names_and_keeps_its_own_name(small, rule, label):
    table = manifest.build_manifest(small, "folder", osteopenia=rule).set_index("image_id")
    film = table.loc["osteopenia/c.png"]
    assert (film["label"], film["class_name"], film["status"], film["row"]) == (label, "osteopenia", "ok", 4)
    others = table.drop(index="osteopenia/c.png")
    plain = manifest.build_manifest(small, "folder").set_index("image_id").drop(index="osteopenia/c.png")
    pd.testing.assert_frame_equal(others, plain)


@pytest.fixture
def foreign(tmp_path):
    """An external set with the same file names, one broken file and one film of osteopenia."""
    return fill(
        tmp_path / "elsewhere",
        {
            "normal/1.jpg": film(90),
            "normal/broken.png": b"no",
            "Osteoporosis/a.png": film(110),
            "Osteopenia/c.png": film(130),
        },
    )


def test_an_external_set_follows_with_names_of_its_own_and_changes_no_row(small, foreign, tmp_path):
    path = tmp_path / "images.npy"
    alone = manifest.build_manifest(small, "knee744")
    both = manifest.build_manifest(small, "knee744", store=path, external=foreign)
    results.check_table(both, "manifest")
    pd.testing.assert_frame_equal(both.iloc[: len(alone)], alone)
    theirs = both.iloc[len(alone) :].set_index("image_id")
    assert theirs.index.tolist() == [
        "external/Osteopenia/c.png",
        "external/Osteoporosis/a.png",
        "external/normal/1.jpg",
        "external/normal/broken.png",
    ]
    assert theirs["status"].tolist() == ["excluded", "ok", "ok", "quarantined"]
    assert set(theirs["role"]) == {"external"} and set(theirs["dataset"]) == {"folder"}
    assert theirs["row"].fillna(-1).tolist() == [-1, 4, 5, -1]
    assert manifest.develop(both).equals(both.iloc[: len(alone)])
    assert manifest.usable(both)["role"].eq("develop").all() and len(manifest.usable(both)) == 4
    assert manifest.usable(both, "external")["row"].tolist() == [4, 5]
    images = image_store.load(path, both)
    assert [int(image.max()) for image in images] == pytest.approx([220, 200, 100, 120, 110, 90], abs=3)
    mapped = manifest.build_manifest(small, "knee744", external=foreign, osteopenia="normal")
    assert mapped.set_index("image_id")["label"]["external/Osteopenia/c.png"] == 0


def test_an_external_set_that_lacks_a_class_or_lies_within_is_refused(small, foreign, tmp_path):
    (foreign / "Osteoporosis" / "a.png").write_bytes(b"")
    with pytest.raises(ValueError, match="elsewhere: no usable radiograph in osteoporosis; 1 x zero bytes"):
        manifest.build_manifest(small, "folder", store=tmp_path / "images.npy", external=foreign)
    assert not (tmp_path / "images.npy").exists()
    with pytest.raises(ValueError, match="must be films of another source"):
        manifest.build_manifest(small, "folder", external=small)
    fill(small, {"external/normal/1.jpg": film(90)})
    (foreign / "Osteoporosis" / "a.png").write_bytes(film(110))
    with pytest.raises(ValueError, match=r"external/normal/1\.jpg lies in it"):
        manifest.build_manifest(small, "folder", external=foreign)


def test_a_patient_of_both_sets_has_one_pseudonym_where_both_name_patients(small, foreign):
    (foreign / "patients.csv").write_text("image_id,patient\nnormal/1.jpg,P7\nOsteoporosis/a.png,P9\n")
    names = ["Normal/1.jpg", "external/normal/1.jpg", "external/Osteoporosis/a.png"]
    one = manifest.build_manifest(small, "folder", "s", external=foreign).set_index("image_id")["patient"]
    assert one[names[0]] == "" and len(set(one[names])) == 3
    (small / "patients.csv").write_text("image_id,patient\nNormal/1.jpg,P7\n")
    both = manifest.build_manifest(small, "folder", "s", external=foreign).set_index("image_id")["patient"]
    assert both[names[0]] == both[names[1]] != both[names[2]]


def test_store_holds_the_usable_films_in_row_order(small, tmp_path):
    path = tmp_path / "images.npy"
    table = manifest.build_manifest(small, "folder", store=path)
    images = image_store.load(path, table)
    assert images.shape == (4, 512, 512) and images.dtype == np.uint8
    # 2.png, a.png and b.png are ramps of the same shape up to 200, 100 and 120.
    assert [int(image.max()) for image in images] == pytest.approx([220, 200, 100, 120], abs=3)
    assert (images[0][:128] == 0).all() and images[0][128:384].max() > 200
    assert [entry.name for entry in tmp_path.iterdir() if entry.name.startswith(".")] == []
    with pytest.raises(ValueError, match=r"found uint8 \(4, 512, 512\), expected uint8 \(3, 512, 512\)"):
        image_store.load(path, table[table["image_id"] != "Normal/2.png"])


def test_manifest_survives_the_csv_and_is_the_same_each_time(small, tmp_path):
    table = manifest.build_manifest(small, "folder")
    assert table.equals(manifest.build_manifest(small, "folder", workers=1))
    results.write_table(tmp_path / "manifest.csv", table, "manifest")
    again = manifest.usable(results.read_table(tmp_path / "manifest.csv", "manifest"))
    assert again["row"].tolist() == [0, 1, 2, 3] and again["label"].tolist() == [0, 0, 1, 1]
    assert again["row"].dtype == again["label"].dtype == np.int64


def test_class_without_a_usable_film_is_refused(tmp_path):
    root = fill(tmp_path, {"normal/1.png": film(99), "osteoporosis/1.jpg": b"", "osteoporosis/2.jpg": b""})
    with pytest.raises(ValueError, match="no usable radiograph in osteoporosis; 2 x zero bytes"):
        manifest.build_manifest(root, "folder", store=tmp_path / "images.npy")
    assert not (tmp_path / "images.npy").exists()


def test_full_disk_is_said_before_anything_is_written(small, tmp_path, monkeypatch):
    usage = type("Usage", (), {"free": 1_000_000})
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage)
    with pytest.raises(OSError, match=r"may need 0.00 GB, 0.00 GB are free; make room"):
        manifest.build_manifest(small, "folder", store=tmp_path / "out" / "images.npy")
    assert list((tmp_path / "out").iterdir()) == []


def test_patients_become_pseudonyms(small):
    (small / "patients.csv").write_text("image_id,patient\nNormal/1.jpg,P7\nOSTEOPOROSIS/a.png,P7\nNormal/2.png,P8\n")
    known = manifest.build_manifest(small, "folder", salt="s").set_index("image_id")["patient"]
    assert known["Normal/1.jpg"] == known["OSTEOPOROSIS/a.png"] != known["Normal/2.png"]
    assert known["OSTEOPOROSIS/deeper/b.png"] == "" and "P7" not in "".join(known)
    other = manifest.build_manifest(small, "folder", salt="t").set_index("image_id")["patient"]
    assert other["Normal/1.jpg"] != known["Normal/1.jpg"]
    (small / "patients.csv").write_text("image_id,patient\nnormal/9.jpg,P7\n")
    with pytest.raises(ValueError, match=r"names 1 files that are not there, such as 'normal/9\.jpg'"):
        manifest.build_manifest(small, "folder")


def test_persons_of_a_registered_set_come_from_its_crosswalk_unless_a_table_names_patients(tmp_path):
    # Two films of one source, one of another and one without a source.
    walked = pd.read_csv(data_folders.Path(registry.__file__).with_name("knee744_crosswalk.csv"), keep_default_na=False)
    one = data_folders.films_of_sources(walked)
    normal = one[(one.class_name == "normal") & (one.person != "")]
    person = normal.person[normal.duplicated("person")].iloc[0]
    pair = normal.image_id[normal.person == person].tolist()[:2]
    other = one.image_id[(one.class_name == "osteoporosis") & ~one.person.isin(["", person])].iloc[0]
    alone = one.image_id[(one.class_name == "osteoporosis") & (one.person == "")].iloc[0]
    names = [*pair, other, alone]
    root = fill(tmp_path / "films", {name: film(100 + 30 * n) for n, name in enumerate(names)})
    said = []
    patients = manifest.build_manifest(root, "knee744", say=said.append).set_index("image_id")["patient"]
    assert patients[pair].tolist() == [f"wani239 {person}"] * 2 and patients[alone] == ""
    assert patients[other].startswith("wani239 ") and patients[other] != patients[pair[0]]
    assert said == ["4 of 4 films have other bytes than published; they are known by their name"]
    assert (manifest.build_manifest(root, "folder")["patient"] == "").all()
    (root / "patients.csv").write_text(f"image_id,patient\n{alone},7\n")
    named = manifest.build_manifest(root, "knee744").set_index("image_id")["patient"]
    assert named[alone] != "" and (named[[*pair, other]] == "").all()


def test_a_table_of_patients_in_another_case_is_used_and_its_remarks_are_told(small):
    (small / "Patients.CSV").write_text("File;Subject ID;age\n1.jpg;P7;60\nOSTEOPOROSIS\\A.png;P7 ;60\n2.png;p7;61\n")
    said = []
    table = manifest.build_manifest(small, "folder", say=said.append).set_index("image_id")
    assert "Patients.CSV" not in table.index
    known = table["patient"]
    assert known["Normal/1.jpg"] == known["OSTEOPOROSIS/a.png"] != known["Normal/2.png"] != ""
    assert said[0] == "Patients.CSV: not used: 'age'"
    assert said[1].startswith("Patients.CSV: patients of rows 2, 4 differ only by case")
    assert len(said) == 2 and "P7" not in said[1]


def test_what_is_no_film_is_a_row_with_its_reason_and_links_are_followed(small, tmp_path):
    fill(tmp_path / "archive", {"7.png": film(80)})
    (small / "Normal" / "more").symlink_to(tmp_path / "archive")
    (small / "Normal" / "loop").symlink_to(small)
    fill(small, {"Normal/@eaDir/1.jpg": film(220)})
    os.mkfifo(small / "Normal" / "pipe.png")
    table = manifest.build_manifest(small, "folder").set_index("image_id")
    assert table["status"]["Normal/more/7.png"] == "ok"
    assert {name: table["reason"][f"Normal/{name}"] for name in ("loop", "@eaDir", "pipe.png")} == {
        "loop": "a link to a folder that it lies in",
        "@eaDir": "folder of a program, its 1 files are not used",
        "pipe.png": "a pipe, socket or device: expected a file",
    }
    assert "Normal/@eaDir/1.jpg" not in table.index
    results.check_table(table.reset_index(), "manifest")


def test_a_split_in_folders_and_labels_in_a_table_are_data_sets(tmp_path):
    names = [f"{side}/{name}/1.png" for side in ("test", "train") for name in ("Normal", "osteoporosis")]
    said = []
    split = manifest.build_manifest(fill(tmp_path / "a", dict.fromkeys(names, film(99))), "folder", say=said.append)
    assert (split["image_id"].tolist(), split["label"].tolist()) == (names, [0, 1, 0, 1])
    assert said == ["the films of test/, train/ are studied together; the study makes its own splits"]
    flat = fill(tmp_path / "b", {"1.png": film(99), "2.png": film(80), "3.png": film(70)})
    (flat / "Labels.csv").write_text("file;class\n1.png;healthy\n2.png;Osteoporosis\n")
    table = manifest.build_manifest(flat, "folder", classes=["normal=healthy"], say=said.append).set_index("image_id")
    assert table["label"].fillna(-1).to_dict() == {"1.png": 0, "2.png": 1, "3.png": -1, "Labels.csv": -1}
    assert table["reason"].to_dict() == {
        "1.png": "", "2.png": "", "3.png": "Labels.csv gives it no class", "Labels.csv": "the table of classes",
    }  # fmt: skip


def test_phantom_is_drawn_once_and_its_bone_is_known(home):
    root = download.fetch("phantom", seed=1, knees=6, size=96)
    first = {path: path.stat().st_mtime_ns for path in root.rglob("*.*")}
    assert download.fetch("phantom", seed=1, knees=6, size=96) == root
    assert first == {path: path.stat().st_mtime_ns for path in root.rglob("*.*")}
    assert download.fetch("phantom", seed=2, knees=6, size=96) != root
    table = manifest.build_manifest(root, "phantom")
    truth = pd.read_csv(root / "truth.csv").set_index("image_id")
    assert table["status"].eq("ok").all() and set(table["image_id"]) == set(truth.index)
    assert table["label"].tolist() == truth.loc[table["image_id"], "label"].tolist()
    assert masks.store_truth_masks(root, table, home / "truth_masks.npy") == len(table)
    assert manifest.store_truth_labels(root, table, home / "truth_labels.csv") == len(table)
    labels = pd.read_csv(home / "truth_labels.csv").set_index("image_id").true_label
    assert labels.to_dict() == truth.true_label.to_dict()
    kept = np.load(home / "truth_masks.npy")
    for row, stored in zip(table.itertuples(), kept, strict=True):
        drawn = np.asarray(Image.open((root / "truth_masks" / row.image_id).with_suffix(".png"))) > 0
        assert stored.sum() / (row.scale**2 * drawn.sum()) == pytest.approx(1, abs=0.05)


def test_set_without_truth_has_no_masks(small, tmp_path):
    table = manifest.build_manifest(small, "folder")
    (tmp_path / "truth_masks.npy").write_bytes(b"of an earlier data set")
    assert masks.store_truth_masks(small, table, tmp_path / "truth_masks.npy") == 0
    assert not (tmp_path / "truth_masks.npy").exists()
    (tmp_path / "truth_labels.csv").write_text("of an earlier data set")
    assert manifest.store_truth_labels(small, table, tmp_path / "truth_labels.csv") == 0
    assert not (tmp_path / "truth_labels.csv").exists()


def test_masks_are_fitted_as_the_films(small, tmp_path):
    table = manifest.build_manifest(small, "folder")
    shapes = [(50, 100), (64, 48), (64, 48), (64, 48)]
    whole = (np.full(shape, 255, np.uint8) for shape in shapes)
    assert masks.store_masks(whole, table, tmp_path / "truth_masks.npy") == 4
    kept = np.load(tmp_path / "truth_masks.npy")
    assert set(np.unique(kept)) == {0, 1}
    assert kept.sum(axis=(1, 2)).tolist() == [256 * 512] + [512 * 384] * 3
    with pytest.raises(ValueError, match=r"Normal/1.jpg: its mask is \(9, 9\), expected \(50, 100\)"):
        masks.store_masks((np.ones((9, 9)) for _ in shapes), table, tmp_path / "other.npy")
