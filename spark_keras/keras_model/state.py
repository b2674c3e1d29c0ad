"""Keras model ↔ flat vectors: everything that training changes, in one fixed layout."""

from __future__ import annotations

import contextlib
import hashlib
import math
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import keras
import numpy as np

from spark_keras.keras_model import frozen, held
from spark_keras.keras_model.optimizers import innermost

# Variables of more bytes are written in pieces.
LARGE_BYTES = 32 * 2**20


class State(NamedTuple):
    """The training state of a Keras model: weights first, then whatever else it holds (such as a variable of a loss),
    then the variables of its optimizers. Frozen weights are no part of it, because training does not change them.

    Args:
        values: all floating-point variables, float32 (float64 if the model has a float64 variable).
        integers: all integer variables (such as the optimizer's iterations), int64, because a float32 cannot
            count beyond 2**24.
    """

    values: np.ndarray
    integers: np.ndarray

    def same_bits(self, other: State) -> bool:
        """Tells if each number is the same, NaN and the sign of a zero included."""
        return all(np.array_equal(a.view("uint8"), b.view("uint8")) for a, b in zip(self, other))

    def received(self, size: int, dtype: str, piece: int) -> State:
        """A copy of a state whose values may still be on their way, so many numbers after each other."""
        values = np.empty(size, dtype)
        for start in range(0, size, piece):
            values[start : start + piece] = self.values[start : min(start + piece, size)]
        return State(values, np.array(self.integers))


class FrozenWeights(NamedTuple):
    """The weights that training does not change.

    Args:
        digest: by which two of them are known to be the same.
        values: float32, or float64, as those of the state.
    """

    digest: str
    values: np.ndarray


class Entry(NamedTuple):
    """Place of one variable: in `values`, or in `integers` if `integer`."""

    path: str
    shape: tuple[int, ...]
    dtype: str
    integer: bool
    start: int
    stop: int


class Layout(NamedTuple):
    """The order of a model's variables in its `State`.

    Args:
        entries: one for each variable, weights first.
        dtype: of `State.values`.
        sizes: lengths of (values, integers).
        weight_sizes: how much of each vector does not belong to an optimizer; the optimizers' variables follow.
        iterations: index of the optimizer's step counter in `integers`, or None.
        learning_rate: index of the optimizer's learning rate in `values`, or None where a schedule makes it.
        moments: (mean, variance) pairs of slices of `values`: BatchNormalization's moving statistics.
        further: (iterations, learning_rate) of each of the model's further optimizers.
        local: slices of `values` that each shard has for itself: what stateful recurrent layers remember.
        whole: whether frozen weights are among the entries.
    """

    entries: tuple[Entry, ...]
    dtype: str
    sizes: tuple[int, int]
    weight_sizes: tuple[int, int]
    iterations: int | None
    learning_rate: int | None
    moments: tuple[tuple[slice, slice], ...]
    further: tuple[tuple[int | None, int | None], ...] = ()
    local: tuple[slice, ...] = ()
    whole: bool = False


def variables(model: keras.Model) -> list[keras.Variable]:
    """The variables of a model's state, in the order of its layout."""
    left_out = set(map(id, frozen.of(model)))
    every = all_variables(model)
    return [each for each in every if id(each) not in left_out] if left_out else every


def all_variables(model: keras.Model) -> list[keras.Variable]:
    """Likewise with the frozen weights."""
    optimizer = list(model.optimizer.variables) if model.optimizer is not None else []
    found = held.of(model)
    weights = [*model.trainable_weights, *model.non_trainable_weights]
    return [*weights, *found.variables.values(), *optimizer, *found.of_optimizers.values()]


def changing(model: keras.Model) -> list[keras.Variable]:
    """All variables that a training step may change: those of the state, of random number generators and of metrics."""
    return [*variables(model), *seed_variables(model), *model.metrics_variables]


def layout_of(model: keras.Model, whole: bool = False) -> Layout:
    """The layout of a built model. The same architecture gives the same layout in every process.

    Args:
        whole: with the frozen weights.
    """
    found = held.look(model)
    every = all_variables(model)
    of_state = every if whole else variables(model)
    weight_count = len(model.trainable_weights) + len(model.non_trainable_weights) + len(found.variables)
    weight_count -= len(every) - len(of_state)
    entries, sizes, weight_sizes, position = [], [0, 0], (0, 0), {}
    for index, variable in enumerate(of_state):
        dtype = keras.backend.standardize_dtype(variable.dtype)
        integer = "int" in dtype or dtype == "bool"
        size = int(np.prod(variable.shape, dtype="int64"))
        start = sizes[integer]
        sizes[integer] += size
        entries.append(Entry(variable.path, tuple(variable.shape), dtype, integer, start, start + size))
        position[id(variable)] = slice(start, start + size)
        if index < weight_count:
            weight_sizes = (sizes[0], sizes[1])
    wide = any(keras.backend.standardize_dtype(variable.dtype) == "float64" for variable in every)

    def counters(optimizer: keras.optimizers.Optimizer | None) -> tuple[int | None, int | None]:
        # `iterations` itself is computed where gradients are accumulated.
        def start(name: str) -> int | None:
            place = position.get(id(getattr(optimizer, name, None)))
            return place and place.start

        return start("_iterations"), start("_learning_rate")

    main = innermost(model.optimizer)
    others = {id(each): each for each in map(innermost, found.optimizers.values()) if each is not main}
    iterations, learning_rate = counters(main)
    return Layout(
        entries=tuple(entries),
        dtype="float64" if wide else "float32",
        sizes=(sizes[0], sizes[1]),
        weight_sizes=weight_sizes,
        iterations=iterations,
        learning_rate=learning_rate,
        moments=tuple(
            (position[id(layer.moving_mean)], position[id(layer.moving_variance)])
            for layer in model._flatten_layers()
            if isinstance(layer, keras.layers.BatchNormalization) and id(layer.moving_mean) in position
        ),
        further=tuple(map(counters, others.values())),
        local=tuple(position[id(variable)] for variable in held.local_variables(model)),
        whole=whole,
    )


def restored_epoch(model: keras.Model) -> int | None:
    """The epoch with which Keras' BackupAndRestore lets a fit begin; None where it restored nothing."""
    return getattr(model, "_initial_epoch", None)


def read(model: keras.Model, layout: Layout) -> State:
    values = np.empty(layout.sizes[0], layout.dtype)
    integers = np.empty(layout.sizes[1], "int64")
    for entry, variable in zip(layout.entries, _variables_of(model, layout)):
        vector = integers if entry.integer else values
        vector[entry.start : entry.stop] = to_numpy(variable.value).reshape(-1)
    return State(values, integers)


def _variables_of(model: keras.Model, layout: Layout) -> list[keras.Variable]:
    return all_variables(model) if layout.whole else variables(model)


# --- frozen weights ------------------------------------------------------------------------------------------------


def frozen_parts(model: keras.Model) -> Iterator[tuple[keras.Variable, slice]]:
    """The frozen weights, and where each lies among their values."""
    start = 0
    for variable in frozen.of(model):
        stop = start + math.prod(variable.shape)
        yield variable, slice(start, stop)
        start = stop


def _numbers(variable: keras.Variable, dtype: str) -> np.ndarray:
    """The numbers of a variable, as a vector; on TensorFlow without a copy where it has this type."""
    value = variable.value
    array = np.asarray(value.read_value()) if keras.backend.backend() == "tensorflow" else to_numpy(value)
    return array.reshape(-1).astype(dtype, copy=False)


def frozen_weights(model: keras.Model, layout: Layout, known: FrozenWeights | None = None) -> FrozenWeights | None:
    """The frozen weights of a model; None where it has none.

    Args:
        known: those that it had before, which are given back where they are the same.
    """
    parts = list(frozen_parts(model))
    if not parts:
        return None
    # Each bit counts, also of NaN; and to compare takes a small part of the time of a digest.
    bits = f"uint{8 * np.dtype(layout.dtype).itemsize}"
    if known is not None and all(
        np.array_equal(known.values[part].view(bits), _numbers(variable, layout.dtype).view(bits))
        for variable, part in parts
    ):
        return known
    values = np.empty(parts[-1][1].stop, layout.dtype)
    for variable, part in parts:
        values[part] = _numbers(variable, layout.dtype)
    return FrozenWeights(hashlib.sha256(values.data).hexdigest(), values)


def write_frozen(model: keras.Model, values: np.ndarray) -> None:
    for variable, part in frozen_parts(model):
        dtype = keras.backend.standardize_dtype(variable.dtype)
        assign(variable, values[part].reshape(variable.shape), dtype)


def taken_apart(model: keras.Model, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The `values` of a whole state: (those of the state, those of the frozen weights)."""
    left_out, is_frozen = set(map(id, frozen.of(model))), np.zeros(len(values), "bool")
    for entry, variable in zip(layout_of(model, whole=True).entries, all_variables(model)):
        is_frozen[entry.start : entry.stop] |= not entry.integer and id(variable) in left_out
    return values[~is_frozen], values[is_frozen]


# -------------------------------------------------------------------------------------------------------------------


def non_finite_variable(layout: Layout, before: State, after: State) -> str | None:
    """Path of the first variable in which a number was finite before and is not any more; None: there is none."""
    # Quicker than asking each number, and nearly always the answer: NaN is the maximum of whatever has one.
    if math.isfinite(np.maximum.reduce(after.values, initial=0)) and math.isfinite(
        np.minimum.reduce(after.values, initial=0)
    ):
        return None
    spoiled = np.flatnonzero(~np.isfinite(after.values) & np.isfinite(before.values))
    if not len(spoiled):
        return None
    return next(e.path for e in layout.entries if not e.integer and e.start <= spoiled[0] < e.stop)


def to_numpy(value: Any) -> np.ndarray:
    if keras.backend.backend() == "tensorflow" and hasattr(value, "numpy"):
        return value.numpy()  # Keras' own way warns with numpy 2.4
    return np.asarray(keras.ops.convert_to_numpy(value))


def write(model: keras.Model, layout: Layout, state: State) -> None:
    for entry, variable in zip(layout.entries, _variables_of(model, layout)):
        vector = state.integers if entry.integer else state.values
        assign(variable, vector[entry.start : entry.stop].reshape(entry.shape), entry.dtype)
    weights_have_changed(model)


def assign(variable: keras.Variable, values: np.ndarray, dtype: str) -> None:
    """Gives a variable new values, of its shape and of any dtype."""
    if keras.backend.backend() != "tensorflow":
        # A copy, because JAX may keep what it is given.
        variable.assign(values.astype(dtype))
        return
    import tensorflow as tf

    # By raw operations: Keras and TensorFlow take several times as long for their checks as for a small variable.
    if values.nbytes <= LARGE_BYTES or values.ndim == 0:
        tf.raw_ops.AssignVariableOp(resource=variable.value.handle, value=values.astype(dtype))
        return
    # TensorFlow makes two copies of what it assigns, and a variable's own slices read it first.
    rows = max(1, len(values) * LARGE_BYTES // values.nbytes)
    for start in range(0, len(values), rows):
        piece = values[start : start + rows].astype(dtype)
        where = {"begin": [start], "end": [start + len(piece)], "strides": [1]}
        tf.raw_ops.ResourceStridedSliceAssign(ref=variable.value.handle, **where, value=piece)


def weights_have_changed(model: keras.Model) -> None:
    """Lets layers follow that compute with something derived from their weights (an adapted Normalization)."""
    for layer in normalizations(model):
        layer.finalize_state()


@contextlib.contextmanager
def following_weights(model: keras.Model, known: Iterable[tuple[Any, Any]] = ()) -> Iterator[None]:
    """Likewise inside a program that is traced, and lets no traced value outlive it.

    Args:
        known: (variable, traced value) of variables that the program does not assign.
    """
    layers = normalizations(model)
    kept = [(layer.mean, layer.variance) for layer in layers]
    with keras.StatelessScope(state_mapping=list(known)):
        weights_have_changed(model)
    try:
        yield
    finally:
        for layer, (mean, variance) in zip(layers, kept):
            layer.mean, layer.variance = mean, variance


def derived_from_weights(model: keras.Model) -> list[np.ndarray]:
    """The numbers that those layers compute with."""
    return [to_numpy(value) for layer in normalizations(model) for value in (layer.mean, layer.variance)]


def normalizations(model: keras.Model) -> list[keras.layers.Normalization]:
    return [layer for layer in model._flatten_layers() if isinstance(layer, keras.layers.Normalization)]


def seed_variables(model: keras.Model) -> list[keras.Variable]:
    """The states of the model's random number generators (dropout, noise, augmentation)."""
    weights = {id(weight) for weight in model.weights}
    of_layers = [variable for variable in model.non_trainable_variables if id(variable) not in weights]
    return [*of_layers, *held.of(model).generators.values(), *held.global_generators(model)]
