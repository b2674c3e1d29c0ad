"""Stages show themselves by the Params that were set."""

from __future__ import annotations

import re
from typing import Any

from pyspark.ml.param import Params

from spark_keras.reports.cards import Shown, listed

# Of a URI: the user with a password, and a signature behind the path.
_USER, _QUERY = re.compile(r"(?<=://)[^/@\s]*@"), re.compile(r"\?.*", re.DOTALL)


class ShowsParams(Shown, Params):
    """A stage whose facts are its uid, what it has learned, and each Param that is not at its default."""

    def _learned(self) -> dict[str, Any]:
        """Facts beside the Params."""
        return {}

    def _facts(self) -> dict[str, Any]:
        defaults = self._defaultParamMap
        given = {p.name: v for p, v in self._paramMap.items() if p not in defaults or not _same(v, defaults[p])}
        model: dict[str, Any] = {name: shown(given.pop(name)) for name in ("model", "modelFn") if name in given}
        return {"uid": self.uid, **model, **self._learned(), **{name: shown(value) for name, value in given.items()}}


def _same(value: Any, default: Any) -> bool:
    """Of a default that JSON can hold; a value may be anything, also something that cannot be compared."""
    return type(value) is type(default) and value == default


def shown(value: Any) -> Any:
    """A Param's value for people; nothing of it that could be a secret: of dicts the names, of objects the class, of
    URIs neither user nor query.
    """
    if isinstance(value, str):
        return _QUERY.sub("?…", _USER.sub("…@", value)) if "://" in value else value
    if isinstance(value, Params):
        return value.uid
    if isinstance(value, (list, tuple, dict)):
        return listed(map(shown, value))
    if value is None or isinstance(value, (bool, int, float)):
        return value
    # A model's archive has a description. To ask for its class would import Keras, which an analysis does without.
    return getattr(value, "description", None) or getattr(value, "__name__", type(value).__name__)
