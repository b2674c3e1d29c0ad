"""The first training step of a model before there is any row: what it creates, and what it changes."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterable, Iterator
from typing import Any

import keras
import numpy as np

from spark_keras.keras_model import frozen, held, state

logger = logging.getLogger(__name__)


def build(model: keras.Model, sample: Any, step: bool = True) -> None:
    """Creates every variable of a compiled model, as `fit` would, and finds what it holds.

    Args:
        sample: (x, y) or (x, y, sample_weight) with rows of the shapes and dtypes that training will have.
        step: whether to take a step, too, for what is only created then; and on the driver, to find what no worker
            could give back.
    """
    own_step, before = held.has_own_step(model), _paths(model)
    # Where Keras itself calls such a model before it builds anything, its step may create what a symbolic call cannot.
    taken = step and own_step and keras.backend.backend() == "tensorflow"
    if taken:
        take(model, sample)
    try:
        build_symbolically(model, sample)
    except ValueError:
        if taken or not step or keras.backend.backend() != "tensorflow":
            raise
        take(model, sample)
        build_symbolically(model, sample)
        taken = True
    if step and not taken and not held.follows_keras(model):
        take(model, sample)
    if _paths(model) - before and step:
        held.creating_late.add(model)


def build_symbolically(model: keras.Model, sample: Any) -> None:
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


def _paths(model: keras.Model) -> set[str]:
    """Paths of what there is, beside the model's optimizer and its metrics, which a symbolic call creates."""
    found = held.look(model)
    own = [variable.path for variable in model.variables]
    return {*found.variables, *found.of_optimizers, *found.generators, *own}


def take(model: keras.Model, sample: Any) -> None:
    """Takes a step on made-up rows that changes nothing, but creates what the model's own code only creates then: the
    variables of optimizers beside `model.optimizer`, layers that `call` does not reach, variables made in a loss. And
    it tells which frozen weights that code assigns.

    On TensorFlow and JAX the step is only traced; on JAX it must find all that it needs. On PyTorch it is taken, and
    taken back.

    Raises:
        Untracked: where the step changes a variable that is no part of the model's state.
    """
    backend = keras.backend.backend()
    if backend == "tensorflow":
        _trace(model, sample)
    elif backend == "jax" and frozen.candidates(model):
        frozen.note(model, _assigned_on_jax(model, sample))
    elif backend == "torch" and (held.has_own_step(model) or frozen.candidates(model)):
        with _taken_back(model):
            frozen.note(model, _assigned_on_torch(model, sample))


def _assigned_on_jax(model: keras.Model, sample: Any) -> list[Any] | None:
    """The frozen weights that a step gives back as others than it was given; None where it cannot be traced."""
    import jax

    groups = model.trainable_variables, model.non_trainable_variables, getattr(model.optimizer, "variables", [])
    variables = [*state.all_variables(model), *state.seed_variables(model), *model.metrics_variables]
    held_values = [variable._value for variable in variables]
    before = *([each.value for each in group] for group in groups), [each.value for each in model.metrics_variables]
    data = keras.utils.pack_x_y_sample_weight(*keras.utils.unpack_x_y_sample_weight(sample))
    try:
        program = jax.make_jaxpr(lambda state, data: model.train_step(state, data)[1])(before, data).jaxpr
    except Exception as error:  # the model's own code, which may be such that only runs eagerly
        logger.info("A training step of model %r cannot be traced: %s: %s", model.name, type(error).__name__, error)
        return None
    finally:
        for variable, value in zip(variables, held_values):
            variable._value = value
    first, fixed = len(model.trainable_variables), set(map(id, frozen.candidates(model)))
    places = zip(model.non_trainable_variables, program.invars[first:], program.outvars[first:])
    return [variable for variable, given, left in places if id(variable) in fixed and left is not given]


def _assigned_on_torch(model: keras.Model, sample: Any) -> list[Any] | None:
    """Takes a step; the frozen weights that it wrote to. None where it fails and the model has no step of its own."""
    fixed = frozen.candidates(model)
    before = frozen.versions(fixed)
    try:
        model.train_step(_each(sample, keras.ops.convert_to_tensor))
    except Exception as error:  # layers that do not take made-up rows
        if held.has_own_step(model):
            raise
        logger.info("A training step of model %r fails: %s: %s", model.name, type(error).__name__, error)
        return None
    return frozen.written_since(fixed, before)


def _each(sample: Any, made: Any) -> Any:
    """A sample with each of its arrays made into something else; None stays where there are no labels."""
    return keras.tree.map_structure(lambda array: None if array is None else made(array), sample)


def _trace(model: keras.Model, sample: Any) -> None:
    import tensorflow as tf

    def step(data: Any) -> None:
        if held.has_own_step(model):
            model.train_step(data)
            return
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        y_pred = model(x, training=True) if model._call_has_training_arg else model(x)
        model._compute_loss(x=x, y=y, y_pred=y_pred, sample_weight=sample_weight, training=True)
        model.compute_metrics(x, y, y_pred, sample_weight)

    def traced(*rows: int | None) -> Any:
        spec = _each(sample, lambda array: tf.TensorSpec([*rows, *array.shape[1:]], array.dtype))
        return tf.function(step, autograph=False).get_concrete_function(spec)

    try:
        try:
            program = traced(None)  # as Keras traces it
        except Exception:  # code that wants to know how many rows there are; what else is wrong comes up again
            program = traced(len(next(array for array in keras.tree.flatten(sample) if array is not None)))
    except Exception as error:  # the model's own code, which may be such that only runs eagerly
        logger.info("A training step of model %r cannot be traced: %s: %s", model.name, type(error).__name__, error)
        frozen.note(model, None)
        return
    held.look(model)
    assigned = {id(variable.handle) for variable in written(program)}
    frozen.note(model, [each for each in frozen.candidates(model) if id(each.value.handle) in assigned])
    drawn = held.global_state()
    if any(variable is drawn.value for variable in written(program)):
        held.drawing_globally.add(model)
    # Of the state now are those, too, that have just been found to be assigned.
    refuse_untracked(model, program, state.changing(model), "a training step")


def refuse_untracked(model: keras.Model, program: Any, known: Iterable[Any], where: str) -> None:
    """Raises `Untracked` where a TensorFlow program assigns another variable than the known ones."""
    handles = {id(variable.value.handle) for variable in known}
    fixed = {id(variable.value.handle): variable for variable in frozen.of(model)}
    for variable in written(program):
        if id(variable.handle) in fixed:
            raise frozen.Assigned(fixed[id(variable.handle)])
        if id(variable.handle) not in handles:
            raise held.Untracked(f"{_name(model, variable)}, which {where} assigns")


def written(program: Any) -> Iterator[Any]:
    """The TensorFlow variables that a concrete function assigns, however deep inside of loops and conditions."""
    from tensorflow.python.framework import auto_control_deps_utils

    graph = program.graph
    read_only = set(auto_control_deps_utils.get_read_only_resource_input_indices_graph(graph))
    inner = {id(tensor): index for index, tensor in enumerate(graph.inputs)}
    assigned = {id(outer) for outer, tensor in graph.captures if inner[id(tensor)] not in read_only}
    seen = set()
    for variable in graph.variables:
        if id(variable.handle) in assigned and id(variable.handle) not in seen:
            seen.add(id(variable.handle))
            yield variable


def _name(model: keras.Model, variable: keras.Variable) -> str:
    for path, each in held.walk(model, leaves=(keras.Variable, type(variable))):
        if each is variable or (isinstance(each, keras.Variable) and each.value is variable):
            return f"{path}, a {type(each).__name__}"
    dtype = keras.backend.standardize_dtype(variable.dtype)
    return f"{variable.name!r}, {dtype} of shape {tuple(variable.shape)}"


@contextlib.contextmanager
def _taken_back(model: keras.Model) -> Iterator[None]:
    """Gives every variable its value back; those of optimizers that are built meanwhile, what they are built with."""

    def copies(variables: Any) -> list[tuple[Any, np.ndarray]]:
        return [(each, np.array(state.to_numpy(each.value))) for each in variables]

    look = held.look(model)
    before = copies([*state.changing(model), *frozen.of(model)])

    def noting(optimizer: Any) -> Any:
        def build(variables: Any) -> None:
            object.__delattr__(optimizer, "build")
            optimizer.build(variables)
            before.extend(copies(optimizer.variables))

        return build

    for optimizer in look.optimizers.values():
        if not optimizer.built:
            object.__setattr__(optimizer, "build", noting(optimizer))
    try:
        yield
    finally:
        for optimizer in look.optimizers.values():
            vars(optimizer).pop("build", None)
        for variable, value in before:
            variable.assign(value)
