"""Does what `run_all.sh` was asked for, inside the environment that `run_all.sh` made."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

import psutil

import guard
import machine
import screens
import words
from osteo_utils.study import config, paths
from progress import Progress

# With one of these Snakemake answers a question instead of running; its answer belongs on the screen.
QUESTIONS = {
    "-n", "--dry-run", "--dryrun", "--dag", "--rulegraph", "--filegraph", "--d3dag", "--summary", "-S",
    "--detailed-summary", "-D", "--list-rules", "--list", "-l", "--lint", "--unlock", "--help", "-h",
    "--report", "--version", "-v", "--list-changes", "--lc",
}  # fmt: skip
CAUGHT = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Stopped(Exception):
    """A signal asked this run to end."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


def validated(request: words.Request) -> dict[str, Any]:
    """The settings of the study that is asked for. Raises ValueError or OSError on anything unusable."""
    # Imports that take seconds stand where they are needed: a run with nothing to do should not pay for them.
    if request.word == "own":
        from osteo_utils.study import results

        _check_folder(request.data)
        _check_external(request.data, request.external)
        return config.create_own(request.name, request.data, results.write_text, request.external, request.osteopenia)
    settings = config.load(request.study)
    external = request.external or settings["external_dir"]
    if settings["dataset"] == "phantom":
        if request.data:
            raise ValueError(f"--data: the study '{request.study}' draws its own films; run knee744 or own instead")
        _check_external(paths.raw("phantom"), external)
        return settings
    own = settings["dataset"] == "folder"
    if own and request.data and str(request.data) != settings["data_dir"]:
        raise ValueError(f"--data {request.data}: the study '{request.study}' stands for {settings['data_dir']}")
    folder = request.data or settings["data_dir"] or paths.raw(settings["dataset"])
    try:
        _check_folder(Path(folder))
    except FileNotFoundError as problem:
        if request.data or settings["data_dir"]:
            raise
        raise FileNotFoundError(f"{problem}\n  Give the folder with --data DIR, or run ./run_all.sh kaggle") from None
    _check_external(Path(folder), external)
    return settings


def _check_folder(folder: Path) -> None:
    from osteo_utils.sources import data_folders

    data_folders.check_folder(folder)


def _check_external(root: Path, external: Path | str | None) -> None:
    from osteo_utils.sources import data_folders

    if external:
        data_folders.check_external(root, Path(external))


def resume_command(request: words.Request) -> str:
    """The command that goes on where this run stopped."""
    said = ["./run_all.sh", request.word if request.word != "study" else request.study]
    said += ["--data", str(request.data)] if request.data else []
    said += ["--name", request.name] if request.name else []
    said += ["--external", str(request.external)] if request.external else []
    said += ["--osteopenia", request.osteopenia] if request.osteopenia else []
    said += ["--cores", str(request.cores)] if request.cores else []
    said += ["--", *request.extra] if request.extra else []
    return shlex.join(said)


def snakemake_command(request: words.Request, study: str) -> list[str]:
    """The command line of Snakemake for one study."""
    command = [
        sys.executable,
        "-m",
        "snakemake",
        "--snakefile",
        str(paths.code_root() / "workflow" / "Snakefile"),
    ]
    command += ["--directory", str(paths.home()), "--config", f"study={study}"]
    command += [f"data_dir={request.data}"] if request.data else []
    command += [f"external_dir={request.external}"] if request.external else []
    command += [f"osteopenia={request.osteopenia}"] if request.osteopenia else []
    if count := len(machine.gpus()):
        command += [f"gpus={count}", "--resources", f"gpus={count}"]
    command += ["--cores", str(request.cores or machine.all_cores())]
    command += ["--rerun-triggers", "mtime", "--rerun-incomplete", "--nocolor"]
    return command + (["--forceall"] if request.force else []) + request.extra


def count_cells(notebook: Path) -> int:
    """Number of cells of a notebook's source."""
    return len(json.loads(notebook.read_text("utf-8"))["cells"])


def run_study(request: words.Request) -> int:
    """Bring one study up to date and show what came out; 0, or 1 on failure, 2 on bad input, 3 when busy."""
    try:
        settings = validated(request)
    except (ValueError, OSError) as problem:
        print(f"run_all.sh: {problem}", file=sys.stderr)
        return 2
    study = paths.StudyPaths(settings["study"])
    command = snakemake_command(request, study.study)
    try:
        with guard.only_run(paths.home(), f"study {study.study}") as lock:
            if guard.clear_stale_locks(paths.home()):
                print("An earlier run was interrupted; going on from what it had finished.")
            if QUESTIONS & set(request.extra):
                return subprocess.run(command, env=machine.environment(request.cores), pass_fds=(lock,)).returncode
            return _run_and_follow(request, study, command, lock)
    except guard.Busy as problem:
        print(f"run_all.sh: {problem}", file=sys.stderr)
        return 3


def _run_and_follow(request: words.Request, study: paths.StudyPaths, command: list[str], lock: int) -> int:
    began = time.monotonic()
    study.logs.mkdir(parents=True, exist_ok=True)
    log = study.logs / "snakemake.log"
    sources = {name: paths.notebooks_dir() / f"{name}.ipynb" for name in config.NOTEBOOKS}
    cells = {name: count_cells(path) for name, path in sources.items() if path.is_file()}
    progress = Progress(log, study.logs, config.NOTEBOOKS, cells, sys.stdout)
    print(f"Study {study.study}, {request.cores or machine.all_cores()} cores. Logs: {study.logs}", flush=True)
    for number in CAUGHT:
        signal.signal(number, _stop)
    try:
        with log.open("wb") as stream:
            # In this process group on purpose: whoever ends the group ends Snakemake as well.
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=stream, stderr=subprocess.STDOUT,
                env=machine.environment(request.cores), pass_fds=(lock,),
            )  # fmt: skip
            while process.poll() is None:
                progress.update()
                time.sleep(0.3)
        progress.update()
        progress.close()
    except Stopped as stopped:
        return _stopped(stopped, progress, resume_command(request))
    except BaseException:
        # Nobody reads along any more (as after `| head`); a run that no one can see or stop must not go on.
        guard.end_all(psutil.Process().children(recursive=True))
        raise
    width = min(shutil.get_terminal_size((100, 24)).columns, 140)
    if process.returncode != 0:
        _explain(progress, study, log, resume_command(request))
        return 1
    if not progress.started:
        print("Nothing to be done: every notebook is up to date.")
    print("\n".join(screens.summary(study, time.monotonic() - began, width)))
    return 0


def _stop(number: int, _frame: object) -> NoReturn:
    raise Stopped(number)


def _stopped(stopped: Stopped, progress: Progress, resume: str) -> int:
    for number in CAUGHT:
        signal.signal(number, signal.SIG_IGN)
    progress.close()
    guard.end_all(psutil.Process().children(recursive=True))
    # A kernel is a session of its own and may have lost its parent by now.
    guard.end_all(guard.still_at_work(paths.home()))
    guard.clear_stale_locks(paths.home())
    with suppress(OSError):
        at = ", ".join(progress.running) or "between two notebooks"
        print(f"\nStopped by {stopped} during {at}. What is finished is kept. To go on:\n  {resume}", flush=True)
    return 128 + stopped.number


def _explain(progress: Progress, study: paths.StudyPaths, log: Path, resume: str) -> None:
    failed = progress.failed or progress.running
    if failed:
        lines = screens.failure(failed[0], study, resume)
        lines += [f"Failed as well: {', '.join(failed[1:])}"] if failed[1:] else []
    else:
        lines = [
            "",
            "The workflow stopped outside the notebooks. The end of its log:",
            "",
            *screens.tail(log),
        ]
        lines += ["", f"Log            {log}", f"To go on       {resume}"]
    print("\n".join(lines), file=sys.stderr)


def download_and_run(request: words.Request) -> int:
    """Download the real set through the kaggle command line, then run its study."""
    from osteo_utils.sources import download

    try:
        download.download("knee744")
    except (RuntimeError, ValueError, OSError) as problem:
        print(f"run_all.sh: {problem}", file=sys.stderr)
        return 1
    return run_study(request)


def publish(request: words.Request) -> int:
    """Copy what may be shown of a study to `reports/published`."""
    from publish import publish as copy_allowed

    try:
        settings = config.load(request.study)
        private = [paths.home(), paths.code_root(), Path.home(), *_data_places(settings)]
        done = copy_allowed(
            paths.StudyPaths(request.study).reports,
            paths.published(request.study),
            settings["dataset"],
            private,
        )
    except (RuntimeError, ValueError, OSError) as problem:
        print(f"run_all.sh: {problem}", file=sys.stderr)
        return 1
    size = sum((done.folder / name).stat().st_size for name in done.files)
    for name, reason in done.left_out.items():
        print(f"  left out: {name} ({reason})")
    print(f"{len(done.files)} files, {size / 1e6:.1f} MB: {done.folder}")
    return 0


def _data_places(settings: dict[str, Any]) -> list[Path]:
    return [Path(settings[name]) for name in ("data_dir", "external_dir") if settings[name]]


def test(request: words.Request) -> int:
    """Lint, check that notebooks are stripped, then run the tests; pytest's own summary comes last."""
    root, python = paths.code_root(), [sys.executable, "-m"]
    notebooks = sorted(str(path) for path in paths.notebooks_dir().glob("*.ipynb"))
    checks = [["ruff", "check", "."], ["ruff", "format", "--check", "."]]
    checks += [["nbstripout", "--verify", *notebooks]] if notebooks else []
    chosen = [] if request.everything else ["-m", "not long"]
    tests = ["pytest", "-n", str(request.cores or 2), "--dist", "loadscope", "--no-loadscope-reorder"]
    tests += [*chosen, *request.extra]
    for command in [*checks, tests]:
        code = subprocess.run([*python, *command], cwd=root, env=machine.environment()).returncode
        if code:
            if command is not tests:
                print(f"run_all.sh: '{' '.join(command[:2])}' found something; no test was run", file=sys.stderr)
            return code
    return 0


def lab(request: words.Request) -> NoReturn:
    """Become JupyterLab, opened on the first notebook."""
    command = [sys.executable, "-m", "jupyter", "lab", f"--ServerApp.root_dir={paths.code_root()}"]
    command += [f"--LabApp.default_url=/lab/tree/notebooks/{config.NOTEBOOKS[0]}.ipynb", *request.extra]
    os.execve(sys.executable, command, machine.environment())


ANSWERS = {
    "study": run_study,
    "own": run_study,
    "kaggle": download_and_run,
    "publish": publish,
    "test": test,
    "lab": lab,
}


def main() -> int:
    """Understand the command line and do it; returns the exit code."""
    try:
        request = words.parse(sys.argv[1:])
    except words.Unusable as problem:
        print(f"run_all.sh: {problem}\n  ./run_all.sh --help lists everything.", file=sys.stderr)
        return 2
    try:
        return ANSWERS[request.word](request)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


if __name__ == "__main__":
    sys.exit(main())
