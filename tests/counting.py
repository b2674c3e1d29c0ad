"""Models whose weights count the rows that they were trained on."""

from __future__ import annotations

import keras
import numpy as np


class Sum(keras.losses.Loss):
    """Its gradient by a row's weights is minus the row."""

    def __init__(self):
        super().__init__(reduction="sum")

    def call(self, y_true, y_pred):
        return -y_pred[..., 0]


def counting(rows):
    """A model with a weight for each of so many rows, each of which is a unit vector: a step of SGD(1) adds 1 there."""
    model = keras.Sequential([keras.Input((rows,)), keras.layers.Dense(1, use_bias=False, kernel_initializer="zeros")])
    model.compile(keras.optimizers.SGD(1.0), Sum())
    return model, (np.eye(rows, dtype="float32"), np.zeros((rows, 1), "float32"))


def expected_counts(counts, size, frequency):
    """What each row has added: the share of its worker in the rows of the same minibatches of the epoch."""
    of_row = [(worker, row // size // frequency) for worker, count in enumerate(counts) for row in range(count)]
    trained = {each: of_row.count(each) for each in of_row}
    whole = {round_: sum(n for (_, other), n in trained.items() if other == round_) for _, round_ in trained}
    return [trained[each] / whole[each[1]] for each in of_row]


@keras.saving.register_keras_serializable("spark_keras_tests")
class SumOfOutputs(keras.losses.Loss):
    def __init__(self, name="sum_of_outputs", reduction="sum"):
        super().__init__(name=name, reduction="sum")

    def call(self, y_true, y_pred):
        return y_pred


def counting_model():
    """Its loss is linear in its only weight, so that with SGD the weight counts the rows: w = -sum(x)."""
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False, kernel_initializer="zeros")])
    model.compile(keras.optimizers.SGD(1.0), SumOfOutputs())
    return model
