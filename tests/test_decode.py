"""Decoding: every format gives its grey levels, every fault is named."""

import hashlib
import io

import numpy as np
import pytest
from PIL import Image
from samples import dicom_film as dicom

from osteo_utils.images.decode import Unusable, decode, decode_bytes

# 40 rows, 60 columns: a level per column (4, 8, ... 240) and a bright corner, so every turn shows.
RAMP = np.tile(np.arange(4, 244, 4, dtype=np.uint8), (40, 1))


RAMP[:5, :5] = 255


def encode(image: Image.Image, kind: str, **options) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
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
        ("text.dcm", b"no picture here " * 20, "not DICOM, though it is named"),
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
