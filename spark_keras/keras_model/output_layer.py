"""The model up to an inner layer, also of a model inside it, for that layer's activations."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, cast

import keras

from spark_keras.keras_model.signature import graph_of


class _Call(NamedTuple):
    """One call of a layer.

    Args:
        path: names of the models around the layer and its own, such as "backbone/embedding"; a layer that is called
            several times in its model has the number of the call, as in "encoder[1]".
        bare: the path without numbers.
        nodes: of Keras' graphs, from the outermost model to the layer.
    """

    path: str
    bare: str
    nodes: tuple[Any, ...]


def with_output_layer(model: keras.Model, name: str | None) -> keras.Model:
    """The model with the outputs of a layer instead of its own.

    Args:
        name: of a layer; of one inside a nested model by its path, such as "backbone/embedding", or by its own name
            where no other layer has it; with the number of the call, as in "encoder[1]", where the layer is called
            several times. None: the model itself.

    Raises:
        ValueError: on a name that no layer has, or several; for a model whose layers are no connected tensors.
    """
    if name is None:
        return model
    graph = graph_of(model)
    if graph is None:
        raise ValueError(
            "Param `outputLayer` needs a Sequential or functional model, whose layers are connected tensors. "
            f"Received: {type(model).__name__}."
        )
    return keras.Model(graph._inputs_struct, _activations(_found(list(_calls(graph)), name).nodes))


def _found(calls: Sequence[_Call], name: str) -> _Call:
    # A layer of the model itself comes before those of models inside it.
    matches = [call for call in calls if name in (call.path, call.bare)]
    if not matches:
        matches = [
            call for call in calls if f"/{call.path}".endswith(f"/{name}") or f"/{call.bare}".endswith(f"/{name}")
        ]
    if len(matches) == 1:
        return matches[0]
    problem = "Several layers have the name" if matches else "Unknown layer"
    inputs = keras.layers.InputLayer
    choices = [call.path for call in matches or calls if matches or not isinstance(call.nodes[-1].operation, inputs)]
    raise ValueError(
        f"{problem} in Param `outputLayer`. Received: {name!r}. Expected: one of the model's layers {choices}."
    )


def _calls(graph: keras.Function, path: str = "", bare: str = "", nodes: tuple[Any, ...] = ()) -> Iterator[_Call]:
    """The calls of all layers: those of the model itself first, in the order of computation."""
    own = [node for depth in sorted(graph._nodes_by_depth, reverse=True) for node in graph._nodes_by_depth[depth]]
    own = [node for node in own if isinstance(node.operation, keras.layers.Layer)]
    made = []
    for node in own:
        several = [other for other in own if other.operation is node.operation]
        name = node.operation.name
        numbered = name if len(several) == 1 else f"{name}[{several.index(node)}]"
        made.append(_Call(path + numbered, bare + name, (*nodes, node)))
    yield from made
    for call in made:
        inner = graph_of(call.nodes[-1].operation)
        if inner is not None:
            yield from _calls(inner, f"{call.path}/", f"{call.bare}/", call.nodes)


def _activations(nodes: Sequence[Any]) -> Any:
    node, *inner = nodes
    if not inner:
        return node.outputs[0] if len(node.outputs) == 1 else list(node.outputs)
    graph = cast(keras.Function, graph_of(node.operation))  # `_calls` has found one
    nested = keras.Model(graph._inputs_struct, _activations(inner))
    return nested(*node.arguments.args, **node.arguments.kwargs)
