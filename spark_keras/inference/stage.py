"""Base of the stages that apply a Keras model to DataFrame columns."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import keras
from pyspark.ml.functions import array_to_vector
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import ArrayType, DataType, DoubleType, FloatType, LongType, StructField, StructType

from spark_keras.cluster import files, interpreter, slots
from spark_keras.cluster.arrow_udf import arrow_column
from spark_keras.cluster.kinds import kind_of
from spark_keras.columns import binding
from spark_keras.columns import expressions as columns
from spark_keras.columns import names as column_names
from spark_keras.columns.heads import TensorHead
from spark_keras.columns.tensor_column import TensorColumn
from spark_keras.executor.cache import RecentlyUsed
from spark_keras.executor.process import ProcessSettings
from spark_keras.inference import forward
from spark_keras.keras_model.archive import KerasArchive
from spark_keras.keras_model.output_layer import with_output_layer
from spark_keras.keras_model.seeding import DRAWING
from spark_keras.keras_model.signature import Tensor
from spark_keras.params import mixins
from spark_keras.params.values import param_or_none
from spark_keras.persistence import KerasSaved

# Archives up to this size travel in the closure; to send them apart costs a job's worth of set-up.
_INLINE_BYTES = 2**20

_driver_models = RecentlyUsed(4)
# Up to an inner layer, with the model that they are cut from, so that its id stays its own.
_cut_models = RecentlyUsed(4)


class Inputs(NamedTuple):
    """The columns that feed a model, and the form in which it takes them (`input_forms`)."""

    columns: tuple[TensorColumn, ...]
    form: Any


class OutputColumn(NamedTuple):
    """A new column.

    Args:
        field: of the results, which it shows.
        vector: whether as an ML vector.
        metadata: its own.
    """

    name: str
    field: str
    vector: bool = False
    metadata: dict[str, Any] | None = None

    def of(self, value: Any) -> Any:
        if self.vector:
            value = F.when(value.isNotNull(), array_to_vector(value))
        return value.alias(self.name, metadata=self.metadata) if self.metadata else value.alias(self.name)


class Forward(mixins.HasInference, KerasSaved):
    """Base of all stages that apply a model."""

    def toKeras(self) -> keras.Model:
        """A new Keras model, compiled if it was, on this machine."""
        return self._archive().load(self.getCustomObjects())

    def _archive(self) -> KerasArchive:
        if not self.isSet("model"):
            raise ValueError("Param `model` is not set. Expected: a Keras model.")
        return self.getOrDefault("model")

    def _driver_model(self, compile: bool = False) -> keras.Model:
        """A model for looking at its inputs and outputs; never called with data, so that it can be shared."""
        archive = self._archive()
        objects = self.getCustomObjects()
        key = (archive.digest, archive.trusted, compile, *sorted((name, id(value)) for name, value in objects.items()))
        # Loading waits for whoever draws weights, who may be here, too: always in this order.
        with DRAWING:
            return _driver_models.get(key, lambda: archive.load(objects, compile=compile))

    def _up_to(self, layer: str) -> keras.Model:
        model = self._driver_model()
        with DRAWING:
            return _cut_models.get((id(model), layer), lambda: (model, with_output_layer(model, layer)))[1]

    def _outputs(self, dataset: DataFrame, layer: str | None = None) -> tuple[Inputs, tuple[Tensor, ...]]:
        """(the inputs with their columns and shapes, the model's output tensors), checked against the DataFrame."""
        model = self._up_to(layer) if layer else self._driver_model()
        inputs = binding.require_model_inputs(dataset, self, model)
        # transform() is lazy, and a stream has no first row: one is looked at only where the model leaves a shape open.
        found = binding.found_shapes(dataset, inputs, binding.leaves_open(model, len(inputs)))
        inputs = binding.settle_inputs(model, inputs, found)
        outputs, _, form = binding.called(self, model, inputs)
        return Inputs(inputs, form), outputs

    def _applied(
        self,
        dataset: DataFrame,
        inputs: Inputs,
        head: Any,
        fields: dict[str, DataType],
        outputs: Sequence[OutputColumn],
        layer: str | None = None,
    ) -> DataFrame:
        """The DataFrame with the model's results in new columns.

        Args:
            head: gives the fields.
            fields: their Spark types, by name.
        """
        spark = dataset.sparkSession
        interpreter.check(spark)
        archive = self._archive()
        task = forward.ForwardTask(
            settings=ProcessSettings.of_driver(slots.task_cpus(spark), self.getCustomObjects()),
            archive=self._travelling(spark, archive),
            digest=archive.digest,
            safe_mode=not archive.trusted,
            code=archive.code if archive.trusted else None,
            inputs=inputs.columns,
            form=inputs.form,
            output_layer=layer,
            batch_size=self.getBatchSize(),
            invalid=self.getHandleInvalid(),
            head=head,
        )
        types = list(fields.values())
        kind = types[0] if len(types) == 1 else StructType([StructField(name, each) for name, each in fields.items()])
        expressions = [columns.expression(dataset, tensor) for tensor in inputs.columns]
        results = arrow_column(functools.partial(forward.predict, task), kind, dataset, expressions)
        skips = self.getHandleInvalid() == "skip"
        if len(outputs) == 1 and not outputs[0].vector and not skips:
            # Each step from one DataFrame to the next takes Spark some milliseconds.
            return dataset.select("*", outputs[0].of(results))
        # A name that no other column has, however Spark compares them.
        name = f"_{self.uid}"
        found = columns.reference(name)
        applied = dataset.select("*", results.alias(name))
        by_field = {field: found if len(fields) == 1 else found.getField(field) for field in fields}
        if skips:
            # Not by the struct: before Spark 4.1 one of nulls stands for a null.
            applied = applied.where(next(iter(by_field.values())).isNotNull())
        made = [output.of(by_field[output.field]) for output in outputs]
        return applied.select("*", *made).drop(name)

    def _travelling(self, spark: SparkSession, archive: KerasArchive) -> Any:
        """The archive's bytes, or what executors find them by."""
        if archive.size <= _INLINE_BYTES:
            return archive.data
        key = (kind_of(spark).application, archive.digest)
        held = getattr(self, "_sent_archive", None)
        if held is None or held[0] != key:
            held = self._sent_archive = (key, files.send(spark, archive.data, archive.digest))
        return held[1]


def tensor_type(tensor: Tensor) -> DataType:
    """The Spark type of an output: a number, or nested arrays in which there are no nulls."""
    kind: DataType = FloatType()
    if "int" in tensor.dtype:
        kind = LongType()
    elif tensor.dtype == "float64":
        kind = DoubleType()
    for _ in tensor.shape:
        kind = ArrayType(kind, containsNull=False)
    return kind


DOUBLES = ArrayType(DoubleType(), containsNull=False)


class TensorOutputs(Forward, mixins.HasOutputs):
    """Output columns as arrays with the model's shape, or as flat vectors."""

    def _output_columns(self, outputs: tuple[Tensor, ...]) -> list[str | None]:
        """A column for each output, None for one that is left out."""
        named = param_or_none(self, "outputCols")
        names = [output.name for output in outputs]
        prediction = self.getPredictionCol()
        if named is None:
            several = len(outputs) > 1
            return [(f"{prediction}_{name}" if several else prediction) if prediction else None for name in names]
        if isinstance(named, dict):
            if not named.keys() <= set(names):
                raise ValueError(
                    f"Wrong outputs in Param `outputCols`. Received: {named!r}. "
                    f"Expected: names among the model's outputs {names}."
                )
            return [named.get(name) or None for name in names]
        if len(named) != len(names):
            raise ValueError(
                f"Wrong number of columns in Param `outputCols`. Received: {named!r}. "
                f"Expected: {len(names)}, one for each of the model's outputs {names}."
            )
        return [column or None for column in named]

    def _transform_tensors(self, dataset: DataFrame, layer: str | None = None) -> DataFrame:
        inputs, outputs = self._outputs(dataset, layer)
        names = self._output_columns(outputs)
        param = "predictionCol" if param_or_none(self, "outputCols") is None else "outputCols"
        column_names.check_new(dataset, [(param, name) for name in names if name])
        if not any(names):
            return dataset
        fields = tuple(f"f{index}" if name else None for index, name in enumerate(names))
        vectors = self.getOutputFormat() == "vector"
        kept = [(name, field, output) for name, field, output in zip(names, fields, outputs) if name and field]
        types = {field: DOUBLES if vectors else tensor_type(output) for _, field, output in kept}
        made = [OutputColumn(name, field, vectors, _vector_metadata(output, vectors)) for name, field, output in kept]
        return self._applied(dataset, inputs, TensorHead(fields, vectors), types, made, layer)


def _vector_metadata(output: Tensor, vector: bool) -> dict[str, Any] | None:
    """ML attributes of a vector column: its length, where the model tells it."""
    if not vector or None in output.shape:
        return None
    return {"ml_attr": {"num_attrs": math.prod(output.shape)}}
