"""One worker in this process, for the training loop: what travels to it and what it gives back, without Spark."""

from __future__ import annotations

import contextlib

import cloudpickle
import keras
import numpy as np

from spark_keras.backend import choose, make
from spark_keras.keras_model import architecture as architectures
from spark_keras.keras_model import own_code
from spark_keras.keras_model import state as states
from spark_keras.training.workers.base import Update


class InProcess:
    """Trains rows in their order, as a single worker with shuffle=False does.

    Args:
        model: the driver's, whose architecture travels.
        data: (x, y) or (x, y, sample_weight), nested as the model takes them.
        jit: as Param `jitCompile`.
    """

    def __init__(self, model, data, batch_size, epochs, jit="auto"):
        self._data, self._batch_size = data, batch_size
        self.rows = len(keras.tree.flatten(data)[0])
        sample = keras.tree.map_structure(lambda array: array[:3], data)
        architecture = architectures.architecture(model)
        objects = {name: cloudpickle.loads(code) for name, code in own_code.pickled(model, architecture)}
        self._replica = architectures.replica(architecture, objects, False, sample)
        layout = states.layout_of(self._replica)
        assert layout.sizes == states.layout_of(model).sizes
        self.kernel = choose.choose(model, epochs * -(-self.rows // batch_size), batch_size, jit).kernel
        self._kernel = make.make(self.kernel, self._replica, layout)
        self._seeds = np.zeros((len(states.seed_variables(self._replica)), 2), "int32")

    def train(self, epoch, start, stop, state_for):
        state, metrics = state_for(0), None
        full = self.rows // self._batch_size
        for first, last in ((start, min(stop, full)), (max(start, full), stop)):
            if first < last:
                stacked = self._stacked(first, last)
                state, told = self._kernel.train(state, self._seeds, stacked, 0, last - first)
                metrics = told if metrics is None else metrics + told
        rows = min(stop * self._batch_size, self.rows) - start * self._batch_size
        yield Update(0, state, metrics, rows, self._kernel.name, 0.0)

    def _stacked(self, first, last):
        rows = slice(first * self._batch_size, min(last * self._batch_size, self.rows))
        return keras.tree.map_structure(
            lambda array: np.ascontiguousarray(array[rows].reshape(last - first, -1, *array.shape[1:])), self._data
        )

    def evaluate(self, state):
        raise NotImplementedError

    def yielding_slots(self):
        return contextlib.nullcontext()
