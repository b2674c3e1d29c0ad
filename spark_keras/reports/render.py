"""Templates to pages."""

from __future__ import annotations

import functools
from typing import Any

from spark_keras.reports import charts, numbers


@functools.cache
def _environment() -> Any:
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("spark_keras.reports"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["number"] = numbers.number
    environment.globals |= {"histogram": charts.histogram, "bars": charts.bars}
    return environment


def render(template: str, **values: Any) -> str:
    """A page from one of the templates; everything it needs is in it."""
    return _environment().get_template(template).render(**values)


def kept(page: str, path: str | None) -> str:
    """The page, written to `path` on this machine where there is one."""
    if path is not None:
        with open(path, "w", encoding="utf-8") as file:
            file.write(page)
    return page
