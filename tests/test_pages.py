"""Pages from templates: what is foreign is escaped, what is missing is an error."""

from pathlib import Path

import pytest
from jinja2 import UndefinedError

from osteo_utils.study.results import page


def template(folder: Path, text: str) -> Path:
    (folder / "some.html.j2").write_text(text, "utf-8")
    return folder / "some.html.j2"


def test_text_is_escaped_and_filters_are_used(tmp_path: Path) -> None:
    made = page(
        template(tmp_path, "{{ name }} {{ size|doubled }}"), {"name": "<b>", "size": 2}, {"doubled": lambda n: 2 * n}
    )
    assert made == "&lt;b&gt; 4"


def test_a_name_that_is_not_given_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UndefinedError, match="'name' is undefined"):
        page(template(tmp_path, "{{ name }}"), {})
