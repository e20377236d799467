"""What stands behind `run_all.sh`: bad input, the command line of Snakemake, the run."""

import json
import os
import shlex
import shutil
import sys
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from samples import fill
from snakemake.common.configfile import load_configfile

import command_line
import run
import run_lock
from osteo_utils.study import config, paths


def classes(folder: Path, **counts: int) -> Path:
    for name, count in counts.items():
        (folder / name).mkdir(parents=True)
        for number in range(count):
            (folder / name / f"{number}.png").write_bytes(b"x")
    return folder


def answer(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["run.py", *arguments])
    try:
        return run.main()
    except SystemExit as ended:
        return ended.code


class TestBadInput:
    @pytest.fixture(autouse=True)
    def no_snakemake(self, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(run, "_run_and_follow", lambda *_: pytest.fail("the workflow was started"))

    def said(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, *arguments: str) -> str:
        assert answer(monkeypatch, *arguments) == 2
        return capsys.readouterr().err

    def test_a_path_that_does_not_exist(self, tmp_path, monkeypatch, capsys) -> None:
        text = self.said(monkeypatch, capsys, "knee744", "--data", str(tmp_path / "nowhere"))
        assert "nowhere' does not exist" in text

    def test_a_folder_without_the_two_classes(self, tmp_path, monkeypatch, capsys) -> None:
        folder = classes(tmp_path / "films", normal=1, broken=1)
        assert "osteoporosis" in self.said(monkeypatch, capsys, "knee744", "--data", str(folder))

    def test_an_empty_class(self, tmp_path, monkeypatch, capsys) -> None:
        folder = classes(tmp_path / "films", normal=1, osteoporosis=0)
        text = self.said(monkeypatch, capsys, "own", "--data", str(folder), "--name", "mine")
        assert "osteoporosis" in text
        assert not (tmp_path / "data" / "interim" / "mine").exists()

    def test_an_unknown_study(self, monkeypatch, capsys) -> None:
        assert "did you mean 'knee744'?" in self.said(monkeypatch, capsys, "knee743")

    def test_the_name_of_a_committed_study(self, tmp_path, monkeypatch, capsys) -> None:
        folder = classes(tmp_path / "films", normal=1, osteoporosis=1)
        text = self.said(monkeypatch, capsys, "own", "--data", str(folder), "--name", "knee744")
        assert "'knee744' is taken" in text

    def test_the_real_set_where_it_is_not(self, monkeypatch, capsys) -> None:
        text = self.said(monkeypatch, capsys, "knee744")
        assert "--data DIR" in text
        assert "./run_all.sh kaggle" in text

    def test_films_for_the_synthetic_study(self, tmp_path, monkeypatch, capsys) -> None:
        assert "draws its own films" in self.said(monkeypatch, capsys, "phantom", "--data", str(tmp_path))

    def test_an_external_set_without_the_two_classes(self, tmp_path, monkeypatch, capsys) -> None:
        folder = classes(tmp_path / "others", normal=1)
        text = self.said(monkeypatch, capsys, "phantom", "--external", str(folder))
        assert "others: lacks osteoporosis/" in text

    @pytest.mark.parametrize("place", ["films", "films/others"])
    def test_an_external_set_inside_the_study_s_own(self, place, tmp_path, monkeypatch, capsys) -> None:
        folder = classes(tmp_path / "films", normal=1, osteoporosis=1)
        if place != "films":
            classes(tmp_path / place, normal=1, osteoporosis=1)
        said = ("own", "--data", str(folder), "--name", "mine", "--external", str(tmp_path / place))
        assert "must be films of another source" in self.said(monkeypatch, capsys, *said)
        assert not (tmp_path / "data" / "interim" / "mine").exists()

    @pytest.mark.parametrize("cores", ["0", "-1", "two"])
    def test_a_wrong_number_of_cores(self, cores, monkeypatch, capsys) -> None:
        assert "--cores" in self.said(monkeypatch, capsys, "phantom", f"--cores={cores}")


def test_own_takes_a_split_in_folders_and_says_so(home, tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.setattr(run, "_run_and_follow", lambda *_: 0)
    for side in ("train", "val", "test"):
        classes(tmp_path / "films" / side, normal=1, osteoporosis=1)
    assert answer(monkeypatch, "own", "--data", str(tmp_path / "films"), "--name", "mine") == 0
    assert "the films of test/, train/, val/ are studied together" in capsys.readouterr().out


def test_names_of_class_folders_are_asked_for_and_kept_with_the_study(home, tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.setattr(run, "_run_and_follow", lambda *_: 0)
    folder = classes(tmp_path / "films", **{"Normal Knee": 1, "OP": 1, "odd": 2})
    own = ["own", "--data", str(folder), "--name", "mine"]
    assert answer(monkeypatch, *own) == 2
    proposed = capsys.readouterr().err.partition("say which is which: ")[2]
    assert proposed.strip() == "--classes normal='Normal Knee' osteoporosis=OP"
    assert not paths.StudyPaths("mine").own_config.exists()
    assert answer(monkeypatch, *own, *shlex.split(proposed)) == 0
    assert "not used: the folder odd/ with 2 files" in capsys.readouterr().out
    assert config.load("mine")["classes"] == ["normal=Normal Knee", "osteoporosis=OP"]
    for again in (["mine"], own):
        assert answer(monkeypatch, *again) == 0
        assert config.load("mine")["classes"] == ["normal=Normal Knee", "osteoporosis=OP"]


@pytest.mark.parametrize(
    ("name", "table", "said"),
    [
        ("Patients.csv", "file;name\nnormal/0.png;P1\n", "Patients.csv: no patient in the header 'file', 'name'"),
        ("decisions.csv", "image_id,verdict,who,when\nnormal/9.png,keep,Ada,2026-11-28\n",
         "decisions.csv, row 2: there is no film 'normal/9.png'"),
        ("about.yaml", "title: x\nfundng: a bank\n", "line 2: unknown field 'fundng'; did you mean 'funding'?"),
    ],
)  # fmt: skip
def test_a_bad_table_stops_a_study_before_it_starts(home, tmp_path, monkeypatch, capsys, name, table, said) -> None:
    monkeypatch.setattr(run, "_run_and_follow", lambda *_: pytest.fail("the workflow was started"))
    folder = classes(tmp_path / "films", normal=1, osteoporosis=1)
    (folder / name).write_text(table)
    assert answer(monkeypatch, "own", "--data", str(folder), "--name", "mine") == 2
    assert said in capsys.readouterr().err


def test_a_place_where_no_result_can_be_written_is_named(tmp_path, monkeypatch, capsys) -> None:
    folder = classes(tmp_path / "films", normal=1, osteoporosis=1)
    (tmp_path / "file").write_text("x")
    monkeypatch.setenv("OSTEO_HOME", str(tmp_path / "file" / "home"))
    assert answer(monkeypatch, "own", "--data", str(folder), "--name", "mine") == 2
    said = capsys.readouterr().err
    assert f"{tmp_path}/file/home: Not a directory; set OSTEO_HOME to a folder that can be written" in said


def test_own_makes_a_study_that_can_be_named_afterwards(home, tmp_path, monkeypatch) -> None:
    started = []
    monkeypatch.setattr(run, "_run_and_follow", lambda request, study, *_: started.append(study.study) or 0)
    folder = classes(tmp_path / "films", normal=1, osteoporosis=1)
    assert answer(monkeypatch, "own", "--data", str(folder), "--name", "mine") == 0
    assert config.load("mine")["data_dir"] == str(folder)
    assert answer(monkeypatch, "mine") == 0
    assert started == ["mine", "mine"]


def test_the_command_line_of_snakemake(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "gpus", list)
    phantom = paths.StudyPaths("phantom")
    plain = run.snakemake_command(command_line.parse(["phantom", "--cores", "2"]), phantom)
    assert "--forceall" not in plain
    assert plain[plain.index("--directory") + 1] == str(home)
    assert plain[plain.index("--cores") + 1] == "2"
    forced = run.snakemake_command(command_line.parse(["phantom", "--force", "--", "--until", "nb02"]), phantom)
    assert forced[-3:] == ["--forceall", "--until", "nb02"]
    monkeypatch.setattr(run, "gpus", lambda: ["0", "1", "2", "3"])
    assert run.snakemake_command(command_line.parse(["phantom"]), phantom).count("gpus=4") == 1


def test_the_command_to_go_on_asks_for_the_same(tmp_path: Path) -> None:
    typed = [
        "knee744",
        "--external",
        str(classes(tmp_path / "other films", normal=1)),
        "--osteopenia",
        "normal",
        "--cores",
        "2",
    ]
    request = command_line.parse([*typed, "--", "--until", "nb02"])
    again = shlex.split(command_line.parse([*typed, "--force", "--", "--until", "nb02"]).resume)
    assert again[0] == "./run_all.sh"
    assert command_line.parse(again[1:]) == request


def test_settings_arrive_in_the_parameters_as_they_were_typed(home: Path, tmp_path: Path, monkeypatch) -> None:
    films, others = (classes(tmp_path / name, normal=1, osteoporosis=1) for name in ("set: two #2", "{1e3} 'no' \"é\""))
    options = ["--data", str(films), "--external", str(others), "--osteopenia", "normal"]
    assert answer(monkeypatch, "knee744", *options, "--", "--list-rules") == 0
    parameters = yaml.safe_load((paths.StudyPaths("knee744").params / "01.yaml").read_text("utf-8"))
    assert (parameters["data_dir"], parameters["external_dir"]) == (str(films), str(others))


@pytest.mark.parametrize("name", ["no", "null", "e3"])
def test_a_study_may_have_a_name_that_yaml_reads_otherwise(name: str, home: Path, tmp_path: Path) -> None:
    request = command_line.parse(["phantom"])
    command = run.snakemake_command(request, paths.StudyPaths(name))
    assert load_configfile(command[command.index("--configfile") + 1])["study"] == name


# Whatever a file system takes as a name, and what YAML would read as something else.
NAMES = st.one_of(
    st.text(st.characters(codec="utf-8", exclude_characters="\0/"), min_size=1, max_size=20),
    st.sampled_from(
        [
            "inf",
            "no",
            "1e3",
            "012",
            "~",
            "null",
            "a: b",
            "a #b",
            "{a}",
            "'a",
            '"',
            " a ",
            "-a",
            "$HOME",
            "!x y",
            "a\x85b",
            "\u2028",
        ]
    ),
).filter(lambda name: name not in (".", "..") and len(name.encode()) < 200)


@pytest.mark.parametrize("examples", [60, pytest.param(1000, marks=pytest.mark.long)])
def test_any_name_of_a_folder_reaches_the_workflow_as_it_was_typed(home: Path, tmp_path: Path, examples: int) -> None:
    # The few are always the same ones; the many differ from run to run.
    @settings(max_examples=examples, deadline=None, derandomize=examples < 1000)
    @given(NAMES, NAMES, NAMES)
    def arrives(name: str, external: str, mapped: str) -> None:
        root = tmp_path / "films"
        root.mkdir()
        try:
            own = fill(root / "own" / name, {f"{mapped}/0.png": b"x", "osteoporosis/0.png": b"x"})
            other = classes(root / "other" / external, normal=1, osteoporosis=1)
            words = ["own", f"--data={own}", "--name=mine", f"--external={other}"]
            # A folder that is called normal, in whatever case, needs no other name.
            words += [] if mapped.strip().lower() == "normal" else ["--classes", f"normal={mapped}"]
            request = command_line.parse(words)
            study = run.checked_study(request)
            file = run.snakemake_command(request, study)
            given_on = load_configfile(file[file.index("--configfile") + 1])
            kept = config.load("mine")
            assert given_on["data_dir"] == kept["data_dir"] == str(own)
            assert given_on["external_dir"] == kept["external_dir"] == str(other)
            assert kept["classes"] == ([] if len(words) == 4 else [f"normal={mapped}"])
        except (SystemExit, ValueError) as refused:
            # What is refused is refused for a name that means something else, and says so.
            assert not isinstance(refused, SystemExit)
            assert mapped in str(refused) or repr(mapped) in str(refused)
        finally:
            shutil.rmtree(root)
            shutil.rmtree(paths.StudyPaths("mine").interim, ignore_errors=True)

    arrives()


def test_an_own_study_is_made_with_its_external_set(home, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(run, "_run_and_follow", lambda *_: 0)
    films, others = (classes(tmp_path / name, normal=1, osteoporosis=1) for name in ("films", "others"))
    assert answer(monkeypatch, "own", "--data", str(films), "--name", "mine", "--external", str(others)) == 0
    assert config.load("mine")["external_dir"] == str(others)


def test_a_report_is_checked_through_the_door(tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.setattr(run, "environment", dict)
    lines = ["normal 0.97 0.99 0.98 372", "osteoporosis 0.99 0.98 0.98 474", "accuracy 0.98 846"]
    (tmp_path / "report.txt").write_text("\n".join(lines))
    assert answer(monkeypatch, "claims", str(tmp_path / "report.txt")) == 0
    assert "Contradictions: none" in capsys.readouterr().out
    assert answer(monkeypatch, "claims", str(tmp_path / "report.txt"), "--images", "744") == 1
    assert "846 > 744" in capsys.readouterr().out
    assert answer(monkeypatch, "claims", str(tmp_path / "none.txt")) == 2


def test_gpus_are_those_that_nvidia_smi_lists_or_the_user_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "nvidia-smi").write_text("#!/bin/sh\necho 'GPU 0: A (UUID: 1)'\necho 'GPU 1: A (UUID: 2)'\n")
    (tmp_path / "nvidia-smi").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    for name in ("OSTEO_LOCK", "CUDA_VISIBLE_DEVICES"):
        monkeypatch.delenv(name, raising=False)
    assert run.gpus() == ["0", "1"]
    assert run.environment()["CUDA_VISIBLE_DEVICES"] == "0,1"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", " 1 ")
    assert run.gpus() == ["1"]
    monkeypatch.setenv("OSTEO_LOCK", "cpu")
    assert run.gpus() == []


def test_kernels_get_settings_of_the_project_not_of_the_user(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KERAS_HOME", raising=False)
    child = run.environment()
    # JupyterLab and the tests are no part of a run: what ends a run must leave them alone.
    assert run_lock.MARK not in child
    settings = Path(child["IPYTHONDIR"]) / "profile_default" / "ipython_kernel_config.py"
    assert "log_level = 40" in settings.read_text("utf-8")
    lab = Path(child["JUPYTER_CONFIG_PATH"].split(os.pathsep)[0]) / "labconfig" / "default_setting_overrides.json"
    assert json.loads(lab.read_text("utf-8"))["@jupyterlab/apputils-extension:notification"]["fetchNews"] == "false"
    assert Path(child["KERAS_HOME"]).is_relative_to(home)
    assert child["PATH"].split(os.pathsep)[0] == str(Path(sys.executable).parent)


def test_jupyterlab_opens_the_notebooks_or_the_folder_that_is_named(home: Path, tmp_path: Path, monkeypatch) -> None:
    started: list[list[str]] = []
    monkeypatch.setattr(os, "execve", lambda _program, command, _variables: started.append(command[4:]))
    (tmp_path / "a course").mkdir()
    (tmp_path / "a course" / "start_here.ipynb").write_text("{}")
    for words in (["--no-browser"], ["a course", "--no-browser"], ["."]):
        monkeypatch.chdir(tmp_path)
        run.lab(command_line.parse(["lab", *words]))
    opens = "--LabApp.default_url=/lab/tree/"
    root = f"--ServerApp.root_dir={paths.code_root()}"
    assert started == [
        [root, f"{opens}notebooks/start_here.ipynb", "--no-browser"],
        [f"--ServerApp.root_dir={tmp_path / 'a course'}", f"{opens}start_here.ipynb", "--no-browser"],
        [f"--ServerApp.root_dir={tmp_path}"],
    ]
