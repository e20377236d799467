"""The registry, a stranger's folder, the download, the manifest and the stores."""

import hashlib
import http.server
import io
import os
import threading
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from osteo_utils.data import datasets, download, manifest
from osteo_utils.study import paths, results, runtime


def film(level: int, size: tuple[int, int] = (48, 64)) -> bytes:
    """A PNG of this width and height: a ramp that is brighter the higher its level."""
    width, height = size
    pixels = np.linspace(0, level, width * height).reshape(height, width).astype(np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


def fill(root: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    return root


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
    assert reasons["osteopenia/c.png"] == "class folder osteopenia is neither normal nor osteoporosis"
    wide = table.set_index("image_id").loc["Normal/1.jpg"]
    assert (wide["width"], wide["height"], wide["scale"]) == (100, 50, 5.12)
    assert (wide["pad_left"], wide["pad_top"]) == (0, 128)
    assert wide["sha256"] == runtime.sha256_file(small / "Normal/1.jpg")


def test_store_holds_the_usable_films_in_row_order(small, tmp_path):
    path = tmp_path / "images.npy"
    table = manifest.build_manifest(small, "folder", store=path)
    images = manifest.load_store(path, table)
    assert images.shape == (4, 512, 512) and images.dtype == np.uint8
    # 2.png, a.png and b.png are ramps of the same shape up to 200, 100 and 120.
    assert [int(image.max()) for image in images] == pytest.approx([220, 200, 100, 120], abs=3)
    assert (images[0][:128] == 0).all() and images[0][128:384].max() > 200
    assert [entry.name for entry in tmp_path.iterdir() if entry.name.startswith(".")] == []
    with pytest.raises(ValueError, match=r"found uint8 \(4, 512, 512\), expected uint8 \(3, 512, 512\)"):
        manifest.load_store(path, table[table["image_id"] != "Normal/2.png"])


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
    (small / "patients.csv").write_text(
        "image_id,patient\nNormal/1.jpg,P7\nOSTEOPOROSIS/a.png,P7\nNormal/2.png,P8\n"
    )
    known = manifest.build_manifest(small, "folder", salt="s").set_index("image_id")["patient"]
    assert known["Normal/1.jpg"] == known["OSTEOPOROSIS/a.png"] != known["Normal/2.png"]
    assert known["OSTEOPOROSIS/deeper/b.png"] == "" and "P7" not in "".join(known)
    other = manifest.build_manifest(small, "folder", salt="t").set_index("image_id")["patient"]
    assert other["Normal/1.jpg"] != known["Normal/1.jpg"]
    (small / "patients.csv").write_text("image_id,patient\nnormal/9.jpg,P7\n")
    with pytest.raises(ValueError, match=r"names 1 files that are not there, such as 'normal/9\.jpg'"):
        manifest.build_manifest(small, "folder")


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
    assert manifest.store_truth_masks(root, table, home / "truth_masks.npy") == len(table)
    masks = np.load(home / "truth_masks.npy")
    for film, stored in zip(table.itertuples(), masks, strict=True):
        drawn = np.asarray(Image.open((root / "truth_masks" / film.image_id).with_suffix(".png"))) > 0
        assert stored.sum() / (film.scale**2 * drawn.sum()) == pytest.approx(1, abs=0.05)


def test_set_without_truth_has_no_masks(small, tmp_path):
    table = manifest.build_manifest(small, "folder")
    (tmp_path / "truth_masks.npy").write_bytes(b"of an earlier data set")
    assert manifest.store_truth_masks(small, table, tmp_path / "truth_masks.npy") == 0
    assert not (tmp_path / "truth_masks.npy").exists()


def test_masks_are_fitted_as_the_films(small, tmp_path):
    table = manifest.build_manifest(small, "folder")
    shapes = [(50, 100), (64, 48), (64, 48), (64, 48)]
    whole = (np.full(shape, 255, np.uint8) for shape in shapes)
    assert manifest.store_masks(whole, table, tmp_path / "truth_masks.npy") == 4
    masks = np.load(tmp_path / "truth_masks.npy")
    assert set(np.unique(masks)) == {0, 1}
    assert masks.sum(axis=(1, 2)).tolist() == [256 * 512] + [512 * 384] * 3
    with pytest.raises(ValueError, match=r"Normal/1.jpg: its mask is \(9, 9\), expected \(50, 100\)"):
        manifest.store_masks((np.ones((9, 9)) for _ in shapes), table, tmp_path / "other.npy")


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
        datasets.check_folder(tmp_path / "films")


def test_file_in_place_of_a_folder(tmp_path):
    (tmp_path / "films.zip").write_bytes(b"PK")
    with pytest.raises(NotADirectoryError, match="is a file"):
        datasets.check_folder(tmp_path / "films.zip")


def test_locate_says_what_to_do(home):
    with pytest.raises(FileNotFoundError, match=r"(?s)knee744: not there.*1\. Open https.*4\. Run again"):
        datasets.locate("knee744")
    with pytest.raises(ValueError, match="data_dir is empty"):
        datasets.locate("folder")
    with pytest.raises(ValueError, match=r"'knee'.*expected one of phantom, knee744, folder"):
        datasets.locate("knee")
    root = fill(home / "mine", {"normal/1.png": b"x", "osteoporosis/1.png": b"x"})
    assert datasets.locate("folder", "mine") == datasets.locate("knee744", str(root)) == root


def test_registry_agrees_with_its_checksums():
    entry = datasets.get("knee744")
    lines = Path(datasets.__file__).with_name(entry.checksums).read_text().splitlines()
    counts = pd.Series([line.split("  ")[1].split("/")[0] for line in lines]).value_counts().to_dict()
    assert counts == dict(entry.expected) == {"normal": 372, "osteoporosis": 372}


def test_verify_tells_identical_from_changed(tmp_path, monkeypatch):
    root = fill(tmp_path, {"Normal/1.png": b"one", "Normal/2.png": b"TWO", "osteoporosis/9.png": b"nine"})
    listed = {"normal/1.png": b"one", "normal/2.png": b"two", "osteoporosis/3.png": b"three"}
    text = "".join(f"{hashlib.sha256(data).hexdigest()}  {name}\n" for name, data in listed.items())
    (tmp_path / "list.sha256").write_text(text)
    entry = datasets.DataSet(
        "tiny", "", "", "", "", "a/b", {"normal": 2, "osteoporosis": 2}, str(tmp_path / "list.sha256")
    )
    monkeypatch.setitem(datasets.REGISTRY, "tiny", entry)
    states = datasets.verify(root, "tiny").set_index("image_id")["state"].to_dict()
    assert states == {
        "normal/1.png": "identical",
        "normal/2.png": "differs",
        "osteoporosis/3.png": "missing",
        "osteoporosis/9.png": "not listed",
    }
    said = datasets.account(root, "tiny")
    assert said[:2] == ["normal: 2 files (as expected)", "osteoporosis: 1 files (DIFFERS, expected 2)"]
    assert "1 of 4 files byte for byte as published" in said


def archive(files: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as content:
        for name, data in files.items():
            content.writestr(name, data)
    return stream.getvalue()


@pytest.mark.parametrize(
    "name", ["../evil.png", "/etc/evil.png", "a/../../evil.png", "C:/evil.png", "..\\evil.png"]
)
def test_archive_with_a_path_trick_is_refused(tmp_path, name):
    (tmp_path / "set.zip").write_bytes(archive({"normal/1.png": b"x", name: b"x"}))
    with pytest.raises(ValueError, match="leads out of the folder; refused"):
        download.unpack(tmp_path / "set.zip", tmp_path / "content")
    assert [entry.name for entry in tmp_path.iterdir()] == ["set.zip"]


def test_archive_with_a_link_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as content:
        link = zipfile.ZipInfo("normal/1.png")
        link.external_attr = 0o120777 << 16
        content.writestr(link, "/etc/passwd")
    with pytest.raises(ValueError, match="is a link; refused"):
        download.unpack(tmp_path / "set.zip", tmp_path / "content")


@pytest.fixture
def kaggle(tmp_path, monkeypatch):
    """A stand-in for Kaggle on this machine; the real client is led to it. Set `.status` and `.archive`."""

    class Answer(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            asked.append(self.path.rsplit("/", 1)[1])
            body, kind = b'{"info": {"licenses": [{"name": "CC0-1.0"}]}}', "application/json"
            if server.status != 200:
                body = b'{"code": %d, "message": "refused by the stand-in"}' % server.status
            elif asked[-1] == "DownloadDataset":
                body, kind = server.archive, "application/zip"
            self.send_response(server.status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    asked: list[str] = []
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    server.status, server.archive, server.asked = 200, b"", asked
    threading.Thread(target=server.serve_forever, daemon=True).start()
    # The command line of kaggle 2.2 knows no setting for another address, so the address is changed at its start.
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(
        "import kagglesdk.kaggle_env as place\n"
        f"place._env_to_endpoint[place.KaggleEnv.PROD] = 'http://127.0.0.1:{server.server_port}'\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "site"))
    monkeypatch.setenv("HOME", str(tmp_path / "nobody"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    for name in [name for name in os.environ if name.startswith("KAGGLE")]:
        monkeypatch.delenv(name)
    yield server
    server.shutdown()
    server.server_close()


def test_download_checks_then_names_and_is_not_repeated(kaggle, home, capsys):
    kaggle.archive = archive(
        {"set/OS Collected Data/normal/101.jpg": b"x", "set/OS Collected Data/osteoporosis/1.jpg": b"y"}
    )
    root = download.download("knee744")
    assert root == paths.raw("knee744") and (root / "normal" / "101.jpg").read_bytes() == b"x"
    said = capsys.readouterr().out
    assert "License(s): CC0-1.0" in said
    assert "normal: 1 files (DIFFERS, expected 372)" in said and "0 of 745 files byte for byte" in said
    assert kaggle.asked == ["GetDatasetMetadata", "DownloadDataset"]
    assert download.fetch("knee744") == root
    assert "already there" in capsys.readouterr().out and len(kaggle.asked) == 2
    assert [entry.name for entry in root.parent.iterdir()] == ["knee744"]


@pytest.mark.parametrize("status", [403, 404])
def test_refused_download_lists_the_steps_by_hand(kaggle, home, status):
    kaggle.status = status
    with pytest.raises(
        RuntimeError, match=r"(?s)refused by the stand-in.*1\. Open .*/mrmann007/osteoporosis.*--data"
    ):
        download.download("knee744")
    assert list(paths.raw("knee744").parent.iterdir()) == []


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (
            archive({"set/train/cats/1.jpg": b"x"}),
            r"no folder with normal/ and osteoporosis/; found \['cats'\]",
        ),
        (b"not a zip", "File is not a zip file"),
        (archive({"normal/1.jpg": b"x", "osteoporosis/": b""}), "osteoporosis: no file in it"),
    ],
)
def test_download_of_something_else_leaves_nothing(home, monkeypatch, content, text):
    def deliver(slug, folder):
        (folder / "set.zip").write_bytes(content)
        return folder / "set.zip"

    monkeypatch.setattr(download, "_run_kaggle", deliver)
    with pytest.raises(RuntimeError, match=text):
        download.download("knee744")
    assert list(paths.raw("knee744").parent.iterdir()) == []
