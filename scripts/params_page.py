"""docs/params.md, the reference of the Params, from the Params of the public classes."""

from __future__ import annotations

import inspect

from pyspark.ml.param import Param, Params

import spark_keras

# Each class, and the class above it on the page of which only the differences are told.
CLASSES = {
    "KerasEstimator": None,
    "KerasClassifier": "KerasEstimator",
    "KerasRegressor": "KerasEstimator",
    "EarlyStopping": None,
    "KerasTransformer": None,
    "KerasModel": "KerasTransformer",
    "KerasClassificationModel": "KerasModel",
    "KerasRegressionModel": "KerasModel",
    "DataFrameAnalyzer": None,
    "DataFrameAnalysis": "DataFrameAnalyzer",
    "TensorAnalyzer": None,
    "TensorAnalysis": "TensorAnalyzer",
}

INTRODUCTION = """\
# Params

<!-- Written by scripts/docs; change the doc strings of the Params, not this page. -->

Each Param can be given to the constructor by its name, set with its setter (`epochs`: `setEpochs`), and given to `fit`
or `transform` in a Param map. A Param without a default is unset until it is given a value. Output columns named `""`
are left out. A fitted model takes over what was set on its estimator, apart from `batchSize`, and keeps its `uid`.

What the columns may hold is told in [inputs and outputs](inputs-and-outputs.md), what training does with its Params in
[training](training.md).
"""


def summary(cls: type) -> str:
    """The first paragraph of the class's own doc string, on one line."""
    doc = cls.__dict__.get("__doc__") or ""
    return " ".join(doc.strip().split("\n\n")[0].split())


def cell(text: str) -> str:
    """Text that can stand in a cell of a Markdown table."""
    return " ".join(text.split()).replace("|", "\\|")


def default(instance: Params, param: Param) -> str:
    if not instance.hasDefault(param):
        return ""
    # Spark derives some default column names from the uid, which is another one for every instance.
    return f"`{cell(repr(instance.getOrDefault(param)).replace(instance.uid, '<uid>'))}`"


def rows(instance: Params) -> dict[str, str]:
    """The rows of the table by the names of their Params, in the order of the constructor, which goes by topic."""
    order = list(inspect.signature(type(instance).__init__).parameters)

    def place(param: Param) -> tuple[int, str]:
        return (order.index(param.name) if param.name in order else len(order), param.name)

    return {
        param.name: f"| `{param.name}` | {default(instance, param)} | {cell(param.doc)} |"
        for param in sorted(instance.params, key=place)
    }


def table(lines: list[str]) -> str:
    return "\n".join(["| Param | Default | Meaning |", "|---|---|---|", *lines]) + "\n"


def section(cls: type, parent: type | None) -> str:
    """One class. Where it has a parent on the page, only what differs from that one."""
    own = rows(cls())
    parts = [f"## {cls.__name__}\n"]
    if summary(cls):
        parts.append(summary(cls) + "\n")
    if parent is None:
        parts.append(table(list(own.values())))
        return "\n".join(parts)
    inherited = rows(parent())
    different = [row for name, row in own.items() if inherited.get(name) != row]
    link = f"[{parent.__name__}](#{parent.__name__.lower()})"
    if different:
        parts.append(f"The Params of {link}, with these added or changed:\n")
        parts.append(table(different))
    else:
        parts.append(f"The Params of {link}.\n")
    missing = [f"`{name}`" for name in inherited if name not in own]
    if missing:
        parts.append(f"It does not have {', '.join(missing)}.\n")
    return "\n".join(parts)


def page() -> str:
    sections = [
        section(getattr(spark_keras, name), parent and getattr(spark_keras, parent)) for name, parent in CLASSES.items()
    ]
    return "\n".join([INTRODUCTION, *sections])
