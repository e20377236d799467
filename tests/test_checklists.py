"""Checklists, cards and the reviewer's page: no item without an answer, and none that the results do not give."""

import html
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from osteo_utils.reporting import contents, findings
from osteo_utils.reporting.report import BESIDE, recorded_runs
from osteo_utils.review import answers, checklists
from osteo_utils.study import about, paths, results
from osteo_utils.study.paths import StudyPaths

PUBLISHED = paths.code_root() / "reports" / "published" / "knee744"
ITEMS = {
    "claim": 44, "tripod_ai": 52, "reforms": 32, "probast_ai": 23, "stard_ai": 48, "mi_claim": 19, "model_card": 10,
    "datasheet": 11, "reviewer": 10,
}  # fmt: skip
HREF = re.compile(r'href="([^"#]*)#?([^"]*)"|\]\(([^)#]*)#?([^)]*)\)')


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with the published results of the real films as if they had been made there, and nothing else."""
    home = tmp_path_factory.mktemp("home")
    shutil.copytree(PUBLISHED, home / "reports" / "knee744")
    return home


@pytest.fixture
def study(template: Path, home: Path) -> StudyPaths:
    shutil.copytree(template, home, dirs_exist_ok=True)
    return StudyPaths("knee744")


def rows(said: dict[str, str] | None = None) -> dict[tuple[str, str], checklists.Row]:
    found = answers.load("knee744")
    return {
        (name, row["item"]): row
        for name in ITEMS
        for row in checklists.filled(found, said or {}, name, ())["rows"]
    }  # fmt: skip


def targets(text: str) -> set[tuple[str, str]]:
    return {(one[0] or one[2], one[1] or one[3]) for one in HREF.findall(text) if "://" not in one[0] + one[2]}


@pytest.mark.parametrize("name", ITEMS)
def test_every_item_is_there_once_and_can_be_answered(name: str) -> None:
    items = checklists.guideline(name)["items"]
    assert len(items) == len({item["item"] for item in items}) == ITEMS[name]
    for item in items:
        known = {"item", "topic", "facts", "about", "lacks", "reason"}
        assert set(item) <= known and item["topic"] and (item.get("facts") or item.get("about") or item.get("reason"))
        assert set(item.get("facts", ())) <= set(answers.sentences())
        assert set(item.get("about", ())) <= set(about.FIELDS)


def test_no_fact_and_no_field_is_kept_that_no_item_asks_for() -> None:
    asked = [item for name in ITEMS for item in checklists.guideline(name)["items"]]
    assert {fact for item in asked for fact in item.get("facts", ())} == set(answers.sentences())
    assert {name for item in asked for name in item.get("about", ())} == set(about.FIELDS)
    assert set(ITEMS) - {"reviewer"} == set(checklists.GUIDELINES)


def test_the_state_of_an_item_follows_from_who_answers_it(study: StudyPaths) -> None:
    silent, spoken = rows(), rows(dict.fromkeys(about.FIELDS, "Words"))
    for row in silent.values():
        assert (row["run"] or row["missing"]) and not row["author"]
        assert (row["state"] == checklists.RUN) == (not row["missing"])
    assert (silent["claim", "5"]["state"], spoken["claim", "5"]["state"]) == ("open", "author")
    assert (silent["claim", "3"]["state"], spoken["claim", "3"]["state"]) == ("part", "part")
    assert (silent["claim", "4"]["state"], spoken["claim", "4"]["state"]) == ("part", "both")
    assert silent["claim", "19"]["state"] == "run" and silent["claim", "34"]["state"] == "not_us"
    assert spoken["claim", "33"]["missing"][0] == "Not in this run: no external set was given."


def test_what_the_author_says_reaches_its_items_and_what_is_unknown_leaves_them_open(study: StudyPaths) -> None:
    found = rows({"ethics": "Approved, no. 7", "authors": ["A. Author", "B. Author"], "dates": "unknown"})
    assert found["tripod_ai", "17"]["author"] == ["Ethics: Approved, no. 7."]
    assert found["stard_ai", "6*"]["author"] == ["Ethics: Approved, no. 7."]
    assert found["model_card", "1"]["author"] == ["Authors: A. Author, B. Author."]
    assert (found["tripod_ai", "5b"]["state"], found["tripod_ai", "5b"]["missing"]) == (
        "open", ["The author on dates: unknown."],
    )  # fmt: skip
    assert "Not said: funding" in found["tripod_ai", "18a"]["missing"][0]


def test_a_metric_that_is_gone_leaves_no_old_value_behind(study: StudyPaths) -> None:
    path = study.metrics / "06_ensemble.json"
    content = results.read_json(path)
    gone = content.pop("ensemble/grouped/auroc")
    old = f"{gone['value']:.3f} ({gone['low']:.3f}–{gone['high']:.3f})"
    before, whole = rows()["claim", "2"], checklists.pages("knee744")["model_card.md"]
    results.write_json(path, content)
    after, less = rows()["claim", "2"], checklists.pages("knee744")["model_card.md"]
    assert old in " ".join(before["run"]) and after["run"] == []
    assert "Not in this run: the metric ensemble/grouped/auroc was not saved." in after["missing"]
    assert whole.count("type: roc_auc") == 3 and less.count("type: roc_auc") == 2


def test_every_link_leads_to_a_file_and_every_anchor_to_a_place(study: StudyPaths) -> None:
    metrics, runs = results.load_metrics(study.reports), recorded_runs("knee744")
    judged = results.read_json(study.claims)
    assert findings.facts(metrics, runs)["dataset"] == "knee744"
    keys = {section["key"] for section in contents.document(study, metrics, runs, judged, False, {})["sections"]}
    for path in checklists.write("knee744"):
        text = path.read_text("utf-8")
        found = targets(text)
        assert len(found) > 10
        for file, anchor in found:
            assert file in (*answers.REPORT, "") or (study.reports / file).is_file()
            assert not anchor or anchor in (keys if file == "report.html" else set(checklists.GUIDELINES))


def test_of_what_is_published_no_link_leads_to_what_is_not(study: StudyPaths) -> None:
    shown = {"metrics/02_eda.json", "tables/flow.csv"}
    made = checklists.pages("knee744", shown)
    assert set(made) == set(BESIDE)
    for text in made.values():
        assert {file for file, _ in targets(text)} <= shown | set(BESIDE) | {""}
    assert "report.html#limits (not published)" in made["model_card.md"]


def test_numbers_of_the_card_are_those_that_were_saved(study: StudyPaths) -> None:
    text = checklists.pages("knee744")["model_card.md"]
    head = yaml.safe_load(text.split("---\n")[1])
    metrics = results.load_metrics(study.reports)
    for entry, model in zip(head["model-index"], ("vgg16", "resnet50", "ensemble"), strict=True):
        auroc, accuracy = entry["results"][0]["metrics"]
        assert auroc["value"] == round(metrics[f"{model}/grouped/auroc"].value, 3)
        assert accuracy["value"] == round(metrics[f"{model}/grouped/accuracy"].value, 3)
        assert f"{metrics[f'{model}/grouped/auroc'].low:.3f} to" in auroc["name"]
    assert "Research and teaching only" in text
    # The code is free, but no network is given out, and the films have a licence of their own.
    assert head["license"] == "other" and "Licence: code MIT. No trained weights are given out." in text


@pytest.mark.parametrize("name, item", [("reviewer", "1"), ("datasheet", "2c"), ("model_card", "9"), ("claim", "19")])
def test_no_item_says_twice_how_many_knees_lie_under_both_labels(study: StudyPaths, name: str, item: str) -> None:
    assert " ".join(rows()[name, item]["run"]).count("under both labels") <= 1


def test_how_many_is_answered_with_counts_of_files_knees_persons_and_copies(study: StudyPaths) -> None:
    row, metrics = rows()["reviewer", "1"], results.load_metrics(study.reports)
    text = " ".join(row["run"])
    for name in ("files", "usable", "normal", "osteoporosis", "knees", "groups", "patients", "copied_files"):
        assert re.search(rf"\b{metrics[f'data/{name}'].value:,.0f}\b", text), name
    assert text.startswith("744 files, 744 of them used") and not row["missing"]


def test_the_reviewers_ten_answers_are_those_of_the_run(study: StudyPaths) -> None:
    page = html.unescape(checklists.pages("knee744")["reviewer.html"])
    metrics = results.load_metrics(study.reports)
    assert page.count("<li>") == 10
    for name in ("resnet50/grouped/auroc", "reference/kappa", "leakage/resubstitution/accuracy"):
        assert f"{metrics[name].value:.3f} ({metrics[name].low:.3f}–{metrics[name].high:.3f})" in page
    assert "744 of 744 films of 335 knees" in page and "no external set was given" in page


BROWSER = shutil.which("chromium") or shutil.which("google-chrome")


@pytest.mark.skipif(not (BROWSER and shutil.which("pdfinfo")), reason="needs chromium and pdfinfo")
def test_the_reviewers_page_is_one_printed_page_even_with_an_external_set(study: StudyPaths, tmp_path: Path) -> None:
    path = study.metrics / "02_eda.json"
    counts = {"files": 9000, "overlap_files": 1000, "scored_files": 8000, "patients": 0}
    given = {f"external/{name}": {"value": float(n)} for name, n in counts.items()}
    few = {"data/groups": results.read_json(path)["data/groups"] | {"value": 12.0}}
    results.write_json(path, results.read_json(path) | given | few)
    checklists.write("knee744")
    assert "Of 9,000 usable films" in (study.reports / "reviewer.html").read_text("utf-8")
    printed = tmp_path / "page.pdf"
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--no-pdf-header-footer", f"--user-data-dir={tmp_path}"]
    page = (study.reports / "reviewer.html").as_uri()
    subprocess.run([BROWSER, *options, f"--print-to-pdf={printed}", page], check=True, capture_output=True)
    said = subprocess.run(["pdfinfo", printed], check=True, capture_output=True, text=True).stdout
    assert re.search(r"^Pages:\s+1$", said, re.M) and "(A4)" in said


def test_words_of_an_author_are_shown_and_never_run(study: StudyPaths) -> None:
    results.write_text(study.params / about.NAME, "contact: '<script>alert(1)</script> [x](javascript:y)'\n")
    made = checklists.pages("knee744")
    for text in made.values():
        assert "<script>alert" not in text
    assert "\\[x\\](javascript:y)" in made["model_card.md"]
    assert "&lt;script&gt;" in made["checklists.html"]
    assert "nothing that only a person knows" not in made["checklists.html"]


def test_a_form_is_written_where_no_author_has_said_anything(study: StudyPaths) -> None:
    form = study.reports / checklists.TEMPLATE
    kept = study.params / about.NAME
    results.write_text(kept, "{}\n")
    assert form in checklists.write("knee744") and form.read_text("utf-8") == about.template()
    assert "No about.yaml was found" in (study.reports / "checklists.html").read_text("utf-8")
    results.write_text(kept, "title: A study\n")
    assert form not in checklists.write("knee744") and not form.exists()


def test_shares_count_every_item(study: StudyPaths) -> None:
    found = checklists.shares("knee744")
    assert [sum(counts.values()) for counts in found.values()] == list(ITEMS.values())[:8]
