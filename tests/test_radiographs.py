"""Decoding, the store, the views and the augmented copies."""

import hashlib
import io

import numpy as np
import pandas as pd
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from osteo_utils.images import film_views
from osteo_utils.images.decode import Unusable, decode, decode_bytes
from osteo_utils.images.film_views import augment, view
from osteo_utils.images.image_store import content_box, to_store

# 40 rows, 60 columns: a level per column (4, 8, ... 240) and a bright corner, so every turn shows.
RAMP = np.tile(np.arange(4, 244, 4, dtype=np.uint8), (40, 1))
RAMP[:5, :5] = 255


def encode(image: Image.Image, kind: str, **options) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def dicom(values: np.ndarray, photometric: str = "MONOCHROME2", **extra) -> bytes:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.1"
    meta.MediaStorageSOPInstanceUID = "1.2.3"
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    data.Rows, data.Columns = values.shape[-2:]
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, photometric
    data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 16, 12, 11, 0
    data.PixelData = values.astype("<u2").tobytes()
    for name, value in extra.items():
        setattr(data, name, value)
    stream = io.BytesIO()
    pydicom.dcmwrite(stream, data, enforce_file_format=True)
    return stream.getvalue()


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "BMP", "GIF"])
def test_lossless_formats_give_the_pixels_back(kind):
    film = decode_bytes(encode(Image.fromarray(RAMP), kind), "." + kind.lower())
    assert np.array_equal(film.pixels, RAMP)
    assert (film.format, film.width, film.height, film.note) == (kind, 60, 40, "")


def test_jpeg_is_close_and_keeps_its_own_hash():
    data = encode(Image.fromarray(RAMP).convert("RGB"), "JPEG", quality=95)
    film = decode_bytes(data, ".JPEG")
    assert np.abs(film.pixels[10:].astype(int) - RAMP[10:]).max() <= 3
    assert (film.mode, film.format, film.bytes) == ("RGB", "JPEG", len(data))
    assert film.sha256 == hashlib.sha256(data).hexdigest()


def test_same_picture_in_two_formats_has_one_pixel_hash():
    png, tiff = (decode_bytes(encode(Image.fromarray(RAMP), kind)) for kind in ("PNG", "TIFF"))
    assert png.sha256 != tiff.sha256
    assert png.pixel_sha256 == tiff.pixel_sha256
    # The shape counts: the same bytes in another shape are another picture.
    turned = decode_bytes(encode(Image.fromarray(RAMP.reshape(60, 40)), "PNG"))
    assert turned.pixel_sha256 != png.pixel_sha256


def test_sixteen_bit_png_keeps_its_contrast():
    full = np.tile(np.linspace(0, 65535, 64).astype(np.uint16), (40, 1))
    assert np.array_equal(decode_bytes(encode(Image.fromarray(full), "PNG")).pixels, np.rint(full / 257))
    twelve = np.tile(np.linspace(0, 4095, 64).astype(np.uint16), (40, 1))
    assert decode_bytes(encode(Image.fromarray(twelve), "PNG")).pixels.max() == 255


def test_palette_alpha_and_cmyk_become_grey():
    grey = Image.fromarray(RAMP)
    assert np.array_equal(decode_bytes(encode(grey.convert("P"), "PNG")).pixels, RAMP)
    clear = np.dstack([RAMP, np.where(np.arange(60) < 30, 0, 255).astype(np.uint8) * np.ones_like(RAMP)])
    film = decode_bytes(encode(Image.fromarray(clear, "LA"), "PNG"))
    assert (film.pixels[:, :30] == 0).all() and np.array_equal(film.pixels[:, 30:], RAMP[:, 30:])
    cmyk = decode_bytes(encode(grey.convert("RGB").convert("CMYK"), "TIFF"))
    assert cmyk.mode == "CMYK" and np.abs(cmyk.pixels.astype(int) - RAMP).max() <= 1


def test_exif_orientation_is_applied():
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: show it rotated by 90 degrees clockwise
    film = decode_bytes(encode(Image.fromarray(RAMP), "JPEG", quality=95, exif=exif), ".jpg")
    assert (film.width, film.height) == (40, 60)
    assert np.abs(film.pixels.astype(int) - np.rot90(RAMP, -1))[10:].max() <= 3


def test_monochrome1_is_inverted_and_window_is_applied():
    values = np.tile(np.linspace(0, 4000, 61), (40, 1)).round()
    plain = decode_bytes(dicom(values), ".dcm")
    inverted = decode_bytes(dicom(values, "MONOCHROME1"), ".dcm")
    assert plain.pixels[0, 0] == 0 and plain.pixels[0, -1] == 255
    assert np.abs(inverted.pixels.astype(int) - (255 - plain.pixels.astype(int))).max() <= 1
    assert (inverted.mode, inverted.format) == ("MONOCHROME1", "DICOM")
    windowed = decode_bytes(dicom(values, WindowCenter=1000, WindowWidth=1000), ".dcm").pixels[0]
    assert (windowed[values[0] <= 499] == 0).all() and (windowed[values[0] >= 1500] == 255).all()
    assert windowed[values[0] == 1000] == pytest.approx(128, abs=1)


def test_rescale_slope_comes_before_the_window():
    values = np.tile(np.linspace(0, 4000, 61), (40, 1)).round()
    plain = decode_bytes(dicom(values, WindowCenter=1000, WindowWidth=1000))
    shifted = dicom(values, RescaleSlope=1, RescaleIntercept=-1000, WindowCenter=0, WindowWidth=1000)
    assert np.array_equal(decode_bytes(shifted).pixels, plain.pixels)


@pytest.mark.parametrize(
    ("name", "data", "reason"),
    [
        ("empty.jpg", b"", "zero bytes"),
        ("letter.jpg", b"Dear colleague, the film is attached.", "not an image"),
        ("cut.jpg", encode(Image.effect_noise((200, 200), 60), "JPEG")[:4000], "truncated"),
        ("cut.png", encode(Image.effect_noise((200, 200), 60), "PNG")[:4000], "truncated"),
        ("black.png", encode(Image.new("L", (64, 64), 7), "PNG"), "single colour: every pixel is 7"),
        ("tiny.png", encode(Image.fromarray(RAMP[:20]), "PNG"), "too small: 60x20"),
        ("bomb.png", encode(Image.new("1", (9000, 9000)), "PNG"), "too many pixels: 9000x9000"),
        ("two.gif", encode(Image.fromarray(RAMP), "GIF", save_all=True, append_images=[Image.new("L", (60, 40))]), "2 pictures"),
        ("cine.dcm", dicom(np.zeros((3, 40, 60)), NumberOfFrames=3), "3 pictures"),
        ("cut.dcm", dicom(np.arange(2400).reshape(40, 60))[:-900], "damaged or truncated"),
        ("text.dcm", b"no picture here " * 20, "no pixel data"),
    ],
)  # fmt: skip
def test_planted_fault_is_named(tmp_path, name, data, reason):
    (tmp_path / name).write_bytes(data)
    with pytest.raises(Unusable, match=reason):
        decode(tmp_path / name)


def test_unreadable_file_is_named(tmp_path, monkeypatch):
    path = tmp_path / "locked.png"
    path.write_bytes(encode(Image.fromarray(RAMP), "PNG"))

    def refuse(self):
        raise PermissionError(13, "Permission denied")

    # Removing the right to read would not stop a test that runs as root.
    monkeypatch.setattr("pathlib.Path.read_bytes", refuse)
    with pytest.raises(Unusable, match="permission denied"):
        decode(path)
    with pytest.raises(Unusable, match="No such file"):
        decode(tmp_path / "gone.png")


def test_wrong_extension_is_usable_and_noted():
    film = decode_bytes(encode(Image.fromarray(RAMP), "JPEG"), ".png")
    assert film.note == "named .png, content is JPEG"


def test_store_of_a_known_shape():
    stored, scale, pad_left, pad_top = to_store(np.full((256, 128), 200, np.uint8))
    assert (scale, pad_left, pad_top) == (2.0, 128, 0)
    assert (stored[:, 128:384] == 200).all() and stored[:, :128].max() == stored[:, 384:].max() == 0


@settings(max_examples=60, deadline=None)
@given(st.integers(32, 1500), st.integers(32, 1500))
def test_store_keeps_the_aspect(width, height):
    stored, scale, pad_left, pad_top = to_store(np.full((height, width), 255, np.uint8))
    rows, columns = np.flatnonzero(stored.max(axis=1)), np.flatnonzero(stored.max(axis=0))
    assert max(len(rows), len(columns)) == 512
    assert abs(len(columns) - width * scale) <= 0.5 + 1e-9 and abs(len(rows) - height * scale) <= 0.5 + 1e-9
    assert (columns[0], rows[0]) == (pad_left, pad_top)


@settings(max_examples=40, deadline=None)
@given(st.integers(32, 900), st.integers(32, 900), st.sampled_from(["squeeze", "pad"]))
def test_squeeze_and_pad_lose_no_edge(width, height, kind):
    film = np.full((height, width), 90, np.uint8)
    edge_y, edge_x = max(2, height // 10), max(2, width // 10)
    film[:edge_y], film[-edge_y:], film[:, :edge_x], film[:, -edge_x:] = 255, 255, 255, 255
    stored, *_ = to_store(film)
    seen = view(stored, content_box(width, height), kind, 224)
    rows, columns = np.flatnonzero(seen.max(axis=1) > 40), np.flatnonzero(seen.max(axis=0) > 40)
    part = seen[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    expected = (224, 224) if kind == "squeeze" else np.array([height, width]) * 224 / max(height, width)
    assert np.abs(np.array(part.shape) - expected).max() <= 2
    # All four edges of the film are there: bright at the middle of each side, darker in the centre.
    centre_y, centre_x = part.shape[0] // 2, part.shape[1] // 2
    border = (part[:3, centre_x], part[-3:, centre_x], part[centre_y, :3], part[centre_y, -3:])
    assert min(side.max() for side in border) > part[centre_y, centre_x]


def test_crop_is_the_centred_square():
    film = np.zeros((400, 200), np.uint8)
    film[90:310] = 255
    stored, *_ = to_store(film)
    assert view(stored, content_box(200, 400), "crop", 64).min() == 255
    assert view(stored, {"width": 200, "height": 400}, "pad", 64).min() == 0
    with pytest.raises(ValueError, match="expected one of squeeze, pad, crop, knee"):
        view(stored, content_box(200, 400), "zoom")


def test_views_follow_the_row_and_skip_the_unusable():
    levels = [50, 100, 150]
    images = np.stack([to_store(np.full((64, 64), level, np.uint8))[0] for level in levels])
    manifest = pd.DataFrame(
        {"status": ["ok", "quarantined", "ok"], "row": [2, None, 0], "width": [64, None, 64], "height": [64, None, 64]}
    )
    seen = film_views.views(images, manifest, "crop", 32)
    assert seen.shape == (2, 32, 32) and [image.mean() for image in seen] == [150, 50]


def test_knee_view_is_centred_on_the_knee_and_scaled_by_its_width():
    film = np.zeros((400, 200), np.uint8)
    film[300:320, 60:80] = 255
    stored, *_ = to_store(film)
    box = content_box(200, 400)
    # A knee of 64 pixels at the bright square's centre: a square of 96 around it.
    seen = view(stored, box, "knee", 96, knee=(310 / 400, 70 / 200, 64 / 200))
    rows, columns = np.nonzero(seen > 128)
    assert rows.mean() == pytest.approx(47.5, abs=1.5) and columns.mean() == pytest.approx(47.5, abs=1.5)
    assert np.sqrt(len(rows)) == pytest.approx(20, abs=1.5)


def test_knee_view_stays_in_the_film_and_is_the_centred_square_without_a_knee():
    film = np.full((400, 200), 80, np.uint8)
    stored, *_ = to_store(film)
    box = content_box(200, 400)
    for place in ((0.0, 0.0, 0.3), (1.0, 1.0, 0.3), (0.5, 0.5, 1.0)):
        assert (view(stored, box, "knee", 64, knee=place) == 80).all()
    noise, *_ = to_store(np.asarray(Image.effect_noise((200, 400), 60)))
    assert np.array_equal(view(noise, box, "knee", 64), view(noise, box, "crop", 64))


def test_knee_views_of_a_table_need_its_knees():
    images = np.stack([to_store(np.asarray(Image.effect_noise((100, 200), 60)))[0]] * 2)
    table = pd.DataFrame({"status": "ok", "row": [0, 1], "width": 100, "height": 200})
    with pytest.raises(ValueError, match="'knee_width', 'knee_x', 'knee_y'"):
        film_views.views(images, table, "knee", 32)
    placed = table.assign(knee_y=[0.3, np.nan], knee_x=[0.5, np.nan], knee_width=[0.5, np.nan])
    found, centred = film_views.views(images, placed, "knee", 32)
    assert np.array_equal(centred, film_views.views(images, table, "crop", 32)[1])
    assert not np.array_equal(found, centred)


def test_mask_view_holds_no_new_values():
    mask = (np.add.outer(np.arange(512), np.arange(512)) % 97 < 40).astype(np.uint8)
    assert set(np.unique(view(mask, content_box(512, 512), "pad", 100, mask=True))) == {0, 1}


SQUARE = np.asarray(Image.effect_noise((96, 96), 60))


def test_first_copies_are_the_image_and_its_mirror():
    assert np.array_equal(augment(SQUARE, 0, "normal/1.png", 7), SQUARE)
    mirrored = augment(SQUARE, 1, "normal/1.png", 7)
    assert np.array_equal(mirrored, np.fliplr(SQUARE))
    assert np.array_equal(augment(mirrored, 1, "normal/1.png", 7), SQUARE)


def test_random_copy_depends_on_seed_key_and_index_alone():
    first = augment(SQUARE, 2, "normal/1.png", 7)
    assert np.array_equal(first, augment(SQUARE, 2, "normal/1.png", 7))
    for other in ((3, "normal/1.png", 7), (2, "normal/2.png", 7), (2, "normal/1.png", 8)):
        assert not np.array_equal(first, augment(SQUARE, *other))


def test_random_copy_stays_close_to_its_limits():
    # A bright square of 32 x 32 in the centre: zoom within 10 %, shift within 5 % of 128 pixels.
    image = np.zeros((128, 128), np.uint8)
    image[48:80, 48:80] = 200
    areas, shifts = [], []
    for index in range(2, 60):
        points = np.argwhere(augment(image, index, "a", 1) > 100)
        areas.append(len(points) / 32**2)
        shifts.append(np.abs(points.mean(axis=0) - 63.5).max())
    assert 0.78 < min(areas) < 0.92 and 1.08 < max(areas) < 1.24
    assert 4 < max(shifts) < 7.5


def test_all_copies_at_once_equal_one_by_one():
    images = np.stack([SQUARE, SQUARE[::-1]])
    together = film_views.augment_all(images, ["a", "b"], 3, 5)
    assert np.array_equal(together[1], augment(images[1], 3, "b", 5))
    with pytest.raises(ValueError, match="2 images but 1 keys"):
        film_views.augment_all(images, ["a"], 3, 5)
