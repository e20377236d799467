"""Threads, seeds, determinism, versions and hashes: what makes two runs comparable."""

from __future__ import annotations

import ast
import hashlib
import importlib.metadata
import json
import logging
import os
import platform
import random
import resource
import sys
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from osteo_utils.study import paths

REPORTED_PACKAGES = (
    "keras tensorflow-cpu tensorflow jax torch numpy scipy pandas scikit-learn scikit-image papermill snakemake"
).split()


def prepare(seed: int, threads: int | None = None) -> int:
    """Fix seeds, determinism switches and thread counts; returns the number of threads.

    Call it before Keras is imported: the backends read these variables once, when they start.
    `threads` defaults to `$OSTEO_THREADS`, else to every core this process may use.
    """
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    threads = threads or int(os.environ.get("OSTEO_THREADS", available))
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    # Take a GPU's memory as it is needed: a notebook and the processes that fit for it may share one.
    os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    os.environ["TF_DETERMINISTIC_OPS"] = "1"
    os.environ["TF_NUM_INTRAOP_THREADS"] = str(threads)
    os.environ["TF_NUM_INTEROP_THREADS"] = "1"
    os.environ["OMP_NUM_THREADS"] = str(threads)
    # NumPy's and SciPy's matrix products are small here: several threads would wait for each other longer than they
    # compute. The variable is for libraries that are not loaded yet.
    os.environ["OPENBLAS_NUM_THREADS"] = "1"
    threadpool_limits(1, user_api="blas")
    os.environ["OSTEO_THREADS"] = str(threads)
    # A notebook loads one small model per fold, and TensorFlow warns each time. Setting a level would not help:
    # TensorFlow sets its own on import.
    logging.getLogger("tensorflow").addFilter(_is_not_about_retracing)
    seed_everything(seed)
    return threads


def _is_not_about_retracing(record: logging.LogRecord) -> bool:
    return "tf.function retracing" not in record.getMessage()


def seed_everything(seed: int) -> None:
    """Seed Python, NumPy's global state and, if it is loaded, Keras."""
    random.seed(seed)
    # Some libraries still read the global state (imagehash, parts of scikit-image).
    np.random.seed(seed % 2**32)  # noqa: NPY002
    if "keras" in sys.modules:
        sys.modules["keras"].utils.set_random_seed(seed)


def derived_seed(*parts: object) -> int:
    """A seed in [0, 2**31) that depends on all of `parts` and on nothing else."""
    return int(hash_of([str(part) for part in parts])[:8], 16) % 2**31


def versions() -> dict[str, str]:
    """Versions of Python, the platform and the packages that numbers depend on."""
    found = {"python": platform.python_version(), "platform": f"{platform.system()} {platform.machine()}"}
    for name in REPORTED_PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    found["backend"] = os.environ.get("KERAS_BACKEND", "tensorflow")
    return found


def peak_memory_gib() -> float:
    """Largest resident memory of this process so far, in GiB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**30 if sys.platform == "darwin" else 2**20)


def sha256_file(path: Path) -> str:
    """SHA-256 of a file's bytes, as hex."""
    with Path(path).open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def hash_of(value: Any) -> str:
    """SHA-256 of a value made of dicts, lists, strings, numbers and NumPy arrays, as hex; key order does not matter."""
    text = json.dumps(value, sort_keys=True, default=_as_json, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _as_json(item: Any) -> Any:
    if isinstance(item, np.ndarray):
        digest = hashlib.sha256(f"{item.dtype}{item.shape}".encode())
        # Row by row, so that a large array that is not contiguous is never copied whole.
        for part in item if item.ndim > 1 else (item,):
            data = np.ascontiguousarray(part)
            digest.update(data.tobytes() if data.dtype == object else memoryview(data).cast("B"))
        return {"ndarray": digest.hexdigest()}
    if isinstance(item, np.generic):
        return item.item()
    if isinstance(item, Path):
        return str(item)
    raise TypeError(f"hash_of: cannot hash a {type(item).__name__}; give numbers, strings, lists, dicts or arrays")


def code_hash(sources: Iterable[Path]) -> str:
    """Hash of what the code in `sources` (`.py` or `.ipynb`) does: comments, docstrings, layout and prose left out."""
    return hash_of({path.name: _meaning(path) for path in sorted(set(sources))})


def rooms_used_by(notebook: Path) -> list[Path]:
    """Every module of the package that a notebook imports, directly or through another."""
    package = paths.code_root() / "osteo_utils"
    waiting, found = [notebook], set()
    while waiting:
        for module in _imported_modules(waiting.pop()):
            room = package.parent.joinpath(*module.split(".")).with_suffix(".py")
            if room.is_file() and room not in found:
                found.add(room)
                waiting.append(room)
    return sorted(found)


def data_used_by(rooms: Iterable[Path]) -> list[Path]:
    """Files of data and templates beside rooms that their code names: alone, in a folder, or in such a template."""
    found: set[Path] = set()
    for room in rooms:
        others = (path for path in room.parent.iterdir() if path.suffix != ".py" and path.name != "__pycache__")
        beside = {path.name: path for path in others}
        waiting = [beside[name] for name in _read(room.name, room.read_text("utf-8"))[2] & beside.keys()]
        while waiting:
            path = waiting.pop()
            if path.is_dir():
                waiting += path.iterdir()
            elif path not in found:
                found.add(path)
                text = path.read_text("utf-8") if path.suffix == ".j2" else ""
                waiting += [other for name, other in beside.items() if name in text]
    return sorted(found)


def notebook_code_hash(notebook: Path) -> str:
    """Hash of a notebook's code cells, of every module they reach, and of the data and templates that these name.

    The cell tagged `parameters` does not count: its values are hashed as parameters.
    """
    rooms = rooms_used_by(notebook)
    data = {path.relative_to(paths.code_root()).as_posix(): sha256_file(path) for path in data_used_by(rooms)}
    return hash_of({"code": code_hash([notebook, *rooms]), "data": data})


def _meaning(path: Path) -> str:
    return _read(path.name, path.read_text("utf-8"))[0]


def _imported_modules(path: Path) -> frozenset[str]:
    return _read(path.name, path.read_text("utf-8"))[1]


# The eight notebooks share most rooms. The text is part of the key, so an edited file is read anew.
@cache
def _read(name: str, text: str) -> tuple[str, frozenset[str], frozenset[str]]:
    """What the code of a file does, as text, the modules of the package that it imports, and the texts that it holds."""
    tree = _tree(name, text)
    modules, texts = set(), set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            modules.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            modules.add(node.module)
            modules.update(f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            texts.add(node.value)
        documented = isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        if documented and name.endswith(".py") and ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:]
    ours = frozenset(module for module in modules if module.split(".")[0] == "osteo_utils")
    return ast.dump(tree), ours, frozenset(texts)


def _tree(name: str, text: str) -> ast.Module:
    if name.endswith(".ipynb"):
        cells = [cell for cell in json.loads(text)["cells"] if cell["cell_type"] == "code"]
        cells = [cell for cell in cells if "parameters" not in cell["metadata"].get("tags", [])]
        text = "\n".join("".join(cell["source"]) for cell in cells)
    try:
        return ast.parse(text)
    except SyntaxError as error:
        raise ValueError(f"{name}: line {error.lineno} is not Python ({error.msg}); fix it and run again") from error
