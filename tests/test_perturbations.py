"""Perturbations: what they do to grey levels, that a film is scored by strangers, and that a planted weakness is seen."""

from collections.abc import Iterator

import numpy as np
import pandas as pd
import pytest
import small_study
from PIL import Image

from osteo_utils.interpretation import perturbations
from osteo_utils.interpretation import perturbations as room
from osteo_utils.interpretation.perturbations import PERTURBATIONS, perturbed
from osteo_utils.networks import inputs, scoring
from osteo_utils.plots import figures

KINDS = list(PERTURBATIONS)


@pytest.fixture(scope="module")
def film() -> np.ndarray:
    y, x = np.mgrid[:96, :80]
    stripes = 40 * np.sin(x / 1.5) + 60 * np.sin(y / 9)
    return np.clip(120 + stripes, 0, 255).astype(np.uint8)


@pytest.mark.parametrize("kind", KINDS)
def test_a_perturbation_keeps_shape_and_type_and_grows_with_its_strength(kind: str, film: np.ndarray) -> None:
    before = film.copy()
    off = []
    for strength in PERTURBATIONS[kind].strengths:
        after = perturbed(film, kind, strength, "a", 1)
        assert (after.shape, after.dtype) == (film.shape, np.uint8)
        off.append(np.abs(after.astype(float) - film).mean())
    np.testing.assert_array_equal(film, before)
    assert off[0] > 0
    # A part of a stripe pattern agrees with the whole by chance, so a crop is measured by its size below.
    if kind != "crop":
        assert off[0] < off[1] < off[2]


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_random_depends_on_seed_film_and_kind_alone(kind: str, film: np.ndarray) -> None:
    strength = PERTURBATIONS[kind].strengths[1]
    again = [perturbed(film, kind, strength, "a", 1) for _ in range(2)]
    np.testing.assert_array_equal(*again)
    others = [perturbed(film, kind, strength, name, 1) for name in "bcdefgh"]
    differs = any((other != again[0]).any() for other in others)
    assert differs == (kind in ("noise", "exposure", "crop"))


def test_noise_has_the_stated_deviation_and_a_stronger_one_is_more_of_the_same() -> None:
    grey = np.full((200, 200), 128, np.uint8)
    weak, strong = (perturbed(grey, "noise", s, "a", 1).astype(float) - 128 for s in (8.0, 16.0))
    assert weak.std() == pytest.approx(8, rel=0.02)
    np.testing.assert_allclose(strong, 2 * weak, atol=1.51)


def test_blur_spreads_a_point_as_a_gaussian_does() -> None:
    point = np.zeros((41, 41), np.uint8)
    point[20, 20] = 255
    after = perturbed(point, "blur", 1.0, "a", 1)
    assert after[20, 20] == round(255 / (2 * np.pi))


def test_exposure_keeps_the_order_of_grey_levels_and_both_ends() -> None:
    ramp = np.arange(256, dtype=np.uint8)[None].repeat(4, 0)
    means = set()
    for name in "abcdefgh":
        after = perturbed(ramp, "exposure", 1.6, name, 1)
        assert (np.diff(after[0].astype(int)) >= 0).all()
        assert (after[0, 0], after[0, -1]) == (0, 255)
        means.add(round(float(after.mean()), 3))
    assert len(means) == 2
    assert min(means) < ramp.mean() < max(means)


def test_a_crop_shows_a_part_of_the_square_enlarged() -> None:
    x = np.arange(100, dtype=np.float32)[None].repeat(100, 0)
    after = perturbed(x.astype(np.uint8), "crop", 0.2, "a", 1).astype(float)
    slope = np.polyfit(np.arange(100), after[50], 1)[0]
    assert slope == pytest.approx(0.8, abs=0.02)
    assert after.min() >= 0
    assert after.max() <= 99


def test_compression_is_that_of_jpeg_at_the_stated_quality(film: np.ndarray, tmp_path) -> None:
    Image.fromarray(film).save(tmp_path / "film.jpg", quality=20)
    np.testing.assert_array_equal(
        perturbed(film, "compression", 20.0, "a", 1), np.asarray(Image.open(tmp_path / "film.jpg"))
    )


def test_an_unknown_kind_is_named_with_those_that_there_are(film: np.ndarray) -> None:
    with pytest.raises(ValueError, match="'fog' is unknown; expected one of blur, noise"):
        perturbed(film, "fog", 1.0, "a", 1)


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[small_study.Fitted]:
    with small_study.on_phantoms(tmp_path_factory) as small:
        yield small


@pytest.mark.parametrize("recipe", ["none", "last_block"])
@pytest.mark.parametrize("asked", [8, 9, 0, 1000])
def test_films_are_one_of_a_knee_and_half_of_them_osteoporotic(
    fitted: small_study.Fitted, recipe: str, asked: int
) -> None:
    positions = room.chosen_films(fitted.fits[recipe, "full"], asked, seed=1)
    fewest = fitted.images[fitted.images.conflict == 0].groupby("label").group.nunique().min()
    each = {8: 4, 9: 4}.get(asked, fewest)
    assert fewest > 4
    chosen = fitted.images.iloc[positions]
    assert (list(positions), chosen.group.is_unique) == (sorted(positions), True)
    assert chosen.label.tolist().count(1) == each == chosen.label.tolist().count(0)


@pytest.mark.parametrize("recipe", ["none", "last_block"])
def test_a_film_is_scored_by_the_fit_that_does_not_know_it(
    fitted: small_study.Fitted, recipe: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(fitted.run.parameters, "primary_recipe", recipe)
    fits = fitted.fits[recipe, "full"]
    arms = room.predict(fitted.run, fitted.images, fits, fitted.weights)
    assert next(iter(arms)) == room.UNCHANGED
    assert len(arms) == 1 + 3 * len(KINDS)
    one_view = inputs.trunk_views(fitted.run, fitted.images, "vgg16", "full", fitted.weights, 1)
    logits_of = scoring.scorer(recipe, one_view, fitted.weights)
    for row in arms[room.UNCHANGED].itertuples():
        job, folder = next(pair for pair in fits if pair[0].number == row.fold and pair[0].protocol == "grouped")
        place = fitted.images.index[fitted.images.image_id == row.image_id].to_numpy()
        assert place[0] in job.test
        assert row.group not in set(job.table.group.iloc[job.train])
        assert row.y_prob == pytest.approx(1 / (1 + np.exp(-logits_of(folder, place)[0])), abs=1e-4)
    for name, arm in arms.items():
        columns = ["image_id", "group", "y_true", "fold"]
        pd.testing.assert_frame_equal(arm[columns], arms[room.UNCHANGED][columns])
        if name != room.UNCHANGED:
            assert (arm.y_prob != arms[room.UNCHANGED].y_prob).any()


def test_the_place_of_the_knee_is_that_of_the_unchanged_film(fitted: small_study.Fitted) -> None:
    films = fitted.images.iloc[:3]
    seen = []
    for place in (0.4, 0.6):
        at = films.assign(knee_y=place, knee_x=0.5, knee_width=0.4)
        seen.append(room.squares(fitted.run, at, "noise", 8.0, "knee", 64))
    assert (seen[0] != seen[1]).any()
    calm = inputs.square_films(fitted.run, at, "full", "knee", 64).astype(float)
    assert np.abs(seen[1] - calm).mean() < 8


def arms_of(probabilities: dict[str, list[float]], truth: list[int]) -> dict[str, pd.DataFrame]:
    about = {"image_id": [f"f{n}" for n in range(len(truth))], "view": 0, "group": range(len(truth))}
    arm = {"protocol": "grouped", "variant": "full", "seed": 0, "fold": 0}
    return {
        name: pd.DataFrame(about).assign(y_true=truth, y_prob=values, recipe=name, **arm)
        for name, values in probabilities.items()
    }


def judged() -> pd.DataFrame:
    generator = np.random.default_rng(0)
    truth = [0, 1] * 30
    good = np.array(truth) * 0.6 + 0.2 + generator.uniform(-0.1, 0.1, 60)
    arms = {"unchanged": good, "blur/1": 0.5 * good, "noise/8": generator.random(60)}
    return perturbations.judge(arms_of(arms, truth), "unchanged", 300, 1)


def test_lost_order_and_moved_calls_are_told_apart() -> None:
    table = judged().set_index("kind")
    assert table.loc["blur", "difference"] == 0
    assert table.loc["blur", "flipped"] == pytest.approx(0.5, abs=0.2)
    assert table.loc["noise", "difference_high"] < -0.2
    assert table.loc["unchanged", ["strength", "flipped", "unit"]].tolist() == [0, 0, ""]
    assert table.loc["noise", ["strength", "unit"]].tolist() == [8, "grey levels"]
    assert (table.flipped_low <= table.flipped).all()


def test_two_films_of_a_knee_are_refused() -> None:
    arms = arms_of({"unchanged": [0.1, 0.9, 0.4, 0.6]}, [0, 1, 0, 1])
    arms["unchanged"].loc[1, "group"] = 0
    with pytest.raises(ValueError, match="group 0 has two films"):
        perturbations.judge(arms, "unchanged", 100, 1)


def test_the_figure_has_a_panel_for_each_kind_that_starts_at_the_unchanged_films() -> None:
    table = judged()
    figure = figures.perturbations(table, "n = 60", "vgg16")
    above = figure.axes[:2]
    assert [axes.get_title(loc="left") for axes in above] == ["blur", "noise"]
    for axes in above:
        assert axes.lines[0].get_ydata()[0] == table.value.iloc[0]
    with pytest.raises(ValueError, match="no column unit"):
        figures.perturbations(table.drop(columns="unit"), "n = 60", "vgg16")


def test_every_kind_says_what_it_does_in_three_strengths_from_mild_to_strong() -> None:
    assert KINDS == ["blur", "noise", "exposure", "crop", "compression"]
    for kind, one in perturbations.PERTURBATIONS.items():
        mild_first = sorted(one.strengths, reverse=kind == "compression")
        assert list(one.strengths) == mild_first
        assert one.unit
