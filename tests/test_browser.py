"""The report in a real browser: accessible, complete without a script, and nothing comes from outside.

Without a browser or npm these tests are skipped; OSTEO_BROWSER_TESTS=required makes that a failure.
"""

from collections.abc import Iterator
from pathlib import Path

import made_up_study
import pytest
from browser import LAPTOP, PHONE, Browser
from made_up_study import STUDY

from osteo_utils.reporting import report
from osteo_utils.statistics import evaluation
from osteo_utils.study import results
from osteo_utils.study.paths import StudyPaths
from osteo_utils.study.results import Estimate

MOVE = "(id, value) => {{ const one = document.getElementById(id); one.value = value; one.dispatchEvent(new Event('input')); }}"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with Browser(tmp_path_factory.mktemp("browser")) as opened:
        yield opened


@pytest.fixture(scope="module")
def study(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[StudyPaths]:
    """The fabricated study with its report, once for all tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OSTEO_HOME", str(tmp_path_factory.mktemp("home")))
        paths = StudyPaths(STUDY)
        made_up_study.write(paths)
        made_up_study.add_notebooks(paths)
        path = paths.metrics / "07_leakage_lab.json"
        shuffled = {"leakage/grouped+shuffled/accuracy": vars(Estimate(0.5, 0.45, 0.55))}
        results.write_json(path, {**shuffled, **results.read_json(path)})
        assert report.main([STUDY]) == 0
        yield paths


@pytest.mark.parametrize(("size", "dark"), [(LAPTOP, False), (LAPTOP, True), (PHONE, False)])
def test_axe_finds_nothing_serious(browser: Browser, study: StudyPaths, size: tuple[int, int], dark: bool) -> None:
    for name in ("report.html", "notebooks/03_segmentation.html"):
        browser.open(study.reports / name, size, dark)
        assert browser.violations() == []


@pytest.mark.parametrize("name", ["report.html", "notebooks/03_segmentation.html"])
def test_nothing_comes_from_outside_and_nothing_is_logged(browser: Browser, study: StudyPaths, name: str) -> None:
    browser.requests.clear()
    browser.messages.clear()
    browser.open(study.reports / name)
    browser.run("scrollTo(0, document.body.scrollHeight); new Promise(requestAnimationFrame)")
    outside = [address for address in browser.requests if not address.startswith("data:")]
    assert outside == [(study.reports / name).resolve().as_uri()]
    assert browser.messages == []


def test_a_planted_fault_is_found(browser: Browser, study: StudyPaths, tmp_path: Path) -> None:
    html = (study.reports / "report.html").read_text("utf-8")
    fault = '<img src="https://localhost/x.png"><script>throw Error("planted")</script></main>'
    bad = tmp_path / "bad.html"
    bad.write_text(html.replace("</main>", fault))
    browser.messages.clear()
    browser.open(bad)
    assert "image-alt" in [one["id"] for one in browser.violations()]
    assert any("planted" in message for message in browser.messages)
    assert any("Content Security Policy" in message for message in browser.messages)


def test_no_page_is_wider_than_a_phone(browser: Browser, study: StudyPaths) -> None:
    browser.open(study.reports / "report.html", PHONE)
    assert browser.run("document.documentElement.scrollWidth") == PHONE[0]
    assert browser.run("document.querySelector('.toc details').open") is False
    # A table may be wider and moves in its box; its caption is read without that.
    ends = "[...document.querySelectorAll('caption')].map(caption => caption.getBoundingClientRect().right)"
    assert 0 < browser.run(f"Math.max(...{ends})") <= PHONE[0]


def test_the_contents_follow_the_reader(browser: Browser, study: StudyPaths) -> None:
    browser.open(study.reports / "report.html")
    current = "document.querySelector('.toc a[aria-current]').hash"
    assert browser.run(current) == "#front1"
    browser.run("document.getElementById('vgg16').scrollIntoView()")
    # The mark moves with the next picture, which a busy machine draws late.
    wait = f"const wait = left => {current} === '#vgg16' || !left ? done() : setTimeout(wait, 50, left - 1); wait(200);"
    browser.run(f"new Promise(done => {{ {wait} }})")
    assert browser.run(current) == "#vgg16"
    assert browser.run("document.querySelectorAll('.toc a[aria-current]').length") == 1


def test_the_threshold_gives_the_numbers_of_the_metrics(browser: Browser, study: StudyPaths) -> None:
    browser.open(study.reports / "report.html")
    films = made_up_study.predictions("vgg16").query("protocol == 'grouped'")
    browser.run(
        f"({MOVE.format()})('t-model', 'vgg16'); ({MOVE.format()})('t-cut', 40); ({MOVE.format()})('t-share', 20)"
    )
    names = {"accuracy": "accuracy", "sensitivity": "sensitivity", "ppv": "ppv@0.2", "npv": "npv@0.2"}
    expected = evaluation.summarise(films, list(names.values()), 200, 1, threshold=0.4)
    for name, metric in names.items():
        shown = browser.run(f"document.getElementById('t-{name}').value")
        assert shown.startswith(f"{expected[metric].value:.3f} ("), name
    found = expected["sensitivity"]
    ends = f"{found.value:.3f} ({found.low:.3f}–{found.high:.3f})"
    assert browser.run("document.getElementById('t-sensitivity').value") == ends
    called = int(((films.y_prob >= 0.4) & (films.y_true == 1)).sum())
    assert browser.run("document.getElementById('t-tp').textContent") == str(called)
    assert browser.run("document.getElementById('t-cut-shown').value") == "0.40"


def test_the_labs_switches_show_the_run_with_these_mistakes(browser: Browser, study: StudyPaths) -> None:
    browser.open(study.reports / "report.html")
    said = "document.getElementById('l-said').value"
    box = "document.querySelector('#lab input[value={}]')"
    browser.run(box.format("augment_first") + ".click()")
    assert browser.run(said).startswith("Accuracy 0.950 (0.920–0.980); honest split with the same labels 0.700")
    assert browser.run(box.format("by_file") + ".disabled") is True, "the two were not run together"
    browser.run(box.format("shuffled") + ".click()")
    assert "was not run" in browser.run(said)
    browser.run(box.format("augment_first") + ".click()")
    assert browser.run(said) == (
        "Accuracy 0.500 (0.450–0.550); honest split with the same labels 0.500 (0.450–0.550). The paper reports 98 %."
    )


def test_without_a_script_the_page_is_complete(browser: Browser, study: StudyPaths) -> None:
    browser.open(study.reports / "report.html", script=False)
    shown = browser.run("document.body.innerText")
    browser.call("Emulation.setScriptExecutionDisabled", value=False)
    assert "To play with" not in shown and "The paper's claims" in shown and "Appendix" in shown
