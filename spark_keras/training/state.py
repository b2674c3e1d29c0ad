"""Keras model ↔ flat vectors: everything that training changes, in one fixed layout."""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Collection, Iterable, Iterator
from typing import Any, NamedTuple

import keras
import numpy as np

from spark_keras import configurations, own_code
from spark_keras.training import automatic_names, first_step, held

# Variables of more bytes are written in pieces.
LARGE_BYTES = 32 * 2**20

# In an architecture.
_UNDECAYED = "undecayed"
_STATE = "state"
_DRAWS = "draws globally"
_LATE = "created late"


class State(NamedTuple):
    """The whole training state of a Keras model: weights first, then whatever else it holds (such as a variable of a
    loss), then the variables of its optimizers.

    Args:
        values: all floating-point variables, float32 (float64 if the model has a float64 variable).
        integers: all integer variables (such as the optimizer's iterations), int64, because a float32 cannot
            count beyond 2**24.
    """

    values: np.ndarray
    integers: np.ndarray


class Entry(NamedTuple):
    """Where one variable lies: in `values`, or in `integers` if `integer`."""

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


def variables(model: keras.Model) -> list[Any]:
    """The variables of a model's state, in the order of its layout."""
    optimizer = list(model.optimizer.variables) if model.optimizer is not None else []
    found = held.of(model)
    weights = [*model.trainable_weights, *model.non_trainable_weights]
    return [*weights, *found.variables.values(), *optimizer, *found.of_optimizers.values()]


def changing(model: keras.Model) -> list[Any]:
    """All variables that a training step may change: those of the state, of random number generators and of metrics."""
    return [*variables(model), *seed_variables(model), *model.metrics_variables]


def layout_of(model: keras.Model) -> Layout:
    """The layout of a built model. The same architecture gives the same layout in every process."""
    found = held.look(model)
    weight_count = len(model.trainable_weights) + len(model.non_trainable_weights) + len(found.variables)
    entries, sizes, weight_sizes, position = [], [0, 0], (0, 0), {}
    for index, variable in enumerate(variables(model)):
        dtype = keras.backend.standardize_dtype(variable.dtype)
        integer = "int" in dtype or dtype == "bool"
        size = int(np.prod(variable.shape, dtype="int64"))
        start = sizes[integer]
        sizes[integer] += size
        entries.append(Entry(variable.path, tuple(variable.shape), dtype, integer, start, start + size))
        position[id(variable)] = slice(start, start + size)
        if index < weight_count:
            weight_sizes = tuple(sizes)
    wide = any(entry.dtype == "float64" for entry in entries)

    def counters(optimizer: Any) -> tuple[int | None, int | None]:
        # `iterations` itself is computed where gradients are accumulated.
        places = (position.get(id(getattr(optimizer, name, None))) for name in ("_iterations", "_learning_rate"))
        return tuple(place and place.start for place in places)

    main = innermost(model.optimizer)
    others = {id(each): each for each in map(innermost, found.optimizers.values()) if each is not main}
    iterations, learning_rate = counters(main)
    return Layout(
        entries=tuple(entries),
        dtype="float64" if wide else "float32",
        sizes=tuple(sizes),
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
    )


def innermost(optimizer: Any) -> Any:
    """The optimizer itself, where another one scales its loss."""
    while hasattr(optimizer, "inner_optimizer"):
        optimizer = optimizer.inner_optimizer
    return optimizer


def _undecayed(model: keras.Model) -> list[int]:
    """Which trainable variables `Optimizer.exclude_from_weight_decay` names: it is not in the optimizer's config."""
    optimizer = innermost(getattr(model, "optimizer", None))
    if not excludes_from_weight_decay(optimizer):
        return []
    variables = model.trainable_variables
    # A part of a name excludes a variable, and TensorFlow's own names are longer: its optimizers ask for these.
    plain = type(optimizer)._apply_weight_decay is keras.optimizers.Optimizer._apply_weight_decay
    if plain and keras.backend.backend() == "tensorflow":
        variables = [variable.value for variable in variables]
    optimizer._exclude_from_weight_decay_cache = {}
    return [index for index, each in enumerate(variables) if not optimizer._use_weight_decay(each)]


def excludes_from_weight_decay(optimizer: Any) -> bool:
    named = ("_exclude_from_weight_decay", "_exclude_from_weight_decay_pattern")
    return any(getattr(each, name, None) for each in parts(optimizer) for name in named)


def parts(optimizer: Any) -> list[Any]:
    """The optimizer itself, or those that share the variables of a `MultiOptimizer`."""
    return list(getattr(innermost(optimizer), "optimizers", [innermost(optimizer)]))


def keeps_averages(optimizer: Any) -> bool:
    """Whether an optimizer has averages of the weights, which become the weights when training ends."""
    return any(getattr(each, "use_ema", False) for each in parts(optimizer))


def read(model: keras.Model, layout: Layout) -> State:
    values = np.empty(layout.sizes[0], layout.dtype)
    integers = np.empty(layout.sizes[1], "int64")
    for entry, variable in zip(layout.entries, variables(model)):
        vector = integers if entry.integer else values
        vector[entry.start : entry.stop] = to_numpy(variable.value).reshape(-1)
    return State(values, integers)


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
    for entry, variable in zip(layout.entries, variables(model)):
        vector = state.integers if entry.integer else state.values
        _assign(variable, vector[entry.start : entry.stop].reshape(entry.shape), entry.dtype)
    weights_have_changed(model)


def _assign(variable: Any, values: np.ndarray, dtype: str) -> None:
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
    """What those layers compute with."""
    return [to_numpy(value) for layer in normalizations(model) for value in (layer.mean, layer.variance)]


def normalizations(model: keras.Model) -> list[keras.layers.Normalization]:
    return [layer for layer in model._flatten_layers() if isinstance(layer, keras.layers.Normalization)]


def read_metrics(model: keras.Model) -> np.ndarray:
    """The states of all metrics, the loss included, as one float64 vector."""
    parts = [to_numpy(variable.value).reshape(-1) for variable in model.metrics_variables]
    return np.concatenate(parts).astype("float64") if parts else np.empty(0)


def metric_results(model: keras.Model, states: np.ndarray) -> dict[str, float]:
    """Turns metric states into results: {"loss": …, "accuracy": …}, as `Model.fit` logs them. Until the next ones, the
    model's metrics hold these states, as they do after an epoch of Keras."""
    start = 0
    for variable in model.metrics_variables:
        size = int(np.prod(variable.shape, dtype="int64"))
        part = states[start : start + size].reshape(variable.shape)
        _assign(variable, part, keras.backend.standardize_dtype(variable.dtype))
        start += size
    if start != len(states):
        raise RuntimeError(
            f"The workers' metrics have {len(states)} numbers, the driver's {start}: "
            "the model creates metrics in train_step that it does not create when it is built."
        )
    flat = {}
    for name, value in model.get_metrics_result().items():
        flat.update(value if isinstance(value, dict) else {name: value})
    # A result may be a variable itself.
    arrays = {name: to_numpy(getattr(value, "value", value)) for name, value in flat.items()}
    return {name: float(array) if array.ndim == 0 else array.tolist() for name, array in arrays.items()}


def seed_variables(model: keras.Model) -> list[Any]:
    """The states of the model's random number generators (dropout, noise, augmentation)."""
    weights = {id(weight) for weight in model.weights}
    of_layers = [variable for variable in model.non_trainable_variables if id(variable) not in weights]
    return [*of_layers, *held.of(model).generators.values(), *held.global_generators(model)]


def architecture(model: keras.Model, kept: Collection[str] = ()) -> str:
    """A compiled model's structure as JSON, without its weights: what the closure carries to the workers.

    Beside what Keras serialises it has the variables that the optimizer does not decay, by their index; and where
    training changes more than a model's weights, optimizer and metrics, the shapes of all that it changes. The model's
    own code is in it by name (`own_code.pickled`).

    Args:
        kept: names of layers that stay as they are; others that Keras has made are numbered anew.
    """
    for layer in model._flatten_layers():
        if hasattr(layer, "save_assets") and not layer.get_config().get("vocabulary"):
            raise ValueError(
                f"Layer {layer.name!r} ({type(layer).__name__}) keeps a vocabulary outside its weights, and only "
                "weights travel to the workers. Apply it before training, with StringIndexer or the layer itself."
            )
    with configurations.complete(model), own_code.named(model):
        structure = automatic_names.settled(keras.saving.serialize_keras_object(model), kept)
    structure |= {_UNDECAYED: _undecayed(model)}
    if not held.is_plain(model):
        structure |= {_STATE: _shapes(model), _DRAWS: held.draws(model), _LATE: held.is_late(model)}
    return json.dumps(structure)


def _shapes(model: keras.Model) -> list[list[Any]]:
    """Of each variable of the state the dtype and the dimensions."""
    return [[keras.backend.standardize_dtype(each.dtype), *map(int, each.shape)] for each in variables(model)]


def replica(model_json: str, custom_objects: dict[str, Any], safe_mode: bool, sample: Any) -> keras.Model:
    """Builds a compiled model from its architecture; its weights are set by `write`."""
    structure = json.loads(model_json)
    excluded, shapes, draws, late = (structure.pop(name, None) for name in (_UNDECAYED, _STATE, _DRAWS, _LATE))
    # One that came with its optimizers built may have them built in its first step, too.
    for step in (False, True) if shapes is not None and not late else (bool(late),):
        model = keras.saving.deserialize_keras_object(structure, custom_objects=custom_objects, safe_mode=safe_mode)
        first_step.build(model, sample, step)
        if shapes is None or _shapes(model) == shapes:
            break
    else:
        raise held.Untracked(
            f"variables {_shapes(model)} where the model is built from its configuration, {shapes} on the driver"
        )
    if draws:
        held.draws_globally(model)
    if excluded:
        # Keras takes variables only before the optimizer is built, which happens as soon as there are any.
        optimizer, variables = innermost(model.optimizer), model.trainable_variables
        optimizer._exclude_from_weight_decay = {optimizer._var_key(variables[index]) for index in excluded}
        optimizer._exclude_from_weight_decay_cache = {}
    return model


def build(model: keras.Model, sample: Any) -> None:
    """Creates every variable of a compiled model: weights, metrics and the optimizer's, as `fit` would.

    Args:
        sample: (x, y) or (x, y, sample_weight) with a few rows, of the shapes and dtypes that training will have.
    """
    x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(sample)
    with contextlib.nullcontext() if y is not None else _comparing_nothing(model):
        model._symbolic_build(data_batch=(x, y, sample_weight))
    if model.optimizer is not None and not model.optimizer.built:
        model.optimizer.build(model.trainable_variables)
    # Metrics are only known as such when they are built.
    held.look(model)


@contextlib.contextmanager
def _comparing_nothing(model: keras.Model) -> Iterator[None]:
    """While a model is built without labels: its own train_step may give the compiled loss what it makes itself."""
    compiled = {name: vars(model)[name] for name in ("_compile_loss", "_compile_metrics") if name in vars(model)}
    vars(model).update(dict.fromkeys(compiled))
    try:
        yield
    finally:
        vars(model).update(compiled)
