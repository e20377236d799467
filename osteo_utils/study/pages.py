"""HTML pages from templates: one strict environment for all of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined


def page(template: Path, content: Mapping[str, Any], filters: Mapping[str, Callable] | None = None) -> str:
    """The page that a template makes of its content; text is escaped, a name that is not given is an error."""
    jinja = Environment(
        loader=FileSystemLoader(template.parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    jinja.filters.update(filters or {})
    return jinja.get_template(template.name).render(content)
