"""Traits that can be named: each measures what its name says, on films whose answer is known."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import ndimage

from osteo_utils.evidence import film_traits, trait_words
from osteo_utils.sources import registry


def flat(level: int = 100, shape: tuple[int, int] = (120, 80)) -> np.ndarray:
    return np.full(shape, level, np.uint8)


def of(film: np.ndarray, bone: np.ndarray | None = None) -> dict[str, float]:
    return film_traits.of_film(film, np.zeros(film.shape, np.uint8) if bone is None else bone)


def test_grey_levels_are_read_off() -> None:
    film = flat()
    film[:30] = 0
    found = of(film)
    assert found["mean_grey"] == 75 and found["black"] == 0.25 and found["white"] == 0
    assert found["darkest"] == 0 and found["brightest"] == 100
    assert found["contrast"] == pytest.approx(100 * np.sqrt(0.25 * 0.75), rel=1e-5)


def test_noise_is_that_of_the_grain_and_not_of_the_picture() -> None:
    grain = np.random.default_rng(0).normal(0, 5, (200, 200))
    ramp = np.linspace(40, 200, 200)[:, None]
    assert of(np.rint(120 + grain).astype(np.uint8))["noise"] == pytest.approx(5, rel=0.05)
    assert of(np.rint(ramp + grain).astype(np.uint8))["noise"] == pytest.approx(5, rel=0.05)
    assert of(np.broadcast_to(ramp, (200, 200)).astype(np.uint8))["noise"] < 0.5


def test_a_blurred_film_is_less_sharp_whatever_its_contrast() -> None:
    film = np.random.default_rng(1).normal(120, 20, (100, 90))
    blurred = ndimage.gaussian_filter(film, 1.5)
    sharp, soft, pale = (of(np.rint(one).astype(np.uint8))["sharpness"] for one in (film, blurred, 60 + film / 2))
    # Without any blur neighbours differ as much as pixels that are four apart.
    assert sharp == pytest.approx(1, abs=0.03) and pale == pytest.approx(1, abs=0.03) and soft < 0.6
    assert np.isnan(of(flat())["sharpness"])


def test_the_edge_the_corners_and_the_halves_are_told_apart() -> None:
    plain, marked, framed, half = flat(), flat(), flat(), flat()
    marked[2:12, 2:12] = 250
    framed[:5] = framed[-5:] = framed[:, :3] = framed[:, -3:] = 0
    half[:, :40] = 20
    assert of(marked)["corner"] == 250 and of(plain)["corner"] == 100
    assert of(framed)["edge"] == 0 and of(plain)["edge"] == 100
    assert of(half)["lopsided"] == pytest.approx(2, rel=0.01) and of(plain)["lopsided"] == 0


def test_soft_tissue_is_what_is_neither_bone_nor_black_and_needs_a_mask() -> None:
    film, bone = flat(60), np.zeros((120, 80), np.uint8)
    film[:, :20] = 0
    film[:, 40:60] = 120
    bone[:, 40:60] = 1
    found = of(film, bone)
    assert found["soft_tissue"] == 0.5 and found["soft_grey"] == 0.5 and found["bone_grey"] == 120
    assert np.isnan(of(film)["soft_tissue"]) and np.isnan(of(film)["soft_grey"])
    with pytest.raises(ValueError, match=r"the film is \(120, 80\), its mask \(80, 120\)"):
        of(film, bone.T)


def test_a_mask_that_is_not_plausible_gives_no_trait() -> None:
    measured = pd.DataFrame(
        {"area_share": [0.3, 0.3], "knee_y": 0.5, "knee_x": 0.4, "knee_width": 0.6, "plausible": [1, 0]}
    )
    bone = np.zeros((120, 80), np.uint8)
    bone[:, 30:50] = 1
    found = film_traits.of_films([flat(), flat()], [bone, bone], measured)
    needs = ["bone_area", "joint_height", "joint_side", "knee_width", "bone_grey", "soft_tissue", "soft_grey"]
    assert found.loc[0, needs].notna().all() and found.loc[1, needs].isna().all()
    assert (
        found.loc[0, ["joint_height", "joint_side"]].tolist() == [0.5, 0.4] and found["mean_grey"].tolist() == [100] * 2
    )


def test_the_file_gives_its_shape_and_its_bytes_per_pixel() -> None:
    images = pd.DataFrame({"width": [100], "height": [200], "bytes": [4000], "format": "PNG", "mode": "L"}, index=[7])
    found = film_traits.of_files(images).loc[0]
    assert found["aspect"] == 0.5 and found["bytes_per_pixel"] == 0.2 and found["mode"] == "L"


def test_a_source_film_is_known_by_its_number_and_by_what_the_registry_keeps_of_it() -> None:
    found = film_traits.of_sources(pd.Series(["osteopenia/OP71.jpg", "", np.nan, "normal/N1.JPEG"]), "knee744")
    assert found["source_number"].iloc[[0, 3]].tolist() == [71, 1] and found.iloc[[1, 2]].isna().all(axis=None)
    assert found.loc[0, ["source_width", "source_height", "source_mode"]].tolist() == [872, 1064, "RGB"]
    assert found.source_form.iloc[[0, 3]].tolist() == ["RGB upright", "RGB square"] and pd.isna(found.source_form[1])
    assert film_traits.of_sources(pd.Series(["a/12.png"]), "folder").columns.tolist() == ["source_number"]
    assert film_traits.of_sources(pd.Series(["", np.nan]), "folder").shape == (2, 0)


def test_every_source_film_of_the_crosswalk_is_in_the_list_of_films() -> None:
    folder = Path(registry.__file__).parent
    films = pd.read_csv(folder / registry.get("wani239").films)
    walked = pd.read_csv(folder / registry.get("knee744").crosswalk, keep_default_na=False)
    assert films.image_id.is_unique and set(walked.source) - {""} <= set(films.image_id)
    counted = films.image_id.str.split("/").str[0].value_counts().to_dict()
    assert counted == dict(registry.get("wani239").expected)


def test_every_trait_has_words() -> None:
    images = pd.DataFrame({"width": [100], "height": [200], "bytes": [4000], "format": "PNG", "mode": "L"})
    measured = pd.DataFrame({"area_share": [0.3], "knee_y": 0.5, "knee_x": 0.4, "knee_width": 0.6, "plausible": 1})
    tables = (
        film_traits.of_files(images),
        film_traits.of_films([flat()], [flat()], measured),
        film_traits.of_sources(pd.Series(["osteopenia/OP71.jpg"]), "knee744"),
    )
    assert {name for table in tables for name in table} == set(trait_words.MEANING)
    assert trait_words.words("trait", "lbp_1") == "bone texture, lbp 1"
    assert trait_words.words("family", "source").startswith("the source film")
