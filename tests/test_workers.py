"""Work shared out among GPUs: every item once, each process with a GPU of its own, no error lost."""

import os
import time
from functools import partial
from pathlib import Path

import pytest

from osteo_utils.study import workers


def note(folder: Path, item: int) -> None:
    """Leaves word of who did it; slow enough that no process can take everything."""
    if item == 13:
        raise ValueError("thirteen is not done")
    time.sleep(0.3)
    print("this is dropped")
    words = (os.environ["CUDA_VISIBLE_DEVICES"], os.environ["OSTEO_THREADS"], str(os.getpid()))
    (folder / str(item)).write_text(" ".join(words))


def test_gpus_are_those_that_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(workers.VISIBLE, raising=False)
    assert workers.gpus() == []
    monkeypatch.setenv(workers.VISIBLE, "2, GPU-5f3a,")
    assert workers.gpus() == ["2", "GPU-5f3a"]


def test_every_process_sees_one_gpu_and_its_share_of_the_cores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture
) -> None:
    monkeypatch.setenv("OSTEO_THREADS", "4")
    workers.each_on_its_own(partial(note, tmp_path), [1, 2, 3, 4], ["3", "7"])
    said = [(tmp_path / str(item)).read_text().split() for item in (1, 2, 3, 4)]
    assert {gpu for gpu, _, _ in said} == {"3", "7"}
    assert {threads for _, threads, _ in said} == {"2"}
    assert len({(gpu, process) for gpu, _, process in said}) == 2, "a process keeps its GPU"
    assert os.environ["OSTEO_THREADS"] == "4"
    assert capfd.readouterr().out == ""


def test_an_error_comes_back_and_the_other_items_are_done(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="thirteen"):
        workers.each_on_its_own(partial(note, tmp_path), [13, 5], ["0", "1"])
    assert (tmp_path / "5").is_file()
