"""Near and far in feature space, on clouds whose places are known."""

import numpy as np
import pytest

from osteo_utils.statistics import novelty


def cloud(n: int, seed: int, places: int = 6) -> np.ndarray:
    """Features of films that lie around a few directions, as those of one kind of picture do."""
    random = np.random.default_rng(seed)
    axes = np.random.default_rng(99).normal(size=(places, 40))
    return axes[random.integers(places, size=n)] + 0.2 * random.normal(size=(n, 40))


def test_films_like_the_studys_pass_at_the_stated_rate_and_others_do_not() -> None:
    known = novelty.reference(cloud(600, seed=1), np.arange(600))
    like = np.array([known.distance(one) for one in cloud(600, seed=2)])
    assert 0.0 <= np.mean(like > known.threshold) <= 0.03
    other = np.random.default_rng(5).normal(size=(50, 40))
    assert all(known.distance(one) > known.threshold for one in other)
    assert np.mean(known.distances > known.threshold) <= 0.01


def test_a_copy_of_a_knee_does_not_make_it_familiar() -> None:
    features, groups = cloud(60, seed=1), np.arange(60)
    alone = novelty.reference(features, groups)
    doubled = novelty.reference(np.r_[features, features], np.r_[groups, groups])
    assert doubled.distances[:60].min() > 0
    assert alone.distance(features[7]) < alone.distances[7]
    assert alone.distance(features[7], without_group=7) == pytest.approx(alone.distances[7])
    assert alone.nearest(np.stack([-features[7], features[7]]), 1).tolist() == [7]


def test_rank_is_the_share_of_films_farther_out() -> None:
    known = novelty.reference(cloud(50, seed=1), np.arange(50))
    assert known.rank(0.0) == 1.0 and known.rank(2.1) == 0.0
    assert known.rank(float(np.median(known.distances))) == pytest.approx(0.5, abs=0.02)


def test_too_few_films_are_refused() -> None:
    with pytest.raises(ValueError, match="6 films, 2 of them of one group; expected at least 5"):
        novelty.reference(cloud(6, seed=1), np.array([0, 0, 1, 2, 3, 4]))
