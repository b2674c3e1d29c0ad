"""Signature of a Keras model: its input and output tensors, and what its losses and metrics look at."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import keras

from spark_keras.keras_model.origin import of_keras


class Tensor(NamedTuple):
    """A tensor of a model, without the batch dimension; None stands for a free dimension."""

    name: str
    shape: tuple[int | None, ...]
    dtype: str


def inputs_of(model: keras.Model) -> tuple[Tensor, ...] | None:
    """The input tensors in the model's order, or None for a model that takes whatever it is called with."""
    structure = _inputs_struct(model)
    if structure is None:
        return None
    if isinstance(structure, dict) and all(isinstance(each, keras.KerasTensor) for each in structure.values()):
        named = sorted(structure.items())
    else:
        named = [(tensor.name, tensor) for tensor in keras.tree.flatten(structure)]
    return tuple(_tensor(name, symbol) for name, symbol in named)


def _tensor(name: str, symbol: Any) -> Tensor:
    return Tensor(name, tuple(symbol.shape[1:]), keras.backend.standardize_dtype(symbol.dtype))


def _inputs_struct(model: keras.Model) -> Any:
    functional = getattr(model, "_functional", model)  # a built Sequential wraps one
    return getattr(functional, "_inputs_struct", None)


def input_structure(model: keras.Model) -> Any:
    """Structure of the model's inputs, with a 0 for each tensor; None for a model that takes whatever it is given."""
    structure = _inputs_struct(model)
    return None if structure is None else keras.tree.map_structure(lambda _: 0, structure)


def built_for(model: keras.Model) -> Any:
    """The nested shapes of the only argument that the model was first called with, or built for; None: unknown."""
    shapes = getattr(model, "_build_shapes_dict", None) or {}
    if set(shapes) == {"input_shape"} or (model.built and len(shapes) == 1):
        return next(iter(shapes.values()))
    return None


def unbuild(model: keras.Model) -> None:
    """After a call that failed: Keras takes the model as built for what it was called with."""
    model.built, model._build_shapes_dict = False, None
    model._tracker.unlock()


def pack_inputs(form: Any, inputs: Sequence[Any]) -> Any:
    """Inputs as the model is called with them: in its own form (`input_forms`), because Keras maps a dict of names to a
    list of inputs when it computes, but not when it only infers shapes.
    """
    return keras.tree.map_structure(lambda index: inputs[index], form)


def outputs_of(model: keras.Model, x: Any) -> tuple[tuple[Tensor, ...], Any]:
    """The output tensors, flat, and the structure they come in, found by a symbolic call (which builds the model).

    Args:
        x: `keras.KerasTensor`s, packed by `pack_inputs`.
    """
    result = model(x)
    return _named_tensors(model, result), keras.tree.map_structure(lambda _: 0, result)


def graph_of(model: keras.Model) -> keras.Function | None:
    """The graph of a built Sequential or functional model, which computes just that; None of any other layer."""
    functional = getattr(model, "_functional", model)  # a Sequential wraps one
    return functional if isinstance(functional, keras.Function) and of_keras(type(functional).call) else None


def symbolic_outputs(model: keras.Model) -> Sequence[Any]:
    """The output tensors of a Sequential or functional model with their history; none of another one."""
    graph = graph_of(model)
    return () if graph is None else graph.outputs


def outputs_of_graph(model: keras.Model) -> tuple[Tensor, ...] | None:
    """The output tensors of a Sequential or functional model as it stands; None of another one, which must be called
    first, or where a dimension is free.
    """
    graph = graph_of(model)
    if graph is None:
        return None
    outputs = _named_tensors(model, graph._outputs_struct)
    return None if any(None in output.shape for output in outputs) else outputs


def _named_tensors(model: keras.Model, result: Any) -> tuple[Tensor, ...]:
    flat = keras.tree.flatten(result)
    if isinstance(result, dict):
        names = sorted(result)
    elif len(flat) == len(getattr(model, "output_names", None) or ()):
        names = list(model.output_names)
    else:
        names = [f"output_{index}" for index in range(len(flat))] if len(flat) > 1 else ["output"]
    return tuple(map(_tensor, names, flat))


def check_only_output(outputs: Sequence[Tensor]) -> None:
    """Refuses a model of which only one output would be used."""
    if len(outputs) != 1:
        raise ValueError(
            f"The model has {len(outputs)} outputs {[tensor.name for tensor in outputs]}. Expected: one. "
            "KerasEstimator trains, and KerasTransformer applies, a model with several."
        )


def loss_of(model: keras.Model, index: int, name: str) -> Any:
    """The compiled loss of one output; None if it has none."""
    loss = getattr(model, "loss", None)
    if isinstance(loss, dict):
        return loss.get(name)
    if isinstance(loss, (list, tuple)):
        return loss[index] if index < len(loss) else None
    return loss


def compiled_metrics(model: keras.Model) -> list[Any]:
    """The metrics given to `compile`, as metrics and as weighted metrics, in the form it was given in."""
    compiled = getattr(model, "_compile_metrics", None)
    return [getattr(compiled, name, None) for name in ("_user_metrics", "_user_weighted_metrics")] if compiled else []


def metrics_by_output(model: keras.Model) -> Iterator[list[Sequence[keras.metrics.Metric]]]:
    """The metrics of each output of a model that is built; then its weighted metrics likewise."""
    compiled = getattr(model, "_compile_metrics", None)
    for name in ("_flat_metrics", "_flat_weighted_metrics"):
        yield [() if each is None else each.metrics for each in getattr(compiled, name, None) or ()]


def compares(model: keras.Model, index: int, name: str, count: int) -> bool:
    """Tells whether a loss or a metric compares an output with a label.

    Args:
        count: number of the model's outputs.
    """
    given = [loss_of(model, index, name)]
    for metrics in compiled_metrics(model):
        if count > 1 and isinstance(metrics, dict):
            metrics = metrics.get(name)
        elif count > 1 and isinstance(metrics, (list, tuple)) and len(metrics) == count:
            names = list(getattr(model, "output_names", None) or ())
            metrics = metrics[names.index(name) if name in names else index]
        given.append(metrics)
    return any(each is not None for each in keras.tree.flatten(given))


def only_loss_of(model: keras.Model) -> Any:
    """The loss of a model with one output, however it was given to compile()."""
    losses = keras.tree.flatten(getattr(model, "loss", None))
    return losses[0] if len(losses) == 1 else None
