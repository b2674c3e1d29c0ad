"""A round on Keras' JAX backend, compiled: Keras' own stateless `train_step`, minibatch after minibatch."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import keras
import numpy as np

from spark_keras.backend.base import Result
from spark_keras.backend.jax_arrays import dtype_of, limits_of
from spark_keras.keras_model import frozen
from spark_keras.keras_model.held import Untracked
from spark_keras.keras_model.state import Layout, State, following_weights, seed_variables, variables


class JaxKernel:
    """A round as one program with the loop over the minibatches inside ("scan"), or as one program for each minibatch,
    the variables staying in JAX between them ("jit").
    """

    def __init__(self, model: keras.Model, layout: Layout, scan: bool):
        self.name = "scan" if scan else "jit"
        self.model, self.layout = model, layout
        optimizer = list(model.optimizer.variables) if model.optimizer is not None else []
        # As JAX's trainer takes them. The metrics' variables come last.
        fixed = set(map(id, frozen.of(model)))
        # Where among the non-trainable variables the frozen weights are: programs only read these.
        self._frozen = [(index, v) for index, v in enumerate(model.non_trainable_variables) if id(v) in fixed]
        changing = [variable for variable in model.non_trainable_variables if id(variable) not in fixed]
        self._groups = [list(model.trainable_variables), changing, optimizer]
        # What this trainer does not pass on, a step may read; what it assigns is lost, as in Keras.
        given = {id(variable) for group in self._groups for variable in group} | fixed
        self._read = [each for each in [*variables(model), *seed_variables(model)] if id(each) not in given]
        self._place = {id(variable): index for index, variable in enumerate(variables(model))}
        self._seed = {id(variable): index for index, variable in enumerate(seed_variables(model))}
        # The type of each integer, and what fits into it: JAX itself would take larger ones modulo 2**32.
        self._types = [dtype_of(e.dtype) for e in layout.entries if e.integer for _ in range(e.start, e.stop)]
        self._least, self._most = np.array([limits_of(each) for each in self._types], "int64").reshape(-1, 2).T
        self._unsigned = np.flatnonzero(self._most > np.iinfo("int32").max)
        self._unpack = jax.jit(self._unpacked)
        self._pack = jax.jit(self._packed)
        self._train_step = jax.jit(self._stepped_by("train_step"), donate_argnums=0)
        self._test_step = jax.jit(self._stepped_by("test_step"), donate_argnums=0)
        self._train = jax.jit(self._train_round)
        self._evaluate = jax.jit(self._evaluate_round)

    def train(self, state: State, seeds: np.ndarray, batches: Any, first: int, steps: int) -> Result:
        arguments, fixed = self._arguments(state, seeds, first, first + steps), self._frozen_values()
        if self.name == "scan":
            values, integers, metrics = self._train(*arguments, batches, fixed)
        else:
            trained, read = self._unpack(*arguments)
            for index in range(first, first + steps):
                trained = self._train_step(trained, batches, np.int32(index), read, fixed)
            values, integers, metrics = self._pack(trained, read)
        after = State(np.asarray(values, self.layout.dtype), self._widened(np.asarray(integers)))
        counter = self.layout.iterations
        if counter is not None and after.integers[counter] < state.integers[counter]:
            raise OverflowError("The optimizer's step counter has passed the largest int32, JAX's largest integer.")
        return Result(after, _metric_vector(metrics))

    def evaluate(self, state: State, batches: Any, steps: int) -> np.ndarray:
        arguments = self._arguments(state, np.zeros((len(self._seed), 2), "int64"), 0, steps)
        fixed = self._frozen_values()
        if self.name == "scan":
            return _metric_vector(self._evaluate(*arguments, batches, fixed))
        (trainable, others, _, metrics), read = self._unpack(*arguments)
        evaluated = (trainable, others, metrics)
        for index in range(steps):
            evaluated = self._test_step(evaluated, batches, np.int32(index), read, fixed)
        return _metric_vector(evaluated[-1])

    def _frozen_values(self) -> list[Any]:
        # Arguments: as constants, XLA would compile them in.
        return [variable.value for _, variable in self._frozen]

    def _arguments(self, state: State, seeds: np.ndarray, first: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
        """All integers travel as one array, because each argument costs as much as a small minibatch: [the state's
        integers, seeds, first minibatch, the one after the last]; negative ones modulo 2**32.
        """
        beyond = (state.integers < self._least) | (state.integers > self._most)
        if beyond.any():
            index = np.flatnonzero(beyond)[0]
            raise OverflowError(
                f"An integer variable does not fit into JAX's {self._types[index]}. Received: {state.integers[index]}. "
                f"Expected: {self._least[index]} to {self._most[index]}."
            )
        return state.values, np.concatenate([state.integers, seeds.reshape(-1), [first, stop]]).astype("uint32")

    def _widened(self, integers: np.ndarray) -> np.ndarray:
        """The state's integers of what a program gave back modulo 2**32."""
        wide = integers.view("int32").astype("int64")
        wide[self._unsigned] %= 2**32
        return wide

    # --- traced ---

    def _train_round(self, values: Any, integers: Any, batches: Any, fixed: list[Any]) -> Any:
        state, read = self._unpacked(values, integers)
        return self._packed(self._looped("train_step", integers, state, batches, read, fixed), read)

    def _evaluate_round(self, values: Any, integers: Any, batches: Any, fixed: list[Any]) -> Any:
        (trainable, others, _, metrics), read = self._unpacked(values, integers)
        return _flat(self._looped("test_step", integers, (trainable, others, metrics), batches, read, fixed)[-1])

    def _looped(self, method: str, integers: Any, state: Any, batches: Any, read: list[Any], fixed: list[Any]) -> Any:
        """The state after the minibatches that a program's integers name."""
        step = self._stepped_by(method)
        first, stop = integers[-2:].astype("int32")
        return jax.lax.fori_loop(first, stop, lambda index, state: step(state, batches, index, read, fixed), state)

    def _unpacked(self, values: Any, integers: Any) -> tuple[tuple[list[Any], ...], list[Any]]:
        """(trainable, non-trainable, optimizer, metrics): the state of JAX's trainer, whose metrics start at zero; and
        what its step only reads.
        """
        parts = [
            (integers if entry.integer else values)[entry.start : entry.stop].reshape(entry.shape)
            for entry in self.layout.entries
        ]
        seeds = integers[self.layout.sizes[1] : -2].reshape(-1, 2)

        def value(variable: keras.Variable) -> Any:
            if id(variable) in self._seed:
                return seeds[self._seed[id(variable)]].astype(dtype_of(variable.dtype))
            return parts[self._place[id(variable)]].astype(dtype_of(variable.dtype))

        *groups, read = ([value(variable) for variable in group] for group in [*self._groups, self._read])
        return (*groups, [jnp.zeros(v.shape, dtype_of(v.dtype)) for v in self.model.metrics_variables]), read

    def _packed(self, state: Sequence[list[Any]], read: list[Any]) -> tuple[Any, Any, list[Any]]:
        groups = zip([*self._groups, self._read], [*state[:3], read])
        after = {id(v): value for group, values in groups for v, value in zip(group, values)}
        parts = [after[id(variable)] for variable in variables(self.model)]
        entries = self.layout.entries
        values = [part.astype(dtype_of(self.layout.dtype)) for part, entry in zip(parts, entries) if not entry.integer]
        integers = [part.astype("uint32") for part, entry in zip(parts, entries) if entry.integer]
        return _concatenated(values), _concatenated(integers, "uint32"), _flat(state[-1])

    def _stepped_by(self, method: str) -> Any:
        """State, stack, index of a minibatch in it, what is only read, and frozen weights → state, by the model's own
        `train_step` or `test_step`.
        """

        def step(state: Any, batches: Any, index: Any, read: list[Any], fixed: list[Any]) -> Any:
            data = jax.tree.map(lambda stacked: stacked[index], batches)
            known = zip(itertools.chain(*self._groups[:2]), itertools.chain(*state[:2]))
            trainable, changing, *rest = state
            whole = list(changing)
            for (place, _), value in zip(self._frozen, fixed):
                whole.insert(place, value)
            with following_weights(self.model, known), _holding(self._read, read):
                _, after = getattr(self.model, method)((trainable, whole, *rest), data)
            places = {place for place, _ in self._frozen}
            left = [value for place, value in enumerate(after[1]) if place not in places]
            after = after[0], left, *after[2:]
            # A loop insists on the same types before and after, which an overridden train_step need not keep.
            leaves, structure = jax.tree.flatten(state)
            cast = [new.astype(old.dtype) for old, new in zip(leaves, jax.tree.leaves(after))]
            return jax.tree.unflatten(structure, cast)

        return step


@contextlib.contextmanager
def _holding(variables: Sequence[Any], values: Sequence[Any]) -> Iterator[None]:
    """Lets variables have traced values, for a step whose own scopes do not know them.

    Raises:
        Untracked: where the step itself assigns one of them.
    """
    kept = [variable._value for variable in variables]
    for variable, value in zip(variables, values):
        variable._value = value
    try:
        yield
        for variable, value in zip(variables, values):
            if variable._value is not value:
                raise Untracked(
                    f"{variable.path!r}, which a step assigns outside of the state that it is given and returns"
                )
    finally:
        for variable, value in zip(variables, kept):
            variable._value = value


def _concatenated(parts: list[Any], dtype: Any = None) -> Any:
    return jnp.concatenate([part.reshape(-1) for part in parts]) if parts else jnp.zeros(0, dtype)


def _flat(parts: list[Any]) -> list[Any]:
    """One vector for each run of parts of one type: a float32 could not hold large integers."""
    return [_concatenated(list(run)) for _, run in itertools.groupby(parts, lambda part: part.dtype)]


def _metric_vector(parts: list[Any]) -> np.ndarray:
    return np.concatenate([np.zeros(0), *(np.asarray(part, "float64").reshape(-1) for part in parts)])
