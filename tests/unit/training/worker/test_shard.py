"""A worker's rows: order, minibatches and counts, without Spark."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from spark_keras.columns.tensor_column import TensorColumn
from spark_keras.executor.invalid_data import InvalidData
from spark_keras.training.settings import Schedule
from spark_keras.training.worker.order import EpochOrder
from spark_keras.training.worker.shard import MemoryRows, ShardColumns, epoch_order, load
from spark_keras.training.worker.stacks import stack_count, stacks


def spec(validation=False, skip=False):
    return ShardColumns(
        features=(TensorColumn("x", "featuresCol", ("x",), (2,)),),
        labels=(TensorColumn("y", "labelCol", ("y",), (), depth=0),),
        weight=None,
        feature_structure=0,
        label_structure=0,
        validation=validation,
        skip_invalid=skip,
    )


def batch(values, hashes, **more):
    x = pa.array([[v, v] if v is not None else None for v in values], pa.list_(pa.float32()))
    y = pa.array([0.0] * len(values), pa.float32())
    return pa.RecordBatch.from_pydict({"x0": x, "y0": y, "h": pa.array(hashes, pa.int64()), **more})


def test_a_shard_does_not_depend_on_the_order_of_arrival():
    one = load([batch([1, 2, 3], [30, 10, 20]), batch([4], [5])], spec())
    other = load([batch([4, 3], [5, 20]), batch([2, 1], [10, 30])], spec())
    assert one.training.arrays["x0"][:, 0].tolist() == [4, 2, 3, 1]
    np.testing.assert_array_equal(one.training.arrays["x0"], other.training.arrays["x0"])


def test_an_empty_partition_is_a_shard_without_rows():
    shard = load([], spec(validation=True))
    assert shard.training.count == shard.validation.count == 0
    assert shard.training.arrays["x0"].shape == (0, 2)


def test_validation_rows_are_held_out():
    shard = load([batch([1, 2, 3], [1, 2, 3], v=pa.array([False, True, False]))], spec(validation=True))
    assert shard.training.arrays["x0"][:, 0].tolist() == [1, 3]
    assert shard.validation.arrays["x0"][:, 0].tolist() == [2]


def test_null_rows_are_refused_or_counted():
    rows = [batch([1, None, float("nan")], [1, 2, 3])]
    with pytest.raises(InvalidData, match=r"column 'x' \(featuresCol\).*2 such rows"):
        load(rows, spec())
    shard = load(rows, spec(skip=True))
    assert shard.training.count == 1 and shard.skipped == {"column 'x' (featuresCol)": 2}


def rows_in(order, count):
    return [int(row) for window, index in order.parts(0, count) for row in order.rows(window, index)]


@pytest.mark.parametrize("rows", [0, 1, 6, 7, 8, 50])
@pytest.mark.parametrize("size", [1, 3, 7])
@pytest.mark.parametrize("frequency", [1, 2, 5, None])
def test_rounds_and_stacks_deal_every_row_exactly_once(rows, size, frequency):
    shards = [MemoryRows({"x": np.arange(count)}) for count in (rows, rows // 2, 11)]
    schedule = Schedule(1, tuple(shard.count for shard in shards), False, size, frequency, "average")
    for shard in shards:
        order = epoch_order(shard, seed=5, shard=0, epoch=0, shuffle=True)
        seen = []
        for start, stop in schedule.rounds():
            count = stack_count(shard, frequency or 2**31, size)
            for stack in stacks(shard, order, start, stop, size, count):
                trained = stack.batches["x"][: stack.steps].ravel()
                assert len(trained) == stack.rows
                seen += trained.tolist()
        assert seen == rows_in(order, shard.count)


def test_orders_depend_on_seed_shard_and_epoch_alone():
    def order(**changed):
        arguments = {"rows": 100, "row_bytes": 4, "seed": 1, "shard": 2, "epoch": 3, "shuffle": True, **changed}
        return rows_in(EpochOrder(**arguments), 100)

    assert order() == order() == np.random.default_rng([1, 2, 3]).permutation(100).tolist()
    assert sorted(order()) == list(range(100))
    assert len({tuple(order(**changed)) for changed in ({}, {"seed": 9}, {"shard": 9}, {"epoch": 9})}) == 4
    assert order(shuffle=False) == list(range(100))
    assert order(seed=-1) != order(seed=1)


@pytest.mark.parametrize("rows", [1, 29, 30, 31, 59, 60, 61, 64, 1000])
def test_a_shard_of_several_windows_is_mixed_window_by_window(rows, monkeypatch):
    monkeypatch.setattr("spark_keras.training.worker.order.BLOCK_BYTES", 43)  # blocks of 10 rows
    monkeypatch.setattr("spark_keras.training.worker.order.WINDOW_BYTES", 125)  # of which 3 make a window
    orders = [EpochOrder(rows, 4, seed=1, shard=2, epoch=epoch, shuffle=True) for epoch in range(3)]
    for order in orders:
        seen = rows_in(order, rows)
        assert sorted(seen) == list(range(rows))
        windows = [len(index) for _, index in order.parts(0, rows)]
        assert len(windows) == -(-rows // 30)
        start = 0
        for length in windows:
            window = seen[start : start + length]
            assert len({row // 10 for row in window}) == -(-length // 10), "a window is made of whole blocks"
            start += length
        # From any row on, as a worker needs it that takes over in mid-epoch.
        for start in {0, 1, rows // 2, rows - 1}:
            part = [int(row) for window, index in order.parts(start, rows) for row in order.rows(window, index)]
            assert part == seen[start:]
    if rows > 2:
        assert len({tuple(rows_in(order, rows)) for order in orders}) == 3
    unshuffled = EpochOrder(rows, 4, seed=1, shard=2, epoch=0, shuffle=False)
    assert rows_in(unshuffled, rows) == list(range(rows))


def test_windows_do_not_repeat_each_other(monkeypatch):
    monkeypatch.setattr("spark_keras.training.worker.order.BLOCK_BYTES", 400)
    monkeypatch.setattr("spark_keras.training.worker.order.WINDOW_BYTES", 400)
    order = EpochOrder(400, 4, seed=0, shard=0, epoch=0, shuffle=True)
    drawn = {tuple(index.tolist()) for _, index in order.parts(0, 400)}
    assert order.windows == len(drawn) == 4
