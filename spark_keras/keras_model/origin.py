"""Origin of code: Keras itself, or anybody else."""

from __future__ import annotations

from typing import Any


def of_keras(code: Any) -> bool:
    """Tells whether a class or function is one of Keras' own; not so of a subclass of the user's."""
    return (getattr(code, "__module__", None) or "").startswith("keras.")
