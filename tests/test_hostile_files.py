"""Sixty files that are no radiographs, among a few that are: each is named with its reason, the good ones are used."""

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from samples import dicom_film

from osteo_utils.images import manifest

NOISE = np.random.default_rng(0).integers(0, 255, (180, 120), dtype=np.uint8)
SECRET = "Doe^Jane"


def encoded(picture: Image.Image, kind: str, **options: object) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, kind, **options)
    return stream.getvalue()


def dicom(values: np.ndarray = NOISE, photometric: str = "MONOCHROME2", **extra: object) -> bytes:
    patient = {"PatientName": SECRET, "PatientID": "4711-secret", "PatientBirthDate": "19500101"}
    return dicom_film(values, photometric, **patient, **extra)


def hostile() -> Iterator[tuple[str, bytes, str]]:
    """Name, content and part of the reason of sixty files that cannot be used."""
    film = Image.fromarray(NOISE)
    for number, kind in enumerate(("JPEG", "PNG", "TIFF", "BMP", "GIF", "WEBP")):
        whole = encoded(film, kind)
        for share in (0.05, 0.4, 0.8):
            # A cut right behind the header can leave less than a header; the reason then is another one.
            yield f"cut-{kind}-{share}.{kind.lower()}", whole[: int(len(whole) * share)], ""
        yield (
            f"one colour-{kind}.{kind.lower()}",
            encoded(Image.new("L", (64, 64), 10 + number), kind),
            "single colour",
        )
        yield f"tiny-{kind}.{kind.lower()}", encoded(film.crop((0, 0, 64, 8)), kind), "too small: 64x8"
    for suffix in ("jpg", "png", "tif", "bmp", "gif", "webp", "dcm"):
        yield f"empty.{suffix}", b"", "zero bytes"
        yield f"letter.{suffix}", b"Dear colleague, the film is attached.\n" * 9, ""
    for side in (9_000, 12_000):
        yield f"bomb-{side}.png", encoded(Image.new("1", (side, side)), "PNG"), "too many pixels"
    yield (
        "two.gif",
        encoded(film, "GIF", save_all=True, append_images=[Image.fromarray(NOISE.T).resize(film.size)]),
        "2 pictures",
    )
    yield "two.tif", encoded(film, "TIFF", save_all=True, append_images=[film]), "2 pictures"
    yield "cine.dcm", dicom(np.stack([NOISE, NOISE]), NumberOfFrames=2), "2 pictures"
    yield "cut.dcm", dicom()[:-5000], "damaged or truncated"
    yield "no picture.dcm", dicom()[:400], ""
    yield "flat.dcm", dicom(np.full_like(NOISE, 3)), "single colour"
    yield ("palette.dcm", dicom(photometric="PALETTE COLOR"), "photometric interpretation PALETTE COLOR")
    yield "nan.tif", encoded(Image.fromarray(np.full((64, 64), np.nan, np.float32)), "TIFF"), "not numbers"
    yield "page.html.png", b"<!DOCTYPE html><html><body>404</body></html>", "not an image"
    yield "archive.jpg", b"PK\x03\x04" + bytes(500), "not an image"
    yield "script.png", b"#!/bin/sh\nrm -rf /\n" * 20, "not an image"
    yield "Thumbs.db", b"\xd0\xcf\x11\xe0" * 100, "hidden file"
    yield ".DS_Store", b"\0\0\0\1Bud1" * 100, "hidden file"
    yield "._film.jpg", encoded(film, "JPEG"), "hidden file"


@pytest.fixture(scope="module")
def listed(tmp_path_factory: pytest.TempPathFactory):
    root = tmp_path_factory.mktemp("hostile")
    for name in ("normal", "osteoporosis"):
        (root / name).mkdir()
        for number in range(3):
            Image.fromarray(np.roll(NOISE, number + 1, axis=0)).save(root / name / f"good {number}.png")
    (root / "normal" / "good.dcm").write_bytes(dicom())
    for name, content, _ in hostile():
        (root / "normal" / name).write_bytes(content)
    return manifest.build_manifest(root, "folder")


def test_there_are_sixty_of_them() -> None:
    names = [name for name, _, _ in hostile()]
    assert len(names) == len(set(names)) == 60


@pytest.mark.parametrize(("name", "reason"), [(name, reason) for name, _, reason in hostile()])
def test_each_is_quarantined_with_its_reason(listed, name: str, reason: str) -> None:
    row = listed.set_index("image_id").loc[f"normal/{name}"]
    assert row.status == "quarantined"
    assert row.reason and reason in row.reason


def test_the_good_ones_are_used_and_nothing_is_lost(listed) -> None:
    good = listed[listed.image_id.str.contains("good")]
    assert good.status.eq("ok").all() and len(good) == 7
    assert len(listed) == 67


def test_nobody_is_named_in_any_column(listed) -> None:
    text = listed.to_csv()
    for word in (SECRET, "4711", "1950"):
        assert word not in text


def test_nobody_is_named_in_the_reason_of_a_damaged_file(tmp_path: Path) -> None:
    for name in ("normal", "osteoporosis"):
        (tmp_path / name).mkdir()
        Image.fromarray(NOISE).save(tmp_path / name / "good.png")
    whole = dicom()
    for number, end in enumerate(range(140, len(whole), 997)):
        (tmp_path / "normal" / f"{number}.dcm").write_bytes(whole[:end])
    assert SECRET not in manifest.build_manifest(tmp_path, "folder").to_csv()
