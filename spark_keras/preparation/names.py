"""Names of columns as Spark compares them: without regard to case, unless `spark.sql.caseSensitive` is set."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from pyspark.sql import SparkSession

from spark_keras.similar_names import unknown


def case_sensitive(session: Any = None) -> bool:
    """Tells whether the session, by default the active one, tells names apart that differ in case only."""
    session = session or SparkSession.getActiveSession()
    return session is not None and str(session.conf.get("spark.sql.caseSensitive")).lower() == "true"


def repeated(names: Sequence[str]) -> list[str]:
    """The names that occur more than once to Spark, each spelling once."""
    folded = [name.lower() for name in names]
    if len(set(folded)) == len(folded):
        return []
    # The session is asked only where the answer matters.
    keys = list(names) if case_sensitive() else folded
    return sorted({name for name, key in zip(names, keys) if keys.count(key) > 1})


def same_name(name: str, names: Iterable[str]) -> str | None:
    """The one of the names that is the same to Spark; the same spelling first."""
    names = list(names)
    if name in names:
        return name
    alike = [other for other in names if other.lower() == name.lower()]
    return alike[0] if alike and not case_sensitive() else None


class UnknownColumn(ValueError):
    """A column that is not there; `column` is its name."""

    def __init__(self, message: str, column: str):
        super().__init__(message)
        self.column = column


def unknown_column(step: str, column: Any, names: Sequence[str]) -> str:
    """A message that names the columns there are, and one with a similar name."""
    return unknown(f"Unknown column in {step}", column, names)
