"""Portraits: the same from a store as from films, leg by leg; a mapped store does not fill memory."""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import pytest

from osteo_utils.audit import thumbnails
from osteo_utils.images import image_store
from osteo_utils.phantom import synthetic


@pytest.fixture(scope="module")
def knees() -> np.ndarray:
    return synthetic.draw(5, 4, size=256, copies=0.0).images


def store_of(films: list[np.ndarray]) -> tuple[np.ndarray, pd.DataFrame]:
    images = np.stack([image_store.to_store(np.ascontiguousarray(film))[0] for film in films])
    sizes = [{"row": row, "height": film.shape[0], "width": film.shape[1]} for row, film in enumerate(films)]
    return images, pd.DataFrame(sizes)


def test_a_film_of_two_legs_has_two_portraits_and_they_wait_in_files(knees: np.ndarray, tmp_path: Path) -> None:
    two = np.hstack([knees[0], np.zeros((256, 20), np.uint8), knees[1]])
    images, table = store_of([knees[2], two, knees[3]])
    drawn = thumbnails.of_store(images, table, tmp_path, workers=1)
    assert drawn.owner.tolist() == [0, 1, 1, 2]
    assert drawn.part.tolist() == [0, 0, 1, 0]
    legs = [leg for row in table.itertuples() for leg in thumbnails.legs_of(images, row)]
    at_once = thumbnails.thumbnails(legs)
    for name in ("coarse", "quarter", "leg", "grey", "boxes", "pixels"):
        np.testing.assert_array_equal(getattr(drawn, name), getattr(at_once, name))
    assert all(isinstance(picture, np.memmap) for picture in (drawn.leg, drawn.grey))


def test_one_leg_as_wide_as_two_is_compared_by_halves_as_well(knees: np.ndarray) -> None:
    touching = np.hstack([knees[0], knees[1]])
    touching[100:160] = np.maximum(touching[100:160], 150)
    assert thumbnails.legs(touching) == [slice(0, 512)]
    assert thumbnails.parts(touching) == [slice(0, 512), slice(0, 256), slice(256, 512)]
    assert thumbnails.parts(knees[0]) == [slice(0, 256)]


def test_a_portrait_does_not_change_with_brightness_and_contrast(knees: np.ndarray) -> None:
    flatter = np.rint(knees[0] * 0.6 + 30).astype(np.uint8)
    drawn = thumbnails.thumbnails([(film, film.shape) for film in (knees[0], flatter, knees[1])])
    legs = drawn.leg.reshape(3, -1).astype(float)
    alike = np.corrcoef(legs)[0]
    assert alike[1] > 0.98 > 0.9 > alike[2]


@pytest.mark.skipif(sys.platform != "linux", reason="how pages are counted is the system's affair")
def test_pages_of_a_mapped_store_are_given_back_and_read_again(tmp_path: Path) -> None:
    np.save(tmp_path / "store.npy", np.arange(64 << 20, dtype=np.uint8))
    mapped = np.load(tmp_path / "store.npy", mmap_mode="r")
    total = int(mapped.sum(dtype=np.int64))
    before = psutil.Process().memory_info().rss
    thumbnails.release_pages(mapped[1000:])
    assert before - psutil.Process().memory_info().rss > 48 << 20
    assert int(mapped.sum(dtype=np.int64)) == total


def test_what_was_changed_in_a_private_copy_is_not_let_go(tmp_path: Path) -> None:
    np.save(tmp_path / "store.npy", np.zeros(1 << 16, np.uint8))
    private = np.load(tmp_path / "store.npy", mmap_mode="c")
    private[:] = 7
    thumbnails.release_pages(private)
    assert (private == 7).all()
