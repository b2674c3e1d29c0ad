"""One pass over scored rows: the columns that a report reads, what the partitions tell of them, and what is refused."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from pyspark.ml.functions import vector_to_array
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from spark_keras.columns import expressions
from spark_keras.evaluation.partial import POINTS, SCHEMA, Fault, Sums

_ROLES = {
    "labelCol": "label",
    "predictionCol": "prediction",
    "probabilityCol": "scores",
    "rawPredictionCol": "scores",
    "weightCol": "weight",
    "maskCol": "mask",
}


# Kind of fault: (what rows have, with examples, what is expected).
_FAULTS = {
    "null": (
        "null",
        "as many labels as predictions and no null among them, or among weights; leave such rows out before",
    ),
    "non-finite": ("NaN or infinite numbers ({})", "finite numbers"),
    "index": ("what is no class index ({})", "class indices from 0{}"),
    "binary": ("neither 0 nor 1 ({})", "0 or 1"),
    "one-hot": ("no single 1 among zeros", "labels with one number for each class, a single 1 and else 0"),
    "probability": (
        "numbers outside [0, 1] ({})",
        "probabilities; other scores, such as margins, go into `rawPredictionCol`",
    ),
    "negative": ("negative numbers ({})", "0 or more"),
    "length": ("more or fewer numbers than labels ({})", "as many numbers as labels, in each row"),
}


class Read(NamedTuple):
    """A column that a report reads.

    Args:
        role: what the executors call it: "label", "prediction", "scores", "weight" or "mask".
        param: the argument that names it, for messages.
        column: its name.
        depth: how many arrays are nested; a vector is an array.
    """

    role: str
    param: str
    column: str
    depth: int

    @property
    def label(self) -> str:
        return f"column {self.column!r} ({self.param})"


def check_options(bins: int, non_finite: str) -> None:
    if isinstance(bins, bool) or not isinstance(bins, int) or bins < 0:
        raise ValueError(f"Invalid value for argument `bins`. Received: {bins!r}. Expected: 0 or more.")
    if non_finite not in ("error", "wrong"):
        raise ValueError(
            f"Invalid value for argument `nonFinite`. Received: {non_finite!r}. Expected: 'error' or 'wrong'."
        )


def reads(predictions: Any, **columns: str | None) -> list[Read]:
    """The columns that are given, by the arguments that name them: numbers, booleans, or arrays or vectors of them;
    anything else is refused.
    """
    found = []
    for param, column in columns.items():
        if column:
            depth = expressions.depth_of(predictions, param, column)
            found.append(Read(_ROLES[param], param, column, depth))
    return found


def frame(predictions: DataFrame, reads: list[Read]) -> DataFrame:
    """The columns under the names of their roles, as doubles; a weight of 1 where none was named."""
    chosen = []
    for each in reads:
        source = expressions.column(predictions, each.param, each.column)
        if predictions.select(source).schema[0].dataType.simpleString() == "vector":
            source = vector_to_array(source)
        chosen.append(source.cast("array<" * each.depth + "double" + ">" * each.depth).alias(each.role))
    if not any(each.role == "weight" for each in reads):
        chosen.append(F.lit(1.0).alias("weight"))
    return predictions.select(*chosen)


@contextlib.contextmanager
def told(rows: Any, count: Callable[..., Any], points: bool) -> Iterator[tuple[Sums, Any]]:
    """Findings of the partitions on their rows, each of which is looked at once: sums over all of them, and a DataFrame
    of the points, kept in memory or on disk while the block lasts.

    Args:
        count: of `mapInArrow`; yields what `spark_keras.evaluation.partial` makes.
        points: whether it yields points, too.
    """
    parts = rows.mapInArrow(count, SCHEMA)
    if not points:
        yield Sums.of(parts.collect()), None
        return
    parts = parts.persist()
    try:
        name = F.col("name")
        yield Sums.of(parts.where(name != POINTS).collect()), parts.where(name == POINTS)
    finally:
        parts.unpersist()


def refuse(sums: Sums, reads: list[Read], classes: int | None = None, headline: str | None = None) -> None:
    """Raises `ValueError` where rows have faults, or there are none at all.

    Args:
        classes: their number, where labels and predictions are class indices.
        headline: of the message, where parts are missing.
    """
    named = {each.role: each for each in reads}
    if sums.faults:
        kinds = {fault.kind for fault in sums.faults}
        received = "; ".join(_received(fault, named, classes) for fault in sums.faults)
        if headline and kinds <= {"null", "length"}:
            received = f"{sums.total('invalid'):.0f} such rows: {received}"
        else:
            headline = _headline(sums.faults[0], named)
        expected = "; ".join(dict.fromkeys(_expected(fault, classes) for fault in sums.faults))
        raise ValueError(f"{headline}. Received: {received}. Expected: {expected}.")
    if not sums.total("rows"):
        left_out = f" Received: {sums.total('leftOut'):.0f} that do not count." if sums.total("leftOut") else ""
        raise ValueError(f"The DataFrame has no rows to evaluate.{left_out} Expected: at least one.")


def _headline(fault: Fault, named: dict[str, Read]) -> str:
    if fault.role == "weight" and fault.kind == "null":
        return "Weights are missing"
    if fault.role == "label" and fault.kind == "index" and "scores" in named:
        return "Labels and probabilities do not agree"
    column = named[fault.role].label
    return f"C{column[1:]} has rows that cannot be evaluated"


def _received(fault: Fault, named: dict[str, Read], classes: int | None) -> str:
    column = named[fault.role].label
    shown = ", ".join(f"{example:.15g}" for example in fault.examples)
    unit = "entries" if named["label"].depth and fault.kind not in ("null", "length") else "rows"
    if fault.kind == "index" and fault.role == "label" and classes and "scores" in named:
        labels = [float(example) for example in fault.examples]
        return f"labels {labels} and vectors of {classes} scores, in {fault.rows} {unit} of {column}"
    received, _ = _FAULTS[fault.kind]
    return f"{fault.rows} {unit} with {received.format(shown)} in {column}"


def _expected(fault: Fault, classes: int | None) -> str:
    return _FAULTS[fault.kind][1].format(f" to {classes - 1}" if classes else "")
