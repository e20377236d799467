"""What a run says of itself: saved numbers as they are, and what was not saved is said to be missing."""

import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from osteo_utils.reporting import tables
from osteo_utils.reporting.tables import as_text
from osteo_utils.review import answers
from osteo_utils.study import config, paths, results
from osteo_utils.study.results import Estimate

PUBLISHED = paths.code_root() / "reports" / "published" / "knee744"
PLACES = [place for said in answers.sentences().values() for text in said for place in answers.PLACE.findall(text)]


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> answers.Study:
    """The published results of the real films."""
    home = tmp_path_factory.mktemp("home")
    shutil.copytree(PUBLISHED, home / "reports" / "knee744")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OSTEO_HOME", str(home))
        yield answers.load("knee744")


def without(study: answers.Study, *names: str) -> answers.Study:
    return replace(study, metrics={name: one for name, one in study.metrics.items() if name not in names})


def with_(study: answers.Study, **values: Estimate) -> answers.Study:
    return replace(study, metrics={**study.metrics, **values})


def test_every_place_in_a_sentence_is_one_that_can_be_filled() -> None:
    for place in PLACES:
        word, _, rest = place.partition(" ")
        if word == "rule":
            assert rest in answers.RULES
        elif re.fullmatch(r"\d\d\.\w+", place):
            assert place[3:] in config.names_for(answers.NOTEBOOKS[place[:2]])
        elif not place.startswith("@") and word != "set":
            assert "/" in place
    assert {place.removeprefix("rule ") for place in PLACES if place.startswith("rule ")} == set(answers.RULES)


def test_what_is_said_of_the_real_films_stands_where_the_link_says(study: answers.Study) -> None:
    files, known = {path.name for path in study.reports.rglob("*")}, 0
    for name in answers.sentences():
        found = answers.fact(study, name)
        assert found.said or found.missing
        for link in found.links:
            file = link.target.partition("#")[0]
            assert file in answers.REPORT or Path(file).name in files
            if link.words in study.metrics:
                assert link.words in results.read_json(study.reports / file)
                known += 1
    assert known > 60


def test_a_number_is_printed_as_it_was_saved(study: answers.Study) -> None:
    text = " ".join(answers.fact(study, "estimates").said)
    for model in ("vgg16", "resnet50", "ensemble"):
        for score in ("auroc", "accuracy", "sensitivity", "specificity"):
            assert as_text(study.metrics[f"{model}/grouped/{score}"]) in text
    changed = with_(study, **{"vgg16/grouped/auroc": Estimate(0.1234, 0.1111, 0.2222, 9, 8)})
    assert "AUROC 0.123 (0.111–0.222)" in answers.fact(changed, "estimates").said[0]
    bare = with_(study, **{"resnet50/grouped/auroc": Estimate(0.8, 0.7, 0.9)})
    assert answers.fact(bare, "sizes").missing and not answers.fact(bare, "sizes").said
    assert "684 films of 217 groups" in answers.fact(study, "sizes").said[0]
    assert (
        answers.fact(study, "splits")
        .said[0]
        .startswith("5 folds, stratified by class, for each of the splits grouped,")
    )


def test_a_metric_that_was_not_saved_takes_its_sentence_with_it_and_no_other(study: answers.Study) -> None:
    found = answers.fact(without(study, "vgg16/grouped/sensitivity"), "estimates")
    assert [text.split(":")[0] for text in found.said] == ["ResNet50", "Both averaged"]
    assert found.missing == ["the metric vgg16/grouped/sensitivity was not saved"]
    assert not [link for link in found.links if link.words.startswith("vgg16/")]


@pytest.mark.parametrize(
    "fact, removed, said",
    [
        ("copies", "data/copied_files", "there is no 'data/copied_files'; run 02_eda again"),
        ("leaks", "leakage/grouped/accuracy", "run 07_leakage_lab again"),
        ("combining", "comparison/two_by_two/grouped/combining/accuracy", "two_by_two/grouped/combining"),
        ("persons", "data/patients", "run 01_data_download again"),
        ("labels", "reference/kappa", "The labels could not be checked"),
        ("calibrated", "resnet50/grouped/calibration_slope", "resnet50/grouped/calibration_slope was not saved"),
    ],
)
def test_a_rule_without_its_metric_says_that_it_is_missing(
    study: answers.Study, fact: str, removed: str, said: str
) -> None:
    assert not answers.fact(study, fact).missing
    found = answers.fact(without(study, removed), fact)
    assert said in " ".join(found.missing)


def test_an_accuracy_of_the_paper_that_was_not_measured_is_named(study: answers.Study) -> None:
    found = answers.fact(without(study, "ensemble-segmented/grouped/accuracy"), "honest")
    assert "both on bone alone" not in found.said[0] and "ensemble-segmented/grouped/accuracy" in found.missing[0]
    assert not answers.fact(without(study, *answers.CLAIMED), "honest").said


def test_the_time_taken_is_said_of_the_notebooks_that_recorded_it(study: answers.Study) -> None:
    minutes = sum(run["seconds"] for run in study.runs.values()) / 60
    assert (min(study.runs)[:2], max(study.runs)[:2]) == ("01", "07")
    (text,) = answers.fact(study, "hardware").said
    assert text.startswith(f"Notebooks 01 to 07 took {minutes:.1f} minutes in the last run")
    assert text.endswith("fits that were kept from earlier runs are not counted.")
    assert "minutes" not in " ".join(answers.fact(study, "reproduce").said)


def test_only_a_study_of_the_command_line_has_a_command(study: answers.Study) -> None:
    assert answers.fact(study, "command").said == ["One command makes every result: ./run_all.sh knee744."]
    text = answers.fact(study, "reproduce").said[0]
    assert text.startswith("With as many threads, ./run_all.sh knee744 makes every number again")
    by_hand = replace(study, name="scratch")
    for name in ("command", "reproduce"):
        found = answers.fact(by_hand, name)
        assert "run_all.sh" not in " ".join(found.said)
        assert found.missing == ["scratch is no study of the command line, so no command makes it again"]
    own = answers.StudyPaths("clinic").own_config
    results.write_text(own, "study: clinic\n")
    try:
        said = answers.fact(replace(study, name="clinic"), "command").said
    finally:
        own.unlink()
    assert said == ["One command makes every result: ./run_all.sh clinic."]


def test_without_an_external_set_nothing_is_claimed_of_one(study: answers.Study) -> None:
    assert answers.fact(study, "external").said == []
    assert answers.fact(study, "external").missing == ["no external set was given"]
    counts = {"files": 90, "overlap_files": 10, "scored_files": 80, "patients": 0}
    given = {f"external/{name}": Estimate(float(n)) for name, n in counts.items()}
    tested = with_(study, **given, **{"resnet50/external/auroc": Estimate(0.7, 0.6, 0.8, 80, 40)})
    tested = replace(tested, homes={**study.homes, **dict.fromkeys(tested.metrics, "05_resnet50")})
    (text,) = answers.fact(tested, "external").said
    assert "Of 90 usable films" in text and "AUROC there: ResNet50 0.700 (0.600–0.800)." in text


def test_a_calibration_slope_is_judged_by_its_whole_interval(study: answers.Study) -> None:
    slopes = {"vgg16": (0.5, 0.9), "resnet50": (0.8, 1.2), "ensemble": (1.1, 1.5)}
    judged = with_(
        study,
        **{
            f"{model}/grouped/calibration_slope": Estimate(low + 0.1, low, high)
            for model, (low, high) in slopes.items()
        },
    )
    text = answers.fact(judged, "calibrated").said[0]
    assert re.findall(r"probabilities ([a-z ]+)", text) == ["too extreme", "not shown to be off", "too cautious"]


def test_a_table_that_is_not_there_is_missing_and_one_that_is_there_is_read(study: answers.Study) -> None:
    steps = results.read_table(study.reports / "tables" / "flow.csv")
    last = steps.iloc[-1]
    assert f"{last['step']}: {last['files']:,.0f} files" in answers.fact(study, "flow").said[0]
    moved = study.reports / "tables" / "flow.csv"
    moved.rename(moved.with_suffix(".away"))
    try:
        assert answers.fact(study, "flow").missing == ["tables/flow.csv is not among the results"]
    finally:
        moved.with_suffix(".away").rename(moved)


def test_extremes_of_a_table_in_words(study: answers.Study) -> None:
    rows = results.read_table(study.reports / "tables" / "ensemble_subgroups.csv")
    text = tables.lowest_and_highest(rows)
    best = rows.sort_values("auroc").dropna(subset="auroc").iloc[-1]
    assert f"highest {best.auroc:.3f}" in text and text.endswith(f"({best.heading}: {best.subgroup})")
    assert tables.lowest_and_highest(rows.assign(auroc=float("nan"))) == ""
    assert tables.worst_perturbations(rows.assign(difference=float("nan"))) == ""
