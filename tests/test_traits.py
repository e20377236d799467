"""What the folder name goes with among films alike by the reference: the planted trait is named, and nothing else."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from samples import people
from scipy.special import expit

from osteo_utils.evidence import film_traits, reference_label, shortcuts, trait_words, traits
from osteo_utils.phantom import synthetic
from osteo_utils.statistics import two_labels
from osteo_utils.study import results


def alike(n: int = 60, level: int = 1, seed: int = 0) -> pd.DataFrame:
    """Two films of each of n persons of one class of the reference, half of the persons under either folder."""
    labels = np.random.default_rng(seed).permutation(np.arange(n) % 2)
    return people([level] * n, labels.tolist(), 2).assign(conflict=0)


def noise(table: pd.DataFrame, k: int = 4, seed: int = 1) -> pd.DataFrame:
    drawn = np.random.default_rng(seed).normal(size=(len(table), k))
    return pd.DataFrame(drawn, columns=[f"noise_{n}" for n in range(k)])


def scored(table: pd.DataFrame, score: np.ndarray) -> pd.DataFrame:
    return pd.DataFrame(
        {"image_id": table.image_id, "group": table.group, "seed": 0, "fold": 0, "y_true": table.label, "y_prob": score}
    )


def ask(table: pd.DataFrame, named: pd.DataFrame, score: np.ndarray | None = None, **more: object) -> traits.Answers:
    families = {"film": named, **more}
    networks = {} if score is None else {"network": scored(table, score)}
    return traits.ask(families, named, networks, table, 5, 99, 200, 0)


def planted(table: pd.DataFrame, shape: str) -> pd.Series:
    rng = np.random.default_rng(5)
    if shape == "word":
        return pd.Series(np.where(table.label == 1, rng.choice(["A", "C"], len(table)), "B"))
    if shape == "both ends":
        return pd.Series(table.label * rng.choice([-1, 1], len(table)) + rng.normal(0, 0.2, len(table)))
    return pd.Series(table.label + rng.normal(0, 0.2, len(table)))


@pytest.mark.parametrize("shape", ["higher", "both ends", "word"])
def test_the_trait_that_sorts_the_folders_is_named_whatever_its_shape(shape: str) -> None:
    table = alike()
    named = noise(table).assign(planted=planted(table, shape))
    found = ask(table, named, np.random.default_rng(2).random(len(table)))
    single = found.table[found.table.kind == "trait"]
    assert single.name.iloc[0] == "planted" and single.value.iloc[0] > 0.9
    assert (single.p_corrected.iloc[1:] > 0.05).all()
    assert found.metrics["traits/osteopenia/trait"].note == "planted"
    assert found.metrics["traits/osteopenia/trait_p"].value == 1 / 100
    assert found.metrics["traits/osteopenia/as_good"].value == 0
    assert not [name for name in found.metrics if "osteopenia" not in name]
    (sentence,) = [text for text in trait_words.what_sorts_the_folders(found.metrics) if "osteopenia" in text]
    assert "The single trait that it goes most with is planted" in sentence


def test_a_trait_with_equal_medians_shows_its_commonest_word_or_median_in_either_folder() -> None:
    table = alike()
    named = pd.DataFrame({"site": np.where(table.label == 1, "north", "south"), "dose": 3.0 + table.label})
    rows = ask(table, named).table.query("kind == 'trait'").set_index("name")
    assert rows.loc["site", ["normal", "osteoporosis"]].tolist() == ["south", "north"]
    assert rows.loc["dose", ["normal", "osteoporosis"]].tolist() == ["3", "4"]


def test_without_such_a_trait_it_stays_open() -> None:
    table = alike()
    found = ask(table, noise(table), np.clip(table.label + np.random.default_rng(3).normal(0, 0.3, len(table)), 0, 1))
    assert found.metrics["traits/osteopenia/trait_p"].value > 0.05
    (sentence,) = [text for text in trait_words.what_sorts_the_folders(found.metrics) if "osteopenia" in text]
    assert "No single trait is shown to explain it" in sentence and "what they see beyond it stays open" in sentence
    assert "alike in the best single trait" not in sentence


def test_networks_that_know_only_the_trait_know_nothing_among_films_alike_in_it() -> None:
    table = alike(80)
    word = pd.Series(np.where(np.random.default_rng(4).random(len(table)) < 0.85, table.label, 1 - table.label))
    named = noise(table).assign(site=word.map({0: "south", 1: "north"}))
    rng = np.random.default_rng(6).normal(0, 0.01, len(table))
    only = ask(table, named, 0.3 + 0.4 * word + rng).metrics["traits/osteopenia/networks_within"]
    more = ask(table, named, 0.3 + 0.2 * word + 0.2 * table.label + rng).metrics["traits/osteopenia/networks_within"]
    assert only.low < 0.5 < only.high and more.value > 0.95
    # One person on the wrong side leaves too few pairs to say anything.
    few = noise(table).assign(site=table.label.where(table.group != 3, 1 - table.label).map({0: "south", 1: "north"}))
    assert "traits/osteopenia/networks_within" not in ask(table, few, 0.3 + 0.4 * table.label + rng).metrics


def test_a_class_with_few_persons_of_a_folder_is_not_asked_and_the_reason_is_kept() -> None:
    few = people([0] * 21, [1] * (traits.FEWEST_PERSONS - 1) + [0] * 12, 2)
    table = pd.concat([few, alike().assign(image_id=lambda t: "g" + t.image_id)], ignore_index=True).assign(conflict=0)
    table["group"] = pd.factorize(table.image_id.str.slice(0, 1) + table.group.astype(str))[0]
    found = ask(table, noise(table))
    assert set(found.table.among) == {"osteopenia"}
    skipped = found.metrics["traits/normal/asked"]
    assert skipped.value == 0 and "12 persons under normal, 9 under osteoporosis: fewer than 10" in skipped.note
    assert any(
        "normal by the reference label nothing" in said for said in trait_words.what_sorts_the_folders(found.metrics)
    )
    none = ask(few.assign(conflict=0), noise(few))
    assert none.table.empty and tuple(none.table.columns) == results.CONTRACTS["traits"].columns


def test_a_person_is_not_on_both_sides_and_conflicts_are_left_out() -> None:
    table = alike()
    # Who it is says everything about the folder, but nothing about the folder of another person.
    who = np.eye(60)[table.group]
    found = ask(table, noise(table), who=who).table.set_index("name").loc["who"]
    assert found.shuffled_low - 0.05 < found.value < found.shuffled_high + 0.05
    torn = ask(table.assign(conflict=[1] * 20 + [0] * 100), noise(table)).table
    assert set(torn.n_files) == {100} and set(torn.n_groups) == {50}


def test_what_is_predicted_is_what_the_shortcuts_predict() -> None:
    table, features = alike(), np.random.default_rng(7).normal(size=(120, 40))
    folds = pd.Series(table.group.to_numpy() % 5, table.image_id)
    fold = folds.to_numpy()
    score = traits.predict(shortcuts.prepare(features, fold), fold, table[["label"]].to_numpy())[:, 0]
    np.testing.assert_allclose(expit(4 * score), shortcuts.predict(features, table, folds).y_prob, rtol=1e-9)


def test_numbers_are_cut_in_six_equal_numbers_stay_together_and_unknown_is_a_value() -> None:
    cut = traits.indicators(pd.Series([*range(12), np.nan]))
    assert cut.shape == (13, 7) and cut.sum(axis=0).tolist() == [2] * 6 + [1] and (cut.sum(axis=1) == 1).all()
    assert traits.indicators(pd.Series([1.0] * 9 + [2.0])).sum(axis=0).tolist() == [9, 1]
    assert traits.indicators(pd.Series(["a", None, "a"])).tolist() == [[1, 0], [0, 1], [1, 0]]
    heaped = traits.indicators(pd.Series([0] * 50 + list(range(1, 11))))
    assert heaped[:50, 0].all() and not heaped[50:, 0].any()


def test_p_values_are_even_where_nothing_is_to_be_found() -> None:
    found = []
    for draw in range(40):
        table = people([1] * 40, np.random.default_rng(draw).permutation(np.arange(40) % 2).tolist(), 1)
        named = noise(table, 5, seed=1000 + draw)
        answers = traits.ask({"film": named}, named, {}, table.assign(conflict=0), 4, 39, 100, draw)
        found.append(answers.table.p_corrected.min())
    assert 0.36 < np.mean(found) < 0.64
    assert np.mean(np.array(found) <= 0.1) < 0.25


def drawn(root: Path, relabel: float) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """A small synthetic set: its films with their reference, their traits, and their truth."""
    truth = synthetic.write(root, 60, 11, size=128, copies=0.0, relabel=relabel)
    images = truth.assign(
        dataset="phantom", group=truth.knee, sha256=truth.image_id, status="ok", role="develop", row=0
    )
    reference_label.store(root, "phantom", images, root.parent / "reference.csv")
    table = reference_label.joined(results.read_table(root.parent / "reference.csv"), images).assign(conflict=0)
    films = [np.asarray(Image.open(root / name).convert("L")) for name in table.image_id]
    bones = [np.asarray(Image.open((root / "truth_masks" / name).with_suffix(".png"))) for name in table.image_id]
    named = pd.DataFrame([film_traits.of_film(film, bone) for film, bone in zip(films, bones, strict=True)])
    size = truth.set_index("image_id").loc[table.image_id]
    return table, named.assign(width=size.width.to_numpy(), height=size.height.to_numpy()), size


def test_the_relabelled_phantom_is_sorted_by_its_scanner_and_not_by_its_density(tmp_path: Path) -> None:
    table, named, truth = drawn(tmp_path / "set", 1.0)
    assert two_labels.agreement(table, 200, 0)["kappa"].value == 0
    scanner = (truth.site == "storage_phosphor").to_numpy(float)
    assert (scanner == table.label).all()
    found = ask(table, named, np.clip(scanner, 0.1, 0.9))
    for grade in ("normal", "osteoporosis"):
        best = found.metrics[f"traits/{grade}/trait"]
        # Noise, blur, black level and tone curve of the two scanners differ; the shape of a film does not.
        assert best.note in ("noise", "sharpness", "darkest", "black", "bone_grey") and best.value > 0.8
        shape = found.table[(found.table.among == grade) & found.table.name.isin(["width", "height"])]
        assert len(shape) == 2 and (shape.p_corrected > 0.05).all()
        assert found.metrics[f"traits/{grade}/trait_p"].value <= 0.05
    gap = two_labels.difference(scored(table, scanner), table, 200, 0)
    assert gap.low > 0.3


def test_where_the_reference_is_the_density_nothing_is_asked_and_both_labels_are_followed_alike(tmp_path: Path) -> None:
    table, named, _ = drawn(tmp_path / "set", 0.0)
    assert two_labels.agreement(table, 200, 0)["kappa"].value == 1
    found = ask(table, named)
    assert found.table.empty and {estimate.value for estimate in found.metrics.values()} == {0}
    gap = two_labels.difference(scored(table, np.random.default_rng(8).random(len(table))), table, 200, 0)
    assert gap.value == gap.low == gap.high == 0


@pytest.mark.parametrize(
    ("gap", "within", "said"),
    [
        ((0.01, 0.08), (0.7, 0.9), ("what they see beyond it stays open", "they know more than this trait says")),
        ((-0.05, 0.05), (0.4, 0.6), ("not shown to be more", "they are not shown to know more than it")),
        ((-0.2, -0.1), (0.3, 0.5), ("less than that", "they are not shown to know more than it")),
    ],
)
def test_what_stays_open_is_said_by_the_intervals(gap: tuple, within: tuple, said: tuple) -> None:
    saved = {
        "asked": results.Estimate(60, n_files=436, n_groups=133),
        "trait": results.Estimate(0.86, 0.79, 0.92, note="joint_height"),
        "trait_p": results.Estimate(0.001, note="0.276 under normal, 0.497 under osteoporosis"),
        "family": results.Estimate(0.9, 0.86, 0.94, note="film"),
        "family_p": results.Estimate(0.2),
        "as_good": results.Estimate(1),
        "networks": results.Estimate(0.94, 0.91, 0.97),
        "networks_minus_family": results.Estimate(0, *gap),
        "networks_within": results.Estimate(0.5, *within),
    }
    (text,) = trait_words.what_sorts_the_folders({f"traits/osteopenia/{name}": one for name, one in saved.items()})
    assert text.startswith("Among 436 films of 133 persons that all are osteopenia by the reference label, 60 families")
    assert "joint_height (place of the joint along the film, from the top: 0.276 under normal, 0.497 under" in text
    assert "Within its interval lies one more" in text and "No whole family is shown to explain it" in text
    assert all(words in text for words in said)
    assert trait_words.what_sorts_the_folders({"reference/osteopenia": results.Estimate(1)}) == []
