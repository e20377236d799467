"""What a notebook tells about how far it is."""

import json
from pathlib import Path

import pytest

from osteo_utils.study import progress, results
from osteo_utils.study.progress import Kind


def test_share_and_time_left_come_from_the_pieces_left_at_their_measured_speed(tmp_path: Path) -> None:
    file = tmp_path / "04.progress.json"
    progress.plan(file, {progress.PASSES: Kind(100), "last_block": Kind(10, cost=20.0)}, results.write_text)
    assert progress.read(file) == progress.State(0.0, None, "")
    progress.report(progress.PASSES, 50, 25.0)
    again(file)
    # 50 passes of half a second are left, and 10 fits that should each take as long as 20 passes.
    state = progress.read(file)
    assert state.seconds_left == pytest.approx(50 * 0.5 + 10 * 20 * 0.5)
    assert state.share == pytest.approx(25 / 150)
    progress.report("last_block", 4, 8.0)
    again(file)
    # Now that fits have been timed, their own two seconds count.
    assert progress.read(file).seconds_left == pytest.approx(25 + 6 * 2)
    assert progress.read(file).at_work == "last_block"


def test_what_was_kept_from_an_earlier_run_is_done_and_tells_nothing_of_the_speed(tmp_path: Path) -> None:
    file = tmp_path / "05.progress.json"
    progress.plan(file, {progress.PASSES: Kind(10), "none": Kind(2, cost=2.0)}, results.write_text)
    progress.report(progress.PASSES, 10)
    progress.report("none", 1, 3.0)
    again(file)
    state = progress.read(file)
    assert state.seconds_left == pytest.approx(3.0)
    # A probe is expected to take as long as two films, so a film counts half of its three seconds.
    assert state.share == pytest.approx((10 * 1.5 + 3) / (10 * 1.5 + 6))


def test_work_that_nobody_planned_is_never_more_than_all(tmp_path: Path) -> None:
    file = tmp_path / "04.progress.json"
    progress.plan(file, {progress.PASSES: Kind(4)}, results.write_text)
    progress.report(progress.PASSES, 6, 6.0)
    again(file)
    assert progress.read(file).share == pytest.approx(1.0)
    assert json.loads(file.read_text())["work"][progress.PASSES]["planned"] == 6


def again(file: Path) -> None:
    """Write out what was counted: a file is written at most once a second."""
    (meter,) = progress._WORK.handlers
    assert meter.path == file
    meter._write(meter.at_work)
