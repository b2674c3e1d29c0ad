"""A round of training: state in, minibatches, state out."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from spark_keras.keras_model.state import State


class Choice(NamedTuple):
    """A kernel's name, and why it was chosen."""

    kernel: str
    reason: str


class Result(NamedTuple):
    """The result of a round: the new state and the metric states of this round alone."""

    state: State
    metrics: np.ndarray
