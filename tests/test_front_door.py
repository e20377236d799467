"""`run_all.sh` itself: its words, the environment it chooses and makes. Programs it calls are stand-ins."""

import io
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import command_line
import run
from osteo_utils.study import commands, paths

ROOT = paths.code_root()
SHELL_TOOLS = "bash dirname sed grep cat rm mkdir touch env tail printf true sleep ln".split()

# Makes an environment as `uv venv` would, without packages, and notes each call.
UV = """
echo "uv $*" >>"$CALLS"
case "$1" in
    venv) for prefix; do :; done; "$REAL_PYTHON" -m venv --without-pip "$prefix" ;;
    pip) if [ -n "${PULL_THE_PLUG:-}" ]; then kill -9 "$PPID"; fi ;;
esac
"""
CONDA = """
echo "conda $*" >>"$CALLS"
while [ "$1" != -p ]; do shift; done
"$REAL_PYTHON" -m venv --without-pip "$2"
"""


class Door:
    """A copy of the front door in a folder of its own, with nothing on PATH but stand-ins and shell tools."""

    def __init__(self, folder: Path) -> None:
        self.root, self.bin, self.calls = folder / "project", folder / "bin", folder / "calls"
        for name in ("run_all.sh", "requirements.lock", "requirements-gpu.lock", "workflow/command_line.py"):
            self.copy(name)
        for name in ("__init__.py", "study/__init__.py", "study/paths.py", "study/parameters.py", "study/commands.py"):
            self.copy(f"osteo_utils/{name}")
        self.copy("config/phantom.yaml")
        (self.root / "workflow" / "run.py").write_text("import sys\nprint('run', *sys.argv[1:])\n")
        self.bin.mkdir()
        for tool in SHELL_TOOLS:
            if found := shutil.which(tool):
                (self.bin / tool).symlink_to(found)

    def copy(self, name: str) -> None:
        (self.root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, self.root / name)

    def program(self, name: str, body: str) -> None:
        (self.bin / name).write_text(f"#!{shutil.which('bash')}\n{body}\n")
        (self.bin / name).chmod(0o755)

    def python(self, name: str = "python3") -> None:
        self.program(name, f'exec "{sys.executable}" "$@"')

    def __call__(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess:
        environment = {
            "PATH": str(self.bin), "HOME": str(self.root.parent), "CALLS": str(self.calls),
            "REAL_PYTHON": sys.executable, "PIP_NO_INDEX": "1", **variables,
        }  # fmt: skip
        command = [str(self.bin / "bash"), str(self.root / "run_all.sh"), *arguments]
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)

    def chosen(self, **variables: str) -> dict[str, str]:
        done = self(OSTEO_DRY_RUN="1", **variables)
        assert done.returncode == 0, done.stderr
        return dict(line.split(": ", 1) for line in done.stdout.splitlines())


@pytest.fixture
def door(tmp_path: Path) -> Door:
    return Door(tmp_path)


def test_help_needs_no_python_and_names_every_word_and_option(door: Door) -> None:
    done = door("--help")
    assert (done.returncode, done.stderr) == (0, "")
    for word in command_line.TYPED:
        assert f"./run_all.sh {word}" in done.stdout
    for option in {option for options in command_line.COMMANDS.values() for option in options}:
        assert option in done.stdout
    for variable in set(re.findall(r"\bOSTEO_[A-Z_]+", (ROOT / "run_all.sh").read_text("utf-8"))):
        assert variable in done.stdout


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        (["phantm"], "'phantom'"),
        (["knee74"], "'knee744'"),
        (["publsh", "phantom"], "'publish'"),
        (["kagle"], "'kaggle'"),
        (["publish", "phantim"], "'phantom'"),
        (["phantom", "--core", "2"], "'--cores'"),
        (["--forse"], "'--force'"),
        (["own", "--dat", "x"], "'--data'"),
        (["knee744", "--externl", "x"], "'--external'"),
        (["knee744", "--osteopenia", "osteoporos"], "'osteoporosis'"),
        (["own", "--classes", "normal=ok", "osteoporos=x"], "'osteoporosis'"),
    ],
)
def test_a_wrong_word_gets_the_nearest_right_one(said: list[str], meant: str, capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit, match="2"):
        command_line.parse(said)
    assert f"did you mean {meant}?" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (["audit", ""], "'' names no folder; expected a folder of films"),
        (["audit", "films", "--against", ""], "'' names no folder"),
        (
            ["audit", "films", "--classes", "normal="],
            "expected CLASS=FOLDER, such as normal='Normal Knee'; name the folder",
        ),
    ],
)
def test_an_empty_word_is_no_folder(said: list[str], reason: str, capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit, match="2"):
        command_line.parse(said)
    assert reason in capsys.readouterr().err


def test_a_wrong_word_costs_no_installation(door: Door) -> None:
    door.python()
    door.program("uv", UV)
    done = door("phantm")
    assert done.returncode == 2
    assert "did you mean 'phantom'?" in done.stderr
    assert not door.calls.exists()


@pytest.mark.parametrize("command", commands.MODULES)
def test_a_command_explains_itself_without_an_installation(command: str, door: Door) -> None:
    general = door(command, "--help")
    assert (general.returncode, general.stderr) == (0, "")
    assert f"./run_all.sh {command}" in general.stdout, "without a Python the general help is all there is"
    door.python()
    door.program("uv", UV)
    own = door(command, "--help")
    assert own.stdout.startswith(f"usage: ./run_all.sh {command} [-h]")
    assert re.search(r"exit codes: 0 .*; 1 .*; 2 ", own.stdout)
    wrong = door(command, "--nonsense")
    assert wrong.returncode == 2 and "required" in wrong.stderr
    assert not door.calls.exists()


def test_the_words_of_a_command_reach_it_as_they_were_typed(door: Door) -> None:
    door.python()
    door.program("uv", UV)
    done = door("audit", "films of mine", "--classes", "normal=Normal Knee", "--page", "a.html")
    assert done.stdout == "run audit films of mine --classes normal=Normal Knee --page a.html\n", done.stderr
    plain = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    assert door("audit", "B\u00e4r", **plain).stdout == "run audit B\u00e4r\n"
    assert command_line.parse(["claims", "-", "--images", "744"]).extra == ["-", "--images", "744"]


def test_programs_keep_their_byte_code_even_where_the_machine_forbids_it(door: Door) -> None:
    door.python()
    door.program("uv", UV)
    (door.root / "workflow" / "run.py").write_text("import sys\nprint(sys.dont_write_bytecode)\n")
    assert door("phantom", PYTHONDONTWRITEBYTECODE="1").stdout == "False\n"


def test_a_film_is_read_by_a_study_that_there_is(capsys: pytest.CaptureFixture) -> None:
    assert command_line.parse(["predict", "knee744", "a.png", "b.dcm"]).extra == ["knee744", "a.png", "b.dcm"]
    with pytest.raises(SystemExit, match="2"):
        command_line.parse(["predict", "knee74", "a.png"])
    assert "'knee74' is no study; did you mean 'knee744'?" in capsys.readouterr().err


def test_runs_that_are_compared_are_studies_or_folders_that_there_are(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    assert command_line.parse(["compare", "phantom", str(tmp_path)]).extra == ["phantom", str(tmp_path)]
    assert command_line.parse(["figures", "knee744"]).extra == ["knee744"]
    for said, reason in {
        ("compare", "phantom", "knee74"): "'knee74' is no study and no folder; did you mean 'knee744'?",
        ("compare", "", "phantom"): "'' is no study and no folder",
        ("figures", "phantm"): "'phantm' is no study; did you mean 'phantom'?",
    }.items():
        with pytest.raises(SystemExit, match="2"):
            command_line.parse(said)
        assert reason in capsys.readouterr().err


LEAVE = """
import os, sys
from osteo_utils.study import commands
def main(words, door):
    print(os.environ["HOME"], file=sys.stderr)
    print(os.access(os.environ["HOME"], os.W_OK), file=sys.stderr)
    commands.show(["f\\u00e4rbig.png"] * 9000)
    return 1
sys.exit(commands.run(main, []))
"""


def test_a_command_keeps_its_verdict_where_nobody_reads_and_nothing_can_be_written(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    # Below a file no folder can be made, whoever asks.
    variables = {**os.environ, "HOME": f"{__file__}/home", "PYTHONIOENCODING": "ascii", "TMPDIR": str(tmp_path)}
    leave = [sys.executable, "-c", LEAVE]
    gone = subprocess.run(leave, stdout=writer, stderr=subprocess.PIPE, text=True, env=variables, check=False)
    os.close(writer)
    assert gone.returncode == 1
    home, writable = gone.stderr.splitlines()
    assert Path(home).parent == tmp_path and writable == "True" and not Path(home).exists()
    read = subprocess.run(leave, capture_output=True, text=True, env=variables, check=False)
    assert (read.returncode, read.stdout) == (1, "f\\xe4rbig.png\n" * 9000)


@pytest.mark.parametrize("command", ["claims", "phantom"])
def test_an_error_that_nobody_expected_is_one_line_and_with_debug_a_traceback(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    def broken(*_arguments: object, **_options: object) -> int:
        raise KeyError("image_id")

    monkeypatch.setattr(run, "run_study", broken)
    monkeypatch.setattr("osteo_utils.papers.claims.main", broken)
    monkeypatch.setattr(os, "environ", dict(os.environ))
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO()))
    monkeypatch.setattr(sys, "argv", ["run.py", command, *(["report.txt"] if command == "claims" else [])])
    with pytest.raises(SystemExit, match="2"):
        run.main()
    told = capsys.readouterr().err
    assert "KeyError: 'image_id'" in told and "--debug" in told and "Traceback" not in told
    monkeypatch.setattr(sys, "argv", [*sys.argv, "--debug"])
    with pytest.raises(KeyError):
        run.main()


def test_an_external_set_and_a_rule_are_understood(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    said = ["own", "--data", str(tmp_path), "--name", "mine", f"--external={tmp_path}", "--osteopenia", "normal"]
    request = command_line.parse(said)
    assert (request.external, request.osteopenia) == (tmp_path.resolve(), "normal")
    with pytest.raises(SystemExit, match="2"):
        command_line.parse(["phantom", "--external", str(tmp_path / "none")])
    assert re.search(r"--external: '.*/none' does not exist; expected a folder", capsys.readouterr().err)


def test_what_follows_two_dashes_is_not_read() -> None:
    request = command_line.parse(["phantom", "--cores=3", "--", "--force", "--nonsense"])
    assert (request.cores, request.force, request.extra) == (3, False, ["--force", "--nonsense"])
    assert command_line.parse([]).study == "phantom"
    assert command_line.parse(["test", "--all", "-k", "fold"]).extra == ["-k", "fold"]


@pytest.mark.parametrize(
    ("listing", "lock"),
    [
        ("echo 'GPU 0: NVIDIA H200 (UUID: GPU-1b)'", "requirements-gpu.lock"),
        ("echo 'No devices found.'", "requirements.lock"),
        ("echo 'NVIDIA-SMI has failed because it could not talk to the driver'; exit 9", "requirements.lock"),
        (None, "requirements.lock"),
    ],
)
def test_the_lock_follows_what_nvidia_smi_lists(door: Door, listing: str | None, lock: str) -> None:
    if listing:
        door.program("nvidia-smi", listing)
    assert door.chosen()["lock"] == lock
    assert door.chosen(OSTEO_LOCK="gpu")["lock"] == "requirements-gpu.lock"
    assert door.chosen(OSTEO_LOCK="cpu")["lock"] == "requirements.lock"


def test_conda_is_used_where_there_is_one_and_venv_elsewhere(door: Door) -> None:
    assert door.chosen()["environment"] == "venv"
    door.program("micromamba", CONDA)
    assert door.chosen()["environment"] == "conda"
    assert door.chosen(OSTEO_ENV="venv")["environment"] == "venv"
    binder = door.chosen(NB_PYTHON_PREFIX="/srv/conda/envs/notebook")
    assert binder["python"] == "/srv/conda/envs/notebook/bin/python"
    active = door.chosen(CONDA_DEFAULT_ENV="osteo", CONDA_PREFIX="/envs/osteo")
    assert active["python"] == "/envs/osteo/bin/python"


@pytest.mark.parametrize(
    "variables",
    [{"OSTEO_LOCK": "tpu"}, {"OSTEO_ENV": "docker"}, {"OSTEO_ENV": "conda"}, {"OSTEO_PYTHON": "/no/python"}],
)
def test_a_setting_that_cannot_be_met_is_named(door: Door, variables: dict[str, str]) -> None:
    done = door(**variables)
    assert done.returncode == 2
    ((name, value),) = variables.items()
    assert name in done.stderr
    assert value in done.stderr


def test_too_old_a_python_is_said_with_what_to_do(door: Door) -> None:
    for name in ("python3", "python"):
        door.program(name, '[ "$1" = --version ] || exit 1; echo "Python 3.9.2"')
    done = door()
    assert done.returncode == 2
    assert "Python 3.11, 3.12 or 3.13 is needed, and Python 3.9.2 was found" in done.stderr


def test_a_python_without_venv_is_said_with_what_to_do(door: Door) -> None:
    door.program("python3", f'case "$*" in *ensurepip*) exit 1 ;; esac; exec "{sys.executable}" "$@"')
    done = door("phantom")
    assert done.returncode == 2
    assert "python3-venv" in done.stderr


def test_the_environment_is_made_once_and_again_when_the_lock_changes(door: Door) -> None:
    door.python()
    door.program("uv", UV)
    first = door("phantom", "--cores", "1")
    assert first.stdout == "run phantom --cores 1\n", first.stderr
    calls = door.calls.read_text()
    assert f"-r {door.root}/requirements.lock" in calls
    assert f"--no-deps --no-build-isolation -e {door.root}" in calls
    assert door("phantom").stdout == "run phantom\n"
    assert door.calls.read_text() == calls
    with (door.root / "requirements.lock").open("a") as lock:
        lock.write("one-more==1.0\n")
    assert door("phantom").returncode == 0
    assert door.calls.read_text() == 2 * calls


def test_an_interrupted_installation_is_made_anew(door: Door) -> None:
    door.python()
    door.program("uv", UV)
    assert door("phantom", PULL_THE_PLUG="1").returncode == -signal.SIGKILL
    (door.root / ".venv" / "left-over").touch()
    assert door("phantom").stdout == "run phantom\n"
    assert not (door.root / ".venv" / "left-over").exists()


def test_an_environment_that_somebody_else_made_is_completed_not_deleted(door: Door) -> None:
    door.python()
    door.program("uv", UV)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", door.root / ".venv"], check=True)
    (door.root / ".venv" / "theirs").touch()
    assert door("phantom").returncode == 0
    assert (door.root / ".venv" / "theirs").exists()
    assert "uv venv" not in door.calls.read_text()


def test_conda_makes_its_environment_inside_the_project(door: Door) -> None:
    door.program("conda", CONDA)
    door.program("uv", UV)
    assert door("phantom").stdout == "run phantom\n"
    assert f"-p {door.root}/.conda" in door.calls.read_text()
    assert f"--python {door.root}/.conda/bin/python" in door.calls.read_text()


def test_a_conda_that_fails_is_said_and_a_venv_is_made(door: Door) -> None:
    door.python()
    door.program("conda", "exit 1")
    door.program("uv", UV)
    done = door("phantom")
    assert done.stdout == "run phantom\n"
    assert "going on with .venv" in done.stderr


def test_two_installations_do_not_meet(door: Door) -> None:
    door.python()
    door.program("uv", UV)
    (door.root / ".install.lock").mkdir()
    (door.root / ".install.lock" / "pid").write_text(f"{os.getpid()}\n")
    assert door("phantom").returncode == 3
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    (door.root / ".install.lock" / "pid").write_text(f"{gone.pid}\n")
    assert door("phantom").returncode == 0


def test_ci_calls_run_all_test_and_nothing_else() -> None:
    lines = (ROOT / ".ci" / "run").read_text("utf-8").splitlines()
    assert lines[-1] == "exec ./run_all.sh test"
    assert all(line.startswith(("#", "set ", "cd ")) for line in lines[:-1])
    assert "run: .ci/run" in (ROOT / ".github" / "workflows" / "test.yml").read_text("utf-8")
