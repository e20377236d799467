"""The glossary explains each word that a reader can set or meets, once, and every notebook leads to it."""

import json
import re

import pytest

from osteo_utils.protocols import definitions
from osteo_utils.study import parameters, paths

GLOSSARY = (paths.notebooks_dir() / "glossary.md").read_text("utf-8")
# A bold term, its meaning, and where it first appears.
ENTRY = re.compile(r"- \*\*(.+?)\*\*: .+\. \((.+)\)")
PLACES = {name[:2] for name in parameters.NOTEBOOKS} | {"README", "report", "package", "benchmarks"}
LINK = "Terms are in the [glossary](glossary.md)."


def sections() -> list[list[tuple[str, str]]]:
    """Term and place of every entry, by section. Raises AssertionError for a line that is no entry."""
    found = []
    for section in GLOSSARY.split("\n## ")[1:]:
        lines = [line for line in section.splitlines()[1:] if line]
        entries = [ENTRY.fullmatch(line) for line in lines]
        assert all(entries), [line for line, entry in zip(lines, entries, strict=True) if entry is None]
        found.append([entry.groups() for entry in entries])
    return found


TERMS = [term for section in sections() for term, _ in section]


@pytest.mark.parametrize("notebook", parameters.NOTEBOOKS)
def test_a_notebook_leads_to_the_glossary_near_its_top(notebook: str) -> None:
    cells = json.loads((paths.notebooks_dir() / f"{notebook}.ipynb").read_text("utf-8"))["cells"]
    first_code = next(index for index, cell in enumerate(cells) if cell["cell_type"] == "code")
    assert LINK in "\n".join("".join(cell["source"]) for cell in cells[:first_code])


@pytest.mark.parametrize(
    "word",
    sorted(
        {*parameters.PROTOCOLS, *parameters.RECIPES, *parameters.VIEWS, *parameters.VARIANTS}
        | {*definitions.TERMS, "external"}
    ),
)
def test_every_protocol_recipe_view_and_variant_is_explained(word: str) -> None:
    assert f"`{word}`" in TERMS


def test_a_term_has_one_entry() -> None:
    assert len(TERMS) == len({term.strip("`").casefold() for term in TERMS})


def test_sections_are_in_alphabetical_order() -> None:
    for section in sections():
        plain = [term.strip("`").casefold() for term, _ in section]
        assert plain == sorted(plain)


def test_every_entry_says_where_its_term_first_appears() -> None:
    assert {place for section in sections() for _, place in section} <= PLACES


@pytest.mark.parametrize("target", sorted(set(re.findall(r"\]\(([^)]+)\)", GLOSSARY))))
def test_links_lead_to_a_file(target: str) -> None:
    assert (paths.notebooks_dir() / target).exists()
