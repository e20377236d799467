"""The site shows what may be shown, its links lead somewhere, and it loads nothing from elsewhere."""

import json
import re
import shutil
import sys
from importlib.util import find_spec
from pathlib import Path

import nbformat
import pytest

import command_line
import run
import website
from osteo_utils.study import paths

GLOSSARY = """# Glossary

## Words

- **Condyle**: a rounded end of the femur. (03)
- **Femur, tibia**: the thigh bone and the shin bone. (03)
- **`none`**: a recipe that trains no layer. (README)
"""


def written(folder: Path, **texts: str) -> Path:
    for name, text in texts.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    return folder


class TestLinks:
    @pytest.fixture
    def links(self, tmp_path: Path) -> website.Links:
        written(tmp_path, **{"code/a.py": "", "notebooks/04.ipynb": ""})
        return website.Links(tmp_path, {"notebooks/04.ipynb": "notebooks/04.ipynb", "README.md": "index.md"})

    def test_a_heading_has_the_same_name_however_its_link_was_written(self) -> None:
        assert website.slug("Would-the-number-hold-on-worse-films?") == "would-the-number-hold-on-worse-films"
        assert website.slug("Would the number hold on worse films?") == "would-the-number-hold-on-worse-films"

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("see [four](notebooks/04.ipynb#The-ROC)", "see [four](notebooks/04.ipynb#the-roc)"),
            ("the rules of [`a`](code/a.py) hold", "the rules of `a` hold"),
            ("[elsewhere](https://example.org/a.py)", "[elsewhere](https://example.org/a.py)"),
            ("[below](#words)", "[below](#words)"),
            ("write `[a](code/a.py)` for a link", "write `[a](code/a.py)` for a link"),
            ("```\n[a](code/a.py)\n```", "```\n[a](code/a.py)\n```"),
        ],
    )
    def test_a_link_leads_to_a_page_or_becomes_words(self, links: website.Links, text: str, expected: str) -> None:
        assert website.linked(text, "README.md", links) == expected

    def test_with_an_address_of_the_source_code_links_lead_there(self, links: website.Links) -> None:
        links.source = "https://example.org/blob/main/"
        assert website.linked("[a](../code/a.py)", "notebooks/04.ipynb", links) == (
            "[a](https://example.org/blob/main/code/a.py)"
        )

    def test_from_a_folder_the_start_page_is_one_up(self, links: website.Links) -> None:
        assert website.linked("[start](../README.md)", "notebooks/04.ipynb", links) == "[start](../index.md)"

    def test_a_picture_goes_along(self, links: website.Links) -> None:
        website.linked("![dots](figures/dots.png)", "notebooks/04.ipynb", links)
        assert links.files == {"notebooks/figures/dots.png"}


class TestTerms:
    KNOWN = website.terms(GLOSSARY)

    def explained(self, text: str) -> str:
        return website.explained(text, self.KNOWN, set(), "glossary.html")

    def test_each_word_of_an_entry_leads_to_the_entry(self) -> None:
        assert self.KNOWN["femur"] == self.KNOWN["tibia"] == "term-femur-tibia"

    def test_the_first_mention_leads_to_the_glossary_and_no_other(self) -> None:
        said = self.explained("Two condyles; a condyle is round.")
        assert said == 'Two <a class="term" href="glossary.html#term-condyle">condyles</a>; a condyle is round.'

    @pytest.mark.parametrize(
        "text",
        ["# The condyle", "[condyle](a.md)", "`condyle`", "```\ncondyle\n```", '<b title="condyle">', "there is none"],
    )
    def test_headings_links_code_and_common_words_stay_as_they_are(self, text: str) -> None:
        assert self.explained(text) == text

    def test_a_value_in_code_style_is_found_in_code_style(self) -> None:
        assert self.explained("the recipe `none`") == (
            'the recipe <a class="term" href="glossary.html#term-none">`none`</a>'
        )

    def test_every_link_to_a_term_has_its_place(self) -> None:
        page = website.with_places(GLOSSARY, {"03": "03_bones.ipynb"})
        assert set(re.findall(r'id="([^"]+)"', page)) == set(self.KNOWN.values())
        assert page.count("([03](03_bones.ipynb))") == 2 and "(README)" in page


class TestPages:
    @pytest.fixture
    def project(self, tmp_path: Path) -> Path:
        notebook = nbformat.v4.new_notebook(
            cells=[nbformat.v4.new_markdown_cell("# 01 · Films\n\nThe femur."), nbformat.v4.new_code_cell("show()")]
        )
        texts = {"README.md": "# Start\n\n[one](notebooks/01_data_download.ipynb)", "notebooks/glossary.md": GLOSSARY}
        return written(tmp_path / "project", **texts, **{"notebooks/01_data_download.ipynb": nbformat.writes(notebook)})

    def gathered(self, project: Path, executed: bool) -> Path:
        shown = written(project.parent / "shown", **{"claims.json": "[]"})
        if executed:
            film = nbformat.v4.new_output("display_data", data={"image/png": "ZmlsbQ=="})
            notebook = nbformat.read(project / "notebooks" / "01_data_download.ipynb", 4)
            notebook.cells[1].outputs = [film]
            written(shown, **{"notebooks/01_data_download.ipynb": nbformat.writes(notebook)})
        target = project.parent / "sources"
        reasons = {"01_data_download.ipynb": "the notebook was not executed in this run."}
        website.gather(project, shown, target, "some", "a run", reasons)
        return target

    @pytest.mark.parametrize("executed", [True, False])
    def test_a_notebook_has_outputs_only_where_they_may_be_shown(self, project: Path, executed: bool) -> None:
        page = json.loads(
            (self.gathered(project, executed) / "notebooks" / "01_data_download.ipynb").read_text("utf-8")
        )
        assert bool(page["cells"][1]["outputs"]) == executed
        note = "*Without its outputs: the notebook was not executed in this run.*"
        assert (note in page["cells"][0]["source"]) == (not executed)

    def test_a_notebook_without_outputs_says_the_true_reason(self, tmp_path: Path) -> None:
        large = {Path("notebooks/04_vgg16.ipynb"): "4.1 MB, more than 3"}
        assert set(website.reasons_without_outputs(tmp_path, {}).values()) == {
            "no executed notebook is among the published results."
        }
        written(tmp_path, **{"claims.json": "[]", "notebooks/04_vgg16.ipynb": "", "notebooks/02_eda.ipynb": ""})
        said = website.reasons_without_outputs(tmp_path, large)
        assert said["04_vgg16.ipynb"] == "the executed notebook was left out: 4.1 MB, more than 3."
        assert said["02_eda.ipynb"] == "they show films, and those of this study may not be shown."
        assert said["05_resnet50.ipynb"] == "the notebook was not executed in this run."

    def built(self, reports: Path, monkeypatch: pytest.MonkeyPatch, broken: list[str]) -> tuple[Path, list[str]]:
        """A site whose pages are made in no time; its report holds the names of the pictures of films it was given."""
        written(reports, **{"claims.json": "[]", "figures/films/a.png": "film", "figures/films/a.svg": "film"})

        def report(study: str, home: Path, films: bool) -> None:
            shown = home / "reports" / study
            given = " ".join(path.name for path in (shown / "figures" / "films").iterdir())
            written(shown, **{"report.html": f"{films} {given}"})

        def allowed(shown: Path) -> dict[Path, str]:
            written(shown, **{"claims.json": "[]", "notebooks/01_data_download.ipynb": ""})
            return {}

        monkeypatch.setattr(website, "_make_report", report)
        monkeypatch.setattr(website, "gather", lambda *arguments: None)
        monkeypatch.setattr(website, "_sphinx", lambda sources, pages, *words: pages.mkdir())
        monkeypatch.setattr(website, "problems", lambda pages: broken)
        return website.build("some", reports, reports / "published", reports, allowed, [])

    def test_of_films_a_site_has_pictures_and_no_drawings(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        site, _ = self.built(tmp_path, monkeypatch, [])
        assert (site / "report.html").read_text("utf-8") == "True a.png"

    def test_with_a_broken_link_the_site_stays_and_the_new_one_lies_beside_it(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        written(tmp_path, **{"site/report.html": "earlier"})
        site, found = self.built(tmp_path, monkeypatch, ["a.html: b.html: is not in the site"])
        assert site == tmp_path / "site-broken" and len(found) == 1
        assert (site / "report.html").read_text("utf-8") != "earlier"
        assert (tmp_path / "site" / "report.html").read_text("utf-8") == "earlier"
        site, found = self.built(tmp_path, monkeypatch, [])
        assert (site, found) == (tmp_path / "site", []) and not (tmp_path / "site-broken").exists()
        assert (site / "report.html").read_text("utf-8") != "earlier"

    def test_a_site_that_cannot_be_moved_into_place_leaves_the_earlier_one(self, tmp_path: Path) -> None:
        written(tmp_path, **{"site/index.html": "earlier"})
        with pytest.raises(OSError):
            website.put_in_place(tmp_path / "not there", tmp_path / "site", tmp_path / "aside")
        assert (tmp_path / "site" / "index.html").read_text("utf-8") == "earlier"

    def test_its_terms_lead_to_the_glossary_beside_it(self, project: Path) -> None:
        page = (self.gathered(project, True) / "notebooks" / "01_data_download.ipynb").read_text("utf-8")
        assert 'href=\\"glossary.html#term-femur-tibia\\"' in page

    def test_the_list_of_pages_names_those_that_are_there(self, project: Path) -> None:
        written(project, **{"notebooks/instructor.md": "# For instructors"})
        start = (self.gathered(project, True) / "index.md").read_text("utf-8")
        listed = re.findall(r"^(\S+\.(?:md|ipynb))$", start, re.M)
        assert listed == [
            "results.md",
            "notebooks/01_data_download.ipynb",
            "notebooks/instructor.md",
            "notebooks/glossary.md",
        ]

    def test_the_results_name_report_and_verdicts(self, tmp_path: Path) -> None:
        claim = {"claim": "98 % | accuracy", "paper": "98 %", "ours": "78 %", "verdict": "not confirmed"}
        page = website.results_page(
            "some", [claim], written(tmp_path, **{"report.html": "", "datasheet.md": ""}), "a run"
        )
        assert '<a href="report.html">The report</a>' in page and "[Datasheet](datasheet.md)" in page
        assert r"| 98 % \| accuracy | 98 % | 78 % | not confirmed |" in page

    def test_links_of_the_report_to_cells_lead_to_pages(self) -> None:
        assert website.to_pages('<a href="notebooks/04_vgg16.ipynb#ROC-curve">') == (
            '<a href="notebooks/04_vgg16.html#roc-curve">'
        )
        assert website.to_pages('<a href="model_card.md">') == '<a href="model_card.html">'

    def test_a_cell_that_was_run_has_its_number_as_place(self) -> None:
        cells = [{"cell_type": "code", "execution_count": 7, "source": "1"}, {"cell_type": "code", "source": "2"}]
        links = website.Links(Path(), {"notebooks/a.ipynb": "notebooks/a.ipynb"})
        page = website.notebook_page({"cells": cells, "metadata": {}}, "notebooks/a.ipynb", links, {})
        assert [cell["source"] for cell in page["cells"]] == ['<div id="cell-id=in-7"></div>', "1", "2"]

    def test_without_results_it_says_how_to_make_them(self, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError, match=r"\./run_all\.sh some"):
            website.build("some", tmp_path / "some", tmp_path / "published", tmp_path, lambda _: {}, [])
        assert not (tmp_path / "some").exists()

    @pytest.mark.long
    @pytest.mark.skipif(not find_spec("sphinx"), reason="./run_all.sh site installs Sphinx")
    def test_the_published_synthetic_study_becomes_a_site(self, tmp_path: Path) -> None:
        published = paths.code_root() / "reports" / "published" / "phantom"
        reports = tmp_path / "reports" / "phantom"
        site, found = website.build("phantom", reports, published, paths.code_root(), lambda _: {}, [tmp_path])
        assert found == []
        assert "data:image" in (site / "report.html").read_text("utf-8")
        assert list((site / "_images").glob("*.png"))
        page = (site / "notebooks" / "04_vgg16.html").read_text("utf-8")
        assert 'class="term"' in page and "MathJax" not in page
        shutil.rmtree(site / "notebooks")
        assert any("04_vgg16" in line for line in website.problems(site))


class TestProblems:
    def found(self, folder: Path, body: str, **others: str) -> list[str]:
        written(folder, **{"a/page.html": f"<html><body>{body}</body></html>"}, **others)
        return website.problems(folder)

    @pytest.mark.parametrize(
        "body",
        [
            '<h2 id="here">A</h2><a href="#here">x</a><a href="#">top</a>',
            '<a href="../other.html#there">x</a><a href="../other.html?q=1">x</a>',
            '<a href="https://example.org/nowhere">x</a><a href="mailto:a@example.org">x</a>',
            '<img src="data:image/png;base64,AA==">',
            '<a href="page.html#caf%C3%A9">x</a><p id="café">',
        ],
    )
    def test_links_that_lead_somewhere_and_links_to_elsewhere_pass(self, tmp_path: Path, body: str) -> None:
        assert self.found(tmp_path, body, **{"other.html": '<p id="there">'}) == []

    @pytest.mark.parametrize(
        ("body", "named", "advice"),
        [
            ('<a href="#gone">x</a>', "#gone", "mend the name after #"),
            ('<a href="../other.html#gone">x</a>', "../other.html#gone", "mend the name after #"),
            ('<a href="gone.html">x</a>', "gone.html", "mend the link"),
            ('<img src="gone.png">', "gone.png", "mend the link"),
            ('<a href="../a">x</a>', "../a", "name a page in it"),
            ('<a href="/other.html">x</a>', "/other.html", "write it from its page on"),
            ('<a href="../../out.html">x</a>', "../../out.html", "leads out of the site"),
            ('<script src="https://cdn.example.org/x.js"></script>', "https://cdn.example.org/x.js", "keep a copy"),
            ('<link rel="stylesheet" href="//example.org/x.css">', "//example.org/x.css", "keep a copy"),
            ('<img srcset="https://example.org/2.png 2x">', "https://example.org/2.png", "keep a copy"),
        ],
    )
    def test_a_broken_link_is_told_with_page_link_and_what_to_do(
        self, tmp_path: Path, body: str, named: str, advice: str
    ) -> None:
        (line,) = self.found(tmp_path, body, **{"other.html": ""})
        assert line.startswith(f"a/page.html: {named}: ") and advice in line

    def test_a_style_that_loads_a_font_from_elsewhere_is_told(self, tmp_path: Path) -> None:
        styles = {"x.css": "@import 'https://example.org/f.css'; b { background: url(dot.png) }"}
        (line,) = self.found(tmp_path, "", **styles)
        assert line.startswith("x.css: https://example.org/f.css")

    def test_a_page_that_names_a_folder_of_this_machine_is_refused(self, tmp_path: Path) -> None:
        written(tmp_path, **{"page.html": "read from /home/somebody/films/a.png"})
        with pytest.raises(RuntimeError, match=r"page\.html: names /home/somebody"):
            website.refuse_private(tmp_path, [Path("/home/somebody")])


class TestCommand:
    def ended(self, broken: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> int:
        monkeypatch.setattr(website, "install", lambda lock: None)
        monkeypatch.setattr(website, "build", lambda *arguments: (written(tmp_path, **{"index.html": ""}), broken))
        monkeypatch.setattr(sys, "argv", ["run.py", "site", "phantom"])
        return run.main()

    def test_a_broken_link_ends_with_1_and_is_told(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
    ) -> None:
        assert self.ended(["a.html: b.html: is not in the site"], tmp_path, monkeypatch) == 1
        said = capsys.readouterr().err
        assert "broken links: 1; " in said and "\n  a.html: b.html: is not in the site" in said
        assert f"the new site lies in {tmp_path}, and site is as it was" in said

    def test_without_one_it_ends_with_0_and_names_the_start_page(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
    ) -> None:
        assert self.ended([], tmp_path, monkeypatch) == 0
        assert f"1 pages, 0.0 MB: {tmp_path / 'index.html'}" in capsys.readouterr().out

    def test_code_can_only_be_linked_at_an_address(self, capsys: pytest.CaptureFixture) -> None:
        with pytest.raises(SystemExit):
            command_line.parse(["site", "phantom", "--source", "main"])
        assert "'main': expected an address, such as https://" in capsys.readouterr().err


class TestInstallation:
    def test_what_is_there_at_its_version_is_not_missing(self, tmp_path: Path) -> None:
        locked = written(tmp_path, lock=f"pytest=={pytest.__version__}\nno-such-thing==1 ; sys_platform == 'none'\n")
        assert website.missing(locked / "lock") == []

    def test_another_version_and_an_absent_package_are_missing(self, tmp_path: Path) -> None:
        locked = written(tmp_path, lock="pytest==0.1\nno-such-thing==1\n")
        assert website.missing(locked / "lock") == ["pytest==0.1", "no-such-thing==1"]

    def test_an_environment_that_is_used_as_it_is_gets_nothing(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("OSTEO_ENV", "none")
        with pytest.raises(RuntimeError, match=r"installs nothing, and the site needs 1 package: .*pip install"):
            website.install(written(tmp_path, lock="no-such-thing==1\n") / "lock")

    def test_without_a_network_it_says_what_to_do(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PIP_NO_INDEX", "1")
        monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
        monkeypatch.setenv("OSTEO_ENV", "venv")
        with pytest.raises(RuntimeError, match="Is the network there"):
            website.install(written(tmp_path, lock="no-such-thing==1\n") / "lock")
