"""The rule for the way of training. A new way is a file beside this one, and a line here."""

from __future__ import annotations

import keras

from spark_keras.keras_model import state as states
from spark_keras.training.rules.change import trained_size
from spark_keras.training.rules.outer_step import OuterStep
from spark_keras.training.settings import Schedule
from spark_keras.training.strategies.among_workers import AveragingAmongWorkers
from spark_keras.training.strategies.asynchronous import Asynchronous
from spark_keras.training.strategies.averaging import Averaging
from spark_keras.training.strategies.base import Strategy
from spark_keras.training.strategies.compressed import Compressed
from spark_keras.training.strategies.outer import OuterOptimizer
from spark_keras.training.strategies.overlapped import Overlapped


def strategy_of(
    model: keras.Model,
    schedule: Schedule,
    outer: keras.optimizers.Optimizer | None,
    among_workers: bool = False,
) -> Strategy:
    """The strategy of a fit.

    Args:
        model: the driver's, built.
        outer: the outer optimizer; None for plain averaging.
        among_workers: whether the workers average among themselves; else the driver does.
    """
    layout = states.layout_of(model)
    trained = layout.entries[: len(model.trainable_weights)]
    size = trained_size(layout, len(trained))
    if schedule.mode == "asynchronous":
        return Asynchronous(layout, schedule, size)
    if schedule.compression is not None:
        return Compressed(layout, schedule, size)
    if schedule.overlap:
        return Overlapped(layout, schedule, size)
    step = None if outer is None else OuterStep(outer, trained, layout.dtype)
    if among_workers:
        return AveragingAmongWorkers(layout, schedule, step)
    strategy = Averaging(layout, schedule, size)
    return strategy if step is None else OuterOptimizer(strategy, step)
