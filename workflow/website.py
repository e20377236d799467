"""Builds one static site of a study: its notebooks, its report and the pages of the project.

What may be shown is decided by `publish` alone: the site of a study is made from what `publish` copies.
"""

import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path, PurePosixPath
from urllib.parse import unquote

from packaging.requirements import Requirement

from osteo_utils.study.parameters import NOTEBOOKS
from publish import private_folder

# Pages of the project beside its notebooks, and what the list of pages calls each part. A page that is not there is
# left out.
CHAPTERS = {
    "Notebooks": ["notebooks/0*.ipynb"],
    "Course": ["notebooks/instructor.md", "notebooks/exercises/*.ipynb", "notebooks/colab.ipynb"],
    "Reference": [
        "notebooks/glossary.md", "osteo_utils/README.md", "osteo_utils/images/FORMATS.md", "benchmarks/README.md",
    ],
}  # fmt: skip
RESULTS = "results.md"
# Pages of a study: those that stand as they are beside the pages of the site, and those that become such pages.
WHOLE = {
    "report.html": "The report", "report.pdf": "The report as PDF", "checklists.html": "Reporting checklists",
    "reviewer.html": "Ten questions of a reviewer",
}  # fmt: skip
CARDS = {"model_card.md": "Model card", "datasheet.md": "Datasheet"}
GLOSSARY = "notebooks/glossary.md"
COLUMNS = ("claim", "paper", "ours", "verdict")
FIGURE = "figures/message.png"
SYNTHETIC = "The films of notebooks and report are synthetic, and their numbers say nothing about patients. "
PAGES = Path(__file__).with_name("site_pages")

_FENCED = r"^(?P<fence>`{3,}|~{3,}).*?^(?P=fence)`*~*[ ]*$"
_LINK = r"(?P<image>!?)\[(?P<label>(?:[^\[\]`]|`[^`]*`)*)\]\((?P<target>[^()\s]+)\)"
_LINKS = re.compile(f"{_FENCED}|{_LINK}|`[^`\n]+`", re.M | re.S)
_ENTRY = re.compile(r"^- \*\*(.+?)\*\*: (.+?)(?: \((\d\d)\))?$", re.M)


@dataclass
class Links:
    """What links may lead to: `pages` of the site by their file in the project, and the address of other `source`."""

    root: Path
    pages: dict[str, str]
    source: str = ""
    files: set[str] = field(default_factory=set)  # pictures that a page shows, found while pages are read


def slug(heading: str) -> str:
    """The name of a heading in an address, as GitHub and Sphinx write it; also of one as Jupyter writes it."""
    return re.sub(r"[^\w\- ]", "", unquote(heading).strip().lower()).replace(" ", "-")


def linked(text: str, page: str, links: Links) -> str:
    """Markdown of `page` with each link as the site needs it; a link to a file that the site lacks becomes its words.

    With `links.source` such a link leads there instead.
    """

    def one(found: re.Match[str]) -> str:
        if found["target"] is None or re.match(r"[a-z]+:|#", found["target"]):
            return found[0]
        name, _, place = found["target"].partition("#")
        target = os.path.normpath(PurePosixPath(page).parent / unquote(name))
        if found["image"]:
            links.files.add(target)
            return found[0]
        if target in links.pages:
            here = PurePosixPath(links.pages[page]).parent
            there = os.path.relpath(links.pages[target], here) + (f"#{slug(place)}" if place else "")
            return f"[{found['label']}]({there})"
        if links.source and (links.root / target).exists():
            return f"[{found['label']}]({links.source.rstrip('/')}/{target})"
        return found["label"]

    return _LINKS.sub(one, text)


def terms(glossary: str) -> dict[str, str]:
    """The name in an address of each term of the glossary; values in `code style` keep their marks.

    An entry of several terms has one name.
    """
    return {
        word.strip().lower(): f"term-{slug(entry[1])}"
        for entry in _ENTRY.finditer(glossary)
        for word in entry[1].split(",")
    }


def with_places(glossary: str, notebooks: Mapping[str, str]) -> str:
    """The glossary with a place to link to at each entry, and links to the notebooks (by number) that it names."""

    def one(found: re.Match[str]) -> str:
        term, meaning, number = found.groups()
        place = f" ([{number}]({notebooks[number]}))" if number in notebooks else f" ({number})" if number else ""
        return f'- <span id="term-{slug(term)}"></span>**{term}**: {meaning}{place}'

    return _ENTRY.sub(one, glossary)


def explained(text: str, known: Mapping[str, str], seen: set[str], glossary: str) -> str:
    """Markdown whose first mention of each term leads to the glossary; `seen` are the terms that already do."""
    words = "|".join(re.escape(word) for word in sorted(known, key=len, reverse=True) if "`" not in word)
    skipped = rf"{_FENCED}|^#[^\n]*$|{_LINK}|<[^>]+>"
    pattern = re.compile(rf"{skipped}|(?P<code>`[^`\n]+`)|\b(?P<word>{words})s?\b", re.M | re.S | re.I)

    def one(found: re.Match[str]) -> str:
        place = known.get((found["code"] or found["word"] or "").lower())
        if not place or place in seen:
            return found[0]
        seen.add(place)
        return f'<a class="term" href="{glossary}#{place}">{found[0]}</a>'

    return pattern.sub(one, text)


def notebook_page(content: dict, page: str, links: Links, known: Mapping[str, str], note: str = "") -> dict:
    """A notebook whose Markdown has the site's links; `note` stands below its title.

    Each code cell that was run has the place `cell-id=in-17`, where 17 is its number; the report links to it.
    """
    seen: set[str] = set()
    glossary = os.path.relpath("notebooks/glossary.html", PurePosixPath(links.pages[page]).parent)
    cells = []
    for cell in content["cells"]:
        if cell["cell_type"] == "markdown":
            cell["source"] = explained(linked("".join(cell["source"]), page, links), known, seen, glossary)
        if number := cell.get("execution_count"):
            place = f'<div id="cell-id=in-{number}"></div>'
            cells.append({"cell_type": "markdown", "id": f"place-{number}", "metadata": {}, "source": place})
        cells.append(cell)
    if note:
        title, _, rest = cells[0]["source"].partition("\n")
        cells[0]["source"] = f"{title}\n\n*{note}*\n{rest}"
    # A notebook that was never run does not say that its code may hold commands of IPython.
    language = {"name": "python", "pygments_lexer": "ipython3"} | content["metadata"].get("language_info", {})
    return content | {"cells": cells, "metadata": content["metadata"] | {"language_info": language}}


def contents(pages: Iterable[str], cards: Iterable[str] = ()) -> str:
    """The list of pages, as the start page carries it and the sidebar shows it."""
    pages = sorted(pages)
    blocks = {"Study": [RESULTS, *cards]} | {
        chapter: [page for pattern in patterns for page in pages if PurePosixPath(page).match(pattern)]
        for chapter, patterns in CHAPTERS.items()
    }
    return "".join(
        f"\n```{{toctree}}\n:hidden:\n:caption: {chapter}\n\n" + "\n".join(entries) + "\n```\n"
        for chapter, entries in blocks.items()
        if entries
    )


def results_page(study: str, claims: Sequence[Mapping[str, str]], shown: Path, origin: str) -> str:
    """The page of a study: its report and other pages, its first figure, and what became of each claim."""
    listed = [f'- <a href="{name}">{title}</a>' for name, title in WHOLE.items() if (shown / name).is_file()]
    listed += [f"- [{title}]({name})" for name, title in CARDS.items() if (shown / name).is_file()]
    figure = f"![The message of the report, drawn]({FIGURE})\n\n" if (shown / FIGURE).is_file() else ""
    rows = "\n".join(
        "| " + " | ".join(re.sub(r"\s+", " ", row[name]).replace("|", r"\|") for name in COLUMNS) + " |"
        for row in claims
    )
    return (
        f"# Results of the study {study}\n\n" + "\n".join(listed) + f"\n\nMade from {origin}.\n\n{figure}"
        f"## The paper's claims\n\n| {' | '.join(COLUMNS)} |\n|---|---|---|---|\n{rows}\n"
    )


def reasons_without_outputs(reports: Path, left_out: Mapping[Path, str]) -> dict[str, str]:
    """Why an executed notebook is not among what may be shown of the run in `reports`, by its file name.

    `left_out` is what `publish` left out, with the reason. Without a run there, what is shown was published.
    """
    run, reasons = (reports / "claims.json").is_file(), {}
    for name in (Path("notebooks") / f"{stem}.ipynb" for stem in NOTEBOOKS):
        if name in left_out:
            reasons[name.name] = f"the executed notebook was left out: {left_out[name]}."
        elif not run:
            reasons[name.name] = "no executed notebook is among the published results."
        elif (reports / name).is_file():
            reasons[name.name] = "they show films, and those of this study may not be shown."
        else:
            reasons[name.name] = "the notebook was not executed in this run."
    return reasons


def gather(
    root: Path, shown: Path, target: Path, study: str, origin: str, reasons: Mapping[str, str], source: str = ""
) -> None:
    """Fill `target` with the sources of the pages.

    `root` is the project, `shown` the folder of what may be shown of the study. A notebook of the study that is not
    there stands without outputs, and with the one of `reasons` that has its file name.
    """
    patterns = [pattern for chapter in CHAPTERS.values() for pattern in chapter]
    found = sorted({path.relative_to(root).as_posix() for pattern in patterns for path in root.glob(pattern)})
    executed = {path.name for path in (shown / "notebooks").glob("*.ipynb")}
    pages = {name: name for name in found} | {"README.md": "index.md"}
    pages |= {f"reports/published/{study}/notebooks/{name}": f"notebooks/{name}" for name in executed}
    links = Links(root, pages, source)
    known = terms((root / GLOSSARY).read_text("utf-8"))
    numbers = {name[:2]: f"{name}.ipynb" for name in NOTEBOOKS if f"notebooks/{name}.ipynb" in pages}
    for name in found:
        path, note = root / name, ""
        if PurePosixPath(name).stem in NOTEBOOKS:
            if path.name in executed:
                path = shown / name
            else:
                note = f"Without its outputs: {reasons[path.name]}"
        text = path.read_text("utf-8")
        if name.endswith(".ipynb"):
            text = json.dumps(notebook_page(json.loads(text), name, links, known, note), ensure_ascii=False)
        else:
            text = linked(with_places(text, numbers) if name == GLOSSARY else text, name, links)
        _write(target / name, text)
    cards = [name for name in CARDS if (shown / name).is_file()]
    for name in cards:
        # A model card begins with metadata for a hub of models.
        text = re.sub(r"\A---\n.*?\n---\n", "", (shown / name).read_text("utf-8"), flags=re.S)
        _write(target / name, linked(text, name, links))
    readme = linked((root / "README.md").read_text("utf-8"), "README.md", links)
    _write(target / "index.md", readme + contents(found, cards))
    claims = json.loads((shown / "claims.json").read_text("utf-8"))
    _write(target / RESULTS, results_page(study, claims, shown, origin))
    _copy(shown, target, {FIGURE} if (shown / FIGURE).is_file() else ())
    _copy(root, target, links.files)


def _copy(source: Path, target: Path, names: Iterable[str]) -> None:
    for name in names:
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source / name, target / name)


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8")


class _Page(HTMLParser):
    """The places of one page, what it links to, and what it loads."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.places, self.links, self.loaded = {"", "top"}, set(), set()
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attributes}
        self.places |= {given[name] for name in ("id", "name") if name in given}
        if tag in ("a", "area") and "href" in given:
            self.links.add(given["href"])
        # A form or a link of the kind `next` leads somewhere and loads nothing.
        if tag == "link" and {"stylesheet", "icon", "preload", "manifest"} & set(given.get("rel", "").split()):
            self.loaded.add(given.get("href", ""))
        if tag != "a":
            self.loaded |= {given[name] for name in ("src", "poster", "data") if given.get(name)}
            self.loaded |= {part.split()[0] for part in given.get("srcset", "").split(",") if part.strip()}


def problems(site: Path) -> list[str]:
    """What is wrong with the links of a folder of pages, one line each with page, link and what to do.

    A link to another host stays as it is and is not tried; a picture, script or style from there is an error.
    """
    pages = {path: _Page(path.read_text("utf-8")) for path in sorted(site.rglob("*.html"))}
    found = []
    for path, page in pages.items():
        name = path.relative_to(site)
        for link in sorted(page.links | page.loaded):
            if wrong := _wrong(site, path, link, pages, link in page.loaded):
                found.append(f"{name}: {link}: {wrong}")
    for path in sorted(site.rglob("*.css")):
        outside = re.findall(r"(?:url\(|@import\s+)[\"']?((?:https?:)?//[^\"')\s]+)", path.read_text("utf-8"))
        found += [
            f"{path.relative_to(site)}: {link}: loaded from another host; keep a copy in the site" for link in outside
        ]
    return found


def _wrong(site: Path, page: Path, link: str, pages: Mapping[Path, _Page], loaded: bool) -> str:
    if link.startswith("//") or re.match(r"[a-zA-Z][a-zA-Z0-9+.-]*:", link):
        outside = loaded and not link.startswith("data:")
        return "loaded from another host; keep a copy in the site" if outside else ""
    address, _, place = link.partition("#")
    name = unquote(address.partition("?")[0])
    if name.startswith("/"):
        return "begins with /, which fails in a folder of a server; write it from its page on"
    target = Path(os.path.normpath(page.parent / name)) if name else page
    if not target.is_relative_to(site):
        return "leads out of the site; link to a page of it or to an address"
    if not target.is_file():
        what = "is a folder; name a page in it" if target.is_dir() else "is not in the site"
        return f"{target.relative_to(site)} {what}; mend the link in the page's source, or add the file"
    if target in pages and unquote(place) not in pages[target].places and place not in pages[target].places:
        return f"no such place on {target.relative_to(site)}; its headings are the places, mend the name after #"
    return ""


def missing(lock: Path) -> list[str]:
    """The lines of a lock that this Python has not got at their version."""
    lines = []
    for line in lock.read_text("utf-8").splitlines():
        wanted = Requirement(line)
        if wanted.marker and not wanted.marker.evaluate():
            continue
        try:
            there = wanted.specifier.contains(importlib.metadata.version(wanted.name), prereleases=True)
        except importlib.metadata.PackageNotFoundError:
            there = False
        if not there:
            lines.append(line)
    return lines


def install(lock: Path) -> None:
    """Add what the lock of the site names to this environment; RuntimeError says what to do where that fails."""
    if not (lines := missing(lock)):
        return
    number = f"{len(lines)} package" + "s" * (len(lines) > 1)
    by_hand = f"{sys.executable} -m pip install --no-deps -r {lock}"
    if os.environ.get("OSTEO_ENV") == "none":
        raise RuntimeError(f"OSTEO_ENV=none installs nothing, and the site needs {number}: {by_hand}")
    print(f"Installing {number} that only the site needs, from {lock.name}, once.")
    with tempfile.NamedTemporaryFile("w", suffix=".txt", encoding="utf-8") as chosen:
        chosen.write("\n".join(lines))
        chosen.flush()
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-compile", "-r", chosen.name]
        told = subprocess.run(command, capture_output=True, text=True)
    if told.returncode:
        last = "\n".join(f"  {line}" for line in told.stderr.strip().splitlines()[-3:])
        raise RuntimeError(
            f"the packages of the site could not be installed:\n{last}\n"
            f"Is the network there? Then run the same command again, or by hand: {by_hand}"
        )


def build(
    study: str,
    reports: Path,
    published: Path,
    root: Path,
    copy_allowed: Callable[[Path], Mapping[Path, str]],
    private: Sequence[Path],
    announcement: str = "",
    source: str = "",
) -> tuple[Path, list[str]]:
    """Build the site of one study in `reports/site`, which changes whole or not at all; returns it and its broken links.

    With a broken link `reports/site` stays as it was, and the new one lies in `reports/site-broken`.

    It shows the run in `reports`, or where there is none what is in `published`. `copy_allowed` fills a folder with what
    may be shown of the run and gives what it left out, with the reason; no page may name a `private` folder. `root` is the project, `source` the address of
    its files for links to code. Raises FileNotFoundError without results, RuntimeError where a part cannot be made.
    """
    run = (reports / "claims.json").is_file()
    if not run and not (published / "claims.json").is_file():
        raise FileNotFoundError(f"no results in {reports} or {published}; run the study first: ./run_all.sh {study}")
    print(f"From the run in {reports}" if run else f"There is no run of {study}; from what is in {published}")
    reports.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".site-", dir=reports) as temporary:
        folder = Path(temporary)
        shown, sources, pages = folder / "reports" / study, folder / "sources", folder / "pages"
        left_out: Mapping[Path, str] = {}
        if run:
            left_out = copy_allowed(shown)
            for name, reason in left_out.items():
                print(f"  left out: {name} ({reason})")
        else:
            shutil.copytree(published, shown)
        # Where executed notebooks may be shown, so may the films in the report.
        films = any((shown / "notebooks").glob("*.ipynb")) and (reports / "figures" / "films").is_dir()
        if films:
            # As PNG alone: a drawing of films holds them whole and is many times as large.
            drawings = shutil.ignore_patterns("*.svg")
            shutil.copytree(reports / "figures" / "films", shown / "figures" / "films", ignore=drawings)
        _make_report(study, folder, films)
        origin = "a run on this machine" if run else "the published results"
        gather(root, shown, sources, study, origin, reasons_without_outputs(reports, left_out), source)
        _sphinx(sources, pages, f"Osteoporosis on knee X-rays: {study}", announcement)
        _add_whole_pages(shown, pages)
        refuse_private(pages, private)
        found = problems(pages)
        target = reports / ("site-broken" if found else "site")
        put_in_place(pages, target, folder / "earlier")
        if not found:
            shutil.rmtree(reports / "site-broken", ignore_errors=True)
    return target, found


def put_in_place(made: Path, target: Path, aside: Path) -> None:
    """Move the folder `made` to `target`, and what is there to `aside`; it comes back where that fails."""
    if target.exists():
        target.rename(aside)
    try:
        made.rename(target)
    except OSError:
        if aside.exists():
            aside.rename(target)
        raise


def _make_report(study: str, home: Path, films: bool) -> None:
    command = [sys.executable, "-m", "osteo_utils.reporting.report", study, *([] if films else ["--no-films"])]
    told = subprocess.run(command, env={**os.environ, "OSTEO_HOME": str(home)}, capture_output=True, text=True)
    if told.returncode:
        raise RuntimeError(f"the report could not be made: {told.stderr.strip()[-1500:]}")


def _add_whole_pages(shown: Path, pages: Path) -> None:
    """Put the report and other whole pages into the site, with the files of the study that they link to."""
    there = [name for name in WHOLE if (shown / name).is_file()]
    _copy(shown, pages, there)
    for name in there:
        if name.endswith(".html"):
            text = to_pages((shown / name).read_text("utf-8"))
            (pages / name).write_text(text, "utf-8")
            files = {unquote(link.partition("#")[0]) for link in _Page(text).links}
            files = {file for file in files if (shown / file).resolve().is_relative_to(shown.resolve())}
            _copy(shown, pages, [file for file in files if (shown / file).is_file() and not (pages / file).exists()])


def to_pages(page: str) -> str:
    """A page of a study whose links to notebooks and cards lead to the pages that the site has of them."""

    def one(found: re.Match[str]) -> str:
        return f'href="{found[1] or found[3]}.html' + (f"#{slug(found[2])}" if found[2] else "") + '"'

    cards = "|".join(re.escape(name.removesuffix(".md")) for name in CARDS)
    return re.sub(rf'href="(?:(notebooks/[^"#]+)\.ipynb(?:#([^"]*))?|({cards})\.md)"', one, page)


def _sphinx(sources: Path, pages: Path, title: str, announcement: str) -> None:
    command = [sys.executable, "-m", "sphinx", "--builder", "html", "--quiet", "--conf-dir", str(PAGES)]
    command += ["--doctree-dir", str(pages.with_name("doctrees")), "-D", "root_doc=index", "-D", f"html_title={title}"]
    command += ["-D", f"html_theme_options.announcement={announcement}For research and teaching only."]
    told = subprocess.run([*command, str(sources), str(pages)], capture_output=True, text=True)
    said = told.stderr.replace(f"{sources}{os.sep}", "").strip()
    if told.returncode:
        raise RuntimeError(f"Sphinx could not make the pages: {said[-1500:]}")
    if said:
        print(said)
    for name in (".buildinfo", "objects.inv"):
        (pages / name).unlink(missing_ok=True)
    shutil.rmtree(pages / "_sources", ignore_errors=True)
    # GitHub Pages would otherwise leave out every folder whose name begins with an underscore.
    (pages / ".nojekyll").touch()


def refuse_private(site: Path, private: Sequence[Path]) -> None:
    """Raise RuntimeError where a page names one of the `private` folders of this machine."""
    for path in sorted(site.rglob("*.html")):
        if named := private_folder(path.read_text("utf-8"), private):
            raise RuntimeError(
                f"{path.relative_to(site)}: names {named}, a folder of this machine; no site was made. "
                "Make the page that writes it name files within the project."
            )
