"""Preparing data: what columns hold (`Schema`, `DataQuality`), the steps that change them (`TransformProcess`), and
functions over blocks of rows (`mapBlocks` and its kin).

Everything but the block functions compiles to Spark's own expressions: no row passes through Python.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from spark_keras.preparation.blocks import aggregate, mapBlocks, mapRows, reduceBlocks
    from spark_keras.preparation.expressions import col, countRows, sqlReduction
    from spark_keras.preparation.process import Problem, TransformProcess
    from spark_keras.preparation.quality import ColumnQuality, DataQuality
    from spark_keras.preparation.registry import registered
    from spark_keras.preparation.schema import Schema
    from spark_keras.preparation.scope import reference
    from spark_keras.preparation.step import Step
    from spark_keras.preparation.steps.in_sequences import allSteps, anyStep

__all__ = [
    "ColumnQuality",
    "DataQuality",
    "Problem",
    "Schema",
    "Step",
    "TransformProcess",
    "aggregate",
    "allSteps",
    "anyStep",
    "col",
    "countRows",
    "mapBlocks",
    "mapRows",
    "reduceBlocks",
    "reference",
    "registered",
    "sqlReduction",
]

_EXPORTS = {
    "blocks": ["aggregate", "mapBlocks", "mapRows", "reduceBlocks"],
    "expressions": ["col", "countRows", "sqlReduction"],
    "process": ["Problem", "TransformProcess"],
    "quality": ["ColumnQuality", "DataQuality"],
    "registry": ["registered"],
    "schema": ["Schema"],
    "scope": ["reference"],
    "step": ["Step"],
    "steps.in_sequences": ["allSteps", "anyStep"],
}
_MODULES = {name: module for module, names in _EXPORTS.items() for name in names}


if not TYPE_CHECKING:  # type checkers refuse names that do not exist

    def __getattr__(name: str) -> object:
        # Imported when first used: executors import the block functions' module and nothing else.
        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(importlib.import_module(f"spark_keras.preparation.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
