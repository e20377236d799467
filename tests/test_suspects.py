"""Suspects: planted wrong labels and strangers come first, copies share their fate and vouch for nothing."""

import re
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from osteo_utils.evidence import suspects
from osteo_utils.study import paths, results

KNEES, FOLDS = 60, 5
WRONG = (3, 17, 20, 41, 48, 55)


def films(wrong: tuple[int, ...] = WRONG, copies: int = 2) -> pd.DataFrame:
    """Knees with two films each, filed by parity, those of `wrong` under the other class."""
    rows = [(f"K{knee:02d}{'ab'[copy]}.png", knee) for knee in range(KNEES) for copy in range(copies)]
    table = pd.DataFrame(rows, columns=["image_id", "group"])
    label = (table.group % 2) ^ table.group.isin(wrong)
    return table.assign(label=label.astype(int), class_name=label.map({0: "normal", 1: "osteoporosis"}), conflict=0)


def scored(images: pd.DataFrame, seed: int = 0, **arm: object) -> pd.DataFrame:
    """Predictions of a model that sees the true class, which is the knee's parity, with some noise for each knee."""
    noise = np.random.default_rng(seed).normal(0, 0.6, KNEES)
    logits = 3.0 * (2 * (images.group % 2) - 1) + noise[images.group]
    about = {"view": 0, "protocol": "grouped_all", "recipe": "none", "variant": "full", "seed": seed, **arm}
    return images[["image_id", "group"]].assign(
        **about, fold=images.group // 2 % FOLDS, y_true=images.label, y_prob=1 / (1 + np.exp(-logits))
    )[list(results.CONTRACTS["predictions"].columns)]


def both(make: Callable[[int], pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """Two models with three seeds each."""
    return {name: pd.concat([make(10 * n + s) for s in range(3)]) for n, name in enumerate(("vgg16", "resnet50"))}


@pytest.fixture
def table() -> pd.DataFrame:
    images = films()
    return suspects.labels(suspects.scores_of(both(lambda seed: scored(images, seed)), "last_block"), images)


def test_planted_wrong_labels_come_first_and_they_alone_are_suspects(table: pd.DataFrame) -> None:
    results.check_table(table, "suspect_labels")
    assert set(table.group.head(2 * len(WRONG))) == set(WRONG)
    assert set(table.group[table.suspect == 1]) == set(WRONG)
    assert len(table) == 2 * KNEES, "nothing is removed"


def test_copies_of_a_knee_share_their_rank(table: pd.DataFrame) -> None:
    assert table["rank"].tolist() == table.groupby("group")["rank"].transform("min").tolist()
    assert table["rank"].tolist() == sorted(table["rank"]) and table["rank"].max() == KNEES


def test_a_suspect_reaches_the_mean_of_the_other_class_as_northcutt_counts_it(table: pd.DataFrame) -> None:
    mean = {0: (1 - table.osteoporosis)[table.label == 0].mean(), 1: table.osteoporosis[table.label == 1].mean()}
    for row in table.itertuples():
        probability = {0: 1 - row.osteoporosis, 1: row.osteoporosis}
        reached = [one for one in (0, 1) if probability[one] >= mean[one]]
        counted_as = max(reached, key=lambda one: probability[one], default=None)
        assert row.suspect == (counted_as == 1 - row.label)
        assert row.threshold == pytest.approx(mean[1 - row.label])
        assert row.self_confidence == pytest.approx(probability[row.label])
        assert row.margin == pytest.approx(row.self_confidence - mean[row.label])
    assert table.suspect.is_monotonic_decreasing, "the margin puts suspects of both classes first"


def test_of_two_labels_of_one_knee_the_one_that_the_scores_contradict_is_the_suspect() -> None:
    images = films(())
    second = images.image_id == "K07b.png"
    images.loc[second, "label"], images.loc[second, "class_name"] = 0, "normal"
    found = suspects.labels(suspects.scores_of(both(lambda seed: scored(images, seed)), ""), images)
    assert found.image_id[0] == "K07b.png" and found.suspect.tolist() == [1] + [0] * (len(images) - 1)
    assert found.set_index("image_id").self_confidence[["K07a.png", "K07b.png"]].sum() == pytest.approx(1)


def test_knees_of_one_person_can_have_fates_of_their_own() -> None:
    images = films((3,)).assign(knee=lambda frame: frame.group)
    images["group"] //= 2
    predicted = both(lambda seed: scored(images.assign(group=images.knee), seed).assign(group=images.group))
    found = suspects.labels(suspects.scores_of(predicted, ""), images, knee="knee")
    assert found.image_id.head(2).tolist() == ["K03a.png", "K03b.png"]
    assert found.set_index("image_id").osteoporosis[["K02a.png", "K03a.png"]].nunique() == 2, "K02 is the other knee"


def test_the_probes_and_the_kept_conflicts_are_preferred_and_a_split_by_file_is_never_used() -> None:
    images = films()
    arms = [(p, r, v) for p in ("by_file", "grouped", "grouped_all") for r in ("last_block", "none") for v in ("full",)]
    every = [
        scored(images, 0, protocol=p, recipe=r, variant=v) for p, r, v in [*arms, ("grouped_all", "none", "segmented")]
    ]

    def chosen(tables: list[pd.DataFrame]) -> list[list[str]]:
        used = suspects.scores_of({"vgg16": pd.concat(tables)}, "last_block")
        return used[["protocol", "recipe", "variant"]].drop_duplicates().to_numpy().tolist()

    assert chosen(every) == [["grouped_all", "none", "full"]]
    assert chosen(every[:4]) == [["grouped", "none", "full"]]
    assert chosen(every[2:3]) == [["grouped", "last_block", "full"]]


def test_a_copy_in_the_training_folds_is_refused() -> None:
    images = films()
    torn = both(lambda seed: scored(images, seed))
    torn["vgg16"].loc[torn["vgg16"].image_id == "K05b.png", "fold"] = 0
    with pytest.raises(ValueError, match=r"group 5 lies in more than one fold \(K05a.png, K05b.png\)"):
        suspects.labels(suspects.scores_of(torn, ""), images)
    with pytest.raises(ValueError, match=r"K00a.png is scored and not among the 118 films"):
        suspects.labels(suspects.scores_of(both(lambda seed: scored(images, seed)), ""), images[images.group > 0])


def cloud(strangers: int, apart: bool) -> tuple[np.ndarray, pd.DataFrame]:
    """Features of 40 knees around one point and of strangers at another; `apart`, each stranger is its own group."""
    rng = np.random.default_rng(5)
    knees = rng.normal(0, 0.1, (40, 8)) + np.eye(8)[0]
    other = rng.normal(0, 0.01, (strangers, 8)) + np.eye(8)[1]
    groups = np.arange(40 + strangers) if apart else np.minimum(np.arange(40 + strangers), 40)
    names = [f"normal/{number:02d}.png" for number in range(40 + strangers)]
    return np.vstack([knees, other]), pd.DataFrame({"image_id": names, "class_name": "normal", "group": groups})


def listed(features: np.ndarray, images: pd.DataFrame, flagged: tuple[int, ...] = ()) -> pd.DataFrame:
    doubtful = images.index.isin(flagged)
    masks = images[["image_id"]].assign(plausible=(~doubtful).astype(int), reason=np.where(doubtful, "no bone", None))
    return suspects.films({"vgg16": features, "resnet50": 3 * features}, images, masks.sample(frac=1, random_state=1))


@pytest.mark.parametrize(("strangers", "apart"), [(4, True), (9, False)])
def test_strangers_come_first_and_vouch_neither_for_their_copies_nor_for_their_kind(
    strangers: int, apart: bool
) -> None:
    features, images = cloud(strangers, apart)
    found = listed(features, images, flagged=(2, 41))
    results.check_table(found, "suspect_films")
    assert set(found.image_id.head(strangers)) == set(images.image_id[40:])
    assert (found.far.head(strangers) == 1).all()
    flagged = found["mask"] != ""
    assert set(found.image_id[flagged]) == set(images.image_id[[2, 41]]) and set(found["mask"][flagged]) == {"no bone"}
    assert len(found) == len(images), "nothing is removed"


def test_films_of_one_group_alone_cannot_be_compared() -> None:
    features, images = cloud(0, apart=True)
    with pytest.raises(ValueError, match="4 of 40 films lie outside the largest group; expected at least 5"):
        listed(features, images.assign(group=np.maximum(images.group - 35, 0)))


def test_films_all_alike_have_no_stranger() -> None:
    features, images = cloud(0, apart=True)
    assert (listed(np.ones_like(features), images).distance == 0).all()


def test_a_perfect_ranking_has_the_average_precision_1(table: pd.DataFrame) -> None:
    wrong = table.set_index("image_id").group.isin(WRONG)
    found = suspects.judged(table, wrong, 200, 200, 1)
    assert found["average_precision"].value == found["auroc"].value == 1
    assert found["share"].value == len(WRONG) / KNEES
    assert found["chance"].low < found["share"].value < found["chance"].high < 0.5
    assert suspects.judged(table, wrong & False, 200, 200, 1) == {}


def test_the_chance_line_is_the_expected_average_precision_of_a_random_order() -> None:
    n, n_wrong = 40, 3
    rng = np.random.default_rng(2)
    table = pd.DataFrame({"image_id": [f"{k}.png" for k in range(n)], "group": range(n), "label": 0})
    table = table.assign(osteoporosis=rng.random(n), self_confidence=lambda frame: 1 - frame.osteoporosis)
    table = table.assign(margin=table.self_confidence - table.self_confidence.mean())
    wrong = pd.Series(np.arange(n) < n_wrong, table.image_id)
    harmonic = (1 / np.arange(1, n + 1)).sum()
    expected = (harmonic + (n_wrong - 1) / (n - 1) * (n - harmonic)) / n
    found = suspects.judged(table, wrong, 4000, 200, 1)
    assert found["chance"].value == pytest.approx(expected, abs=0.006)
    assert found["chance"].value > found["share"].value == n_wrong / n


def test_what_a_reference_says_of_the_suspects_is_counted_over_persons(table: pd.DataFrame) -> None:
    known = table[["image_id", "group", "label"]].copy()
    known["level"] = 2 * known.label
    known.loc[known.group.isin((3, 17)), "level"] = 2 - known.level
    known.loc[known.group.isin((20, 0)), "level"] = 1
    joined, wrong = suspects.beside_reference(table, known[known.group != 41])
    counts = suspects.counted(joined).set_index("films")
    assert counts.loc["suspects"].tolist() == [4, 2, 4]
    assert counts.loc["not suspects"].tolist() == [2 * 53, 2, 0]
    assert counts.loc["all"].sum() == 2 * 59 and counts.loc["the first 50"].sum() == 50
    assert wrong.sum() == 4 and len(wrong) == 2 * 57
    found = suspects.shares(joined, 200, 1)
    assert found["same_of_suspects"].value == found["other_of_suspects"].value == 0.4
    assert found["other_of_others"].value == 0 and found["same_of_others"].n_groups == 54


WORDS = {
    "other_of_suspects": (0.5, 0.4, 0.6),
    "other_of_others": (0.1, 0.05, 0.15),
    "same_of_suspects": (0.3, 0.2, 0.4),
    "same_of_others": (0.4, 0.3, 0.5),
}


@pytest.mark.parametrize(
    ("changed", "verdict"),
    [
        ({}, "and 40%, so the suspects are wrong more often."),
        ({"other_of_suspects": (0.1, 0.05, 0.2)}, "so the suspects are not shown to be wrong more often."),
        (
            {"other_of_suspects": (0.1, 0.05, 0.2), "same_of_suspects": (0.65, 0.51, 0.8)},
            "So the reference confirms the folder of suspects more often than that of other films; to remove them would "
            "remove labels that it confirms.",
        ),
        ({"same_of_suspects": (0.3, None, None)}, "of too few persons to compare."),
    ],
)
def test_whether_suspects_are_wrong_is_said_by_the_intervals(changed: dict, verdict: str) -> None:
    assert suspects.in_words({}) == ""
    saved = {"suspects/labels": results.Estimate(64, n_files=744), "suspects/far_films": results.Estimate(9)}
    first = suspects.in_words(saved)
    assert first.startswith(
        "The out-of-fold scores contradict the label of 64 of 744 films, the suspects; 9 films lie far"
    )
    assert first.endswith("Nothing was removed.")
    saved |= {f"suspects/reference/{name}": results.Estimate(*ends) for name, ends in (WORDS | changed).items()}
    assert suspects.in_words(saved).endswith(verdict)


def test_only_the_page_and_the_report_read_the_tables() -> None:
    # `paths` says which notebook writes them.
    readers = {
        path.stem
        for folder in ("osteo_utils", "notebooks")
        for path in (paths.code_root() / folder).rglob("*.*")
        if path.suffix in (".py", ".ipynb") and re.search(r"suspect_(labels|films)", path.read_text("utf-8"))
    }
    assert readers == {"results", "suspects", "suspects_page", "contents", "06_ensemble", "paths"}
