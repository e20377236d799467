"""What a mistake is worth: on predictions made by hand, where each number can be counted."""

import numpy as np
import pandas as pd
import pytest

from osteo_utils.protocols import increments
from osteo_utils.statistics import evaluation

N = 400
IMAGES = pd.DataFrame(
    {"image_id": [f"f{n:03d}" for n in range(N)], "group": np.arange(N) // 2, "label": np.arange(N) // 2 % 2}
)


def scored(protocol: str, wrong: int, kept: int = N, views: int = 1, seed: int = 0) -> pd.DataFrame:
    """The first `wrong` of the first `kept` films are called wrongly, in every view."""
    some = IMAGES.head(kept)
    called = np.where(np.arange(kept) < wrong, 1 - some.label, some.label)
    about = {"protocol": protocol, "seed": seed, "y_true": some.label, "y_prob": 0.1 + 0.8 * called}
    one = some[["image_id", "group"]].assign(**about)
    return pd.concat([one.assign(view=view) for view in range(views)], ignore_index=True)


@pytest.fixture(scope="module")
def predictions() -> pd.DataFrame:
    return pd.concat(
        [
            scored("grouped", 80, kept=320),
            scored("by_file", 60),
            scored("resubstitution", 8),
            scored("augment_first", 4, views=3),
            scored("grouped+shuffled", 200),
            scored("by_file+shuffled", 100),
        ]
    )


@pytest.fixture(scope="module")
def found(predictions: pd.DataFrame) -> dict:
    return increments.measure_all(predictions, IMAGES, 500, 0)


@pytest.fixture(scope="module")
def table(found: dict, predictions: pd.DataFrame) -> pd.DataFrame:
    return increments.as_table(found, predictions, paper=0.98)


def test_accuracy_and_its_increment_are_those_of_counting(found: dict) -> None:
    assert found["leakage/grouped/accuracy"].value == pytest.approx(0.75)
    assert found["leakage/by_file/accuracy"].value == pytest.approx(0.85)
    # On the 320 films that both score: 260 right against 240.
    assert found["leakage/by_file/above_grouped"].value == pytest.approx(20 / 320)
    assert found["leakage/by_file/above_grouped"].n_files == 320
    assert found["leakage/by_file+shuffled/above_grouped"].value == pytest.approx(0.25)
    assert found["leakage/grouped/above_grouped"].value == found["leakage/grouped/above_grouped"].high == 0


def test_an_interval_is_that_of_the_bootstrap_over_groups(found: dict, predictions: pd.DataFrame) -> None:
    by_file = predictions[predictions.protocol == "by_file"]
    other = evaluation.summarise(by_file, ("accuracy", "auroc"), 2000, 1)
    for score, reference in other.items():
        ours = found[f"leakage/by_file/{score}"]
        assert ours.value == pytest.approx(reference.value)
        assert (ours.low, ours.high) == pytest.approx((reference.low, reference.high), abs=0.012)


def test_a_paired_interval_is_narrower_than_either_alone(found: dict) -> None:
    above, alone = found["leakage/by_file/above_grouped"], found["leakage/by_file/accuracy"]
    assert above.high - above.low < alone.high - alone.low


def test_the_increment_pairs_film_with_film_and_agrees_with_the_paired_comparison(
    found: dict, predictions: pd.DataFrame
) -> None:
    common = predictions[predictions.image_id.isin(IMAGES.image_id.head(320))].drop(columns="view")
    ours, theirs = (common[common.protocol == name] for name in ("by_file", "grouped"))
    reference = evaluation.difference(ours, theirs, "accuracy", 2000, 1).estimate
    above = found["leakage/by_file/above_grouped"]
    assert (above.value, above.low, above.high) == pytest.approx(
        (reference.value, reference.low, reference.high), abs=0.01
    )


def test_the_table_says_who_reaches_98_percent_and_who_scores_more_rows_than_films(table: pd.DataFrame) -> None:
    by = table.set_index("protocol")
    assert by.reaches.to_dict() == {
        "grouped": False, "by_file": False, "resubstitution": True, "augment_first": True,
        "grouped+shuffled": False, "by_file+shuffled": False,
    }  # fmt: skip
    assert by.scored["augment_first"] == 3 * N and by.n_files["augment_first"] == N
    assert by.share_of_gap["by_file"] == pytest.approx(20 / 320 / (0.98 - 0.75))
    assert by.share_of_gap.isna()["by_file+shuffled"]


def test_the_sentences_follow_the_numbers(table: pd.DataFrame) -> None:
    told = increments.sentences(table[table.share_of_gap.notna()], 0.98, 846, 744)
    assert told[0] == "Can print 98% (interval reaches 0.975): resubstitution (0.980), augment_first (0.990)."
    assert told[1].endswith("grouped (0.750), by_file (0.850).")
    assert "1.14 rows for each" in told[2] and "augment_first (1200 rows of 400 films)" in told[2]
    assert told[3].endswith("augment_first (0.990).")
    assert "by_file 27%" in told[4] and told[4].index("augment_first") < told[4].index("by_file")
    poor = table[~table.reaches & table.share_of_gap.notna()]
    told = increments.sentences(poor, 0.98, 846, 744)
    assert told[0].endswith(": none.") and told[3].endswith(": none.")
    assert increments.sentences(poor, 0.7, 846, 744)[4].startswith("grouped reaches 0.750, so there is no gap")


def test_a_protocol_without_its_honest_counterpart_is_refused(predictions: pd.DataFrame) -> None:
    alone = predictions[predictions.protocol == "by_file"]
    with pytest.raises(ValueError, match="hold 'by_file' but not 'grouped'"):
        increments.measure_all(alone, IMAGES, 100, 0)


def test_too_few_knees_for_both_classes_in_every_resample_is_said() -> None:
    one = scored("grouped", 0, kept=4)
    with pytest.raises(ValueError, match="too few knees"):
        increments.measure_all(one, IMAGES, 200, 0)


def test_beside_the_truth_a_repeated_wrong_label_is_counted(predictions: pd.DataFrame) -> None:
    """Twenty films are filed under the wrong label; `resubstitution` errs on eight of them, `grouped` on all."""
    true = IMAGES.label.where(np.arange(N) >= 20, 1 - IMAGES.label)
    truth = IMAGES[["image_id"]].assign(true_label=true)
    chosen = predictions[predictions.protocol.isin(["grouped", "resubstitution"])]
    table = increments.beside_truth(chosen, truth).set_index("protocol")
    assert table.wrong_films.tolist() == [20, 20]
    assert table.wrong_repeated.tolist() == pytest.approx([0, 12 / 20])
    assert table.filed_label.tolist() == pytest.approx([0.75, 0.98])
    assert table.true_label.tolist() == pytest.approx([(240 + 20) / 320, (400 - 12) / 400])
    with pytest.raises(ValueError, match="no true label for f399"):
        increments.beside_truth(chosen, truth.head(N - 1))
