"""Each number, table and figure of the report leads to its file and to the notebook cell that saved it."""

import json
import re
import shutil
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import made_up_study
import pytest
from made_up_study import STUDY, estimate

from osteo_utils.reporting import findings, provenance, report
from osteo_utils.study import config, results
from osteo_utils.study.paths import StudyPaths
from osteo_utils.study.results import Estimate


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A home with the fabricated study, its executed notebooks, their pages and the report."""
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OSTEO_HOME", str(home))
        made_up_study.write(StudyPaths(STUDY))
        made_up_study.add_notebooks(StudyPaths(STUDY))
        assert report.main([STUDY]) == 0
    return home


@pytest.fixture
def paths(template: Path, home: Path) -> StudyPaths:
    shutil.copytree(template, home, dirs_exist_ok=True)
    return StudyPaths(STUDY)


@pytest.fixture
def made(template: Path, monkeypatch: pytest.MonkeyPatch) -> StudyPaths:
    """The study as it is; no test changes it."""
    monkeypatch.setenv("OSTEO_HOME", str(template))
    return StudyPaths(STUDY)


class Links(HTMLParser):
    """The links of a part of a page with what they print, and all ids."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.links: list[tuple[str, str, str]] = []
        self.ids: set[str] = set()
        self.at: dict[str, str] | None = None
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.ids |= {found["id"]} if "id" in found else set()
        self.at = found if tag == "a" else self.at

    def handle_data(self, data: str) -> None:
        if self.at is not None:
            self.links.append((data, self.at.get("href", ""), self.at.get("title", "")))

    def handle_endtag(self, tag: str) -> None:
        self.at = None if tag == "a" else self.at


def page(paths: StudyPaths) -> str:
    return (paths.reports / "report.html").read_text("utf-8")


def test_every_link_has_its_target(made: StudyPaths) -> None:
    whole = Links(page(made))
    cells = 0
    for _, href, _ in whole.links:
        file, _, anchor = href.partition("#")
        assert not file.startswith(("http", "/", "file"))
        if not file:
            assert anchor in whole.ids
            continue
        assert (made.reports / file).is_file(), href
        if anchor:
            cells += 1
            assert f'id="{anchor}"' in (made.reports / file).read_text("utf-8"), href
    assert cells > 50


def test_every_metric_of_the_report_leads_to_the_cell_that_saved_it(made: StudyPaths) -> None:
    led = {title.split(" in ")[0]: (text, href) for text, href, title in Links(page(made)).links if title}
    metrics = results.load_metrics(made.reports)
    # Counts that a sentence alone prints, beside nothing else.
    assert set(metrics) - set(led) == set()
    for name in ("resnet50/grouped/accuracy", "leakage/by_file/accuracy", "data/groups"):
        notebook = {"resnet50": "05_resnet50", "leakage": "07_leakage_lab", "data": "02_eda"}[name.split("/")[0]]
        assert led[name][1] == f"notebooks/{notebook}.html#cell-id=in-3"


def test_every_headline_number_of_the_first_pages_is_a_link(made: StudyPaths) -> None:
    front = page(made).split('<section id="front2">')[1].split('<section id="front4">')[0]
    titles = [title for _, _, title in Links(front).links if title]
    for row in findings.headline(results.load_metrics(made.reports)).itertuples():
        if row.metric.endswith("grouped/auroc") and "-" not in row.metric:
            assert any(title.startswith(f"{row.metric} in ") for title in titles)
    # What stands without a link is of the paper, or an interval of nothing that was saved.
    plain = re.sub(r'<a class="from".*?</a>', "", front)
    assert re.findall(r"\d\.\d{3} \(", plain.split("On the real films")[0]) == []


def test_every_table_and_figure_names_its_source(made: StudyPaths) -> None:
    own = re.sub(r'<section id="(published|try)".*?</section>', "", page(made), flags=re.DOTALL)
    captions = re.findall(r"<(?:caption|figcaption)>(.*?)</(?:caption|figcaption)>", own, re.DOTALL)
    without = [re.sub("<.*?>", "", text) for text in captions if 'class="source"' not in text]
    assert [text.split(". ", 1)[1].strip() for text in without] == ["Protocols."], "it holds no number"
    assert 'href="figures/vgg16_confusion.png">figures/vgg16_confusion.png</a>, made by' in own
    assert 'href="figures/headline.svg">figures/headline.svg</a>' in own, "the drawing, where there is one"
    assert 'href="tables/vgg16_classification_report.csv">' in own


def test_points_of_a_drawing_tell_their_values_and_its_ids_are_its_own(made: StudyPaths) -> None:
    drawing = re.search(r"<svg viewBox=.*?</svg>", page(made).split('id="claims"')[1], re.DOTALL)[0]
    assert "<title>A&lt;b: 0.500, 95 % interval 0.400 to 0.600</title>" in drawing
    ids = re.findall(r'\bid="([^"]*)"', drawing)
    assert ids and len(ids) == len(set(ids)) and all(re.match(r"f\d+-", name) for name in ids)
    used = re.findall(r'(?:url\(#|href="#)([^)"]*)', drawing)
    assert used and set(used) <= set(ids)
    assert "<style" not in drawing and "<metadata" not in drawing


def test_without_notebooks_links_lead_to_the_published_files_alone(paths: StudyPaths) -> None:
    shutil.rmtree(paths.notebooks)
    report.render(STUDY)
    links = [href for _, href, title in Links(page(paths)).links if title]
    assert links and all(re.fullmatch(r"metrics/\d\d_\w+\.json", href) for href in links)
    assert all((paths.reports / href).is_file() for href in links)


def test_in_another_folder_sources_are_named_and_not_linked(paths: StudyPaths, tmp_path: Path) -> None:
    html = report.render(STUDY, destination=tmp_path / "elsewhere")["html"].read_text("utf-8")
    assert [href for _, href, _ in Links(html).links if not href.startswith("#")] == []
    assert '<span title="resnet50/grouped/accuracy in metrics/05_resnet50.json' in html
    assert str(tmp_path) not in html


def test_a_notebook_run_again_by_hand_does_not_lead_to_the_cells_of_the_old_copy(paths: StudyPaths) -> None:
    path = paths.metrics / "05_resnet50.json"
    content = json.loads(path.read_text())
    content["_run"]["finished"] = "2024-05-21T10:00:01+00:00"
    path.write_text(json.dumps(content))
    known = provenance.origins(paths, paths.reports)
    assert known["resnet50/grouped/accuracy"]["cell_link"] == ""
    assert known["vgg16/grouped/accuracy"]["cell_link"] == "notebooks/04_vgg16.html#cell-id=in-3"


def test_the_notebook_at_work_knows_its_cells_before_it_has_ended(paths: StudyPaths) -> None:
    path = paths.notebooks / "08_report.ipynb"
    content = json.loads(path.read_text())
    content["metadata"]["papermill"]["end_time"] = None
    path.write_text(json.dumps(content))
    run = results.Run("08_report", {}, paths, 1, cells={"figures/headline.png": 17})
    known = provenance.origins(paths, paths.reports, run)
    assert known["figures/headline.png"]["cell_link"] == "notebooks/08_report.html#cell-id=in-17"


def test_two_builds_are_the_same_to_the_byte(paths: StudyPaths) -> None:
    def built() -> list[bytes]:
        files = [*report.render(STUDY).values(), *provenance.write_pages(paths)]
        return [file.read_bytes() for file in files]

    assert built() == built()


def test_a_number_that_a_sentence_prints_is_taken_for_the_metric_that_was_read() -> None:
    metrics = {"a": estimate(0.75), "b": Estimate(7), "c": Estimate(0.02, -0.01, 0.05), "d": Estimate(3)}
    block = provenance.told(lambda read: f"{read['b'].value:.0f} of 17 and 7.5: {read['a']}, 3 kinds", metrics)
    assert block["text"] == "7 of 17 and 7.5: 0.750 [0.700, 0.800], 3 kinds"
    assert block["pieces"] == [("7", "b"), (" of 17 and 7.5: ", ""), ("0.750 [0.700, 0.800]", "a"), (", 3 kinds", "")]
    parts = provenance.pieces("gain +0.020 (-0.010 to +0.050), 2.0 % (-1.0 % to 5.0 %)", {"c": metrics["c"]})
    assert [name for _, name in parts] == ["", "c", "", "c"]
    both = {"files": Estimate(3), "usable": Estimate(3)}
    assert [name for _, name in provenance.pieces("3 of 3 films in knees", both) if name] == ["files", "usable"]
    unclear = provenance.pieces("3 of 3 films in 3 knees", both)
    assert not any(name for _, name in unclear), "which of three is which of two cannot be told"


def test_the_page_of_a_notebook_runs_nothing_and_loads_nothing(made: StudyPaths) -> None:
    html = (made.notebooks / "03_segmentation.html").read_text("utf-8")
    assert "<script" not in html and "alert(" not in html and "http" not in html.replace("http-equiv", "")
    assert "<td>wide table</td></tr></table>" in html, "the output itself stays"
    assert "a quiz" in html, "text instead of what would run"
    assert 'href="02_eda.html"' in html and 'href="glossary.md#auroc"' in html and 'href="../report.html"' in html
    assert len(config.NOTEBOOKS) == len(list(made.notebooks.glob("*.html")))
