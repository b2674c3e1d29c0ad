"""The plan of a fit: FLOPs against closed forms, decisions and their reasons."""

from __future__ import annotations

import re

import keras
import numpy as np
import pytest

from spark_keras.backend import kernels
from spark_keras.keras_model import cost as costs
from spark_keras.training import plan
from spark_keras.training.settings import shared_rows

layers = keras.layers


def built(*stack, shape):
    model = keras.Sequential([keras.Input(shape), *stack])
    model.compile("sgd", "mse")
    return model


@pytest.mark.parametrize(
    "stack, shape, multiplications",
    [
        pytest.param([layers.Dense(7)], (5,), 5 * 7, id="Dense"),
        pytest.param([layers.Dense(7)], (3, 5), 3 * 5 * 7, id="Dense at three positions"),
        # 28 - 5 + 1 = 24 positions a side, each of 5 x 5 x 3 inputs for each of 20 filters.
        pytest.param([layers.Conv2D(20, 5)], (28, 28, 3), 24 * 24 * 5 * 5 * 3 * 20, id="Conv2D"),
        pytest.param([layers.Conv2D(4, 3, 2, padding="same")], (9, 9, 1), 5 * 5 * 9 * 4, id="Conv2D with strides"),
        pytest.param([layers.Conv1D(6, 3, groups=2)], (10, 4), 8 * 3 * 2 * 6, id="Conv1D in groups"),
        pytest.param([layers.DepthwiseConv2D(3)], (8, 8, 5), 6 * 6 * 9 * 5, id="DepthwiseConv2D"),
        pytest.param([layers.SeparableConv1D(6, 3)], (8, 5), 6 * (3 * 5 + 5 * 6), id="SeparableConv1D"),
        # Each input touches 3 x 3 outputs of each filter.
        pytest.param([layers.Conv2DTranspose(2, 3)], (4, 4, 5), 4 * 4 * 5 * 9 * 2, id="Conv2DTranspose"),
        # Four gates, each from the input and from the last output.
        pytest.param([layers.LSTM(8)], (12, 5), 12 * 4 * (5 + 8) * 8, id="LSTM"),
        pytest.param([layers.GRU(8)], (12, 5), 12 * 3 * (5 + 8) * 8, id="GRU"),
        pytest.param([layers.Bidirectional(layers.LSTM(8))], (12, 5), 2 * 12 * 4 * 13 * 8, id="Bidirectional"),
        pytest.param([layers.TimeDistributed(layers.Dense(7))], (6, 5), 6 * 5 * 7, id="TimeDistributed"),
        pytest.param([layers.Embedding(100, 8), layers.Flatten()], (4,), 0, id="Embedding"),
        # Scale, offset and two statistics for each of five numbers.
        pytest.param([layers.BatchNormalization()], (5,), 4 * 5, id="any other by its weights"),
        pytest.param([built(layers.Dense(7), shape=(5,)), layers.Dense(2)], (5,), 5 * 7 + 7 * 2, id="model in a model"),
    ],
)
def test_flops_are_two_for_each_multiplication_three_times_over(stack, shape, multiplications):
    assert costs.model_cost(built(*stack, shape=shape)).flops_per_row == 3 * 2 * multiplications


def test_layers_of_a_subclassed_model_have_their_shapes():
    class Convolving(keras.Model):
        def __init__(self):
            super().__init__()
            self.convolution, self.flatten, self.last = layers.Conv2D(4, 3), layers.Flatten(), layers.Dense(2)

        def call(self, inputs):
            return self.last(self.flatten(self.convolution(inputs)))

    model = Convolving()
    model.compile("sgd", "mse")
    model(np.zeros((1, 10, 10, 1), "float32"))
    assert costs.model_cost(model).flops_per_row == 6 * (8 * 8 * 9 * 4 + 256 * 2)


def test_state_is_what_travels():
    model = built(layers.Dense(7), shape=(5,))
    model.compile("adam", "mse")
    model.optimizer.build(model.trainable_variables)
    cost = costs.model_cost(model)
    assert cost.parameters == 5 * 7 + 7
    # Weights and two moments, the learning rate; and the step counter.
    assert cost.state_bytes == 4 * (3 * 42 + 1) + 8


def made(rows, frequency=10, workers=2, kernel="graph", mode="synchronous", **more):
    values = {"numWorkers": workers, "threads": 1, "averagingFrequency": frequency, "batchSize": 32, "kernel": kernel}
    values |= {"learningRateFactor": 1.0, "mode": mode, "averaging": "driver"}
    values |= {"combine": "mean", "compression": "none", "overlap": False} | more
    decisions = {name: plan.Decision(value, "a test") for name, value in values.items()}
    decisions["shardStorage"] = plan.storage(rows, 100, 2**20, "a test")
    return plan.make(decisions, costs.ModelCost((), 1000, 4000), 100, rows, 4096)


def test_rounds_of_an_epoch_are_those_of_the_largest_shard():
    # 1000 rows on the larger worker: 31 full minibatches and a short one, three rounds of ten and one of two.
    planned = made(plan.Rows(1900, 1000, 1000, True))
    assert (planned.minibatches, planned.rounds) == (32, 4)


@pytest.mark.parametrize("rows, rounds", [(1000, 1), (0, 0)])
def test_averaging_once_an_epoch_is_one_round(rows, rounds):
    assert made(plan.Rows(rows, rows, rows, True), frequency="epoch").rounds == rounds


def test_unknown_rows_leave_open_what_depends_on_them():
    planned = made(None)
    assert planned.rows is planned.minibatches is planned.rounds is None
    assert "unknown rows" in str(planned)


@pytest.mark.parametrize("mode, then", [("synchronous", "averaging"), ("asynchronous", "its update, without waiting")])
def test_the_plan_tells_what_becomes_of_what_a_worker_has_trained(mode, then):
    told = str(made(plan.Rows(1900, 1000, 1000, True), mode=mode))
    assert f"10 minibatches on each of 2 workers of 1 thread, then {then}" in told
    assert re.search(rf"mode +{mode} +a test", told)


def test_the_plan_tells_how_changes_are_combined_and_sent():
    rows = plan.Rows(1900, 1000, 1000, True)
    assert "Traffic: 4 KiB to each worker and back\n" in str(made(rows))
    told = str(made(rows, combine="sum", compression="threshold"))
    assert "of 1 thread, then the sum of their changes on the driver" in told
    assert "to each worker and back, changes as threshold\n" in told
    assert re.search(r"compression +threshold +a test", told)
    assert "then averaging on the driver, while the next are trained\n" in str(made(rows, overlap=True))


def test_every_kernel_gives_way_to_known_ones():
    others = {other for name, each in kernels.KERNELS.items() for other in (each.simpler, kernels.for_few_steps(name))}
    assert others - {None} <= set(kernels.KERNELS) == {"xla", "graph", "steps", "scan", "jit"}


def test_shards_above_the_limit_go_to_a_file():
    rows = plan.Rows(1900, 1000, 1000, True)
    assert plan.storage(rows, 100, 100_000, "x").value == "memory"
    assert plan.storage(rows, 100, 99_999, "x").value == "file"


# --- rows of a minibatch -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "batch_size, workers, rows",
    [(32, 1, 32), (32, 2, 16), (32, 4, 8), (32, 16, 8), (100, 3, 34), (100, 12, 9), (100, 50, 8), (5, 1, 5), (5, 3, 5)],
)
def test_workers_share_a_minibatch_down_to_eight_rows_each(batch_size, workers, rows):
    assert shared_rows(batch_size, workers) == rows
    assert shared_rows(batch_size, workers, batch_statistics=True) == max(rows, min(16, batch_size))


def test_shared_minibatches_are_as_large_as_one_and_none_is_larger_than_without_sharing():
    for batch_size in range(1, 200):
        for workers in range(1, 40):
            rows = shared_rows(batch_size, workers)
            assert min(batch_size, 8) <= rows <= batch_size
            assert rows * workers >= batch_size
            assert rows <= 8 or (rows - 1) * workers < batch_size
