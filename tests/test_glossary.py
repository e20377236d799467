"""One glossary for all notebooks: each links it, and it explains every word that a parameter can take."""

import json

import pytest

from osteo_utils.protocols import definitions
from osteo_utils.study import config, parameters, paths

GLOSSARY = (paths.notebooks_dir() / "glossary.md").read_text("utf-8")
RECIPES = set(parameters.RECIPES)


@pytest.mark.parametrize("notebook", config.NOTEBOOKS)
def test_a_notebook_links_the_glossary_near_its_top(notebook: str) -> None:
    cells = json.loads((paths.notebooks_dir() / f"{notebook}.ipynb").read_text("utf-8"))["cells"]
    assert any("(glossary.md)" in "".join(cell["source"]) for cell in cells[:2])


@pytest.mark.parametrize(
    "word",
    sorted(
        {*parameters.PROTOCOLS, *parameters.RECIPES, *parameters.VIEWS, *parameters.VARIANTS, *definitions.MISTAKES}
    ),
)
def test_every_word_of_a_parameter_is_explained(word: str) -> None:
    assert f"**{word}**" in GLOSSARY or f"`{word}`" in GLOSSARY


def test_terms_are_in_alphabetical_order_and_say_where_they_are_first_used() -> None:
    for part in GLOSSARY.split("\n## ")[1:]:
        entries = [line for line in part.splitlines() if line.startswith("- **")]
        terms = [line.split("**")[1].lower() for line in entries]
        assert terms == sorted(terms)
        assert all(line[-5:] in {f" [0{number}]" for number in range(1, 9)} for line in entries)
