"""Lists of SHA-256: the format of `sha256sum`, and every way in which a folder can leave its list."""

import shutil
import subprocess

import pytest
from samples import fill

from osteo_utils.sources import data_folders


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
