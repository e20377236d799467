"""The files by which Docker, a dev container, Binder, Colab and GitHub Pages reach the project name what there is."""

import json
import re
import shlex
import subprocess
from fnmatch import fnmatch
from pathlib import Path

import nbclient
import nbformat
import pytest
import yaml
from packaging.specifiers import SpecifierSet

import command_line
from osteo_utils.study import paths

ROOT = paths.code_root()
PYTHONS = SpecifierSet(re.search(r'^requires-python = "(.+)"', (ROOT / "pyproject.toml").read_text("utf-8"), re.M)[1])
DOCKERFILE = (ROOT / "Dockerfile").read_text("utf-8")
CONTAINER = json.loads((ROOT / ".devcontainer" / "devcontainer.json").read_text("utf-8"))
COLAB = json.loads((ROOT / "notebooks" / "colab.ipynb").read_text("utf-8"))
# As the runner fills them in.
PAGES = yaml.safe_load(
    (ROOT / ".github" / "workflows" / "pages.yml")
    .read_text("utf-8")
    .replace("$GITHUB_SERVER_URL/$GITHUB_REPOSITORY", "https://github.com/OWNER/NAME")
)
COLAB_CODE = "".join("".join(cell["source"]) + "\n" for cell in COLAB["cells"] if cell["cell_type"] == "code")


def instructions(kind: str) -> list[str]:
    return re.findall(rf"^{kind} (.+)$", DOCKERFILE, re.M)


@pytest.mark.parametrize("text", [*instructions("FROM"), CONTAINER["image"], "python:" + str(
    PAGES["jobs"]["build"]["steps"][1]["with"]["python-version"]
)])  # fmt: skip
def test_every_base_has_a_python_that_the_project_accepts(text: str) -> None:
    version = re.search(r"python:(3\.\d+)", text)[1]
    assert f"{version}.0" in PYTHONS
    # The version that the numbers of the README come from.
    assert f"python={version} " in (ROOT / "environment.yml").read_text("utf-8")


@pytest.mark.parametrize(
    "line",
    [
        *re.findall(r"\./run_all\.sh[^&|\n\"]*", DOCKERFILE),
        " ".join(json.loads(instructions("CMD")[0])),
        CONTAINER["postCreateCommand"],
        *re.findall(r"\./run_all\.sh.*", COLAB_CODE),
        PAGES["jobs"]["build"]["steps"][2]["run"],
    ],
)
def test_every_call_of_run_all_is_one_that_it_understands(line: str) -> None:
    program, *words = shlex.split(line)
    assert (ROOT / program).is_file()
    assert command_line.parse(words).command in command_line.COMMANDS


def test_the_image_runs_as_a_user_who_owns_what_it_writes() -> None:
    (user,) = instructions("USER")
    after = DOCKERFILE[DOCKERFILE.index(f"USER {user}") :]
    assert user != "root"
    assert f"COPY --chown={user}:{user} . ." in after
    home = re.search(r"OSTEO_HOME=(\S+)", after)[1]
    assert home in re.search(rf"install -d -o {user} -g {user} (.+)", DOCKERFILE)[1].split()


def test_the_image_publishes_the_port_that_jupyterlab_listens_on_and_keeps_its_token() -> None:
    (port,) = instructions("EXPOSE")
    assert f"-p 127.0.0.1:{port}:{port}" in DOCKERFILE and CONTAINER["forwardPorts"] == [int(port)]
    assert "token" not in " ".join(instructions("CMD")) and "password" not in DOCKERFILE


@pytest.mark.parametrize(
    ("path", "goes"),
    [
        ("run_all.sh", True), ("requirements.lock", True), ("osteo_utils", True), ("notebooks", True),
        ("config", True), ("reports/published", True), ("data", False), (".git", False), (".venv", False),
        ("reports/phantom", False), (".install.log", False),
    ],
)  # fmt: skip
def test_the_image_gets_the_project_and_no_data(path: str, goes: bool) -> None:
    lines = [line for line in (ROOT / ".dockerignore").read_text("utf-8").splitlines() if not line.startswith("#")]
    kept = True
    for line in lines:
        if fnmatch(path, line.removeprefix("!")):
            kept = line.startswith("!")
    assert kept == goes


def test_colab_needs_an_address_and_says_so() -> None:
    cells = [cell for cell in COLAB["cells"] if cell["cell_type"] == "code"]
    assert cells[0]["metadata"]["tags"] == ["parameters"]
    first = "\n".join("".join(cell["source"]) for cell in cells[:2])
    with pytest.raises(SystemExit, match="address of the project"):
        exec(first, {})
    exec(first.replace('repository = ""', 'repository = "https://example.org/a"'), {})


def test_a_command_that_fails_on_colab_stops_the_notebook(tmp_path: Path) -> None:
    """The cell that copies the project and runs it, in a kernel, with a project of one script; then with none."""
    source = next("".join(c["source"]) for c in COLAB["cells"] if "".join(c["source"]).startswith("%%bash"))
    project, tools = tmp_path / "project", tmp_path / "tools"
    for folder in (project, tools):
        folder.mkdir()
    (project / "run_all.sh").write_text('#!/bin/sh\necho "asked for $1 with $OSTEO_ENV"\nexit "${FAIL:-0}"\n')
    (tools / "pip").write_text("#!/bin/sh\n")
    for script in (project / "run_all.sh", tools / "pip"):
        script.chmod(0o755)
    author = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    for words in (["init", "--quiet"], ["add", "."], [*author, "commit", "--quiet", "-m", "one"]):
        subprocess.run(["git", *words], cwd=project, check=True)

    def run(repository: str, folder: str, fail: str) -> str:
        (tmp_path / folder).mkdir()
        cells = [
            f"import os\nos.environ.update(FAIL={fail!r})\nos.environ['PATH'] = {str(tools)!r} + ':' + os.environ['PATH']"
        ]
        cells += [f"repository = {repository!r}", source]
        notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
        nbclient.NotebookClient(notebook, resources={"metadata": {"path": str(tmp_path / folder)}}).execute()
        return "".join(output.get("text", "") for output in notebook.cells[-1].outputs)

    assert "asked for quick with venv" in run(f"file://{project}", "good", "0")
    for repository, fail in ((f"file://{project}", "7"), (f"file://{tmp_path}/nothing", "0")):
        with pytest.raises(nbclient.exceptions.CellExecutionError, match="CalledProcessError"):
            run(repository, f"bad{fail}", fail)


def test_the_pages_are_made_from_published_results_with_no_more_rights_than_needed() -> None:
    assert PAGES["permissions"] == {"contents": "read"}
    assert PAGES["jobs"]["deploy"]["permissions"] == {"pages": "write", "id-token": "write"}
    build = PAGES["jobs"]["build"]["steps"]
    study = command_line.parse(shlex.split(build[2]["run"])[1:]).study
    assert (ROOT / "reports" / "published" / study / "claims.json").is_file()
    assert build[3]["with"]["path"] == f"reports/{study}/site"
    used = [step["uses"] for job in PAGES["jobs"].values() for step in job["steps"] if "uses" in step]
    assert all(re.fullmatch(r"actions/[\w-]+@v\d+", action) for action in used)
