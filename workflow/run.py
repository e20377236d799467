"""Does what the command line of `run_all.sh` asks for, inside the environment that `run_all.sh` made."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

import command_line
import run_lock
import terminal
from command_line import Request
from osteo_utils.study import about, commands, config, order, paths, resources

# With one of these Snakemake answers a question instead of running; its answer belongs on the screen.
QUESTIONS = set(
    "-n --dry-run --dryrun --dag --rulegraph --filegraph --d3dag --summary -S --detailed-summary -D --list-rules --list "
    "-l --lint --unlock --help -h --report --version -v --list-changes --lc".split()
)
CAUGHT = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def exit_on(errors: type[Exception] | tuple[type[Exception], ...], code: int) -> Iterator[None]:
    """Print an error that the user can mend without its traceback, and end with `code`."""
    try:
        yield
    except errors as problem:
        print(f"run_all.sh: {problem}", file=sys.stderr)
        sys.exit(code)


def environment() -> dict[str, str]:
    """Variables for every program that is started from here."""
    jupyter = str(paths.code_root() / "workflow" / "jupyter")
    child = {
        # The user's own ~/.keras/keras.json may name another backend or number format.
        "KERAS_HOME": str(paths.weights_dir() / "keras"),
        "TF_CPP_MIN_LOG_LEVEL": "2",
        **os.environ,
        "HOME": commands.home_for_caches(),
        "OSTEO_HOME": str(paths.home()),
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]),
        "IPYTHONDIR": str(paths.code_root() / "workflow" / "ipython"),
        # Pages in Markdown open as pages, and JupyterLab asks no server for news.
        "JUPYTER_CONFIG_PATH": os.pathsep.join(filter(None, [jupyter, os.environ.get("JUPYTER_CONFIG_PATH", "")])),
        # A kernel or a package in the user's home must not stand in for the locked one.
        "JUPYTER_PREFER_ENV_PATH": "1",
        "PYTHONNOUSERSITE": "1",
    }
    # A run that is started from a cell of a notebook has no reader at its own kernels.
    child.pop(order.READ_BY_A_PERSON, None)
    if found := gpus():
        child[resources.VISIBLE] = ",".join(found)
    return child


def gpus() -> list[str]:
    """GPUs for the models: those nvidia-smi lists, or of them those CUDA_VISIBLE_DEVICES names; none with OSTEO_LOCK=cpu."""
    if os.environ.get("OSTEO_LOCK") == "cpu" or not shutil.which("nvidia-smi"):
        return []
    listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True).stdout
    count = sum(line.startswith("GPU ") for line in listed.splitlines())
    named = resources.gpus() if resources.VISIBLE in os.environ else list(map(str, range(count)))
    return named[:count]


def require_home() -> None:
    """Raise ValueError where nothing can be written into the folder of the project's results."""
    home = paths.home()
    try:
        home.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(f"{home}: {error.strerror}; set OSTEO_HOME to a folder that can be written") from None
    if not os.access(home, os.W_OK | os.X_OK):
        raise ValueError(f"{home}: nothing can be written there; set OSTEO_HOME to another folder")


def replaced_settings(request: Request) -> dict[str, str]:
    """The settings of a study that the command line replaces."""
    given = {"data_dir": request.data, "external_dir": request.external, "osteopenia": request.osteopenia}
    return {name: str(value) for name, value in given.items() if value}


def checked_study(request: Request) -> paths.StudyPaths:
    """The study that a command line asks for; `own` makes it. Raises ValueError or OSError on anything unusable."""
    if request.command == "own":
        settings = config.own_settings(
            request.name, request.data, request.external, request.osteopenia, request.classes
        )
    else:
        settings = config.load(request.study)
    drawn, kept = settings["dataset"] == "phantom", settings["data_dir"]
    settings |= replaced_settings(request)
    folder, external = Path(settings["data_dir"] or paths.raw(settings["dataset"])), settings["external_dir"]
    if drawn and request.data:
        raise ValueError(f"--data: the study '{request.study}' draws its own films; run knee744 or own instead")
    if settings["dataset"] == "folder" and str(folder) != kept:
        raise ValueError(f"--data {folder}: the study '{request.study}' stands for {kept}")
    if not settings["data_dir"] and not drawn and not folder.exists():
        raise FileNotFoundError(f"{folder} does not exist; name it with --data DIR, or run ./run_all.sh kaggle")
    if said := about.source(settings):
        about.read(said)
    if external or not drawn:
        # It takes seconds to import; a synthetic study with nothing to do should not pay for it.
        from osteo_utils.sources import data_folders, user_tables
        from osteo_utils.study import results

        classes = settings["classes"]
        if not drawn:
            for remark in data_folders.remarks(folder, data_folders.check_folder(folder, classes)):
                print(remark)
        if external:
            data_folders.check_external(folder, Path(external), classes)
        other = Path(external) if external else None
        if not drawn and any(user_tables.find(place, "decisions") for place in (folder, other) if place):
            # It takes seconds as well, which only a study with decisions pays.
            from osteo_utils.audit import decisions

            for remark in decisions.of_study(folder, other, classes).remarks:
                print(remark)
        if request.command == "own":
            config.create_own(settings, results.write_text)
    return paths.StudyPaths(request.name or request.study)


def snakemake_command(request: Request, study: paths.StudyPaths) -> list[str]:
    """The command line of Snakemake for one study; writes the file of settings that it names."""
    count = len(gpus())
    # In a file of JSON a value arrives as it was typed; Snakemake would read one after --config as YAML.
    settings = study.interim / "command_line.json"
    settings.parent.mkdir(parents=True, exist_ok=True)
    settings.write_text(json.dumps({"study": study.study, "gpus": count, **replaced_settings(request)}), "utf-8")
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(paths.code_root() / "workflow" / "Snakefile")]
    command += ["--directory", str(paths.home()), "--configfile", str(settings)]
    command += ["--cores", str(request.cores or "all"), "--resources", f"gpus={count}"]
    command += ["--rerun-triggers", "mtime", "--rerun-incomplete", "--nocolor"]
    return command + (["--forceall"] if request.force else []) + request.extra


def run_study(request: Request) -> int:
    """Bring one study up to date and show what came out; 0, or 1 on failure, 2 on bad input, 3 when busy."""
    with exit_on((ValueError, OSError), 2):
        require_home()
        study = checked_study(request)
    with exit_on(run_lock.Busy, 3), run_lock.hold(paths.home(), f"study {study.study}") as lock:
        if run_lock.clear_stale_locks(paths.home()):
            print("An earlier run was interrupted; going on from what it had finished.")
        command = snakemake_command(request, study)
        options = {"env": environment() | {run_lock.MARK: str(paths.home())}, "pass_fds": (lock,)}
        if QUESTIONS & set(request.extra):
            return subprocess.run(command, **options).returncode
        return _run_and_follow(request, study, command, options)


def _run_and_follow(request: Request, study: paths.StudyPaths, command: list[str], options: dict[str, Any]) -> int:
    study.logs.mkdir(parents=True, exist_ok=True)
    print(f"Study {study.study}, {request.cores or 'all'} cores. Logs: {study.logs}")
    progress = terminal.Progress(study, sys.stdout)
    for number in CAUGHT:
        signal.signal(number, _interrupt)
    try:
        with (study.logs / "snakemake.log").open("wb") as log:
            # In this process group on purpose: whoever ends the group ends Snakemake as well.
            output = {"stdin": subprocess.DEVNULL, "stdout": log, "stderr": subprocess.STDOUT}
            process = subprocess.Popen(command, **output, **options)
            while process.poll() is None:
                progress.update()
                time.sleep(0.3)
        progress.update()
        progress.line.close()
    except BaseException as reason:
        # A signal, or nobody reads along any more (as after `| head`): a run that no one can stop must not go on.
        for number in CAUGHT:
            signal.signal(number, signal.SIG_IGN)
        run_lock.end(run_lock.still_at_work(paths.home()))
        run_lock.clear_stale_locks(paths.home())
        if not isinstance(reason, KeyboardInterrupt):
            raise
        (number,) = reason.args
        with suppress(OSError):
            progress.line.close()
            at = ", ".join(progress.running) or "between two notebooks"
            stopped = f"Stopped by {number.name} during {at}. What is finished is kept."
            print(f"\n{stopped} To go on:\n  {request.resume}")
        return 128 + number
    if process.returncode != 0:
        print("\n".join(terminal.failure(progress.failed or progress.running, study, request.resume)), file=sys.stderr)
        return 1
    if not progress.started:
        print("Nothing to be done: every notebook is up to date.")
    width = min(shutil.get_terminal_size((100, 24)).columns, 140)
    print("\n".join(terminal.summary(study, time.monotonic() - progress.began, width)))
    return 0


def _interrupt(number: int, _frame: object) -> NoReturn:
    raise KeyboardInterrupt(signal.Signals(number))


def download_and_run(request: Request) -> int:
    """Download the real set through the kaggle command line, then run its study."""
    from osteo_utils.sources import download

    with exit_on((RuntimeError, ValueError, OSError), 1):
        download.download(request.study)
    return run_study(request)


def private_folders(settings: dict[str, Any]) -> list[Path]:
    """Folders of this machine that nothing which is shown may name."""
    named = [Path(settings[name]) for name in ("data_dir", "external_dir") if settings[name]]
    return [paths.home(), paths.code_root(), Path.home(), *named]


def copy_allowed(study: str, target: Path) -> tuple[list[Path], dict[Path, str]]:
    """Copy what may be shown of a study into `target`; gives the files, and what was left out with the reason."""
    from osteo_utils.evidence import corrected
    from osteo_utils.review import checklists
    from publish import publish

    settings = config.load(study)
    product, reason = {}, ""
    try:
        product = corrected.of_study(study, settings["dataset"])
    except (ValueError, OSError) as problem:
        reason = str(problem)
    reports = paths.StudyPaths(study).reports
    pages = partial(checklists.pages, study)
    files, left_out = publish(reports, target, settings["dataset"], private_folders(settings), product, pages)
    return files, left_out | ({Path("corrected"): reason} if reason else {})


def publish(request: Request) -> int:
    """Copy what may be shown of a study to `reports/published`."""
    target = paths.published(request.study)
    with exit_on((RuntimeError, ValueError, OSError), 1):
        files, left_out = copy_allowed(request.study, target)
    for name, reason in left_out.items():
        print(f"  left out: {name} ({reason})")
    size = sum((target / name).stat().st_size for name in files)
    print(f"{len(files)} files, {size / 1e6:.1f} MB: {target}")
    return 0


def site(request: Request) -> int:
    """Build the static site of a study; 1 where a link of it is broken or it cannot be made."""
    import website

    with exit_on((RuntimeError, ValueError, OSError), 1):
        settings = config.load(request.study)
        published = paths.published(request.study)
        if not published.is_dir():
            # With OSTEO_HOME elsewhere, what the project came with is still in the checkout.
            published = paths.code_root() / "reports" / "published" / request.study
        reports = paths.StudyPaths(request.study).reports
        if not any((place / "claims.json").is_file() for place in (reports, published)):
            raise FileNotFoundError(f"no results of {request.study}; run the study first: ./run_all.sh {request.study}")
        website.install(paths.code_root() / "requirements-site.lock")
        target, broken = website.build(
            request.study,
            paths.StudyPaths(request.study).reports,
            published,
            paths.code_root(),
            lambda folder: copy_allowed(request.study, folder)[1],
            private_folders(settings),
            website.SYNTHETIC if settings["dataset"] == "phantom" else "",
            request.source,
        )
    files = [path for path in target.rglob("*") if path.is_file()]
    pages = sum(path.suffix == ".html" for path in files)
    print(f"{pages} pages, {sum(path.stat().st_size for path in files) / 1e6:.1f} MB: {target / 'index.html'}")
    if broken:
        said = f"run_all.sh: broken links: {len(broken)}; the new site lies in {target}, and site is as it was"
        print(said, *broken, sep="\n  ", file=sys.stderr)
    return int(bool(broken))


def test(request: Request) -> int:
    """Lint, check that notebooks are stripped, then run the tests; pytest's own summary comes last."""
    written = (paths.notebooks_dir().glob(pattern) for pattern in ("*.ipynb", "exercises/*.ipynb"))
    notebooks = sorted(str(path) for found in written for path in found)
    checks = [["ruff", "check", "."], ["ruff", "format", "--check", "."], ["nbstripout", "--verify", *notebooks]]
    chosen = [] if request.all else ["-m", "not long"]
    tests = ["pytest", "-n", str(request.cores or 2), "--dist", "loadscope", "--no-loadscope-reorder"]
    tests += [*chosen, *request.extra]
    for module in [*checks, tests]:
        command = [sys.executable, "-m", *module]
        code = subprocess.run(command, cwd=paths.code_root(), env=environment()).returncode
        if code and module is not tests:
            print(f"run_all.sh: '{' '.join(module[:2])}' found something; no test was run", file=sys.stderr)
        if code:
            return code
    return 0


def lab(request: Request) -> NoReturn:
    """Become JupyterLab, opened on the page that leads to the notebooks; of another folder, such as a student's, on its own."""
    folder, page, extra = paths.code_root(), "notebooks/start_here.ipynb", request.extra
    if extra and Path(extra[0]).is_dir():
        folder, page, extra = Path(extra[0]).resolve(), "start_here.ipynb", extra[1:]
    command = [sys.executable, "-m", "jupyter", "lab", f"--ServerApp.root_dir={folder}"]
    command += [f"--LabApp.default_url=/lab/tree/{page}"] if (folder / page).is_file() else []
    os.execve(sys.executable, [*command, *extra], environment())


def own_command(request: Request) -> int:
    """Audit a folder, check a printed report, read films or copy notebooks; the command prints and returns its own exit code."""
    # Libraries read it when they are imported, so it comes before the command's own module.
    os.environ.update(environment())
    module = import_module(commands.MODULES[request.command])
    return commands.run(module.main, request.extra, door=True)


def main() -> int:
    """Follow the command line; returns the exit code."""
    follow = {"study": run_study, "own": run_study, "kaggle": download_and_run}
    follow |= dict.fromkeys(commands.MODULES, own_command) | {
        "publish": publish,
        "site": site,
        "test": test,
        "lab": lab,
    }
    request = command_line.parse(sys.argv[1:])
    # The name of a file may hold what the terminal cannot print.
    sys.stdout.reconfigure(line_buffering=True, errors="backslashreplace")
    with commands.told_in_a_line(request.debug):
        try:
            return follow[request.command](request)
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 1


if __name__ == "__main__":
    sys.exit(main())
