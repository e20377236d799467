"""One run at a time, and a clean start after a kill."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

import run_lock
from osteo_utils.study import paths


class TestOneRunAtATime:
    HOLD = "import sys, time, pathlib; sys.path.insert(0, sys.argv[1]); import run_lock\n"
    HOLD += "with run_lock.hold(pathlib.Path(sys.argv[2]), 'study smoke'):\n    print('held', flush=True)\n    time.sleep(60)"

    def hold(self, home: Path) -> subprocess.Popen:
        workflow = str(paths.code_root() / "workflow")
        process = subprocess.Popen([sys.executable, "-c", self.HOLD, workflow, str(home)], stdout=subprocess.PIPE)
        assert process.stdout.readline() == b"held\n"
        return process

    def test_a_second_run_is_told_who_is_at_work(self, home: Path) -> None:
        other = self.hold(home)
        try:
            with pytest.raises(run_lock.Busy, match=f"process {other.pid}, study smoke"), run_lock.hold(home, "x"):
                pytest.fail("two runs at once")
        finally:
            other.kill()
            other.wait()

    def test_a_run_that_was_killed_holds_nothing(self, home: Path) -> None:
        other = self.hold(home)
        other.send_signal(signal.SIGKILL)
        other.wait()
        with run_lock.hold(home, "x"):
            assert f"process {os.getpid()}" in (home / "data" / "interim" / ".run.lock").read_text()

    def test_the_lock_lives_as_long_as_a_program_that_was_handed_it(self, home: Path) -> None:
        with run_lock.hold(home, "x") as lock:
            heir = subprocess.Popen(["sleep", "60"], pass_fds=(lock,))
        try:
            with pytest.raises(run_lock.Busy), run_lock.hold(home, "y"):
                pytest.fail("two runs at once")
        finally:
            heir.kill()
            heir.wait()
        with run_lock.hold(home, "y"):
            pass


class TestStaleLocks:
    @pytest.fixture
    def locks(self, home: Path) -> Path:
        folder = home / ".snakemake" / "locks"
        folder.mkdir(parents=True)
        (folder / "0.output.lock").write_text("x\n")
        return folder

    def test_are_removed_when_nothing_is_alive(self, home: Path, locks: Path) -> None:
        assert run_lock.clear_stale_locks(home) is True
        assert not locks.exists()
        assert run_lock.clear_stale_locks(home) is False

    def test_stay_while_something_of_the_run_is_alive(self, home: Path, locks: Path) -> None:
        orphan = subprocess.Popen(["sleep", "60"], env={**os.environ, run_lock.MARK: str(home)})
        try:
            with pytest.raises(run_lock.Busy, match=str(orphan.pid)):
                run_lock.clear_stale_locks(home, patience=0.2)
            assert locks.exists()
        finally:
            run_lock.end([psutil.Process(orphan.pid)])
            orphan.wait()
        assert run_lock.clear_stale_locks(home) is True


def test_ending_does_not_stop_at_a_process_that_refuses() -> None:
    code = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(60)"
    )
    deaf = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert deaf.stdout.readline() == b"deaf\n"
    began = time.monotonic()
    run_lock.end([psutil.Process(deaf.pid)], grace=0.3)
    assert not psutil.pid_exists(deaf.pid)
    assert time.monotonic() - began < 10
