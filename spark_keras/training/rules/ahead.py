"""The correction of a worker that trains ahead of the average."""

from __future__ import annotations

import numpy as np

from spark_keras.keras_model.state import Layout, State


def corrected(trained: State, sent: State, average: State, layout: Layout, size: int) -> State:
    """Corrects what a worker has trained while its last state was averaged by what that has changed.

    S. Shen et al., "Faster Distributed Deep Net Training: Computation and Communication Decoupled Stochastic Gradient
    Descent" (2019), algorithm 1. Because what was sent was corrected itself, no difference is corrected twice.

    Args:
        trained: its state.
        sent: that which it sent, and began with.
        average: of what all have sent; or what callbacks have made of it.
        layout: of the states.
        size: of the trained weights, with which a state begins. Counters are corrected, too, and learning rates are
            those of the average; all else stays its own, because a corrected variance could be negative.
    """
    values = trained.values.copy()
    values[:size] += average.values[:size] - sent.values[:size]
    for _, rate in ((layout.iterations, layout.learning_rate), *layout.further):
        if rate is not None:
            values[rate] = average.values[rate]
    return State(values, trained.integers + (average.integers - sent.integers))


def unchanged(sent: State, average: State, layout: Layout, size: int) -> State:
    """Likewise of a worker that has trained nothing meanwhile."""
    return corrected(State(np.array(sent.values), np.array(sent.integers)), sent, average, layout, size)
