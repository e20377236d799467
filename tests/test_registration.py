"""Registration: a known warp is found again, and detail tells a copy from another knee of the same outline."""

import numpy as np
import pytest
from scipy import ndimage

from osteo_utils.audit import registration
from osteo_utils.audit.thumbnails import HEIGHT, WIDTH


@pytest.fixture(scope="module")
def picture() -> np.ndarray:
    noise = np.random.default_rng(1).normal(size=(HEIGHT, WIDTH))
    return (ndimage.gaussian_filter(noise, 3) * 10).astype(np.float32)


@pytest.mark.parametrize(
    "warp", [np.array([[1.0, 0.0, 3.0], [0.0, 1.0, -2.0]]), np.array([[1.06, 0.04, 1.5], [-0.03, 0.95, 2.0]])]
)
def test_a_known_warp_is_recovered(picture: np.ndarray, warp: np.ndarray) -> None:
    middle = np.array([(HEIGHT - 1) / 2, (WIDTH - 1) / 2])
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    places = warp[:, :2] @ np.stack([y.ravel() - middle[0], x.ravel() - middle[1]]) + warp[:, 2:]
    seen = ndimage.map_coordinates(picture, places + middle[:, None], order=3, mode="reflect")
    found, alike = registration.register(registration.target(seen.reshape(HEIGHT, WIDTH)), picture, [np.eye(2, 3)])
    assert alike > 0.99
    np.testing.assert_allclose(found[:, :2], warp[:, :2], atol=0.01)
    np.testing.assert_allclose(found[:, 2], warp[:, 2], atol=0.2)


def test_the_search_finds_the_scale_and_shift_of_a_part(picture: np.ndarray) -> None:
    coarse = picture.reshape(HEIGHT // 4, 4, WIDTH // 4, 4).mean(axis=(1, 3))
    shifted = np.zeros_like(coarse)
    shifted[4:, 2:] = coarse[:-4, :-2]
    warps, peaks = registration.search(coarse, np.stack([coarse, shifted]))
    np.testing.assert_allclose(warps[0], np.eye(2, 3), atol=1e-6)
    np.testing.assert_allclose(warps[1], [[1, 0, 16], [0, 1, 8]], atol=1e-6)
    assert peaks.min() > 0.95


def test_detail_agrees_in_a_copy_and_not_under_another_texture() -> None:
    rng = np.random.default_rng(2)
    outline = ndimage.gaussian_filter(rng.normal(size=(2 * HEIGHT, 2 * WIDTH)), 10) * 600 + 128
    first, second = rng.normal(0, 12, (2, *outline.shape))
    pixels = np.array(outline.shape)
    own = np.clip(outline + first, 0, 255).astype(np.uint8)
    noisy = np.clip(own + rng.normal(0, 2, own.shape), 0, 255).astype(np.uint8)
    other = np.clip(outline + second, 0, 255).astype(np.uint8)
    assert registration.detail(own, noisy, np.eye(2, 3), pixels, pixels) > 0.95
    assert registration.detail(own, other, np.eye(2, 3), pixels, pixels) < 0.3
