"""The download: the real client against a stand-in for Kaggle on this machine."""

import base64
import io
import os
import types
import zipfile
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from kaggle_stand_in import KaggleStandIn

from osteo_utils.sources import data_folders, download, kaggle_command, registry
from osteo_utils.study import paths

MEBIBYTE = 1 << 20  # the client writes in pieces of this size and loses the rest of a piece when it is cut off


def archive(files: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as content:
        for name, data in files.items():
            content.writestr(name, data)
    return stream.getvalue()


def damaged(content: bytes) -> bytes:
    """The archive with the first byte of its first file turned over; names and directory stay whole."""
    with zipfile.ZipFile(io.BytesIO(content)) as opened:
        place = 30 + len(opened.infolist()[0].filename)
    return content[:place] + bytes([content[place] ^ 255]) + content[place + 1 :]


SMALL = archive({"set/Normal/101.jpg": b"x", "set/osteoporosis/1.jpg": b"y"})
NOISE = np.random.default_rng(0).bytes(9 * MEBIBYTE)
LARGE = archive({"normal/1.jpg": NOISE, "osteoporosis/1.jpg": b"y"})


@pytest.fixture
def kaggle(tmp_path, monkeypatch):
    """The stand-in; the real client is led to it, finds no credentials and does not sleep."""
    server = KaggleStandIn()
    # The command line of kaggle 2.2 knows no setting for another address, so the address is changed at its start.
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(
        "import time, kagglesdk.kaggle_env as place\n"
        f"place._env_to_endpoint[place.KaggleEnv.PROD] = {server.address!r}\n"
        "time.sleep = lambda seconds: None\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "site"))
    monkeypatch.setenv("HOME", str(tmp_path / "nobody"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    for name in [name for name in os.environ if name.startswith(("KAGGLE", "XDG_CONFIG"))]:
        monkeypatch.delenv(name)
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def raw(home) -> Path:
    return paths.raw("knee744").parent


@pytest.fixture
def naps(monkeypatch) -> list[float]:
    """Seconds that the download would have slept."""
    slept: list[float] = []
    monkeypatch.setattr(download, "sleep", slept.append)
    return slept


def test_download_is_checked_named_listed_and_not_repeated(kaggle, raw, capsys):
    kaggle.archive = SMALL
    root = download.download("knee744")
    assert root == raw / "knee744" and (root / "Normal" / "101.jpg").read_bytes() == b"x"
    said = capsys.readouterr().out
    assert "License(s): CC0-1.0" in said
    assert "normal: 1 files (DIFFERS, expected 372)" in said and "0 of 745 files byte for byte" in said
    assert list(data_folders.read_checksums(root / "SHA256SUMS")) == ["Normal/101.jpg", "osteoporosis/1.jpg"]
    assert kaggle.names == ["GetDatasetMetadata", "DownloadDataset", "archive.zip"]
    assert {authorization for _, authorization, _ in kaggle.asked} == {None}
    assert [entry.name for entry in raw.iterdir()] == ["knee744"]
    assert download.fetch("knee744") == root
    (root / "decisions.csv").write_text("image_id,verdict,who,when\n", "utf-8")
    (root / "patients.xlsx").write_bytes(b"a table of the user's own")
    download.fetch("knee744")
    same = f"already there: {root}, byte for byte as downloaded\n"
    assert capsys.readouterr().out == same * 2
    (root / "Normal" / "101.jpg").write_bytes(b"X")
    download.fetch("knee744")
    assert "it DIFFERS from what was downloaded: 1 files changed, such as Normal/101.jpg." in capsys.readouterr().out
    assert len(kaggle.asked) == 3


def test_set_put_there_by_hand_is_taken_as_it_is(raw, capsys):
    for name in registry.LABELS:
        (raw / "knee744" / name).mkdir(parents=True)
        (raw / "knee744" / name / "1.jpg").write_bytes(b"x")
    assert download.fetch("knee744") == raw / "knee744"
    assert "no SHA256SUMS in it, so it was not compared" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"KAGGLE_USERNAME": "ada", "KAGGLE_KEY": "k"}, "Basic " + base64.b64encode(b"ada:k").decode()),
        ({"KAGGLE_API_TOKEN": "t0ken"}, "Bearer t0ken"),
    ],
)
def test_credentials_are_handed_on(kaggle, raw, monkeypatch, variables, expected):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    kaggle.archive = SMALL
    download.download("knee744")
    asked = dict(zip(kaggle.names, (authorization for _, authorization, _ in kaggle.asked), strict=True))
    assert asked["GetDatasetMetadata"] == asked["DownloadDataset"] == expected


@pytest.mark.parametrize("status", [403, 404])
def test_refused_download_lists_the_steps_by_hand(kaggle, raw, status):
    kaggle.refusals = [(status, None)]
    with pytest.raises(
        RuntimeError,
        match=rf"(?s)answers {status} .*refused by the stand-in.*1\. Open .*/mrmann007/osteoporosis.*--data",
    ):
        download.download("knee744")
    assert list(raw.iterdir()) == [] and len(kaggle.asked) == 1


def test_wrong_credentials_are_traced_to_their_place(kaggle, raw, monkeypatch):
    kaggle.refusals, kaggle.stubborn = [(401, None)], True
    place = Path(os.environ["HOME"]) / ".kaggle" / "kaggle.json"
    place.parent.mkdir(parents=True)
    place.write_text('{"username": "ada", "key": "k3y"}')
    with pytest.raises(RuntimeError) as error:
        download.download("knee744")
    assert f"401, not authorised (HTTPError: refused by the stand-in). The credentials come from {place}" in str(
        error.value
    )
    assert "A public set needs none" in str(error.value) and "1. Open" in str(error.value)
    assert "k3y" not in str(error.value)
    monkeypatch.setenv("KAGGLE_API_TOKEN", "t")
    assert kaggle_command.credentials() == ["the variable KAGGLE_API_TOKEN", str(place)]


def test_busy_kaggle_is_asked_again_when_it_says(kaggle, raw, naps, capsys):
    kaggle.refusals, kaggle.archive = [(429, "7"), (429, None)], SMALL
    download.download("knee744")
    assert naps == [7, download.PAUSES[1]]
    said = capsys.readouterr().out
    assert "busy (429): trying again in 7 s, 2 more times after that" in said and "again in 60 s" in said


@pytest.mark.parametrize(
    ("wait", "text", "slept"),
    [(None, "busy, says the stand-in", [15, 60, 240]), (0, "busy", [0, 0, 0]), (86400, "busy", [])],
)
def test_busy_kaggle_is_not_asked_for_ever(raw, naps, monkeypatch, wait, text, slept):
    def refuse(slug, folder, seconds):
        raise kaggle_command.KaggleError(text, status=429, wait=wait)

    monkeypatch.setattr(kaggle_command, "download", refuse)
    with pytest.raises(RuntimeError, match=rf"(?s){text}.*1\. Open"):
        download.download("knee744")
    assert naps == slept and list(raw.iterdir()) == []


def test_waiting_time_is_a_number_or_a_date():
    now = datetime(2024, 5, 21, 10, 0, 0, tzinfo=UTC)
    texts = ["7", "Tue, 21 May 2024 10:01:30 GMT", "Tue, 21 May 2024 09:00:00 GMT", "soon", "", None]
    assert [kaggle_command.seconds_to_wait(text, now) for text in texts] == [7, 90, 0, None, None, None]


def test_cut_connection_is_mended_within_a_run(kaggle, raw):
    kaggle.archive, kaggle.cuts = LARGE, [3 * MEBIBYTE + 5, MEBIBYTE]
    root = download.download("knee744")
    assert (root / "normal" / "1.jpg").read_bytes() == NOISE
    assert kaggle.ranges == [None, f"bytes={3 * MEBIBYTE}-", f"bytes={4 * MEBIBYTE}-"]


def test_connection_that_stays_cut_is_resumed_by_the_next_run(kaggle, raw):
    kaggle.archive, kaggle.cuts, kaggle.stubborn = LARGE, [MEBIBYTE], True
    work = raw / ".unfinished-knee744"
    with pytest.raises(RuntimeError, match=r"(?s)connection to Kaggle failed.*6\.3 MB are kept in .*1\. Open"):
        download.download("knee744")
    assert (work / "osteoporosis.zip").read_bytes() == LARGE[: 6 * MEBIBYTE] and not (raw / "knee744").exists()
    kaggle.cuts, kaggle.asked = [], []
    root = download.download("knee744")
    assert kaggle.ranges == [None, f"bytes={6 * MEBIBYTE}-"]
    assert (root / "normal" / "1.jpg").read_bytes() == NOISE
    assert [entry.name for entry in raw.iterdir()] == ["knee744"]


def test_two_downloads_do_not_write_into_each_other(raw):
    raw.mkdir(parents=True)
    with (
        download._work_folder(raw / ".unfinished-knee744"),
        pytest.raises(RuntimeError, match=r"another download is at work in .*unfinished-knee744"),
    ):
        download.download("knee744")
    assert list(raw.iterdir()) == []


def test_archive_damaged_inside_is_deleted_and_fetched_afresh(kaggle, raw):
    kaggle.archive = damaged(SMALL)
    with pytest.raises(RuntimeError, match=r"archive is damaged \(Bad CRC-32 .*the next try starts afresh"):
        download.download("knee744")
    assert list(raw.iterdir()) == []
    kaggle.archive = SMALL
    download.download("knee744")
    assert kaggle.ranges == [None, None]


def test_error_page_in_place_of_the_rest_is_not_kept_as_a_part(kaggle, raw):
    kaggle.archive, kaggle.cuts, kaggle.storage_refusals = LARGE, [MEBIBYTE], [503, 503]
    with pytest.raises(RuntimeError, match="does not match expected size"):
        download.download("knee744")
    assert kaggle.ranges == [None, f"bytes={MEBIBYTE}-", None] and list(raw.iterdir()) == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux's device that is always full")
def test_disk_that_fills_while_the_client_writes(kaggle, raw):
    kaggle.archive = SMALL
    (raw / ".unfinished-knee744").mkdir(parents=True)
    (raw / ".unfinished-knee744" / "osteoporosis.zip").symlink_to("/dev/full")
    with pytest.raises(RuntimeError, match=r"(?s)Errno 28.*The disk is full: make room, or set OSTEO_HOME.*1\. Open"):
        download.download("knee744")
    assert list(raw.iterdir()) == []


def test_disk_too_full_to_unpack_keeps_the_archive(kaggle, raw, monkeypatch):
    kaggle.archive = LARGE
    with monkeypatch.context() as patch:
        patch.setattr("shutil.disk_usage", lambda path: types.SimpleNamespace(free=9 * MEBIBYTE))
        with pytest.raises(RuntimeError, match=r"(?s)GB to unpack.*The disk is full.*9\.4 MB are kept in"):
            download.download("knee744")
    assert not (raw / ".unfinished-knee744" / "content").exists()
    # The client asks, and sees from size and date that it has the archive; it would fail if it read the body.
    kaggle.cuts, kaggle.stubborn = [0], True
    download.download("knee744")
    assert kaggle.ranges == [None, None] and [entry.name for entry in raw.iterdir()] == ["knee744"]


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (archive({"set/train/cats/1.jpg": b"x"}), r"no folder with normal/ and osteoporosis/; found \['cats'\]"),
        (b"not a zip", "archive is damaged .File is not a zip file"),
        (damaged(archive({"normal/1.jpg": b"x" * 999}, zipfile.ZIP_DEFLATED)), "damaged .Error -3 while decompr"),
        (archive({"normal/1.jpg": b"x", "osteoporosis/": b""}), "osteoporosis: no file in it"),
    ],
)  # fmt: skip
def test_download_of_something_else_leaves_nothing(raw, monkeypatch, content, text):
    deliver(monkeypatch, content)
    with pytest.raises(RuntimeError, match=text):
        download.download("knee744")
    assert list(raw.iterdir()) == []


def test_whole_set_is_taken_rather_than_the_split_that_comes_with_it(raw, monkeypatch, capsys):
    whole = {f"whole/{name}/{number}.jpg": b"x" for name in registry.LABELS for number in range(3)}
    deliver(monkeypatch, archive(whole | {"test/normal/1.jpg": b"x", "test/osteoporosis/1.jpg": b"x"}))
    root = download.download("knee744")
    assert data_folders.counts(root) == {"normal": 3, "osteoporosis": 3}
    assert "2 files of the archive lie outside whole/ and are left out" in capsys.readouterr().out


def deliver(monkeypatch, content: bytes) -> None:
    """Have the client bring this archive without asking anybody."""

    def bring(slug, folder, seconds):
        (folder / "set.zip").write_bytes(content)
        return folder / "set.zip", []

    monkeypatch.setattr(kaggle_command, "download", bring)


@pytest.mark.parametrize("name", ["../evil.png", "/etc/evil.png", "a/../../evil.png", "C:/evil.png", "..\\evil.png"])
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
