"""Do the intervals cover and do the tests keep their level? Simulated sets of knees with several images each.

    python benchmarks/coverage.py [--sets 1000] [--resamples 1000] [--slope-sets 200] [--seed 1] [--out reports/benchmarks]

Each set has groups of one to four images; an image's score holds its group's, so that images of one knee are alike,
and two models share part of it. Writes `coverage.json` and prints it. Fewer of the same sets are a test
(`tests/test_coverage.py`).
"""

from __future__ import annotations

import argparse
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats
from scipy.special import expit
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_predict

from osteo_utils.statistics import comparisons, evaluation
from osteo_utils.statistics.metrics import delong, measure
from osteo_utils.statistics.resampling import bca_tails, jackknife, resample
from osteo_utils.study import results

# Half the distance of the two classes in standard deviations: AUROC 0.87, as the networks of the study have.
SKILL = float(stats.norm.ppf(0.87) / np.sqrt(2))
# Variance of a score: shared by the images and models of a group, by a group's images alone, by nothing.
SHARED, OWN, NOISE = 0.5, 0.2, 0.3


@dataclass(frozen=True)
class Scenario:
    """How many groups a set has, and the share of them that carry both labels."""

    groups: int
    conflicts: float = 0.0


SCENARIOS = {
    "335 groups": Scenario(335),
    "100 groups": Scenario(100),
    "335 groups, 4 % with both labels": Scenario(335, 0.04),
}


def draw(
    scenario: Scenario, rng: np.random.Generator, skills: tuple[float, float] = (SKILL, SKILL)
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Predictions of two models on one set; with equal skills they differ by chance alone.

    The probabilities of a model of this skill are calibrated, as the log odds of N(m, 1) against N(-m, 1) at s are 2ms.
    """
    sizes = rng.integers(1, 5, scenario.groups)
    group = np.repeat(np.arange(scenario.groups), sizes)
    truth = rng.permutation(np.arange(scenario.groups) % 2)
    both = rng.random(scenario.groups) < scenario.conflicts
    first = np.r_[True, np.diff(group) != 0]
    label = np.where(both[group] & ~first, 1 - truth[group], truth[group])
    shared = rng.normal(0, np.sqrt(SHARED), scenario.groups)[group]
    about = {"image_id": np.arange(len(group)), "view": 0, "seed": 0, "group": group, "y_true": label}
    found = []
    for skill in skills:
        own = rng.normal(0, np.sqrt(OWN), scenario.groups)[group]
        score = skill * (2 * truth[group] - 1) + shared + own + rng.normal(0, np.sqrt(NOISE), len(group))
        found.append(pd.DataFrame({**about, "y_prob": expit(2 * SKILL * score)}))
    return found[0], found[1]


def truth_of(scenario: Scenario, skill: float = SKILL) -> dict[str, float]:
    """AUROC and accuracy of the population: by formula, or of a million images where groups carry both labels."""
    if not scenario.conflicts:
        return {"auroc": stats.norm.cdf(skill * np.sqrt(2)), "accuracy": stats.norm.cdf(skill)}
    large, _ = draw(Scenario(400_000, scenario.conflicts), np.random.default_rng(0), (skill, skill))
    found = measure(large["y_true"], large["y_prob"], ["auroc", "accuracy"])
    return {name: float(value[0]) for name, value in found.items()}


def coverage(scenario: Scenario, n_sets: int, n_resamples: int, seed: int) -> dict[str, float]:
    """Share of 95 % intervals that hold the population's value, for AUROC and accuracy, percentile and BCa."""
    true = truth_of(scenario)
    held = dict.fromkeys((f"{name}, {method}" for name in true for method in ("percentile", "bca")), 0)
    plain = np.tile([0.025, 0.975], (len(true), 1))
    for number in range(n_sets):
        frame = evaluation.check(draw(scenario, np.random.default_rng([seed, number]))[0])
        statistic = evaluation.statistic_of(frame, list(true))
        values, drawn = resample(frame, statistic, n_resamples, number)
        shifted = bca_tails(values, drawn, plain, jackknife(frame, statistic))
        for k, (name, value) in enumerate(true.items()):
            for method, tails in (("percentile", plain[k]), ("bca", shifted[k])):
                low, high = np.quantile(drawn[:, k], tails)
                held[f"{name}, {method}"] += low <= value <= high
    return {name: float(count / n_sets) for name, count in held.items()}


def slope_coverage(scenario: Scenario, n_sets: int, n_resamples: int, seed: int) -> dict[str, float]:
    """Share of 95 % intervals of calibration slope and intercept that hold 1 and 0."""
    true = {"calibration_slope": 1.0, "calibration_intercept": 0.0}
    held = dict.fromkeys(true, 0)
    for number in range(n_sets):
        frame, _ = draw(scenario, np.random.default_rng([seed, number]))
        found = evaluation.summarise(frame, list(true), n_resamples, number)
        for name, value in true.items():
            held[name] += found[name].low <= value <= found[name].high
    return {name: float(count / n_sets) for name, count in held.items()}


def level(scenario: Scenario, n_sets: int, seed: int) -> dict[str, float]:
    """How often each test says p < 0.05 of two models that are equally good; plain DeLong ignores the groups."""
    small = {"clustered DeLong": 0, "DeLong, groups ignored": 0, "clustered proportions": 0, "McNemar by group": 0}
    for number in range(n_sets):
        a, b = draw(scenario, np.random.default_rng([seed, number]))
        small["clustered DeLong"] += comparisons.by_group(a, b, "auroc").p_value < 0.05
        small["DeLong, groups ignored"] += delong(a["y_true"], a["y_prob"], b["y_prob"])[2] < 0.05
        small["clustered proportions"] += comparisons.by_group(a, b, "accuracy").p_value < 0.05
        small["McNemar by group"] += evaluation.mcnemar_by_group(a, b).p_value < 0.05
    return {name: float(count / n_sets) for name, count in small.items()}


def power(scenario: Scenario, n_sets: int, seed: int) -> dict[str, float]:
    """How often clustered DeLong finds a difference as large as `minimal_detectable` says of equal models.

    One model is better and one worse by half of it, as standard errors grow where an AUROC falls.
    """
    rng = np.random.default_rng([seed, 1])
    pairs = [draw(scenario, rng) for _ in range(50)]
    wanted = float(np.mean([comparisons.minimal_detectable(*pair).value for pair in pairs]))
    middle = stats.norm.cdf(SKILL * np.sqrt(2))
    better, worse = (float(stats.norm.ppf(middle + half) / np.sqrt(2)) for half in (wanted / 2, -wanted / 2))
    found = 0
    for number in range(n_sets):
        pair = draw(scenario, np.random.default_rng([seed, 2, number]), (better, worse))
        found += comparisons.by_group(*pair).p_value < 0.05
    return {"minimal detectable AUROC difference": wanted, "found": float(found / n_sets)}


def at_chance(groups: int, n_sets: int, n_resamples: int, seed: int) -> dict[str, float]:
    """How often the interval of a cross-validated AUROC leaves out 0.5 where there is nothing to be learnt, by side.

    Unlike the other simulations this one fits: 20 numbers of noise for each of `groups` knees, a logistic regression in
    five stratified folds. What a fit learns from the luck of its training folds is turned against it in the test fold.
    """
    missed = {"below": 0, "above": 0}
    for number in range(n_sets):
        rng = np.random.default_rng([seed, groups, number])
        noise, label = rng.normal(size=(groups, 20)), np.arange(groups) % 2
        folds = StratifiedKFold(5, shuffle=True, random_state=number)
        guessed = cross_val_predict(LogisticRegression(), noise, label, cv=folds, method="predict_proba")[:, 1]
        about = {"image_id": np.arange(groups), "group": np.arange(groups), "seed": 0, "y_true": label}
        frame = pd.DataFrame({**about, "y_prob": guessed})
        found = evaluation.summarise(frame, ["auroc"], n_resamples, number)["auroc"]
        missed["below"] += found.high < 0.5
        missed["above"] += found.low > 0.5
    return {side: float(count / n_sets) for side, count in missed.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sets", type=int, default=1000)
    parser.add_argument("--resamples", type=int, default=1000)
    parser.add_argument("--slope-sets", type=int, default=200, help="sets for slope and intercept, which take longer")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("reports/benchmarks"))
    asked = parser.parse_args()
    started = time.process_time()
    found = {}
    for name, scenario in SCENARIOS.items():
        own = found[name] = {**asdict(scenario), "sets": asked.sets, "resamples": asked.resamples}
        own["p below 0.05 of equal models"] = level(scenario, asked.sets, asked.seed)
        own["coverage"] = coverage(scenario, asked.sets, asked.resamples, asked.seed)
        if not scenario.conflicts:
            own["power"] = power(scenario, asked.sets, asked.seed)
            own["slope"] = slope_coverage(scenario, asked.slope_sets, asked.resamples, asked.seed)
            own["slope"]["sets"] = asked.slope_sets
        results.write_json(asked.out / "coverage.json", found)
        print(name, *(f"  {key}: {value}" for key, value in own.items()), sep="\n", flush=True)
    for groups in (80, 335):
        own = {"sets": asked.sets, **at_chance(groups, asked.sets, asked.resamples, asked.seed)}
        found[f"cross-validated noise, {groups} groups"] = own
        results.write_json(asked.out / "coverage.json", found)
        print(f"cross-validated noise, {groups} groups: {own}", flush=True)
    print(f"{time.process_time() - started:.0f} s of processor time")


if __name__ == "__main__":
    main()
