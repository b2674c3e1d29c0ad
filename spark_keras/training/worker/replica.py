"""A worker's replica of the model: kept in the process with what it has compiled, so that a next fit finds it.

Free of Keras at import time; see `spark_keras.executor`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from spark_keras.columns.row_spec import ShardColumns
from spark_keras.executor import process
from spark_keras.executor.cache import RecentlyUsed
from spark_keras.executor.invalid_data import InvalidData
from spark_keras.executor.process import ProcessSettings
from spark_keras.keras_model.rate_scaling import UNSCALED, RateScaling
from spark_keras.training.wire import shared_memory
from spark_keras.training.wire.protocol import sendable
from spark_keras.training.worker.closure import FrozenFeatures
from spark_keras.training.worker.features import FrozenLayers


class Replica:
    """A worker's model and its compiled rounds.

    Attributes:
        layout: of the model's state.
        seeds: how many random number generators the model has.
        message_bytes: of the largest message about it.
        frozen: digest of the frozen weights that it has been given; they stay from fit to fit.
        layers: the frozen layers before what is trained, where a worker keeps their features; else None.
    """

    def __init__(
        self,
        architecture: str,
        settings: ProcessSettings,
        safe_mode: bool,
        columns: ShardColumns,
        rate_scaling: RateScaling = UNSCALED,
        frozen_features: FrozenFeatures | None = None,
    ):
        custom_objects = process.enter_keras(settings)
        from spark_keras.backend import kernels
        from spark_keras.keras_model import architecture as architectures
        from spark_keras.keras_model import rate_scaling as rates
        from spark_keras.keras_model import state

        self.model = architectures.replica(architecture, custom_objects, safe_mode, columns.sample())
        rates.scale(self.model, rate_scaling)
        self.layout = state.layout_of(self.model)
        self.seeds = len(state.seed_variables(self.model))
        self.message_bytes = _message_bytes(self.model, self.layout)
        self.frozen: str | None = None
        self.layers: FrozenLayers | None = None
        if frozen_features is not None:
            self.layers = FrozenLayers(frozen_features, custom_objects, safe_mode)
        self._make = lambda name: kernels.make(name, self.model, self.layout)
        self._simpler = {name: kernel.simpler for name, kernel in kernels.KERNELS.items()}
        self._kernels: dict[str, Any] = {}
        self._called: set[Any] = set()

    def freeze(self, digest: str, values: np.ndarray) -> None:
        """Gives the model its frozen weights."""
        from spark_keras.keras_model import state

        self.frozen = None
        state.write_frozen(self.model, values if self.layers is None else self.layers.freeze(values))
        self.frozen = digest

    def is_new(self, *program: Any) -> bool:
        """Tells whether a program was never called, so that it will be compiled."""
        known = program in self._called
        self._called.add(program)
        return not known

    def call(self, kernel: str, method: str, *arguments: Any) -> tuple[Any, str, str | None]:
        """Runs a kernel; one that cannot be compiled gives way to a simpler one.

        Returns:
            the result, the name of the kernel that ran, and a warning that says why, if it is not the one asked for.
        """
        if kernel not in self._kernels:
            self._kernels[kernel] = self._make(kernel)
        chosen = self._kernels[kernel]
        try:
            return getattr(chosen, method)(*arguments), chosen.name, None
        except (OverflowError, InvalidData):
            raise  # a simpler kernel would compute with the integers that are too large, or change what is not tracked
        except Exception as error:
            simpler = self._simpler[chosen.name]
            if simpler is None:
                raise
            result, name, _ = self.call(simpler, method, *arguments)
            self._kernels[kernel] = self._kernels[name]
            cause = str(error).strip().splitlines()
            warning = (
                f"The round cannot be compiled as {chosen.name!r} and runs as {name!r}: "
                f"{type(error).__name__}: {cause[0] if cause else ''}"
            )
            return result, name, sendable(warning)


_kept = RecentlyUsed(2)


def of_process(
    architecture: str,
    settings: ProcessSettings,
    safe_mode: bool,
    columns: ShardColumns,
    rate_scaling: RateScaling,
    frozen_features: FrozenFeatures | None = None,
) -> Replica:
    """This process's replica for rows of these shapes, built where it is not there."""
    shapes = tuple((name, tensor.tensor_shape, tensor.dtype) for name, tensor in columns.tensors.items())
    before = frozen_features and (frozen_features.architecture, frozen_features.weights, frozen_features.further)
    key = architecture, settings, rate_scaling, shapes, columns.weight_axes, columns.class_weights is not None, before
    return _kept.get(key, lambda: Replica(architecture, settings, safe_mode, columns, rate_scaling, frozen_features))


def _message_bytes(model: Any, layout: Any) -> int:
    """Bytes of the largest message about this model, without its header: a state and its metrics."""
    from spark_keras.keras_model import metrics

    return shared_memory.footprint(
        [np.empty(layout.sizes[0], layout.dtype), np.empty(layout.sizes[1], "int64"), metrics.read_metrics(model)]
    )
