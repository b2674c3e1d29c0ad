"""Workers without Spark: they speak the protocol over real connections, and do as a test says.

The driver's side is the real one. What it asks of Spark (a job, the end of a task) is noted instead.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import time
from types import SimpleNamespace

import numpy as np

from spark_keras.cluster import addresses, jobs
from spark_keras.executor.process import ProcessSettings
from spark_keras.keras_model.state import State
from spark_keras.training.requests import Train
from spark_keras.training.wire import connections, protocol, server
from spark_keras.training.worker.closure import WorkerTask
from spark_keras.training.worker.shard import ShardColumns
from spark_keras.training.workers.attempts import Limits
from spark_keras.training.workers.base import Question
from spark_keras.training.workers.resident import ResidentWorkers

ROWS = 10


def state(value=0.0, size=4):
    return State(np.full(size, value, "float32"), np.array([7], "int64"))


class Actor:
    """A worker of one shard; its methods are what a worker says."""

    def __init__(self, task, shard, attempt, size=1000, greet=True):
        self.shard, self.identity = shard, {"shard": shard, "attempt": attempt, "submission": task.submission}
        self.greeting, self.line = connections.connect(task.endpoint, 0), connections.connect(task.endpoint, size)
        self._lines = [self.greeting, self.line]
        if greet:
            self.greeting.send(protocol.Start(**self.identity, host="here", pid=1))

    def join(self, digest="the rows", **changed):
        said = {"rows": ROWS, "validation_rows": ROWS, "skipped": {}, "storage": "memory", "bytes": 8, "digest": digest}
        said |= {"seconds": {}, "warning": None, "memory": self.line.memory_name}
        self.line.send(protocol.Join(**{**self.identity, **said, **changed}))
        return self

    def fail(self, transient=True):
        text = {"message": "no space", "traceback": "Traceback: no space", "invalid_data": False}
        self.line.send(protocol.Error(**self.identity, transient=transient, **text))

    def request(self):
        while True:
            assert self.line.wait(5000), "the driver asks nothing"
            message, arrays = self.line.receive()
            if not isinstance(message, protocol.Ping):
                return message, arrays

    def answer(self, rows=1, **changed):
        """Trains as simply as can be: adds the number of rows to each number."""
        message, arrays = self.request()
        assert isinstance(message.request, Train), message
        values, integers = (np.array(array) for array in arrays)
        self.done(message.ticket, [values + rows, integers + 1, np.array([1.0])], rows=rows, **changed)

    def done(self, ticket, arrays, rows=1, **changed):
        self.line.send(protocol.Done(ticket=ticket, rows=rows, seconds=0.0, **changed), arrays)

    def die(self):
        while self._lines:
            self._lines.pop().close()


class Job:
    """What a test makes of Spark's job."""

    def __init__(self, spark, name, description, action):
        self.error, self.running, self.tasks = None, True, (1, 0, 0)

    def activity(self):
        return self.tasks

    def join(self, seconds):
        pass

    def cancel(self):
        self.running = False


class Stage:
    """A fit of some shards, whose workers the test plays."""

    def __init__(self, monkeypatch, shards=2, local=True, **limits):
        self.ended, self.tasks, self.actors = [], [], {}
        self._numbers = itertools.count(100)
        monkeypatch.setattr(addresses, "listening_address", lambda spark: ("127.0.0.1", "127.0.0.1", range(0)))
        monkeypatch.setattr(addresses, "encrypted", lambda spark: True)
        monkeypatch.setattr(jobs, "end_task", lambda spark, number, reason: self.ended.append(number))
        monkeypatch.setattr(jobs, "Job", Job)
        monkeypatch.setattr(server, "Server", functools.partial(server.Server, local=local))
        dataset = SimpleNamespace(sparkSession=None, mapInArrow=self._map)
        columns = ShardColumns((), (), None, None, None, False, False)
        settings = ProcessSettings(1, "none", "float32", ())
        task = WorkerTask(connections.Endpoint(""), settings, "", True, columns, 1, True, 0, 2)
        self.workers = ResidentWorkers(dataset, task, shards, "a fit", Limits(**limits))
        self.supervisor = self.workers.supervisor
        # Seconds of a test are short.
        (
            self.supervisor.LOOK_SECONDS,
            self.supervisor.PROBE_SECONDS,
            self.supervisor.SLOT_SECONDS,
        ) = 0.01, 0.05, 0.2

    def train(self, epoch, start, stop, states):
        """Answers of all workers to a round."""
        request = Train(epoch, start, stop, 10, "graph")
        return self.workers.ask(Question(shard, request, states(shard)) for shard in range(self.supervisor._count))

    def _map(self, run, schema):
        self.tasks.append(run.args[0])
        return SimpleNamespace(collect=lambda: [])

    def actor(self, shard, **arguments):
        """Spark starts a task for a shard."""
        actor = Actor(self.tasks[-1], shard, next(self._numbers), **arguments)
        self.actors.setdefault(shard, []).append(actor)
        return actor

    def wait_for_an_end(self):
        """Until the driver has ended a task."""
        self.wait_until(lambda: self.ended)

    def wait_until(self, condition):
        """Until something has come to be while the driver waits in a thread of its own."""
        deadline = time.monotonic() + 10
        while not condition():
            assert time.monotonic() < deadline, "it does not come to be"
            time.sleep(0.01)

    def until(self, condition):
        """The driver waits, until a condition holds."""
        deadline = self.supervisor.waited + 5
        self.supervisor.wait_for(lambda: condition() or self.supervisor.waited > deadline)
        assert condition()

    @contextlib.contextmanager
    def playing(self):
        """The fit has begun, and each shard has a worker."""
        with contextlib.ExitStack() as stack:
            enter = self.supervisor.wait_for

            def joined(condition):
                for shard in range(self.supervisor._count):
                    self.actor(shard).join()
                self.supervisor.wait_for = enter
                enter(condition)

            self.supervisor.wait_for = joined
            stack.enter_context(self.workers)
            yield self
            for actor in itertools.chain(*self.actors.values()):
                actor.die()
            self.supervisor._job.running = False
