"""The page of suspects: each film with its picture and its reason, names as text, and no page without films."""

import re

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from osteo_utils.evidence import suspects_page
from osteo_utils.images import manifest
from osteo_utils.study import results
from osteo_utils.study.paths import StudyPaths, raw

NAMES = ("normal/a & <b>bold<b>.png", "osteoporosis/NA.png")


@pytest.fixture
def studied(home: object) -> StudyPaths:
    """Two films, one with a name that is markup, and the tables of notebook 06."""
    study = StudyPaths("small")
    for number, name in enumerate(NAMES):
        place = raw("films") / name
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.tile(np.arange(60 + number, dtype=np.uint8), (90, 1))).save(place)
    listed = manifest.build_manifest(raw("films"), "folder", store=study.images)
    results.write_table(study.manifest, listed, "manifest")
    labels = pd.DataFrame(
        {"image_id": NAMES, "class_name": ["normal", "osteoporosis"], "label": [0, 1], "group": [0, 1]}
    )
    labels = labels.assign(osteoporosis=[0.91, 0.7], spread=[0.031, np.nan], self_confidence=[0.09, 0.7])
    labels = labels.assign(margin=[-0.7, 0.0], threshold=[0.8, 0.75], suspect=[1, 0], rank=[1, 2])
    strangers = labels[["image_id", "class_name", "group"]].iloc[::-1]
    strangers = strangers.assign(distance=[6.04, 0.1], far=[1, 0], mask=["<i>no bone", ""], rank=[1, 2])
    results.write_table(study.tables / "suspect_labels.csv", labels, "suspect_labels")
    results.write_table(study.tables / "suspect_films.csv", strangers, "suspect_films")
    return study


def test_each_film_stands_with_its_picture_and_its_reason(studied: StudyPaths) -> None:
    page = suspects_page.write(studied).read_text("utf-8")
    assert page.count('<img src="data:image/jpeg;base64,') == 4 and page.count('class="marked"') == 2
    assert page.count("1 of 2 films are suspects") == 2
    assert (
        "filed as normal; probability of normal 0.09 (standard deviation over networks and seeds 0.03), so osteoporosis "
        "is at least as likely as for the mean film of osteoporosis (0.80)"
    ) in page
    assert "filed as osteoporosis; probability of osteoporosis 0.70<" in page
    assert "distance 6.0 robust standard deviations (far: above 3.5); bone mask: " in page
    assert "distance 0.1 robust standard deviations<" in page


def test_names_and_reasons_are_text_and_not_markup(studied: StudyPaths) -> None:
    page = suspects_page.write(studied).read_text("utf-8")
    assert "a &amp; &lt;b&gt;bold&lt;b&gt;.png" in page and "<b>bold" not in page and "<i>" not in page
    assert "osteoporosis/NA.png" in page
    assert not re.search(r'(?:src|href)="(?!data:)', page)


def test_without_films_there_is_no_page_and_none_of_an_earlier_run_stays(studied: StudyPaths) -> None:
    assert suspects_page.write(studied).is_file()
    assert suspects_page.write(studied, films=False) is None
    assert not studied.suspects.exists()
    assert suspects_page.write(studied, films=False) is None


@pytest.mark.parametrize(("low", "warned"), [(0.4, True), (0.6, False)])
def test_a_list_of_networks_that_know_nothing_says_so_at_its_top(studied: StudyPaths, low: float, warned: bool) -> None:
    found = {f"{model}/grouped/auroc": {"value": 0.7, "low": low, "high": 0.8} for model in ("vgg16", "resnet50")}
    results.write_json(studied.metrics / "04_vgg16.json", {**found, "_run": {}})
    page = suspects_page.write(studied).read_text("utf-8")
    said = f"not shown to tell the two classes apart (AUROC VGG16 0.700 [{low:.3f}, 0.800]"
    assert (said in page) == warned
    assert page.index(said) < page.index("<h2>") if warned else True
