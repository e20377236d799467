"""Named measures of bone: each moves with what it is named after, and with nothing that it should ignore."""

import numpy as np
import pandas as pd
import pytest
from scipy import ndimage

from osteo_utils.bone import texture
from osteo_utils.protocols import splits


def speckled(grain: float, seed: int = 0, shape: tuple[int, int] = (256, 128)) -> np.ndarray:
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=shape), grain)
    return np.clip(128 + 30 * noise / noise.std(), 0, 255).astype(np.uint8)


@pytest.fixture
def mask() -> np.ndarray:
    mask = np.zeros((256, 128), np.uint8)
    mask[:, 24:104] = 1
    return mask


def test_a_rougher_surface_has_the_higher_dimension_and_contrast(mask: np.ndarray) -> None:
    rough, smooth = (texture.measure_film(speckled(grain), mask) for grain in (0.6, 4.0))
    assert 2 <= smooth["fractal_dimension"] < rough["fractal_dimension"] <= 3
    assert smooth["contrast_along_1"] < rough["contrast_along_1"]
    assert smooth["homogeneity_across_1"] > rough["homogeneity_across_1"]


def test_the_dimension_of_a_surface_with_a_known_one() -> None:
    # A fractional Brownian surface with Hurst exponent H has dimension 3 − H; its spectrum falls with 2H + 2.
    rng = np.random.default_rng(1)
    y, x = np.meshgrid(np.fft.fftfreq(512), np.fft.rfftfreq(512), indexing="ij")
    radius = np.hypot(y, x)
    radius[0, 0] = np.inf
    for hurst in (0.3, 0.7):
        phase = np.exp(2j * np.pi * rng.random(radius.shape))
        surface = np.fft.irfft2(radius ** -(hurst + 1) * phase)
        assert texture.fractal_dimension(surface, np.ones((512, 512), bool)) == pytest.approx(3 - hurst, abs=0.15)


def test_exposure_does_not_count(mask: np.ndarray) -> None:
    film = speckled(1.5) // 2 + 40
    darker = texture.measure_film((film * 0.8).astype(np.uint8), mask)
    plain = texture.measure_film(film, mask)
    for name in ("contrast_across_3", "fractal_dimension", "anisotropy"):
        assert darker[name] == pytest.approx(plain[name], rel=0.06), name


def test_what_lies_outside_the_bone_does_not_count(mask: np.ndarray) -> None:
    film = speckled(1.0)
    other = np.where(mask == 1, film, np.uint8(7))
    inner, changed = texture.measure_film(film, mask), texture.measure_film(other, mask)
    for name, value in inner.items():
        assert changed[name] == pytest.approx(value, rel=1e-4), name


def test_stripes_along_the_leg_are_anisotropic(mask: np.ndarray) -> None:
    stripes = np.tile((np.sin(np.arange(128) * 1.2) * 40 + 128).astype(np.uint8), (256, 1))
    stripes = np.clip(stripes + np.random.default_rng(0).normal(0, 4, stripes.shape), 0, 255).astype(np.uint8)
    assert texture.measure_film(stripes, mask)["anisotropy"] < 0.5


@pytest.mark.parametrize("cortex", [8, 16])
def test_the_cortical_index_of_a_drawn_shaft(mask: np.ndarray, cortex: int) -> None:
    film = np.full((256, 128), 50, np.uint8)
    film[:, 24:104] = 120
    film[:, 24 : 24 + cortex] = 220
    film[:, 104 - cortex : 104] = 220
    assert texture.cortical_index(film, mask > 0) == pytest.approx(2 * cortex / 80, abs=0.04)


def test_a_mask_without_bone_gives_gaps_and_no_error() -> None:
    film = speckled(1.0)
    measured = texture.measure_film(film, np.zeros_like(film))
    assert all(np.isnan(value) for value in measured.values())
    with pytest.raises(ValueError, match="the film is"):
        texture.measure_film(film, np.zeros((3, 3)))


def test_predictions_are_out_of_fold_and_gaps_are_filled_from_the_training_folds() -> None:
    rng = np.random.default_rng(0)
    images = pd.DataFrame({"group": np.arange(120), "label": np.arange(120) % 2, "conflict": 0})
    images["image_id"] = [f"c/{n:03d}.png" for n in range(120)]
    features = pd.DataFrame({"signal": images.label + rng.normal(0, 0.5, 120), "noise": rng.normal(size=120)})
    features.loc[3, "signal"] = np.nan
    folds = splits.make_folds(images, "grouped", 5, seed=0)
    predictions, coefficients = texture.predict(features, images, folds)
    assert sorted(predictions.image_id) == sorted(images.image_id)
    assert np.isfinite(predictions.y_prob).all()
    assert ((predictions.y_prob > 0.5) == (predictions.y_true == 1)).mean() > 0.75
    assert coefficients.measure[0] == "signal" and coefficients.low[0] > 0
