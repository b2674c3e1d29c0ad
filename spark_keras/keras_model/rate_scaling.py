"""A larger learning rate where many workers train at once.

P. Goyal et al., "Accurate, Large Minibatch SGD" (2017): the learning rate grows with the rows of a step, gradually at
first. A. Krizhevsky, "One weird trick for parallelizing convolutional neural networks" (2014): with their square root.

Free of Keras at import time; see `spark_keras.executor`.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import keras


class RateScaling(NamedTuple):
    """A factor for the learning rates of a worker's optimizers.

    Args:
        factor: above 0.
        warm_up: steps of the optimizer from 1 to the factor, along a line; 0: the factor from the first step on.
    """

    factor: float = 1.0
    warm_up: int = 0


UNSCALED = RateScaling()


def factor(rule: str, times: float) -> float:
    """The factor for steps of so many times as many rows; the rule is "none", "sqrt" or "linear"."""
    return {"none": 1.0, "sqrt": math.sqrt(times), "linear": float(times)}[rule]


def scale(model: keras.Model, scaling: RateScaling) -> None:
    """Multiplies what the model's optimizers read as their learning rates, numbers and schedules alike.

    The variables keep their values: they are the driver's, where callbacks read and change them.
    """
    from spark_keras.keras_model import held, optimizers

    if scaling.factor == 1:
        return
    found = [model.optimizer, *held.of(model).optimizers.values()]
    for optimizer in {id(part): part for each in found for part in optimizers.parts(each)}.values():
        optimizer._get_current_learning_rate = _scaled(optimizer, optimizer._get_current_learning_rate, scaling)


def _scaled(optimizer: Any, plain: Any, scaling: RateScaling) -> Any:
    from keras import ops

    def learning_rate() -> Any:
        rate = ops.convert_to_tensor(plain())
        if not scaling.warm_up:
            return rate * scaling.factor
        passed = ops.minimum(ops.cast(optimizer.iterations, rate.dtype) / scaling.warm_up, 1.0)
        return rate * (1.0 + (scaling.factor - 1.0) * passed)

    return learning_rate
