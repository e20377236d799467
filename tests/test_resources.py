"""Work shared out among GPUs, and arrays that grow with the films."""

import errno
import gc
import os
import subprocess
import sys
import time
import weakref
from contextlib import suppress
from functools import partial
from pathlib import Path

import numpy as np
import psutil
import pytest

from osteo_utils.study import paths, resources


def note(folder: Path, item: int) -> None:
    """Leaves word of who did it; slow enough that no process can take everything."""
    if item == 13:
        raise ValueError("thirteen is not done")
    time.sleep(0.3)
    print("this is dropped")
    words = (os.environ["CUDA_VISIBLE_DEVICES"], os.environ["OSTEO_THREADS"], str(os.getpid()))
    (folder / str(item)).write_text(" ".join(words))


def linger(folder: Path, item: int) -> None:
    (folder / "process").write_text(str(os.getpid()))
    time.sleep(120)


def test_gpus_are_those_that_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(resources.VISIBLE, raising=False)
    assert resources.gpus() == []
    monkeypatch.setenv(resources.VISIBLE, "2, GPU-5f3a,")
    assert resources.gpus() == ["2", "GPU-5f3a"]


def test_every_process_sees_one_gpu_and_its_share_of_the_cores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture
) -> None:
    monkeypatch.setenv("OSTEO_THREADS", "4")
    resources.each_on_its_own(partial(note, tmp_path), [1, 2, 3, 4], ["3", "7"])
    said = [(tmp_path / str(item)).read_text().split() for item in (1, 2, 3, 4)]
    assert {gpu for gpu, _, _ in said} == {"3", "7"}
    assert {threads for _, threads, _ in said} == {"2"}
    assert len({(gpu, process) for gpu, _, process in said}) == 2, "a process keeps its GPU"
    assert os.environ["OSTEO_THREADS"] == "4"
    assert capfd.readouterr().out == ""


def test_an_error_comes_back_and_the_other_items_are_done(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="thirteen"):
        resources.each_on_its_own(partial(note, tmp_path), [13, 5], ["0", "1"])
    assert (tmp_path / "5").is_file()


def test_a_killed_parent_leaves_no_process_behind(tmp_path: Path) -> None:
    script = (
        "import sys; from functools import partial; from pathlib import Path\n"
        "import test_resources; from osteo_utils.study import resources\n"
        "resources.each_on_its_own(partial(test_resources.linger, Path(sys.argv[1])), [1], ['0'])\n"
    )
    found = os.pathsep.join([str(paths.code_root()), str(Path(__file__).parent)])
    parent = subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], env={**os.environ, "PYTHONPATH": found})
    noted = tmp_path / "process"
    waited = time.monotonic() + 60
    while not (noted.is_file() and noted.read_text()) and time.monotonic() < waited:
        time.sleep(0.1)
    child = psutil.Process(int(noted.read_text()))
    parent.kill()
    parent.wait()
    # Where nothing reaps orphans they stay listed as zombies.
    with suppress(psutil.NoSuchProcess):
        while child.status() != psutil.STATUS_ZOMBIE:
            assert time.monotonic() < waited, "the process outlives its parent"
            time.sleep(0.1)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("OSTEO_HOME", str(tmp_path))
    return tmp_path / "data" / "interim"


def test_a_small_array_makes_no_file(folder: Path) -> None:
    resources.array((8, 4, 4), np.uint8)[:] = 1
    assert not folder.exists()


def test_a_large_array_is_kept_on_disk_and_given_back(folder: Path) -> None:
    shape = (4, resources.IN_MEMORY)
    large = resources.array(shape, np.uint8)
    assert type(large) is np.ndarray
    assert large.shape == shape
    for number, row in enumerate(large):
        row[:] = number
    assert [int(row[-1]) for row in large] == [0, 1, 2, 3]
    assert list(folder.iterdir()) == []
    file = weakref.ref(large.base)
    assert isinstance(file(), np.memmap)
    part = large[1:2]
    del large, row
    gc.collect()
    assert int(part.max()) == 1
    del part
    gc.collect()
    assert file() is None


def test_a_full_disk_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", full, raising=False)
    with pytest.raises(OSError, match="OSTEO_HOME to a larger disk") as refused:
        resources.array((2, resources.IN_MEMORY), np.uint8)
    assert str(folder) in str(refused.value)
    assert refused.value.errno == errno.ENOSPC


@pytest.mark.parametrize("by", ["system", "file system"])
def test_where_room_cannot_be_set_aside_the_array_is_made_all_the_same(
    by: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cannot(*_: object) -> None:
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))

    if by == "system":
        monkeypatch.delattr(os, "posix_fallocate", raising=False)
    else:
        monkeypatch.setattr(os, "posix_fallocate", cannot, raising=False)
    made = resources.array((2, resources.IN_MEMORY), np.uint8)
    assert isinstance(made.base, np.memmap)
    assert not made[:, -1].any()
