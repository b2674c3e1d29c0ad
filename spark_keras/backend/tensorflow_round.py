"""A round on Keras' TensorFlow backend, compiled: one program for all of its minibatches, with or without XLA."""

from __future__ import annotations

import contextlib
import types
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from spark_keras.backend.arrays import minibatch, to_tensor
from spark_keras.backend.base import Result
from spark_keras.backend.tensorflow_program import Program
from spark_keras.backend.xla_rule import without_gain
from spark_keras.executor.aligned import aligned
from spark_keras.keras_model.first_step import refuse_untracked
from spark_keras.keras_model.origin import of_keras
from spark_keras.keras_model.state import Layout, State, following_weights, seed_variables, variables


def make(model: keras.Model, layout: Layout, xla: bool) -> GraphKernel:
    return StatelessKernel(model, layout) if xla and only_through_keras(model) else GraphKernel(model, layout, xla)


class GraphKernel:
    """A loop over the model's own `train_step`, which reads and assigns the model's variables."""

    def __init__(self, model: keras.Model, layout: Layout, xla: bool):
        self.name = "xla" if xla else "graph"
        self.model, self.layout = model, layout
        self._variables, self._seeded = variables(model), seed_variables(model)
        known = [*self._variables, *self._seeded, *model.metrics_variables]
        self._train = Program(self._train_round, xla, lambda traced: refuse_untracked(model, traced, known, "training"))
        self._evaluate = Program(
            self._evaluate_round, xla, lambda traced: refuse_untracked(model, traced, known, "evaluation")
        )
        # All integers travel as one array, because each argument costs as much as a small minibatch:
        # [the state's integers, (seeds), first minibatch, the one after the last].
        self._integers = aligned((layout.sizes[1] + 2 * len(self._seeded) + 2,), np.dtype("int64"))
        # Likewise made once. Not without XLA: there a variable may keep what it is assigned.
        self._sent = to_tensor()(self._integers) if xla else self._integers

    def train(self, state: State, seeds: np.ndarray, batches: Any, first: int, steps: int) -> Result:
        np.concatenate([state.integers, seeds.reshape(-1), [first, first + steps]], out=self._integers)
        values, integers, metrics = self._train(state.values, self._sent, batches)
        return Result(State(values, integers), metrics)

    def evaluate(self, state: State, batches: Any, steps: int) -> np.ndarray:
        (metrics,) = self._evaluate(state.values, np.concatenate([state.integers, [0, steps]]), batches)
        return metrics

    # --- traced ---

    def _train_round(self, values: Any, integers: Any, batches: Any) -> Any:
        self._assign(self._variables, self._unpacked(values, integers))
        self._assign(self._seeded, self._seeds(integers))
        self._loop(self.model.train_step, integers, batches)
        return self._packed([each.value for each in self._variables], self._metrics())

    def _evaluate_round(self, values: Any, integers: Any, batches: Any) -> Any:
        self._assign(self._variables, self._unpacked(values, integers))
        self._assign(self._seeded, [tf.zeros_like(each.value) for each in self._seeded])
        self._loop(self.model.test_step, integers, batches)
        return _concatenated(self._metrics(), tf.float64)

    def _loop(self, step: Any, integers: Any, batches: Any) -> None:
        self._assign(self.model.metrics_variables, self._no_metrics())

        def body(index: Any) -> Any:
            step(minibatch(batches, index))
            return index + 1

        with following_weights(self.model):
            _each_minibatch(body, integers)

    @staticmethod
    def _assign(to: list[Any], values: list[Any]) -> None:
        for variable, value in zip(to, values):
            variable.assign(value)

    def _metrics(self) -> list[Any]:
        return [variable.value for variable in self.model.metrics_variables]

    def _no_metrics(self) -> list[Any]:
        return [tf.zeros(variable.shape, variable.dtype) for variable in self.model.metrics_variables]

    def _unpacked(self, values: Any, integers: Any) -> list[Any]:
        """Values of the state's variables."""
        return [
            tf.cast(tf.reshape((integers if e.integer else values)[e.start : e.stop], e.shape), e.dtype)
            for e in self.layout.entries
        ]

    def _seeds(self, integers: Any) -> list[Any]:
        seeds = tf.reshape(integers[self.layout.sizes[1] : -2], [len(self._seeded), 2])
        return [tf.cast(seeds[index], variable.dtype) for index, variable in enumerate(self._seeded)]

    def _packed(self, held: list[Any], metrics: list[Any]) -> tuple[Any, Any, Any]:
        values = [value for entry, value in zip(self.layout.entries, held) if not entry.integer]
        integers = [value for entry, value in zip(self.layout.entries, held) if entry.integer]
        return (
            _concatenated(values, self.layout.dtype),
            _concatenated(integers, tf.int64),
            _concatenated(metrics, tf.float64),
        )


class StatelessKernel(GraphKernel):
    """The same for XLA as a function of tensors alone, as Keras' JAX trainer has it.

    TensorFlow looks up, locks and gives a new buffer to each variable of a program, in each call: for a small network,
    that takes as long as two or three minibatches.
    """

    def __init__(self, model: keras.Model, layout: Layout):
        super().__init__(model, layout, xla=True)

    def _train_round(self, values: Any, integers: Any, batches: Any) -> Any:
        try:
            return self._stateless_round(values, integers, batches)
        except _OtherVariables:
            return super()._train_round(values, integers, batches)

    def _stateless_round(self, values: Any, integers: Any, batches: Any) -> Any:
        metrics = self.model.metrics_variables
        known = [*self._variables, *self._seeded, *metrics]
        held = [*self._unpacked(values, integers), *self._seeds(integers), *self._no_metrics()]

        def body(index: Any, *held: Any) -> Any:
            after = _stepped(self.model, list(zip(known, held)), minibatch(batches, index))
            # A loop insists on the same types and shapes before and after.
            same = [tf.reshape(tf.cast(new, old.dtype), old.shape) for new, old in zip(after, held)]
            return index + 1, *same

        _, *held = _each_minibatch(body, integers, *held)
        return self._packed(held[: len(self._variables)], held[len(known) - len(metrics) :])


# Optimizers that compute the same with tensors as with variables: they read no variable whose old value they still need
# after they have assigned it, and change none under a condition. One that was never compared counts as not the same.
OPTIMIZERS = "Adadelta Adafactor Adagrad Adam AdamW Adamax Ftrl Lamb Lion RMSprop SGD".split()


def only_through_keras(model: keras.Model) -> bool:
    """Tells whether the parts of a training step are Keras' own and change variables through Keras alone.

    What else is called (losses, activations, schedules, …) may be anybody's: a function of tensors, or found when the
    step is traced.
    """
    optimizer = model.optimizer
    # What was given to `compile` is inside of one metric.
    metrics = [part for metric in model.metrics for part in (metric, *getattr(metric, "metrics", ()))]
    parts = [*model._flatten_layers(), *metrics, optimizer]
    if without_gain(model) is not None or not all(of_keras(type(part)) for part in parts):
        return False
    if type(optimizer).__name__ not in OPTIMIZERS or not model.trainable_weights:
        return False
    # Conditions, whose branches assign: a StatelessScope misses that.
    return not (optimizer.gradient_accumulation_steps or optimizer.use_ema)


class _OtherVariables(Exception):
    """A step has assigned a variable that is none of the model's, so that it would be lost."""


def _stepped(model: keras.Model, known: list[tuple[Any, Any]], data: Any) -> list[Any]:
    """Keras' `train_step`, from what variables hold to what they hold then.

    Args:
        known: (variable, what it holds) for all of the model's variables.

    Raises:
        _OtherVariables: where it changes more than these.
    """
    x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
    optimizer = model.optimizer
    with (
        following_weights(model, known),
        _through_keras(optimizer, model.trainable_weights),
        keras.StatelessScope(state_mapping=known, collect_losses=True) as scope,
    ):
        weights = [scope.get_current_value(weight) for weight in model.trainable_weights]
        with tf.GradientTape() as tape:
            tape.watch(weights)
            y_pred = model(x, training=True) if model._call_has_training_arg else model(x)
            loss = model._compute_loss(x=x, y=y, y_pred=y_pred, sample_weight=sample_weight, training=True)
            scaled = optimizer.scale_loss(loss)
        model._loss_tracker.update_state(loss, sample_weight=tf.shape(keras.tree.flatten(x)[0])[0])
        optimizer.apply(tape.gradient(scaled, weights), model.trainable_weights)
        model.compute_metrics(x, y, y_pred, sample_weight=sample_weight)
        # Keras' own generator of random numbers, for one.
        if scope.state_mapping.keys() - {id(variable) for variable, _ in known}:
            raise _OtherVariables
        return [scope.get_current_value(variable) for variable, _ in known]


# What TensorFlow's optimizers do to the TensorFlow variable inside of Keras' one, for the sake of tf.distribute.
_THROUGH_KERAS = ("assign", "assign_add", "assign_sub", "_apply_weight_decay", "_backend_update_step")


@contextlib.contextmanager
def _through_keras(optimizer: keras.optimizers.Optimizer, trainable: Iterable[keras.Variable]) -> Iterator[None]:
    """Lets an optimizer assign to Keras' variables, as on other backends, so that a StatelessScope learns of it."""
    keys = {id(variable): optimizer._var_key(variable) for variable in trainable}
    of_any_backend = keras.optimizers.Optimizer.__bases__[-1]
    own: dict[str, Callable[..., Any]] = {
        name: types.MethodType(getattr(of_any_backend, name), optimizer) for name in _THROUGH_KERAS
    }
    own["_var_key"] = lambda variable: keys[id(variable)]
    for name, method in own.items():
        object.__setattr__(optimizer, name, method)
    try:
        yield
    finally:
        for name in own:
            object.__delattr__(optimizer, name)


def _each_minibatch(body: Any, integers: Any, *held: Any) -> Any:
    """Runs body(index, *held) → (next index, *held) for the minibatches that a program's integers name."""
    return tf.while_loop(lambda index, *_: index < integers[-1], body, [integers[-2], *held], parallel_iterations=1)


def _concatenated(parts: list[Any], dtype: Any) -> Any:
    if not parts:
        return tf.zeros([0], dtype)
    return tf.concat([tf.reshape(tf.cast(part, dtype), [-1]) for part in parts], axis=0)
