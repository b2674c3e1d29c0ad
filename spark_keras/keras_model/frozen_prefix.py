"""The part of a network before its first layer that is trained: for each row it gives the same in every epoch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import keras
import numpy as np

from spark_keras.keras_model import frozen
from spark_keras.keras_model import state as states
from spark_keras.keras_model.origin import of_keras
from spark_keras.keras_model.signature import graph_of


class Divided(NamedTuple):
    """A model in two parts, which share its layers.

    Args:
        prefix: from inputs of the model to features, a list of them.
        trained: a compiled model from the features, and inputs that pass by the prefix, to the model's outputs.
        inputs: which of the model's inputs, flat, the prefix takes.
        passing: which of them `trained` takes after the features.
    """

    prefix: keras.Model
    trained: keras.Model
    inputs: tuple[int, ...]
    passing: tuple[int, ...]


def divide(model: keras.Model) -> Divided:
    """Divides a built, compiled model behind its frozen layers, and notes that no step changes these.

    Raises:
        ValueError: where no frozen layer stands before all that training changes; says why.
    """
    graph = graph_of(model)
    if graph is None or not of_keras(type(model)):
        raise _impossible(f"model {model.name!r} of class {type(model).__name__}, which may compute in its own way")
    first, later, why = _nodes(graph)
    inputs = {id(tensor): index for index, tensor in enumerate(graph.inputs)}
    before = {id(tensor) for node in first for tensor in node.input_tensors}
    after = {id(tensor): tensor for node in later for tensor in node.input_tensors}
    after |= {id(tensor): tensor for tensor in graph.outputs}
    made = {id(tensor) for node in first for tensor in node.output_tensors}
    features = [tensor for key, tensor in after.items() if key in made]
    weights = [weight for node in first for weight in getattr(node.operation, "weights", ())]
    if not features or not weights:
        raise _impossible(why or "no layer with weights")
    if any(id(tensor) in made for tensor in graph.outputs):
        raise _impossible("an output that no trained layer computes")
    unchanged = set(map(id, frozen.of(model)))
    assigned = {id(weight) for weight in frozen.candidates(model)} - unchanged
    _check(features, [weight for weight in weights if id(weight) in assigned])
    for layer in {node.operation for node in first} & {node.operation for node in later}:
        raise _impossible(f"layer {layer.name!r}, which computes behind trained layers, too")
    taken, passing = (tuple(index for key, index in inputs.items() if key in part) for part in (before, after))
    trained = _called_anew(graph, later, [*features, *(graph.inputs[index] for index in passing)])
    # Not the optimizer of the configuration, which Keras may have wrapped.
    trained.compile(**{**model._compile_config.config, "optimizer": model.optimizer})
    prefix = keras.Model(_one_or_several([graph.inputs[index] for index in taken]), features)
    _check_rows(prefix)
    frozen.note(trained, [weight for weight in frozen.candidates(trained) if id(weight) not in unchanged])
    frozen.hold(model, weights)
    received = _difference(model, trained)
    if received:
        frozen.hold(model, ())
        raise _impossible(received)
    return Divided(prefix, trained, taken, passing)


def _difference(model: keras.Model, trained: keras.Model) -> str:
    """Tells what keeps two models from having the same state; "": nothing."""
    if [*map(id, states.variables(model))] != [*map(id, states.variables(trained))]:
        return "a network whose layers have another order, or weights that are trained, without the frozen ones"
    if states.layout_of(model).dtype != states.layout_of(trained).dtype:
        return "weights in double precision in one of the two parts alone"
    return ""


def _one_or_several(inputs: list[Any]) -> Any:
    return inputs if len(inputs) > 1 else inputs[0]


def _nodes(graph: keras.Function) -> tuple[list[Any], list[Any], str]:
    """(nodes that give the same for a row in every epoch, the others in order, why the first of these does not)."""
    fixed, why = set(map(id, graph.inputs)), ""
    first, later = [], []
    # Of larger depth is what is computed earlier.
    for depth in sorted(graph._nodes_by_depth, reverse=True):
        for node in graph._nodes_by_depth[depth]:
            if node.is_input:
                continue
            changing = _changing(node.operation)
            if changing is None and fixed.issuperset(map(id, node.input_tensors)):
                fixed.update(map(id, node.output_tensors))
                first.append(node)
            else:
                why = why or changing or ""
                later.append(node)
    return first, later, why


def _check(features: Sequence[keras.KerasTensor], assigned: Sequence[keras.Variable]) -> None:
    for tensor in features:
        if None in tensor.shape[1:]:
            raise _impossible(f"features of shape {tensor.shape}, which may differ from row to row")
    for weight in assigned:
        raise _impossible(f"weight {weight.path!r}, which its layer's own code may assign")


def _called_anew(graph: keras.Function, nodes: Sequence[Any], tensors: Sequence[keras.KerasTensor]) -> keras.Model:
    """A model from these tensors to the outputs of a graph: its layers, called on other inputs.

    Keras makes such a model of a graph's tensors, too, but then the graph cannot be saved any more.
    """
    # Names of Keras' own count through a process, and workers find what they have compiled by the model's text.
    inputs = [
        keras.Input(batch_shape=tensor.shape, dtype=tensor.dtype, name=f"trained_on_{index}")
        for index, tensor in enumerate(tensors)
    ]
    values = dict(zip(map(id, tensors), inputs))
    for node in nodes:
        arguments, named = node.arguments.fill_in(values)
        outputs = keras.tree.flatten(node.operation(*arguments, **named))
        values |= dict(zip(map(id, node.output_tensors), outputs))
    outputs = keras.tree.map_structure(lambda tensor: values[id(tensor)], graph._outputs_struct)
    return keras.Model(_one_or_several(inputs), outputs)


def _check_rows(prefix: keras.Model) -> None:
    """Computes a few rows, and refuses what does not give the same for a row in training and beside other rows."""
    draw = np.random.default_rng(0)

    def rows(count: int) -> list[np.ndarray]:
        shapes = [(count, *(each or 4 for each in tensor.shape[1:])) for tensor in prefix.inputs]
        return [
            draw.normal(size=shape).astype("float32")
            if keras.backend.is_float_dtype(tensor.dtype)
            else draw.integers(0, 2, shape).astype(tensor.dtype)
            for shape, tensor in zip(shapes, prefix.inputs)
        ]

    def computed(inputs: list[np.ndarray], training: bool) -> list[np.ndarray]:
        outputs = prefix(_one_or_several(inputs), training=training)
        return [states.to_numpy(each) for each in keras.tree.flatten(outputs)]

    before = [states.to_numpy(weight.value).copy() for weight in prefix.weights]
    some, others = rows(4), rows(3)
    alone, in_training = computed(some, False), computed(some, True)
    beside = computed([np.concatenate([one[:2], other]) for one, other in zip(some, others)], False)
    assigned = [w.path for w, old in zip(prefix.weights, before) if not np.array_equal(states.to_numpy(w.value), old)]
    for weight, old in zip(prefix.weights, before):
        weight.assign(old)
    if assigned:
        raise _impossible(f"weight {assigned[0]!r}, which its layer's own code assigns")
    for one, other, third in zip(alone, in_training, beside):
        if not _alike(one, other):
            raise _impossible("layers that draw random numbers or compute something else in training")
        if len(one) != 4 or len(third) != 5 or not _alike(one[:2], third[:2]):
            raise _impossible("layers that compute with other rows of the minibatch, too")


def _alike(one: np.ndarray, other: np.ndarray) -> bool:
    if one.dtype.kind in "biu":
        return np.array_equal(one, other)
    # Sums of other batches may round otherwise.
    error = 2e-2 if one.itemsize == 2 else 1e-4
    one, other = one.astype("float64"), other.astype("float64")
    return np.allclose(one, other, rtol=error, atol=error * np.abs(one).max(initial=0), equal_nan=True)


def _changing(operation: keras.Operation) -> str | None:
    """Tells what lets an operation give something else for the same row in another epoch; None: nothing."""
    if not isinstance(operation, keras.Layer):
        return None
    if operation.trainable_weights:
        return f"layer {operation.name!r}, which is trained"
    for layer in operation._flatten_layers():
        told = f"layer {layer.name!r} ({type(layer).__name__})"
        draws = any(isinstance(each, keras.random.SeedGenerator) for each in vars(layer).values())
        if draws and not _keeps_all(layer):
            return f"{told}, which draws random numbers"
        if isinstance(layer, keras.layers.BatchNormalization) and layer.trainable:
            return f"{told}, which normalises by the minibatch, because its trainable is not False"
        if isinstance(layer, keras.layers.SpectralNormalization) or getattr(layer, "stateful", False):
            return f"{told}, which changes its state"
        if not of_keras(type(layer)) and layer._call_has_training_arg:
            return f"{told}, which may compute something else in training"
        if getattr(layer, "mask_zero", False) or isinstance(layer, keras.layers.Masking):
            return f"{told}, whose mask the next layers need"
        if layer.activity_regularizer is not None or layer.losses:
            return f"{told}, which adds to the loss"
        if not all(keras.backend.is_float_dtype(weight.dtype) for weight in layer.weights):
            return f"{told}, with weights that are integers"
    return None


def _keeps_all(layer: keras.Layer) -> bool:
    """Tells whether a recurrent layer, or its cell, is one that leaves nothing out in training."""
    shares = [getattr(layer, name, None) for name in ("dropout", "recurrent_dropout")]
    return None not in shares and not any(shares)


def _impossible(received: str) -> ValueError:
    return ValueError(
        f"Param `cacheFrozenFeatures` finds no features to keep. Received: first of all {received}. Expected: a "
        "Sequential or functional model that begins with frozen layers (trainable=False), before which nothing draws "
        "random numbers."
    )
