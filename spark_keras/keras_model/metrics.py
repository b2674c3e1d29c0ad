"""The states of a model's metrics as one vector, and what they come to."""

from __future__ import annotations

from collections.abc import Sequence

import keras
import numpy as np

from spark_keras.keras_model.state import assign, to_numpy


def read_metrics(model: keras.Model) -> np.ndarray:
    """The states of all metrics, the loss included, as one float64 vector."""
    return states_of(model.metrics_variables)


def states_of(variables: Sequence[keras.Variable]) -> np.ndarray:
    """The numbers of these variables as one float64 vector."""
    parts = [to_numpy(variable.value).reshape(-1) for variable in variables]
    return np.concatenate(parts).astype("float64") if parts else np.empty(0)


def metric_results(model: keras.Model, states: np.ndarray) -> dict[str, float]:
    """Turns metric states into results: {"loss": …, "accuracy": …}, as `Model.fit` logs them. Until the next ones, the
    model's metrics hold these states, as they do after an epoch of Keras.
    """
    start = 0
    for variable in model.metrics_variables:
        size = int(np.prod(variable.shape, dtype="int64"))
        part = states[start : start + size].reshape(variable.shape)
        assign(variable, part, keras.backend.standardize_dtype(variable.dtype))
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
