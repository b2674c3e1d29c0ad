"""Shards in files: the same rows in the same order as in memory, bounded memory, and nothing left behind."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
from pathlib import Path

import keras
import numpy as np
import psutil
import pyarrow as pa
import pytest
from pyspark.sql import functions as F
from test_workers import KillAWorker, python_workers

from spark_keras import KerasEstimator, KerasRegressor
from spark_keras.columns.tensor_column import TensorColumn
from spark_keras.executor.invalid_data import InvalidData
from spark_keras.executor.memory import _machine_memory, memory_share
from spark_keras.telemetry.summary import KerasTrainingSummary
from spark_keras.training.worker import shard_file
from spark_keras.training.worker.shard import ShardColumns, epoch_order, load
from spark_keras.training.worker.stacks import stack_count, stacks


def spec(validation=True):
    return ShardColumns(
        features=(
            TensorColumn("a", "inputCols", ("a",), (2, 3)),
            TensorColumn("b", "inputCols", ("b",), (), "int64", depth=0),
        ),
        labels=(TensorColumn("y", "labelCol", ("y",), (), "int32", depth=0, classes=3, one_hot=True),),
        weight=TensorColumn("w", "weightCol", ("w",), (), depth=0, non_negative=True),
        feature_structure=0,
        label_structure=0,
        validation=validation,
        skip_invalid=True,
    )


ROW_BYTES = 6 * 4 + 8 + 3 * 4 + 4


def batches(rows, of=7, seed=0, distinct=None, held_out=0.2):
    """Rows in Arrow batches; the hash follows from the content, and only `distinct` rows differ from each other."""
    random = np.random.default_rng(seed)
    content = np.arange(rows) if distinct is None else random.integers(0, distinct, rows)
    hashes = np.random.default_rng(99).integers(-(2**63), 2**63, rows + 1)[content]
    table = pa.table(
        {
            "x0": pa.FixedSizeListArray.from_arrays(
                pa.array(np.repeat(content, 6).astype("f4") + np.tile(np.arange(6, dtype="f4") / 8, rows)), 6
            ).cast(pa.list_(pa.float32())),
            "x1": pa.array(content),
            "y0": pa.array(content % 3),
            "w": pa.array((content % 5).astype("f4")),
            "h": pa.array(hashes),
            "v": pa.array(random.random(rows) < held_out),
        }
    )
    return table.to_batches(max_chunksize=of)


@pytest.fixture
def small_pieces(monkeypatch):
    """Blocks of 4 rows, windows of 3 blocks, and runs of 20 rows for sorting."""
    monkeypatch.setattr("spark_keras.training.worker.order.BLOCK_BYTES", 4 * ROW_BYTES)
    monkeypatch.setattr("spark_keras.training.worker.order.WINDOW_BYTES", 12 * ROW_BYTES)
    monkeypatch.setattr("spark_keras.training.worker.shard_file.RUN_BYTES", 20 * ROW_BYTES)


def dealt(rows, epoch, size, start=0, stop=None, count=2, shuffle=True):
    """What a worker trains in an epoch from minibatch `start` on."""
    order = epoch_order(rows, seed=3, shard=1, epoch=epoch, shuffle=shuffle)
    found = []
    for stack in stacks(rows, order, start, -(-rows.count // size) if stop is None else stop, size, count):
        arrays = {name: array[: stack.steps].tobytes() for name, array in stack.batches.items()}
        shapes = {name: (array.shape, str(array.dtype)) for name, array in stack.batches.items()}
        found.append((arrays, shapes, stack[1:]))
    return found


@pytest.mark.parametrize("rows, distinct", [(1, None), (12, None), (13, None), (100, None), (100, 3), (100, 1)])
@pytest.mark.parametrize("of", [1, 7, 200])
def test_rows_in_a_file_are_dealt_as_those_in_memory(rows, distinct, of, small_pieces):
    memory = load(batches(rows, of, distinct=distinct), spec())
    file = load(batches(rows, of, distinct=distinct), spec(), max_memory=0)
    assert (memory.storage, file.storage) == ("memory", "file")
    assert memory.bytes == file.bytes == rows * ROW_BYTES
    for kept, stored in zip(memory[:2], file[:2]):
        assert (kept.count, kept.row_bytes) == (stored.count, stored.row_bytes)
        for size in (1, 3, 5, 64):
            assert stack_count(kept, 2, size) == stack_count(stored, 2, size)
            for epoch in range(3):
                assert dealt(kept, epoch, size) == dealt(stored, epoch, size)
            assert dealt(kept, 0, size, shuffle=False) == dealt(stored, 0, size, shuffle=False)
    file.close()


def test_a_worker_can_start_at_any_minibatch(small_pieces):
    rows = load(batches(60, held_out=0), spec(), max_memory=0).training
    whole = dealt(rows, 1, 5, count=1)
    for start in (11, 0, 7, 7, 3):
        assert dealt(rows, 1, 5, start, count=1) == whole[start:]
    assert dealt(rows, 1, 5, 4, 6, count=1) == whole[4:6]
    rows.close()


def test_every_row_is_dealt_once_in_an_epoch(small_pieces):
    rows = load(batches(101, held_out=0), spec(), max_memory=0).training
    order = epoch_order(rows, seed=0, shard=0, epoch=5, shuffle=True)
    seen = [s.batches["x1"][: s.steps].ravel() for s in stacks(rows, order, 0, 15, 7, 4)]
    assert sorted(np.concatenate(seen).tolist()) == list(range(101))
    rows.close()


def test_a_shard_goes_to_a_file_when_it_exceeds_the_limit():
    for limit, storage in ((50 * ROW_BYTES, "memory"), (50 * ROW_BYTES - 1, "file")):
        shard = load(batches(50), spec(), limit)
        assert shard.storage == storage
        shard.close()


def test_a_short_read_is_continued(small_pieces, monkeypatch):
    memory, file = load(batches(60), spec()), load(batches(60), spec(), max_memory=0)
    preadv = os.preadv
    monkeypatch.setattr("os.preadv", lambda fd, views, offset: preadv(fd, [views[0][:5]], offset))
    assert dealt(memory.training, 0, 8) == dealt(file.training, 0, 8)
    file.close()


# --- nothing stays behind ------------------------------------------------------------------------------------------


def open_files(pid, directory):
    """The files in a directory that a process holds, also those without a name."""
    held = []
    for link in Path(f"/proc/{pid}/fd").iterdir():
        try:
            target = os.readlink(link)
        except OSError:
            continue
        if target.startswith(f"{directory}/") and not target.startswith("/dev"):
            held.append(target)
    return held


only_linux = pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="reads /proc")


@only_linux
def test_files_have_no_name_and_close(tmp_path, monkeypatch, small_pieces):
    monkeypatch.setenv("SPARK_LOCAL_DIRS", f"{tmp_path / 'missing'},{tmp_path}")
    shard = load(batches(100), spec(), max_memory=0)
    assert list(tmp_path.iterdir()) == []
    assert len(open_files(os.getpid(), tmp_path)) == 2, "training and validation rows; what they were sorted in is gone"
    shard.close()
    assert open_files(os.getpid(), tmp_path) == []


@only_linux
def test_a_load_that_fails_closes_its_files(tmp_path, monkeypatch, small_pieces):
    monkeypatch.setenv("SPARK_LOCAL_DIRS", str(tmp_path))
    negative = pa.Table.from_batches(batches(20))
    negative = negative.set_column(3, "w", pa.array([-1.0] * 20, pa.float32())).to_batches()
    with pytest.raises(InvalidData, match="Negative weight"):
        load([*batches(100), *negative], spec(), max_memory=0)
    assert open_files(os.getpid(), tmp_path) == []


def test_a_full_disk_is_explained(tmp_path, monkeypatch, small_pieces):
    def full(*arguments):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setenv("SPARK_LOCAL_DIRS", str(tmp_path))
    monkeypatch.setattr("spark_keras.training.worker.shard_file._Writer.append", full)
    with pytest.raises(OSError, match="maxShardMemory.*twice the shard.*spark.local.dir"):
        load(batches(100), spec(), max_memory=0)


def test_without_a_usable_directory_of_spark_it_is_the_systems(tmp_path, monkeypatch):
    monkeypatch.setenv("SPARK_LOCAL_DIRS", str(tmp_path / "gone"))
    assert shard_file.local_directory() == tempfile.gettempdir()


@only_linux
@pytest.mark.slow
def test_a_killed_process_leaves_nothing(tmp_path):
    script = """
        import sys, time
        sys.path[:0] = sys.argv[1:]
        from test_shard_file import batches, load, spec
        shard = load(batches(1000), spec(), max_memory=0)
        print("loaded", flush=True)
        time.sleep(60)
    """
    root = Path(__file__).resolve().parent
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script), str(root), str(root.parent)],
        env={**os.environ, "SPARK_LOCAL_DIRS": str(tmp_path)},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout.readline() == "loaded\n"
        assert len(open_files(process.pid, tmp_path)) == 2
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
    assert list(tmp_path.iterdir()) == []


# --- in a fit ------------------------------------------------------------------------------------------------------


def linear():
    keras.utils.set_random_seed(1)
    model = keras.Sequential([keras.Input((100,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.Adam(0.01), "mse")
    return model


@pytest.fixture
def large(spark):
    """Twice 4 MB, so that each of two workers needs a file under a limit of 1 MB."""
    features = F.transform(F.sequence(F.lit(1), F.lit(100)), lambda i: F.sin(F.col("id") * i).cast("float"))
    return spark.range(20_000).select(features.alias("features"), F.cos("id").alias("label"))


@pytest.mark.slow
def test_a_fit_from_files_equals_one_from_memory(large):
    fitted = {}
    for limit in ("8g", "1m"):
        fitted[limit] = KerasRegressor(
            model=linear(), epochs=2, validationSplit=0.2, maxShardMemory=limit, numWorkers=2, verbose=0
        ).fit(large)
    memory, file = fitted["8g"], fitted["1m"]
    assert memory.summary.shardStorage == ["memory", "memory"]
    assert file.summary.shardStorage == ["file", "file"]
    assert memory.summary.history == file.summary.history
    for kept, stored in zip(memory.toKeras().get_weights(), file.toKeras().get_weights()):
        np.testing.assert_array_equal(kept, stored)


@pytest.mark.slow
def test_a_killed_worker_with_a_file_changes_no_bit(large):
    fitted = {}
    for times in (0, 1):
        killer = KillAWorker(times)
        fitted[times] = KerasRegressor(
            model=linear(), epochs=2, maxShardMemory="1m", numWorkers=2, callbacks=[killer], verbose=0
        ).fit(large)
        assert killer.killed == times
        assert fitted[times].summary.shardStorage == ["file", "file"]
    for one, other in zip(*(each.toKeras().get_weights() for each in fitted.values())):
        np.testing.assert_array_equal(one, other)


@only_linux
@pytest.mark.parametrize("error", [None, KeyboardInterrupt, RuntimeError])
def test_a_fit_leaves_no_files_however_it_ends(large, error):
    class Look(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            held.append(len(files_of_workers()))
            if error:
                raise error

    held = []
    estimator = KerasRegressor(model=linear(), maxShardMemory="1m", numWorkers=2, callbacks=[Look()], verbose=0)
    with pytest.raises(error) if error else contextlib.nullcontext():
        estimator.fit(large)
    assert held == [4], "training and validation rows of two workers"
    deadline = time.monotonic() + 20
    while files_of_workers() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert files_of_workers() == []


def files_of_workers():
    """Files without a name that Spark's Python workers hold in a local directory of Spark."""
    held = [path for process in python_workers() for path in open_files(process.pid, "")]
    return [path for path in held if "blockmgr" in path and path.endswith("(deleted)")]


# --- the limit -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value, size",
    [(2**20, 2**20), (np.int64(3 << 30), 3 << 30), ("1m", 2**20), ("512MB", 2**29), ("2 g", 2**31), ("1048576b", 2**20)]
    + [("1t", 2**40), ("2048k", 2**21)],
)
def test_limits_in_bytes_and_in_sparks_notation(value, size):
    assert KerasEstimator(maxShardMemory=value).getMaxShardMemory() == size


@pytest.mark.parametrize("value", [0, -1, 2**20 - 1, "1023k", "1", "many", "1.5g", "-1g", "", "1x", "1gg", "1048576"])
def test_limits_that_are_refused(value):
    with pytest.raises(ValueError, match="Invalid value for Param `maxShardMemory`. Received: .*Expected: "):
        KerasEstimator(maxShardMemory=value)


@pytest.mark.parametrize("value", [1.5e9, True, [1]])
def test_limits_of_a_wrong_type(value):
    with pytest.raises(TypeError, match="maxShardMemory"):
        KerasEstimator().setMaxShardMemory(value)


def test_a_workers_share_of_the_memory(monkeypatch):
    monkeypatch.setattr("spark_keras.executor.memory._machine_memory", lambda: 64 << 30)
    monkeypatch.setattr("os.cpu_count", lambda: 16)
    assert memory_share(tasks=2, threads=1) == 32 << 30
    assert memory_share(tasks=100, threads=1) == 4 << 30
    assert memory_share(tasks=100, threads=4) == 16 << 30
    assert memory_share(tasks=1, threads=64) == 64 << 30
    monkeypatch.setenv("PYSPARK_EXECUTOR_MEMORY_MB", "2048")
    assert memory_share(tasks=2, threads=1) == 2 << 30


def test_the_machine_tells_its_memory():
    assert _machine_memory() <= psutil.virtual_memory().total


def test_summaries_of_older_fits_can_be_read():
    old = KerasTrainingSummary({"loss": [1.0]}, 1, 1, 10, 32, [5], [0], {}, 1, "graph", {"total": 1.0})
    assert old.shardStorage == []
    fields = old.toJSON().replace(', "shardStorage": []', "")
    assert "shardStorage" not in fields
    assert KerasTrainingSummary.fromJSON(fields) == old
