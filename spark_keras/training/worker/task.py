"""Work of an executor: a long-lived Spark task that holds a shard and a replica of the model.

Free of Keras at import time; see `spark_keras.executor`.
"""

from __future__ import annotations

import contextlib
import logging
import os
import platform
import traceback
from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from spark_keras.executor import process as executor
from spark_keras.executor.invalid_data import InvalidData
from spark_keras.telemetry.phases import Phases
from spark_keras.training.wire import connections, protocol
from spark_keras.training.wire.others import Others
from spark_keras.training.worker import shard as shards
from spark_keras.training.worker.closure import WorkerTask, max_memory
from spark_keras.training.worker.replica import of_process
from spark_keras.training.worker.serving import Heartbeat, serve
from spark_keras.training.worker.shard_worker import ShardWorker

logger = logging.getLogger(__name__)


RESULT_SCHEMA = "shard int, rounds long"


# Characters of an error that travel; JSON may write a character as seven.
TEXT = 40_000

# What Spark, the network, a disk or a crowded machine may do to a worker, and not to the next one.
TRANSIENT = (OSError, EOFError, MemoryError)


def run(task: WorkerTask, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """The body of the task: load the shard, join, answer the driver until it says stop."""
    from pyspark import TaskContext

    spark_task: Any = TaskContext.get()
    shard_index = spark_task.partitionId()
    identity: dict[str, Any] = {
        "shard": shard_index,
        "attempt": spark_task.taskAttemptId(),
        "submission": task.submission,
    }
    warning = executor.prepare(task.settings)
    phases = Phases(())
    # Rows load while TensorFlow imports, which takes some ten seconds in a new process.
    importing = executor.KerasImport()
    connection = shard = others = None
    greeting = connections.connect(task.endpoint, 0)
    try:
        host = protocol.sendable(platform.node())
        greeting.send(protocol.Start(**identity, host=host, pid=os.getpid()))
        signs = Heartbeat(greeting, protocol.Loading())
        shard = shards.load(signs.among(batches), task.columns, max_memory(task))
        phases.lap("load")
        importing.join()
        phases.lap("awaitImport")
        replica = of_process(
            *(task.architecture, task.settings, task.safe_mode, task.trained_columns, task.rate_scaling),
            task.frozen_features,
        )
        # A large state's pieces are shared, one at a time.
        whole = replica.message_bytes <= task.shared_bytes
        connection = connections.connect(task.endpoint, replica.message_bytes if whole else 8 * task.piece)
        if task.among_workers is not None:
            others = Others(task.endpoint, range(*task.among_workers.ports))
        phases.lap("build")
        join = protocol.Join(
            **identity,
            rows=shard.training.count,
            validation_rows=shard.validation.count,
            skipped=shard.skipped,
            storage=shard.storage,
            bytes=shard.bytes,
            digest=shard.digest,
            seconds={**phases.seconds, "import": importing.seconds},
            warning=warning,
            memory=connection.memory_name,
            address=others.address if others is not None else "",
        )
        connection.send(join)
        logger.info("Worker %d: %d rows in %s", shard_index, shard.training.count, shard.storage)
        with contextlib.closing(ShardWorker(task, shard_index, shard, replica)) as worker:
            rounds = serve(connection, worker, task, others)
        yield pa.RecordBatch.from_pydict(
            {"shard": pa.array([shard_index], pa.int32()), "rounds": pa.array([rounds], pa.int64())}
        )
    except BaseException as error:
        if not isinstance(error, GeneratorExit):
            # The driver gets the traceback.
            logger.error("Worker %d: %s: %s", shard_index, type(error).__name__, error)  # noqa: TRY400
            # Without a connection, there is nobody to tell.
            with contextlib.suppress(OSError):
                (connection or greeting).send(protocol.Error(**identity, **_described(error)))
        raise
    finally:
        if shard is not None:
            shard.close()
        if others is not None:
            others.close()
        if connection is not None:
            connection.close()
        greeting.close()


def _described(error: BaseException) -> dict[str, Any]:
    return {
        "invalid_data": isinstance(error, InvalidData),
        "transient": isinstance(error, TRANSIENT),
        "message": protocol.sendable(str(error)[:TEXT]),
        "traceback": protocol.sendable(traceback.format_exc()[-TEXT:]),
    }
