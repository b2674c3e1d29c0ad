"""Docstrings as the site shows them, which Griffe reads from the sources."""

from __future__ import annotations

import inspect
import re
from typing import Any

import griffe

from spark_keras.params import constructors


class Docstrings(griffe.Extension):
    """An extension of Griffe: mkdocs.yml names it.

    Shows `Example:` as code, which Griffe calls `Examples:`, and the Params of constructors, which their docstrings get
    when they are imported.
    """

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        if obj.is_function and obj.module.path == constructors.__name__ and obj.docstring:
            obj.docstring.value = inspect.getdoc(getattr(constructors, obj.parent.name).__init__)
        if obj.docstring:
            obj.docstring.value = re.sub(r"^Example:$", "Examples:", obj.docstring.value, flags=re.MULTILINE)
