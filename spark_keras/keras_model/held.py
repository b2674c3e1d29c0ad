"""Variables that a Keras model holds beside its weights, optimizer and metrics, found as Keras finds what it saves.

Attributes are followed from the model through layers, losses, metrics, optimizers, learning-rate schedules,
regularizers, constraints and initializers, and through lists, tuples and dicts of these.
"""

from __future__ import annotations

import weakref
from collections.abc import Collection, Iterable, Iterator
from typing import Any, NamedTuple

import keras

from spark_keras.executor.invalid_data import InvalidData
from spark_keras.keras_model.origin import of_keras

# Objects whose attributes are followed.
HOLDERS = (
    keras.Layer,
    keras.losses.Loss,
    keras.Metric,
    keras.optimizers.Optimizer,
    keras.random.SeedGenerator,
    keras.optimizers.schedules.LearningRateSchedule,
    keras.regularizers.Regularizer,
    keras.constraints.Constraint,
    keras.initializers.Initializer,
)

_PLAIN = (str, int, float, type(None))

# What a compiled model inside of another has of its own: Keras trains none of it, unless a train_step does.
_COMPILED = {"optimizer", "_loss_tracker", "_compile_loss", "_compile_metrics"}


class Held(NamedTuple):
    """Parts of a model that training may change, beside its weights, `model.optimizer` and the listed metrics.

    Args:
        variables: by attribute path, such as "model.loss.n". None of them belongs to an optimizer.
        of_optimizers: those that belong to one.
        optimizers: all optimizers but `model.optimizer`, those that it wraps included, by attribute path.
        generators: states of random number generators that no layer tracks.
    """

    variables: dict[str, Any]
    of_optimizers: dict[str, Any]
    optimizers: dict[str, Any]
    generators: dict[str, Any]


_found: weakref.WeakKeyDictionary[keras.Model, Held] = weakref.WeakKeyDictionary()

# Models that draw random numbers from the generator that Keras has for whoever brings none.
drawing_globally: weakref.WeakSet[keras.Model] = weakref.WeakSet()
# Models whose first step creates some of their variables.
creating_late: weakref.WeakSet[keras.Model] = weakref.WeakSet()


def of(model: keras.Model) -> Held:
    """The parts found when they were last looked for: following all attributes takes milliseconds."""
    return _found[model] if model in _found else look(model)


def look(model: keras.Model) -> Held:
    """Looks for it anew."""
    _found[model] = held = _sorted_out(model)
    return held


def has_own_step(model: keras.Model) -> bool:
    """Tells whether the model's `train_step` is not the one of Keras."""
    return type(model).train_step is not keras.Model.train_step


def is_plain(model: keras.Model) -> bool:
    """Tells whether training changes a model's weights, optimizer and metrics alone, all of them there before it."""
    found = of(model)
    beside = found.variables or found.of_optimizers or found.generators
    return not (beside or model in drawing_globally or model in creating_late)


def global_generators(model: keras.Model) -> list[Any]:
    """The state of Keras' generator for whoever brings none, if the model draws from it."""
    return [global_state()] if model in drawing_globally else []


def global_state() -> Any:
    """The state of that generator, which belongs to the process."""
    from keras.src.random.seed_generator import global_seed_generator

    return global_seed_generator().state


def _sorted_out(model: keras.Model) -> Held:
    main = getattr(model, "optimizer", None)
    counted = [*model.variables, *model.metrics_variables, *(main.variables if main is not None else [])]
    seen = {id(variable) for variable in counted}
    held = Held({}, {}, {}, {})
    variables: dict[str, Any] = {}
    for path, each in walk(model):
        if isinstance(each, keras.optimizers.Optimizer) and each is not main:
            held.optimizers[path] = each
        elif isinstance(each, keras.random.SeedGenerator) and id(each.state) not in seen:
            held.generators[path] = each.state
            seen.add(id(each.state))
        elif isinstance(each, keras.Variable):
            variables[path] = each
    for path, optimizer in held.optimizers.items():
        for index, variable in enumerate(optimizer.variables):
            if id(variable) not in seen:
                seen.add(id(variable))
                held.of_optimizers[f"{path}.variables[{index}]"] = variable
    held.variables.update({path: variable for path, variable in variables.items() if id(variable) not in seen})
    return held


def walk(model: keras.Model, leaves: tuple[type, ...] = (keras.Variable,)) -> Iterator[tuple[str, Any]]:
    """(attribute path, object) of every holder and every leaf, each once, in the same order in every process."""
    left_out = () if has_own_step(model) else _COMPILED
    found, seen = [("model", model)], set()
    while found:
        path, value = found.pop()
        if id(value) in seen:
            continue
        seen.add(id(value))
        if isinstance(value, (*leaves, *HOLDERS)):
            yield path, value
        inner = left_out if isinstance(value, keras.Model) and value is not model else ()
        found.extend(reversed([(path + name, each) for name, each in _parts(value, inner)]))


def _parts(value: Any, left_out: Collection[str]) -> Iterable[tuple[str, Any]]:
    """The objects with which the walk goes on: private attributes last, so that paths are those that a user knows."""
    if isinstance(value, (list, tuple)):
        return ((f"[{index}]", each) for index, each in enumerate(value) if not isinstance(each, _PLAIN))
    if isinstance(value, dict):
        return ((f"[{key!r}]", value[key]) for key in sorted(value, key=str))
    if isinstance(value, HOLDERS):
        # TensorFlow keeps a second account.
        attributes = [item for item in vars(value).items() if not item[0].startswith("_self_")]
        in_order = sorted(attributes, key=lambda item: (item[0].startswith("_"), item[0]))
        return ((f".{name}", each) for name, each in in_order if name not in left_out and not isinstance(each, _PLAIN))
    return ()


def follows_keras(model: keras.Model) -> bool:
    """Tells whether all parts of a built model are Keras' own, which change no variable that Keras does not track."""
    return all(_of_keras(each) for _, each in walk(model) if isinstance(each, HOLDERS))


def _of_keras(part: Any) -> bool:
    given = (getattr(part, name, None) for name in ("fn", "_fn", "function", "activation"))
    kinds = [type(part), *(each for each in given if callable(each))]
    return all(of_keras(each) for each in kinds)


class Untracked(InvalidData):
    """Training changes what is no part of its state, so that it would be kept from fit to fit on one worker alone."""

    def __init__(self, received: str):
        super().__init__(
            f"Training changes what Keras does not track in the model. Received: {received}. "
            "Expected: a keras.Variable (or a keras.random.SeedGenerator) that is an attribute of the model or of one "
            "of its layers, losses, metrics and optimizers, also inside of lists and dicts: only such state begins "
            "anew with each fit, is averaged over the workers, and is kept in the fitted model."
        )


def stateful_layers(model: keras.Model) -> list[keras.layers.RNN]:
    """Recurrent layers that go on from where the minibatch before has left them."""
    return [layer for layer in model._flatten_layers() if isinstance(layer, keras.layers.RNN) and layer.stateful]


def local_variables(model: keras.Model) -> list[keras.Variable]:
    """Variables in which stateful recurrent layers remember: of the rows of one shard, no other's."""
    return [variable for layer in stateful_layers(model) for variable in keras.tree.flatten(layer.states or [])]


def begin_anew(model: keras.Model) -> keras.Model:
    """Lets stateful recurrent layers begin each sequence as after `reset_state`; batches may then have any size.

    Rows come in no order of their own, so that a layer would remember arbitrary ones. Returns the model.
    """
    for layer in stateful_layers(model):
        layer.stateful = False
    return model


def batch_statistics(model: keras.Model) -> bool:
    """Tells whether a layer normalises rows by those that are in their minibatch."""
    return any(isinstance(layer, keras.layers.BatchNormalization) for layer in model._flatten_layers())


def asked_batch(model: keras.Model) -> tuple[str, int] | None:
    """(name of a stateful layer, rows in each minibatch that it takes); None where the model takes any number."""
    for layer in stateful_layers(model):
        for variable in keras.tree.flatten(layer.states or []):
            return layer.name, variable.shape[0]
    return None
