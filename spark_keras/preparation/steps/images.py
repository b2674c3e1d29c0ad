"""Images decoded, and arrays through Keras layers: the steps that run Python on the workers."""

from __future__ import annotations

import functools
import json
from collections.abc import Sequence
from typing import Any

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from typing_extensions import Self

from spark_keras.cluster.arrow_udf import arrow_column
from spark_keras.columns.expressions import reference
from spark_keras.preparation import fields as kinds
from spark_keras.preparation.array_fields import ArrayField
from spark_keras.preparation.image_program import CHANNELS, INTERPOLATIONS, decode, through_layers
from spark_keras.preparation.registry import choice, registered
from spark_keras.preparation.schema import Schema
from spark_keras.preparation.step import AddsSteps, Step, choose
from spark_keras.preparation.steps.array_shapes import number_arrays
from spark_keras.preparation.steps.sequences import count_of

_MADE = "_spark_keras_made"


class ImageSteps(AddsSteps):
    """Methods of a transform process; each returns a new process. A null stays null.

    They run Python on the workers, through Arrow.
    """

    def decodeImages(
        self,
        column: str,
        output: str,
        height: int,
        width: int,
        channels: int = 3,
        interpolation: str = "bilinear",
        invalid: str = "error",
    ) -> Self:
        """Adds arrays (height, width, channels) of floats from 0 to 255 with the images of files such as PNG and JPEG.

        Wants Pillow on the workers.

        Args:
            column: a binary column with the bytes of the files, as `spark.read.format("binaryFile")` reads them.
            output: the new column, or the old one to replace it.
            height: to which each image is resized, whatever its own.
            width: likewise.
            channels: 3 (default): red, green and blue; 1: grey; 4: with transparency.
            interpolation: "bilinear" (default), "nearest", "bicubic" or "lanczos", as Pillow has them.
            invalid: what happens to bytes that are no image: "error" (default), or "null".
        """
        choose("decodeImages", "channels", channels, CHANNELS)
        shape = (count_of("decodeImages", "height", height, 1), count_of("decodeImages", "width", width, 1), channels)
        return self.add(DecodeImages(column, output, shape, interpolation, invalid))

    def applyLayers(self, column: str, output: str, *layers: Any) -> Self:
        """Adds an array that Keras layers make of another, one behind the other, as at inference:

            process.applyLayers("image", "image", keras.layers.Resizing(64, 64), keras.layers.CenterCrop(56, 56))

        The layers' configurations are saved with the process. Random layers do nothing at inference.

        Args:
            column: an array column of numbers whose shape is known.
            output: the new column of floats, or the old one to replace it.
            layers: Keras layers without weights. Those with weights belong into a model and a `KerasTransformer`.
        """
        (field,) = self.schema.require("step applyLayers", [column], ArrayField)
        config, shape = _configured(field, layers)
        return self.add(ApplyLayers(column, output, config, shape))


def _configured(field: ArrayField, layers: Sequence[Any]) -> tuple[str, tuple[int | None, ...]]:
    """The layers as JSON, and the shape that they make of a row."""
    import keras

    if not layers or not all(isinstance(layer, keras.layers.Layer) for layer in layers):
        raise TypeError(
            f"Invalid layers in step applyLayers. Received: {list(layers)}. "
            "Expected: layers of Keras, such as keras.layers.Resizing(64, 64)."
        )
    config = json.dumps([keras.saving.serialize_keras_object(layer) for layer in layers])
    # Copies, so that the user's layers are not built here.
    model = keras.Sequential([keras.saving.deserialize_keras_object(part) for part in json.loads(config)])
    try:
        made = model(keras.KerasTensor((None, *field.shape), dtype="float32"))
    except (ValueError, TypeError) as error:
        raise ValueError(
            f"Column {field.name!r} does not fit the layers of step applyLayers. Received: {field.description}; Keras "
            f"says: {error}. Expected: arrays of a shape that the layers take."
        ) from error
    with_weights = [layer.name for layer in model.layers if any(v.path.count("seed") == 0 for v in layer.weights)]
    if with_weights:
        raise ValueError(
            f"Layers with weights in step applyLayers. Received: {with_weights}. "
            "Expected: layers without; a model with weights is applied by KerasTransformer."
        )
    return config, tuple(made.shape[1:])


class _OnWorkers(Step):
    """A step that computes one array column in Python."""

    within_row = False
    same_rows = True

    column: str
    output: str

    def expressions(self, schema: Schema) -> dict[str, Column]:
        return {self.output: F.col(_MADE)}


@registered("decodeImages")
class DecodeImages(_OnWorkers):
    column: str
    output: str
    shape: tuple[int, int, int]
    interpolation: str = choice(INTERPOLATIONS, default="bilinear")
    invalid: str = choice(("error", "null"), "rule `invalid`", default="error")

    def schema_after(self, schema: Schema) -> Schema:
        (field,) = schema.require(self.label, [self.column], kinds.BinaryField)
        made = ArrayField(self.output, "float", self.shape, nullable=self.may_be_null(field))
        return schema.made(self.label, made, self.column)

    def apply(self, dataset: DataFrame, schema: Schema) -> DataFrame:
        label = f"column {self.column!r}, {self.label}"
        compute = functools.partial(decode, label, self.shape, self.interpolation, self.invalid)
        file = reference(self.column)
        # Several columns reach the function in one form, whatever the version of Spark.
        images = arrow_column(compute, "array<array<array<float>>>", dataset, [file, file.isNotNull()])
        return super().apply(dataset.withColumn(_MADE, images), schema)


@registered("applyLayers")
class ApplyLayers(_OnWorkers):
    column: str
    output: str
    layers: str
    shape: tuple[int | None, ...]

    def schema_after(self, schema: Schema) -> Schema:
        (field,) = number_arrays(schema, self.label, [self.column])
        made = ArrayField(self.output, "float", self.shape, nullable=field.nullable)
        return schema.made(self.label, made, self.column)

    def apply(self, dataset: DataFrame, schema: Schema) -> DataFrame:
        from spark_keras.preparation.blocks import mapBlocks

        function = functools.partial(through_layers, self.layers)
        shapes = {self.column: schema.field(self.column, ArrayField).shape}
        made = mapBlocks(dataset, function, [_MADE], inputs=[self.column], shapes=shapes, nulls="null")
        return super().apply(made, schema)

    def __str__(self) -> str:
        names = ", ".join(layer["config"].get("name", layer["class_name"]) for layer in json.loads(self.layers))
        return f"applyLayers({self.column!r}, {self.output!r}, {names})"
