"""The features of frozen layers as workers are told of them."""

from __future__ import annotations

from typing import NamedTuple

import keras

from spark_keras.columns.row_spec import ShardColumns
from spark_keras.columns.tensor_column import TensorColumn
from spark_keras.keras_model import architecture as architectures
from spark_keras.keras_model import frozen, frozen_prefix, own_code
from spark_keras.keras_model import state as states
from spark_keras.keras_model.signature import graph_of
from spark_keras.training.worker.closure import FrozenFeatures


class Divided(NamedTuple):
    """A model whose frozen layers' features are kept.

    Args:
        trained: the model that is trained.
        features: how what it takes comes about; None: these are the rows.
        code: of the frozen layers, by name, where it is not Keras' own.
    """

    trained: keras.Model
    features: FrozenFeatures | None = None
    code: tuple[tuple[str, bytes], ...] = ()


def undivided(model: keras.Model) -> Divided:
    """A model that is trained as a whole, also where it was divided before."""
    frozen.hold(model, ())
    return Divided(model)


def divided(model: keras.Model, columns: ShardColumns) -> Divided:
    """The model that is trained, and how its features come about.

    Args:
        model: built and compiled.
        columns: that it takes.

    Raises:
        ValueError: where the model does not begin with frozen layers.
    """
    parts = frozen_prefix.divide(model)
    of_input = _columns_of_inputs(model, columns)
    inputs, passing = (tuple(of_input[index] for index in part) for part in (parts.inputs, parts.passing))
    features = tuple(
        # In half precision they are kept as the numbers that they are, which numpy has in single.
        TensorColumn(
            f"features {index}",
            "cacheFrozenFeatures",
            (),
            tuple(tensor.shape[1:]),
            "float32" if "float16" in tensor.dtype else tensor.dtype,
        )
        for index, tensor in enumerate(parts.prefix.outputs)
    )
    trained = (*features, *(columns.features[index] for index in passing))
    form = list(range(len(trained))) if len(trained) > 1 else 0
    places = {id(weight): (part.start, part.stop) for weight, part in states.frozen_parts(model)}
    structure = architectures.structure(parts.prefix)
    told = FrozenFeatures(
        structure,
        inputs,
        passing,
        columns._replace(features=trained, feature_structure=form),
        tuple(places[id(weight)] for weight in parts.prefix.weights),
        tuple(places[id(weight)] for weight in frozen.of(parts.trained)),
    )
    return Divided(parts.trained, told, own_code.pickled(parts.prefix, structure))


def _columns_of_inputs(model: keras.Model, columns: ShardColumns) -> list[int]:
    """For each of the model's inputs, flat, the index of its column."""
    graph = graph_of(model)
    names = [tensor.name for tensor in graph.inputs] if graph is not None else []
    by_name = {tensor.name: index for index, tensor in enumerate(columns.features)}
    if all(name in by_name for name in names):
        return [by_name[name] for name in names]
    return keras.tree.flatten(columns.feature_structure)
