"""Arrays that grow with the films: small ones in memory, large ones in a file without a name."""

import errno
import gc
import os
import weakref
from pathlib import Path

import numpy as np
import pytest

from osteo_utils.study import resources


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
