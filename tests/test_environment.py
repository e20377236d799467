"""One list of dependencies, two locks and environment.yml: that they say the same."""

import importlib.metadata
import re
import sys
import tomllib

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from osteo_utils.study import paths

ROOT = paths.code_root()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
LOCKS = {"cpu": ROOT / "requirements.lock", "gpu": ROOT / "requirements-gpu.lock"}
ALL_LOCKS = LOCKS | {"site": ROOT / "requirements-site.lock"}
MACHINES = [
    {"python_full_version": f"3.{minor}.9", "python_version": f"3.{minor}", **system}
    for minor in (11, 12, 13)
    for system in (
        {"sys_platform": "linux", "platform_system": "Linux", "os_name": "posix", "platform_machine": "x86_64"},
        {"sys_platform": "linux", "platform_system": "Linux", "os_name": "posix", "platform_machine": "aarch64"},
        {"sys_platform": "darwin", "platform_system": "Darwin", "os_name": "posix", "platform_machine": "arm64"},
    )
]


def locked(kind: str) -> list[Requirement]:
    return [Requirement(line) for line in ALL_LOCKS[kind].read_text("utf-8").splitlines()]


def direct(*extras: str) -> list[Requirement]:
    table = PROJECT["project"]
    listed = [*table["dependencies"], *(line for name in extras for line in table["optional-dependencies"][name])]
    return [Requirement(line) for line in listed]


def applies(requirement: Requirement, machine: dict[str, str]) -> bool:
    return requirement.marker is None or requirement.marker.evaluate(machine)


def pins(kind: str, machine: dict[str, str]) -> dict[str, str]:
    """Version of every package that the lock installs on `machine`; a package named twice is an error."""
    found: dict[str, str] = {}
    for requirement in locked(kind):
        if applies(requirement, machine):
            name = canonicalize_name(requirement.name)
            assert name not in found, f"{name} is locked twice for {machine}"
            found[name] = str(requirement.specifier).removeprefix("==")
    return found


@pytest.mark.parametrize("kind", ALL_LOCKS)
def test_every_line_of_a_lock_is_one_exact_version_and_nothing_else(kind: str) -> None:
    for line in ALL_LOCKS[kind].read_text("utf-8").splitlines():
        assert re.fullmatch(r"[a-z0-9.-]+==[0-9][^\s;/]*( ; [^/]+)?", line), line


@pytest.mark.parametrize("machine", MACHINES, ids=lambda m: f"{m['python_version']}-{m['platform_machine']}")
@pytest.mark.parametrize("kind", LOCKS)
def test_a_lock_fulfils_every_direct_dependency(kind: str, machine: dict[str, str]) -> None:
    chosen = pins(kind, machine)
    for requirement in direct(kind, "dev"):
        if applies(requirement, machine):
            name = canonicalize_name(requirement.name)
            assert name in chosen, f"{name} is not in {LOCKS[kind].name}"
            assert requirement.specifier.contains(chosen[name]), f"{name} {chosen[name]} against {requirement}"


def test_the_locks_differ_in_tensorflow_and_nvidia_alone() -> None:
    cpu, gpu = ({str(requirement) for requirement in locked(kind)} for kind in LOCKS)
    different = {Requirement(line).name for line in cpu ^ gpu}
    assert {name for name in different if not name.startswith(("tensorflow", "nvidia-"))} == set()
    assert any(name.startswith("nvidia-cudnn") for name in different)


@pytest.mark.parametrize("machine", MACHINES, ids=lambda m: f"{m['python_version']}-{m['platform_machine']}")
def test_the_lock_of_the_site_adds_packages_and_changes_none(machine: dict[str, str]) -> None:
    study, site = pins("cpu", machine), pins("site", machine)
    assert {name: version for name, version in site.items() if name in study and study[name] != version} == {}
    for requirement in direct("site"):
        assert requirement.specifier.contains(site[canonicalize_name(requirement.name)])


def test_the_project_can_be_built_from_what_is_locked() -> None:
    for line in PROJECT["build-system"]["requires"]:
        wanted = Requirement(line)
        for machine in MACHINES:
            assert wanted.specifier.contains(pins("cpu", machine)[wanted.name])


def test_environment_yml_installs_the_cpu_lock_and_the_project() -> None:
    content = yaml.safe_load((ROOT / "environment.yml").read_text("utf-8"))
    plain = [entry for entry in content["dependencies"] if isinstance(entry, str)]
    (pip,) = [entry["pip"] for entry in content["dependencies"] if isinstance(entry, dict)]
    assert pip == ["-r requirements.lock", "-e ."]
    assert "pip" in plain
    (python,) = [entry.partition("=")[2] for entry in plain if entry.startswith("python=")]
    assert f"{python}.0" in Requirement(f"python{PROJECT['project']['requires-python']}").specifier


def test_run_all_accepts_the_pythons_that_the_project_accepts() -> None:
    text = (ROOT / "run_all.sh").read_text("utf-8")
    (low, high) = re.search(r"not \(3, (\d+)\) <= sys\.version_info\[:2\] <= \(3, (\d+)\)", text).groups()
    accepted = Requirement(f"python{PROJECT['project']['requires-python']}").specifier
    assert [minor for minor in range(8, 20) if f"3.{minor}.0" in accepted] == list(range(int(low), int(high) + 1))


def test_every_direct_dependency_says_why_it_is_there() -> None:
    text = (ROOT / "pyproject.toml").read_text("utf-8")
    lines = re.findall(r'^\s+"[A-Za-z0-9_\[\]-]+[<>=].*$', text, re.MULTILINE)
    # The two markers of the CPU TensorFlow leave no room on their own lines; the reason stands above them.
    unexplained = [line for line in lines if "#" not in line and "tensorflow" not in line]
    assert unexplained == []
    assert len(lines) > 25


def test_the_running_environment_is_the_locked_one() -> None:
    installed = {
        canonicalize_name(entry.metadata["Name"]): entry.version for entry in importlib.metadata.distributions()
    }
    kind = "gpu" if "tensorflow" in installed and any(name.startswith("nvidia-") for name in installed) else "cpu"
    here = {
        canonicalize_name(requirement.name): str(requirement.specifier).removeprefix("==")
        for requirement in locked(kind)
        if requirement.marker is None or requirement.marker.evaluate()
    }
    assert {name: installed.get(name) for name in here} == here, f"make {sys.prefix} anew with ./run_all.sh"
