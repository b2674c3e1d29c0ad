"""Shapes of tensors in the metadata of columns: `TensorAnalyzer` writes them, the estimators read them."""

from __future__ import annotations

from collections.abc import Sequence

from pyspark.ml import Estimator, Model
from pyspark.ml.param import Param
from pyspark.ml.util import DefaultParamsReadable
from pyspark.sql import DataFrame
from typing_extensions import Self

from spark_keras.analysis import measured_columns
from spark_keras.analysis.params import HasInputCols
from spark_keras.columns import expressions
from spark_keras.params import converters
from spark_keras.params.accessors import param
from spark_keras.params.keyword_only import keyword_only
from spark_keras.stage_metadata import StageWritable


class TensorAnalysis(Model, HasInputCols, DefaultParamsReadable["TensorAnalysis"], StageWritable):
    """Shapes that a `TensorAnalyzer` found; `transform` writes them into the columns' metadata and runs nothing."""

    shapes: Param[dict[str, list[int]]] = param(
        "shapes", "lengths of each column's (nested) arrays; -1: they differ", converters.shapes
    )

    def __init__(self, shapes: dict[str, list[int]] | None = None):
        super().__init__()
        self._set(shapes=shapes)

    def getShapes(self) -> dict[str, list[int]]:
        """Value of `shapes`: {"column": [28, 28]}, with -1 for a dimension whose length differs between rows."""
        return self.getOrDefault(self.shapes)

    def setShapes(self, value: dict[str, list[int]]) -> Self:
        """Sets `shapes`."""
        return self._set(shapes=value)

    def _transform(self, dataset: DataFrame) -> DataFrame:
        shapes = self.getShapes()
        for name in shapes:
            _array_column(dataset, name)
        selected = []
        for name in dataset.columns:
            column = expressions.reference(name)
            if name in shapes:
                metadata = expressions.with_shape(dataset.schema[name].metadata, shapes[name])
                column = column.alias(name, metadata=metadata)
            selected.append(column)
        return dataset.select(*selected)


class TensorAnalyzer(Estimator[TensorAnalysis], HasInputCols, DefaultParamsReadable["TensorAnalyzer"], StageWritable):
    """Finds the shapes of columns of (nested) arrays and vectors, in one pass over the rows.

    The fitted stage writes them into the columns' metadata, where the estimators and `printTensorSchema` find them: no
    job is needed any more to learn a shape.

    Args:
        inputCols: columns of arrays or vectors of numbers; not set: all there are.

    Example:
        >>> shaped = TensorAnalyzer(inputCols=["pixels"]).fit(df).transform(df)
        >>> printTensorSchema(shaped)
        root
         |-- pixels: float[?,28,28]
    """

    @keyword_only
    def __init__(self, *, inputCols: list[str] | None = None):
        super().__init__()
        self._set(**self._input_kwargs)

    def _fit(self, dataset: DataFrame) -> TensorAnalysis:
        from pyspark.sql import functions as F

        if self.isSet("inputCols"):
            fields = [_array_column(dataset, name) for name in self.getInputCols()]
        else:
            every = [measured_columns.field_of(dataset, name) for name in dataset.columns]
            fields = [field for field in every if measured_columns.has_numeric_elements(field)]
        streams = [each for each in measured_columns.measures_of(fields, {}) if each.role in measured_columns.SHAPE]
        bounds = [
            F.array(F.min(each.expression), F.max(each.expression)).alias(f"m{i}") for i, each in enumerate(streams)
        ]
        found = dataset.agg(*bounds).collect()[0] if bounds else ()
        extremes: dict[tuple[str, int], list[float | None]] = {}
        for stream, (least, greatest) in zip(streams, found):
            extremes.setdefault((fields[stream.column].name, stream.index), []).extend([least, greatest])
        shapes: dict[str, list[int]] = {field.name: [] for field in fields}
        for (name, _), values in extremes.items():
            known = [value for value in values if value is not None]
            shapes[name].append(int(known[0]) if len(known) == len(values) and len(set(known)) == 1 else -1)
        fitted = TensorAnalysis(shapes)
        fitted._resetUid(self.uid)
        return self._copyValues(fitted)


def printTensorSchema(dataset: DataFrame) -> None:
    """Prints the columns as tensors: type of the numbers and shape; the first dimension is that of the rows.

    `?` is a dimension whose length is not known: `TensorAnalyzer` finds it.
    """
    print(tensor_schema(dataset))


def tensor_schema(dataset: DataFrame) -> str:
    """Text that `printTensorSchema` prints."""
    return "\n".join(["root", *(f" |-- {name}: {_tensor(dataset, name)}" for name in dataset.columns)])


def _tensor(dataset: DataFrame, name: str) -> str:
    data_type = dataset.schema[name].dataType
    try:
        depth, element = expressions.column_depth(data_type, "inputCols", name)
    except ValueError:
        return f"{data_type.simpleString()} (no tensor)"
    shape: Sequence[int | None] = expressions.metadata_shape(dataset, name, depth) or [None] * depth
    dimensions = ["?", *("?" if length is None else str(length) for length in shape)]
    return f"{element.simpleString()}[{','.join(dimensions)}]"


def _array_column(dataset: DataFrame, name: str) -> measured_columns.Field:
    data_type = expressions.check_column(dataset, "inputCols", name)
    field = measured_columns.field_of(dataset, name)
    if not measured_columns.has_numeric_elements(field):
        raise ValueError(
            f"Column {name!r} in Param `inputCols` has no shape to find. Received type: {data_type.simpleString()}. "
            "Expected: an ML vector, or an array of numbers."
        )
    return field
