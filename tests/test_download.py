"""The download: the real client against a stand-in for Kaggle on this machine."""

import http.server
import io
import os
import threading
import zipfile

import pytest

from osteo_utils.data import download
from osteo_utils.study import paths


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
