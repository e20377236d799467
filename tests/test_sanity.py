"""Checks of maps against what is known beforehand: a network that learnt nothing, a place that alone matters."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from osteo_utils.interpretation import activation_maps, sanity
from osteo_utils.networks import backbones, tails, training
from osteo_utils.networks.inputs import Activations
from osteo_utils.networks.recipes import Recipe
from osteo_utils.protocols.splits import Fold
from osteo_utils.sources import weights

SIZE = 64
N = 12


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> tuple:
    """Films with a bright square in one corner each, run through a random network, its last block trained a little."""
    random = np.random.default_rng(0)
    squares = random.integers(0, 90, (N, SIZE, SIZE)).astype(np.uint8)
    for number, film in enumerate(squares):
        at = 8 if number % 2 else 40
        film[at : at + 16, at : at + 16] = 250
    pretrained = weights.random("vgg16", seed=2)
    seen = backbones.outputs(backbones.trunk("vgg16", pretrained, SIZE), backbones.preprocess(squares), batch_size=N)
    activations = Activations("vgg16", "full", SIZE, (seen.astype(np.float16),), "squares")
    images = pd.DataFrame({"image_id": [f"c/{n}.png" for n in range(N)], "label": [0, 1] * (N // 2)})
    images = images.assign(group=np.arange(N))
    jobs = [Fold("grouped", 0, fold, images.assign(fold=np.arange(N) // 6)) for fold in range(2)]
    recipe = Recipe("last_block", epochs=1, batch_size=6)
    folders = training.fit_missing(jobs, recipe, activations, pretrained, tmp_path_factory.mktemp("fits"))
    return list(zip(jobs, folders, strict=True)), activations, pretrained, squares, images


def test_rank_correlation_is_scipys_and_a_flat_map_has_none() -> None:
    random = np.random.default_rng(1)
    maps, others = random.normal(size=(2, 3, 4, 5))
    maps[0, 0, :3] = 1.0
    expected = [stats.spearmanr(one.ravel(), other.ravel()).statistic for one, other in zip(maps, others, strict=True)]
    np.testing.assert_allclose(sanity.rank_correlation(maps, others), expected)
    maps[1] = 0.0
    assert np.isnan(sanity.rank_correlation(maps, others)).tolist() == [False, True, False]
    with pytest.raises(ValueError, match="expected maps of one shape"):
        sanity.rank_correlation(maps, others[:2])


def test_maps_of_randomised_networks_are_those_of_a_network_with_these_weights(study: tuple) -> None:
    fitted, activations, pretrained, squares, images = study
    table = sanity.randomised(fitted, activations, pretrained, squares, seed=5)
    assert table.groupby("part").size().to_dict() == {"head": N, "tail": N, "network": 8}
    assert table.groupby("part").position.nunique().to_dict() == {"head": N, "tail": N, "network": 8}
    assert (table.group == images.group.to_numpy()[table.position]).all()
    # By the long way round: a whole random network, and the fit that has not seen the film.
    job, folder = fitted[1]
    drawn = weights.random("vgg16", 5)
    position = job.test[0]
    noise = backbones.outputs(backbones.trunk("vgg16", drawn, SIZE), backbones.preprocess(squares[position][None]))
    blank = activation_maps.tail_cells(backbones.tail("vgg16", drawn, seed=5, image_size=SIZE), noise)
    own = tails.fitted_tail(folder, "vgg16", pretrained, SIZE)
    cells = activation_maps.tail_cells(own, activations.views[0][position][None])
    expected = stats.spearmanr(cells.ravel(), blank.ravel()).statistic
    found = table[(table.part == "network") & (table.position == position)].correlation
    assert found.tolist() == [pytest.approx(expected, abs=1e-6)]


def test_a_head_drawn_anew_changes_the_map_and_the_same_head_would_not(
    study: tuple, monkeypatch: pytest.MonkeyPatch
) -> None:
    fitted, activations, pretrained, squares, _ = study
    table = sanity.randomised(fitted, activations, pretrained, squares, seed=5)
    assert table[table.part == "head"].correlation.mean() < 0.9
    # A check that cannot see a difference would pass any map: with the fitted head in place it must find none.
    kernel = iter([activation_maps.head_of(tails.fitted_tail(fitted[0][1], "vgg16", pretrained, SIZE))])
    real = activation_maps.head_of
    monkeypatch.setattr(activation_maps, "head_of", lambda tail: next(kernel, None) or real(tail))
    same = sanity.randomised(fitted[:1], activations, pretrained, squares, seed=5)
    assert same[same.part == "head"].correlation.min() == pytest.approx(1.0)


def test_hiding_a_place_is_worth_what_the_network_says_with_that_place_painted_over(study: tuple) -> None:
    fitted, activations, pretrained, squares, _ = study
    falls, places = sanity.occlusion(fitted, np.array([7]), squares, activations, pretrained)
    assert falls.shape == places.shape == (1, 4, 4)
    trunk = backbones.trunk("vgg16", pretrained, SIZE)
    tail = tails.fitted_tail(fitted[1][1], "vgg16", pretrained, SIZE)
    painted = squares[7].copy()
    painted[16:32, 32:48] = np.median(squares[7])
    pair = np.stack([squares[7], painted])
    logits = backbones.outputs(tail, backbones.outputs(trunk, backbones.preprocess(pair)))[:, 0]
    assert falls[0, 1, 2] == pytest.approx(logits[0] - logits[1], abs=1e-4)
    assert np.abs(falls).max() > 1e-4


def test_networks_that_look_at_the_film_agree_more_on_the_same_film_than_on_another() -> None:
    random = np.random.default_rng(3)
    common, names, groups = (random.normal(size=(20, 4, 4)), np.array([f"f{n:02d}" for n in range(20)]), np.arange(20))
    first = activation_maps.SavedMaps(names, groups, common.astype(np.float32))
    noisy = (common + 0.3 * random.normal(size=common.shape)).astype(np.float32)
    second = activation_maps.SavedMaps(names[::-1], groups[::-1], noisy[::-1])
    table = sanity.agreement(first, second)
    assert table.same.min() > 0.7
    assert abs(table.other.mean()) < 0.1
    expected = [stats.spearmanr(a.ravel(), b.ravel()).statistic for a, b in zip(common, noisy, strict=True)]
    np.testing.assert_allclose(table.same, expected, atol=1e-6)
    # A knee's own maps are none of the others': as many pairs as there are, each looked at.
    knees = groups // 3
    shared = [activation_maps.SavedMaps(names, knees, maps.astype(np.float32)) for maps in (common, noisy)]
    pairs = stats.spearmanr(common.reshape(20, -1), noisy.reshape(20, -1), axis=1).statistic[:20, 20:]
    others = np.where(knees[:, None] != knees, pairs, np.nan)
    np.testing.assert_allclose(sanity.agreement(*shared).other, np.nanmean(others, axis=1), atol=1e-6)
    # Two networks that always draw the same blob do not look at the film: same and other are alike.
    blob = activation_maps.SavedMaps(names, groups, np.repeat(common[:1], 20, axis=0).astype(np.float32))
    table = sanity.agreement(blob, blob)
    np.testing.assert_allclose(table.same, table.other)
    with pytest.raises(ValueError, match="run 04_vgg16 and 05_resnet50 again"):
        sanity.agreement(first, activation_maps.SavedMaps(names[:3], groups[:3], noisy[:3]))


def test_kept_maps_come_back_as_they_were(tmp_path: Path) -> None:
    images = pd.DataFrame({"image_id": ["a", "b", "c"], "group": [4, 5, 6]})
    cells = np.random.default_rng(0).normal(size=(2, 3, 3)).astype(np.float32)
    maps = activation_maps.StudyMaps(np.array([2, 0]), cells)
    activation_maps.save(tmp_path / "maps" / "x.npz", maps, images)
    back = activation_maps.load(tmp_path / "maps" / "x.npz")
    assert (back.image_id.tolist(), back.group.tolist()) == (["c", "a"], [6, 4])
    np.testing.assert_array_equal(back.cells, cells)
    with pytest.raises(FileNotFoundError, match="run the notebook of this network first"):
        activation_maps.load(tmp_path / "maps" / "y.npz")
