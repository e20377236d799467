"""The report of a fabricated study: it prints what is saved, all of it, and refuses a mixture."""

import json
import re
import shutil
import zlib
from html import unescape
from pathlib import Path

import made_up_study
import numpy as np
import pandas as pd
import pytest
from made_up_study import STUDY, estimate
from PIL import Image

from osteo_utils.reporting import findings, report, tables
from osteo_utils.study import results
from osteo_utils.study.paths import StudyPaths, code_root


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder like a project's, with one finished study that no notebook made."""
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OSTEO_HOME", str(home))
        made_up_study.write(StudyPaths(STUDY))
    return home


@pytest.fixture
def paths(template: Path, home: Path) -> StudyPaths:
    """A fresh copy of the fabricated study that a test may spoil."""
    shutil.copytree(template, home, dirs_exist_ok=True)
    return StudyPaths(STUDY)


def change(path: Path, *keys: str, to: object) -> None:
    content = json.loads(path.read_text())
    inner = content
    for key in keys[:-1]:
        inner = inner[key]
    inner[keys[-1]] = to
    path.write_text(json.dumps(content))


def page(paths: StudyPaths, **options: bool) -> str:
    """The report without the links that stand around its numbers."""
    html = report.render(STUDY, **options)["html"].read_text("utf-8")
    return re.sub(r'<(a class="from"|span title=)[^>]*>(.*?)</(?:a|span)>', r"\2", html)


def test_the_report_prints_every_claim_with_its_verdict_and_reason(paths: StudyPaths) -> None:
    html = page(paths)
    text = unescape(html)
    for row in json.loads(paths.claims.read_text()):
        assert row["verdict"] in text
        assert row["why"] in text
        assert f"<strong>{row['id']}</strong>" in html


@pytest.mark.parametrize(
    ("low", "high", "verdict"), [(0.01, 0.05, "helps"), (-0.05, -0.01, "harms"), (-0.01, 0.05, "is not shown to help")]
)
def test_whether_combining_helps_is_said_by_the_interval(
    paths: StudyPaths, low: float, high: float, verdict: str
) -> None:
    name = "comparison/ensemble-single_best/grouped/auroc"
    assert findings.whether_combining_helps({}) == ""
    saved = {name: results.Estimate(0.02, low, high), f"{name}/detectable": results.Estimate(0.031)}
    sentence = findings.whether_combining_helps(saved)
    assert f"By AUROC, averaging both models {verdict}:" in sentence
    assert f"by +0.020 (95 % interval {low:+.3f} to {high:+.3f})" in sentence
    assert "a true difference of 0.031 is found four times in five" in sentence
    for key, value in saved.items():
        change(paths.metrics / "06_ensemble.json", key, to=vars(value))
    assert sentence in unescape(page(paths))


@pytest.mark.parametrize(
    ("gap", "reference", "between", "verdict", "sorted_by"),
    [
        (
            (0.06, 0.27),
            (0.47, 0.74),
            (0.9, 0.97),
            "they follow the folder more (difference on the same films +0.165",
            True,
        ),
        ((-0.1, 0.2), (0.55, 0.95), (0.4, 0.6), "neither is shown to be followed more (difference", False),
        ((-0.3, -0.1), (0.85, 0.95), (0.4, 0.6), "they follow the reference label more", False),
    ],
)
def test_what_the_scores_follow_is_said_by_the_intervals(
    paths: StudyPaths, gap: tuple, reference: tuple, between: tuple, verdict: str, sorted_by: bool
) -> None:
    assert findings.what_the_scores_follow({}) == ""
    saved = {"reference/osteopenia": results.Estimate(0.66, 0.6, 0.72, 672, 208, note="class in another set")}
    saved["reference/same"] = results.Estimate(0.77, 0.68, 0.85)
    ends = {"folder_extremes": (0.68, 0.86), "reference_extremes": reference, "folder_osteopenia": between}
    for name, (low, high) in {**ends, "folder_minus_reference": gap}.items():
        saved[f"reference/ensemble/{name}/auroc"] = results.Estimate((low + high) / 2, low, high)
    sentence = findings.what_the_scores_follow(saved)
    assert "(class in another set) is known for 672 films of 208 persons. 66% of them (60% to 72%)" in sentence
    assert "of the others 77% (68% to 85%)" in sentence and verdict in sentence
    assert ("something other than that class sorts them" in sentence) == sorted_by
    assert ("chance, 0.5, lies within" in sentence) == (reference[0] <= 0.5 <= reference[1])
    for key, value in saved.items():
        change(paths.metrics / "06_ensemble.json", key, to=vars(value))
    assert unescape(page(paths)).count(sentence) >= 1


def test_what_sorts_the_folders_stands_beside_its_table(paths: StudyPaths) -> None:
    size = {"n_files": 436, "n_groups": 133}
    saved = {
        "asked": results.Estimate(60, **size),
        "trait": results.Estimate(0.861, 0.791, 0.921, **size, note="joint_height"),
        "trait_p": results.Estimate(0.001, note="0.276 under normal, 0.497 under osteoporosis"),
        "family": results.Estimate(0.9, 0.86, 0.94, **size, note="film"),
        "family_p": results.Estimate(0.001),
        "as_good": results.Estimate(0),
    }
    for key, value in saved.items():
        change(paths.metrics / "06_ensemble.json", f"traits/osteopenia/{key}", to=vars(value))
    row = dict.fromkeys(results.CONTRACTS["traits"].columns, 0.5)
    row |= {"among": "osteopenia", "kind": "trait", "name": "joint_height", "value": 0.861, "low": 0.791, "high": 0.921}
    results.write_table(paths.tables / "traits_osteopenia.csv", pd.DataFrame([row]), "traits")
    html = unescape(page(paths))
    section = html[html.index('<section id="reference">') :]
    assert "that it goes most with is joint_height (place of the joint along the film" in section
    assert "Traits osteopenia: what the folder name goes with" in section


def test_the_suspects_are_listed_without_their_pictures(paths: StudyPaths) -> None:
    assert '<section id="suspects">' not in page(paths)
    listed = {"image_id": ["a/<1>.png"], "class_name": "normal", "label": 0, "group": 0, "osteoporosis": 0.912}
    listed |= {"spread": 0.01, "self_confidence": 0.088, "margin": -0.6, "threshold": 0.7, "suspect": 1, "rank": 1}
    results.write_table(paths.tables / "suspect_labels.csv", pd.DataFrame(listed), "suspect_labels")
    for name, count in (("labels", 1.0), ("far_films", 0.0)):
        change(paths.metrics / "06_ensemble.json", f"suspects/{name}", to=vars(results.Estimate(count, n_files=40)))
    html = page(paths)
    section = html[html.index('<section id="suspects">') :].split("</section>")[0]
    assert "the label of 1 of 40 films, the suspects; 0 films lie far from all others" in section
    assert "a/&lt;1&gt;.png" in section and "0.088" in section and "<img" not in section


def test_every_metric_is_printed_with_its_interval_and_follows_the_saved_number(paths: StudyPaths) -> None:
    html = page(paths)
    for name, value in results.load_metrics(paths.reports).items():
        shown = (
            f"{value.value:.3f} ({value.low:.3f}–{value.high:.3f})" if value.low is not None else f"{value.value:.0f}"
        )
        assert shown in html, name
    assert "0.912 (0.901–0.923)" not in html
    for key, value in (("value", 0.912), ("low", 0.901), ("high", 0.923)):
        change(paths.metrics / "05_resnet50.json", "resnet50/grouped/auroc", key, to=value)
    changed = page(paths)
    assert changed.count("0.912 (0.901–0.923)") == 2, "once in the summary, once in the table"


def test_the_report_begins_with_its_front_page_and_then_its_appendix(paths: StudyPaths) -> None:
    html = unescape(page(paths))
    front = html[html.index('<div id="findings">') : html.index('<div id="appendix">')]
    assert (
        "15 of 38 synthetic films of 30 knees have a copy, altered or not, among the others. 2 knees lie under both labels"
        in front
    )
    assert "0.950 (0.920–0.980) under “augmented before splitting”" in front
    change(paths.metrics / "07_leakage_lab.json", "leakage/by_file/accuracy", "value", to=0.96)
    assert "under “split by file”" in page(paths)


def test_films_are_left_out_on_request_and_all_other_figures_stay(paths: StudyPaths) -> None:
    with_films, without = page(paths), page(paths, films=False)
    assert with_films.count("<img") == 3
    assert without.count("<img") == 2
    assert 'class="film"' in with_films
    assert 'class="film"' not in without
    assert "Figures that show films were left out" in without


def test_the_page_needs_nothing_beside_itself(paths: StudyPaths) -> None:
    html = report.render(STUDY)["html"].read_text("utf-8")
    beside = re.findall(r'(?:src|href)="(?!data:|#)([^"]*)"', html)
    assert all((paths.reports / name).is_file() for name in beside)
    assert not re.search(r'url\((?!#)|@import|<script(?! type="application/json")[^>]', html)
    assert str(paths.reports) not in html


def test_what_is_expected_and_missing_is_named_and_what_is_unassigned_is_still_shown(paths: StudyPaths) -> None:
    html = page(paths)
    assert "Missing from this run:" in html
    assert "figures/resnet50*confusion*.png" in html
    assert "figures/vgg16*confusion*.png" not in html
    assert '<section id="other">' in html
    (paths.figures / "zzz_unassigned.png").unlink()
    assert '<section id="other">' not in page(paths)


def test_the_pdf_has_pages_and_carries_its_fonts(paths: StudyPaths) -> None:
    pdf = report.render(STUDY)["pdf"].read_bytes()
    assert pdf.startswith(b"%PDF")
    # Pages and fonts stand in compressed object streams.
    streams = re.findall(rb"stream\r?\n(.*?)\r?\nendstream", pdf, re.DOTALL)
    text = pdf + b"".join(zlib.decompress(part) for part in streams if part[:1] == b"x")
    assert len(re.findall(rb"/Type\s*/Page\b", text)) > 1
    assert b"LibertinusSerif" in text


def test_a_destination_receives_both_files_and_the_study_none(paths: StudyPaths, tmp_path: Path) -> None:
    elsewhere = tmp_path / "published"
    assert report.main([STUDY, "--no-films", "--destination", str(elsewhere)]) == 0
    assert sorted(path.name for path in elsewhere.iterdir()) == ["report.html", "report.pdf"]
    assert not (paths.reports / "report.html").exists()


def test_missing_metrics_are_an_error_that_names_the_notebook(
    paths: StudyPaths, capsys: pytest.CaptureFixture[str]
) -> None:
    (paths.metrics / "05_resnet50.json").unlink()
    with pytest.raises(FileNotFoundError, match="run the notebook 05_resnet50"):
        report.render(STUDY)
    assert report.main([STUDY]) == 1
    assert "05_resnet50" in capsys.readouterr().err


def test_a_headline_metric_that_is_missing_names_its_notebook(paths: StudyPaths) -> None:
    content = json.loads((paths.metrics / "06_ensemble.json").read_text())
    del content["ensemble/grouped/auroc"]
    (paths.metrics / "06_ensemble.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match=r"no 'ensemble/grouped/auroc'; run 06_ensemble again"):
        report.render(STUDY)


def test_results_read_from_another_manifest_are_refused(paths: StudyPaths) -> None:
    report.check_consistency(STUDY)
    change(paths.metrics / "04_vgg16.json", "_run", "inputs", "manifest.csv", to="0" * 64)
    with pytest.raises(ValueError, match=r"(?s)manifest.csv: 04_vgg16 read another.*Run again: 04_vgg16$"):
        report.render(STUDY)


def test_a_manifest_changed_after_the_run_is_refused_for_all_who_read_it(paths: StudyPaths) -> None:
    paths.manifest.write_text("image_id\nb\n")
    with pytest.raises(ValueError, match=r"Run again: 02_eda, 03_segmentation, 04_vgg16, 05_resnet50, 06_"):
        report.check_consistency(STUDY)


def test_two_versions_of_a_file_that_is_gone_are_refused(paths: StudyPaths) -> None:
    paths.manifest.unlink()
    report.check_consistency(STUDY)
    change(paths.metrics / "04_vgg16.json", "_run", "inputs", "manifest.csv", to="0" * 64)
    with pytest.raises(ValueError, match=r"read different versions"):
        report.check_consistency(STUDY)


@pytest.mark.parametrize(("name", "value"), [("seed", 2), ("study", "another")])
def test_another_seed_or_study_in_one_notebook_is_refused(paths: StudyPaths, name: str, value: object) -> None:
    change(paths.metrics / "07_leakage_lab.json", "_run", "parameters", name, to=value)
    with pytest.raises(ValueError, match=rf"(?s)parameter {name}.*Run again: 07_leakage_lab$"):
        report.check_consistency(STUDY)


def test_only_synthetic_sets_say_so_and_real_ones_say_where_labels_come_from(paths: StudyPaths) -> None:
    assert "drawn from a seed, with the label known by construction" in page(paths)
    change(paths.metrics / "01_data_download.json", "_run", "parameters", "dataset", to="knee744")
    html = page(paths)
    assert "drawn from a seed, with the label known" not in html
    assert "ultrasound T-scores of unknown chain, not from DXA" in html


def section(html: str, key: str) -> str:
    start = html.index(f'<section id="{key}">')
    return unescape(html[start : html.index("</section>", start)])


def add(path: Path, metrics: dict[str, results.Estimate]) -> None:
    content = json.loads(path.read_text())
    results.write_json(path, {**content, **{name: vars(value) for name, value in metrics.items()}})


def test_the_rule_for_osteopenia_and_what_is_known_of_patients_are_said(paths: StudyPaths) -> None:
    text = section(page(paths), "data")
    assert "no films of osteopenia" in text
    assert "patient-level leakage is unknown" in text
    noted = paths.metrics / "01_data_download.json"
    add(noted, {"data/osteopenia": results.Estimate(7), "data/patients": results.Estimate(20, n_files=38)})
    change(noted, "_run", "parameters", "osteopenia", to="normal")
    text = section(page(paths), "data")
    assert "the 7 films of osteopenia, the class between the two, count as normal" in text
    assert "For 38 of 38 films the person is known, 20 in all" in text
    assert "unknown" not in text
    change(noted, "data/patients", "n_files", to=30)
    assert "For the other 8, patient-level leakage is unknown" in section(page(paths), "data")


def test_without_an_external_set_the_report_says_so(paths: StudyPaths) -> None:
    html = page(paths)
    assert "No external set was given." in section(html, "external")
    assert "One data set. Nothing here was tested on films of another hospital" in html


def test_an_external_set_is_reported_with_its_overlap_and_scores_and_without_a_file_name(paths: StudyPaths) -> None:
    counted = {"files": 50, "groups": 45, "patients": 0, "overlap_files": 6, "conflict_files": 2, "scored_files": 42}
    found = {f"external/{name}": results.Estimate(value) for name, value in counted.items()}
    add(paths.metrics / "02_eda.json", found)
    results.write_text(
        paths.tables / "external_overlap.csv", "image_id,develop_image\nexternal/normal/miller.png,normal/1.png\n"
    )
    nothing = section(page(paths), "external")
    assert "Nothing was scored, as films of both classes must be left." in nothing
    add(paths.metrics / "04_vgg16.json", {"vgg16/external/auroc": estimate(0.618)})
    html = page(paths)
    text = section(html, "external")
    assert "Of 50 usable films of the external set, 6 show a knee or a patient of the study" in text
    assert "whether they share patients by other films is unknown" in text
    assert "0.618 (0.568–0.668)" in text
    assert "0.750 (0.700–0.800)" in text, "the study's own AUROC stands beside it"
    assert "0.618 (0.568–0.668)" in section(html, "vgg16")
    assert "miller" not in html
    assert "One data set. Nothing here was tested" not in html


def test_text_from_results_cannot_break_the_page(paths: StudyPaths) -> None:
    judged = json.loads(paths.claims.read_text())
    judged[0]["why"] = "<b>1 < 2</b> & #strong[typst]"
    paths.claims.write_text(json.dumps(judged))
    assert "&lt;b&gt;1 &lt; 2&lt;/b&gt; &amp; #strong[typst]" in page(paths)
    assert (paths.reports / "report.pdf").stat().st_size > 10_000


def test_an_unknown_verdict_is_refused(paths: StudyPaths) -> None:
    judged = json.loads(paths.claims.read_text())
    judged[0]["verdict"] = "fine"
    paths.claims.write_text(json.dumps(judged))
    with pytest.raises(ValueError, match="verdict 'fine' is unknown"):
        report.render(STUDY)


def test_a_figure_stands_in_the_section_that_names_it(paths: StudyPaths) -> None:
    shutil.copy(paths.figures / "vgg16_confusion.png", paths.figures / "headline.png")
    html = page(paths)
    claims_section = html[html.index('<section id="claims">') : html.index('<section id="data">')]
    assert "Every headline number with its interval" in claims_section
    assert claims_section.count("<img") == 1


def test_headline_numbers_carry_the_papers_number_where_it_names_one(paths: StudyPaths) -> None:
    table = findings.headline(results.load_metrics(paths.reports)).set_index("metric")
    assert table.paper["vgg16/grouped/accuracy"] == 0.78
    assert table.paper["resnet50/grouped/accuracy"] == 0.98
    assert np.isnan(table.paper["resnet50/grouped/auroc"])
    assert table.value["vgg16-segmented/grouped/auroc"] == pytest.approx(0.73)


@pytest.mark.parametrize(("size", "share"), [((1200, 2800), 0.6), ((648, 300), 0.5), ((4000, 1000), 1.0)])
def test_in_the_pdf_a_figure_is_neither_enlarged_nor_cut_off_at_the_foot_of_a_page(
    size: tuple[int, int], share: float, tmp_path: Path
) -> None:
    Image.new("L", size).save(tmp_path / "figure.png", dpi=(160, 160))
    assert report.page_share(str(tmp_path / "figure.png")) == pytest.approx(share, abs=1e-3)


def test_a_synthetic_report_shows_the_published_verdicts_on_the_real_films_as_such(paths: StudyPaths) -> None:
    published = code_root() / "reports" / "published" / findings.PUBLISHED
    rows = json.loads((published / "claims.json").read_text("utf-8"))
    html = unescape(page(paths))
    assert "The paper on the real films, as published here" in html and "Not computed by this run." in html
    assert all(row["why"] in html and row["ours"] in html for row in rows)
    accuracy = results.load_metrics(published)["resnet50/grouped/accuracy"]
    assert f"{accuracy.value:.3f} ({accuracy.low:.3f}–{accuracy.high:.3f})" in html
    change(paths.metrics / "01_data_download.json", "_run", "parameters", "dataset", to="folder")
    assert "as published here" not in page(paths)


def test_without_published_results_a_synthetic_report_has_no_such_section(
    monkeypatch: pytest.MonkeyPatch, paths: StudyPaths
) -> None:
    monkeypatch.setattr(findings, "PUBLISHED", "nothing")
    assert "as published here" not in page(paths)


def test_chosen_and_fixed_recipe_stand_side_by_side_with_the_bound() -> None:
    value = results.Estimate(0.9, 0.8, 0.95)
    saved = {f"vgg16/grouped/{name}": value for name in ("auroc", "nested/auroc", "nested/best_afterwards")}
    saved["comparison/vgg16-nested-fixed/grouped/auroc"] = results.Estimate(0.01, -0.02, 0.03)
    (block,) = tables.nested_table(saved)
    shown = "0.900 (0.800–0.950)"
    assert block["rows"] == [["VGG16", shown, shown, "0.010 (-0.020 to 0.030)", shown]]
    assert tables.nested_table({}) == []


def test_the_pages_own_script_is_short_and_plain() -> None:
    script = (Path(report.__file__).parent / "report.js").read_text("utf-8")
    assert len(script.splitlines()) < 200 and max(map(len, script.splitlines())) < 150
    assert not re.search(r"\beval\b|Function\(|innerHTML|fetch\(|import", script)
