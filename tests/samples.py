"""Small files that several test files make."""

import importlib.util
import io
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pydicom
import pytest
from PIL import Image
from pydicom import uid
from pydicom.dataset import FileDataset, FileMetaDataset
from scipy import ndimage

from osteo_utils.statistics.two_labels import GRADES
from osteo_utils.study import paths


def benchmark(name: str) -> ModuleType:
    """The script `benchmarks/<name>.py` as a module."""
    spec = importlib.util.spec_from_file_location(name, paths.code_root() / "benchmarks" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # where its data classes look for themselves
    spec.loader.exec_module(module)
    return module


def film(level: int, size: tuple[int, int] = (48, 64)) -> bytes:
    """A PNG of this width and height: a ramp that is brighter the higher its level."""
    width, height = size
    pixels = np.linspace(0, level, width * height).reshape(height, width).astype(np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


def fill(root: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    return root


def dicom_film(
    values: np.ndarray, photometric: str = "MONOCHROME2", syntax: str = uid.ExplicitVRLittleEndian,
    frames: list[bytes] | None = None, **elements: object,
) -> bytes:  # fmt: skip
    """A DICOM file of these values, 12 of 16 bits unless `elements` say otherwise; `frames` are compressed pictures.

    An element of None is left out.
    """
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = "1.2.840.10008.5.1.4.1.1.1", "1.2.3"
    meta.TransferSyntaxUID = uid.UID(syntax)
    data = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    colours = photometric.startswith(("RGB", "YBR"))
    data.Rows, data.Columns = values.shape[-3:-1] if colours else values.shape[-2:]
    data.SamplesPerPixel, data.PhotometricInterpretation = (3 if colours else 1), photometric
    data.BitsAllocated, data.BitsStored, data.PixelRepresentation = 16, 12, 0
    for name, value in elements.items():
        if value is None:
            delattr(data, name)
        else:
            setattr(data, name, value)
    if "HighBit" not in elements and "BitsStored" in data:
        data.HighBit = data.BitsStored - 1
    order = ">" if syntax == uid.ExplicitVRBigEndian else "<"
    kind = "i" if values.min() < 0 else "u"
    data.PixelData = values.astype(f"{order}{kind}{data.get('BitsAllocated', 16) // 8}").tobytes()
    data["PixelData"].VR = "OW"
    if frames is not None:
        data.PixelData = pydicom.encaps.encapsulate(frames)
        data["PixelData"].is_undefined_length = True
    stream = io.BytesIO()
    pydicom.dcmwrite(stream, data, enforce_file_format=True)
    return stream.getvalue()


def drawn_knee(height: int = 400, width: int = 200, left: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """A leg as bare geometry: soft tissue as a strip, a femur that widens at the knee, a tibia; and its bone."""
    rows, columns = np.mgrid[:height, :width]
    away = np.abs(columns - width / 2 - left)
    knee = np.exp(-(((rows - 0.45 * height) / (0.12 * height)) ** 2))
    bone = away < 0.11 * width + 0.14 * width * knee
    film = np.where(away < 0.38 * width, 90.0, 8.0)
    film[bone] = 190
    film = ndimage.gaussian_filter(film, 1.0) + np.random.default_rng(3).normal(0, 3, film.shape)
    return np.clip(film, 0, 255).astype(np.uint8), bone.astype(np.uint8)


def predictions(y_true, y_prob, groups=None, seed=0):
    """Predictions of one arm, one image per entry; a group per image unless told otherwise."""
    n = len(y_true)
    return pd.DataFrame(
        {
            "image_id": [f"i{i:04d}" for i in range(n)], "view": 0, "seed": seed,
            "group": np.arange(n) if groups is None else groups, "y_true": y_true, "y_prob": y_prob,
        }
    )  # fmt: skip


def arm(y_true, y_prob, groups=None, seed=0, prefix="i"):
    """A whole `predictions` table of one arm, one image per entry; a group per image unless told otherwise."""
    n = len(y_true)
    return pd.DataFrame(
        {
            "image_id": [f"{prefix}{i}" for i in range(n)], "view": 0, "protocol": "grouped", "recipe": "none",
            "variant": "full", "seed": seed, "fold": np.arange(n) % 5,
            "group": np.arange(n) if groups is None else groups, "y_true": y_true, "y_prob": y_prob,
        }
    )  # fmt: skip


def whole_networks(random_weights, size):
    """Keras's own VGG16 and ResNet50, pooled, with these weights."""
    import keras

    def built(name, given):
        build = {"vgg16": keras.applications.VGG16, "resnet50": keras.applications.ResNet50}[name]
        network = build(weights=None, include_top=False, pooling="avg", input_shape=(size, size, 3))
        for layer in network.layers:
            for variable in layer.variables:
                variable.assign(given.tensors[f"{layer.name}/{variable.name}"])
        return network

    return {name: built(name, given) for name, given in random_weights.items()}


def network_fixtures(size):
    """The fixtures `random_weights`, `images` and `whole_networks` of a file that tests both backbones."""
    from osteo_utils.sources import weights

    @pytest.fixture(scope="module")
    def random_weights():
        return {name: weights.random(name, 7) for name in ("vgg16", "resnet50")}

    @pytest.fixture(scope="module")
    def images():
        return np.random.default_rng(3).integers(0, 256, (5, size, size), dtype=np.uint8)

    @pytest.fixture(scope="module", name="whole_networks")
    def built(random_weights):
        return whole_networks(random_weights, size)

    return random_weights, images, built


def people(levels: list[int], labels: list[int], films: int = 2) -> pd.DataFrame:
    """`films` films of each person; the person's level by the reference and label by the folder."""
    level, label = np.repeat(levels, films), np.repeat(labels, films)
    table = pd.DataFrame({"image_id": [f"f{n:03d}" for n in range(len(level))], "label": label, "level": level})
    table["class_name"] = np.where(label == 1, "osteoporosis", "normal")
    person = np.repeat(np.arange(len(levels)), films)
    return table.assign(
        value=[GRADES[n] for n in level], group=person, t_score=np.nan, severity=np.nan, source="", name="x"
    )
