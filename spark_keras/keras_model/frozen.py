"""Frozen weights: those that training leaves as they are, so that no round has to carry them.

A layer has created them to be trained, and they are not now: by `trainable = False` of the layer or of one around it,
or because LoRA trains factors beside them. What a layer never trains by gradients (moving statistics, counters, random
states) is something else: steps change it.
"""

from __future__ import annotations

import weakref
from collections.abc import Collection, Iterable, Sequence
from typing import Any

import keras

from spark_keras.executor.invalid_data import InvalidData
from spark_keras.keras_model import held

# Of models with code of their own: the frozen weights that a training step assigns all the same, by their id; None: any
# of them, because nobody could look.
_assigned: weakref.WeakKeyDictionary[keras.Model, Collection[int] | None] = weakref.WeakKeyDictionary()

# Further weights that no step changes, because nothing that steps compute needs them.
_held: weakref.WeakKeyDictionary[keras.Model, Collection[int]] = weakref.WeakKeyDictionary()


def of(model: keras.Model) -> list[keras.Variable]:
    """The frozen weights of a built model that no step assigns, in the order of its weights."""
    found, unchanged = candidates(model), set(_held.get(model, ()))
    if found and model not in _assigned:
        note(model, [] if held.follows_keras(model) else None)
    assigned = _assigned[model] if found else None
    if assigned is not None:
        unchanged.update(id(each) for each in found if id(each) not in assigned)
    return [each for each in model.non_trainable_weights if id(each) in unchanged] if unchanged else []


def candidates(model: keras.Model) -> list[keras.Variable]:
    """All frozen weights; integers are left out, of which there are few."""
    fixed = model.non_trainable_weights
    if not fixed:
        return []
    layers = list(model._flatten_layers())
    created = {id(weight) for layer in layers for weight in layer._trainable_variables}
    # Keras' only layer that assigns a kernel, which belongs to the layer inside of it.
    normalized = [each for each in layers if isinstance(each, keras.layers.SpectralNormalization)]
    created -= {id(weight) for layer in normalized for weight in layer.weights}
    return [each for each in fixed if id(each) in created and keras.backend.is_float_dtype(each.dtype)]


def hold(model: keras.Model, weights: Iterable[keras.Variable]) -> None:
    """Notes weights that are no part of what the steps of a fit compute."""
    _held[model] = frozenset(map(id, weights))


def note(model: keras.Model, assigned: Collection[Any] | None) -> None:
    """Notes which frozen weights a training step assigns; None: nobody can tell."""
    _assigned[model] = None if assigned is None else frozenset(map(id, assigned))


def assigned_places(model: keras.Model) -> list[int]:
    """Indices among `candidates` of those that a step assigns, or may assign."""
    unchanged = set(map(id, of(model)))
    return [index for index, each in enumerate(candidates(model)) if id(each) not in unchanged]


def versions(variables: Sequence[keras.Variable]) -> list[tuple[Any, int]]:
    """On PyTorch, what tells whether somebody writes to these variables."""
    return [(each.value, each.value._version) for each in variables]


def written_since(variables: Sequence[keras.Variable], before: list[tuple[Any, int]]) -> list[keras.Variable]:
    """Those that somebody has written to since `versions` gave this."""
    now = versions(variables)
    same = [one[0] is other[0] and one[1] == other[1] for one, other in zip(now, before)]
    return [each for each, unchanged in zip(variables, same) if not unchanged]


class Assigned(InvalidData):
    """A step assigns a frozen weight, and the step that was looked at before the fit did not."""

    def __init__(self, variable: keras.Variable):
        super().__init__(
            f"A training step assigns a frozen weight. Received: {variable.path!r}, created as trainable in a layer "
            "that is not trained now, so that it does not travel with the rounds. Expected: a weight that the layer's "
            "own code changes is created with add_weight(trainable=False)."
        )
