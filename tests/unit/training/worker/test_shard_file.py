"""Shards in files: the same rows in the same order as in memory, bounded memory, and nothing left behind."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path

import numpy as np
import psutil
import pyarrow as pa
import pytest
from open_files import only_linux, open_files

import spark_keras
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
    here = Path(__file__).resolve()
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script), *map(str, (here.parent, here.parents[3], here.parents[4]))],
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


@pytest.mark.parametrize(
    "value, size",
    [(2**20, 2**20), (np.int64(3 << 30), 3 << 30), ("1m", 2**20), ("512MB", 2**29), ("2 g", 2**31), ("1048576b", 2**20)]
    + [("1t", 2**40), ("2048k", 2**21)],
)
def test_limits_in_bytes_and_in_sparks_notation(value, size):
    assert spark_keras.KerasEstimator(maxShardMemory=value).getMaxShardMemory() == size


@pytest.mark.parametrize("value", [0, -1, 2**20 - 1, "1023k", "1", "many", "1.5g", "-1g", "", "1x", "1gg", "1048576"])
def test_limits_that_are_refused(value):
    with pytest.raises(ValueError, match="Invalid value for Param `maxShardMemory`. Received: .*Expected: "):
        spark_keras.KerasEstimator(maxShardMemory=value)


@pytest.mark.parametrize("value", [1.5e9, True, [1]])
def test_limits_of_a_wrong_type(value):
    with pytest.raises(TypeError, match="maxShardMemory"):
        spark_keras.KerasEstimator().setMaxShardMemory(value)


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
