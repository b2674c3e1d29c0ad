"""What the driver does about workers that die, hang, come twice or talk nonsense, without Spark."""

from __future__ import annotations

import logging
import threading
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest
from actors import ROWS, Stage, state

from spark_keras.training.wire import protocol
from spark_keras.training.worker import serving, task
from spark_keras.training.workers.errors import WorkerError

both_ways = pytest.mark.parametrize("local", [True, False], ids=["same machine", "over the network"])


def train(stage, start=0.0, epoch=0):
    """A round in a thread of its own, as the driver's; `result()` is the list of (shard, values, rows)."""
    outcome = {}

    def run():
        try:
            updates = stage.train(epoch, 0, 10, lambda shard: state(start + shard))
            outcome["result"] = [(each.shard, np.array(each.state.values), each.rows) for each in updates]
        except BaseException as error:
            outcome["error"] = error

    thread = threading.Thread(target=run)
    thread.start()

    def result():
        thread.join(10)
        assert not thread.is_alive(), "the round hangs"
        if "error" in outcome:
            raise outcome["error"]
        return outcome["result"]

    return result


def assert_trained(result):
    """Each shard's numbers are those of its own state, plus one."""
    assert [shard for shard, *_ in result] == [0, 1]
    for shard, values, rows in result:
        np.testing.assert_array_equal(values, np.full(4, shard + 1, "float32"))
        assert rows == 1


def test_whoever_watches_is_told_how_many_workers_are_ready(monkeypatch):
    stage, told = Stage(monkeypatch, shards=3), []
    stage.supervisor._starting = lambda *state: told.append(state)
    with stage.playing():
        before = len(told)
        result = train(stage)
        for shard in range(3):
            stage.actors[shard][0].answer()
        assert len(result()) == 3 and len(told) == before
    assert told == sorted(told) and told[-1] == (3, 3, 3 * 2 * ROWS)
    assert all(ready <= started for started, ready, _ in told)


@both_ways
def test_the_answers_come_in_the_order_of_the_shards(monkeypatch, local):
    with Stage(monkeypatch, local=local).playing() as stage:
        result = train(stage)
        stage.actors[1][0].answer()
        stage.actors[0][0].answer()
        assert_trained(result())


@both_ways
def test_a_replacement_repeats_the_round_and_the_dead_workers_answer_is_not_waited_for(monkeypatch, local):
    with Stage(monkeypatch, local=local).playing() as stage:
        result = train(stage)
        stage.actors[1][0].answer()
        stage.actors[0][0].request()
        stage.actors[0][0].die()
        stage.actor(0).join().answer()
        assert_trained(result())
        assert stage.ended == []


def test_a_worker_whose_first_connection_broke_is_ended_so_that_spark_replaces_it(monkeypatch):
    stage = Stage(monkeypatch, local=False)
    with stage.playing():
        result = train(stage)
        stage.actors[1][0].answer()
        stage.actors[0][0].die()
        late = stage.actor(0)
        late._lines.remove(late.greeting)
        late.greeting.close()
        number = late.identity["attempt"]
        stage.wait_until(lambda: number in stage.supervisor.attempts.ended)
        late.join()
        stage.wait_for_an_end()
        assert stage.ended == [number]
        stage.actor(0).join().answer()
        assert_trained(result())


@both_ways
def test_a_silent_worker_is_reported_ended_and_replaced(monkeypatch, local, caplog):
    stage = Stage(monkeypatch, local=local, worker_seconds=2.0)
    stage.supervisor.STALL_SECONDS = 1.0
    with stage.playing(), caplog.at_level(logging.WARNING, "spark_keras"):
        result = train(stage)
        stage.actors[0][0].answer()
        silent = stage.actors[1][0]
        silent.request()
        stage.wait_for_an_end()
        assert stage.ended == [silent.identity["attempt"]]
        stage.actor(1).join().answer()
        assert_trained(result())
    told = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert any("worker 1 (process 1 on here) has been silent since" in each and "epoch 1" in each for each in told)
    assert any("worker 1 (process 1 on here) gave no sign of life" in each for each in told)
    assert not any("worker 0" in each for each in told)


def test_a_worker_with_signs_of_life_is_left_alone(monkeypatch):
    with Stage(monkeypatch, worker_seconds=1.0).playing() as stage:
        result = train(stage)
        stage.actors[0][0].answer()
        message, arrays = stage.actors[1][0].request()
        for _ in range(8):
            threading.Event().wait(0.2)
            stage.actors[1][0].line.send(protocol.Progress(ticket=message.ticket))
        stage.actors[1][0].done(message.ticket, [np.array(arrays[0]) + 1, np.array(arrays[1]), np.ones(1)])
        assert_trained(result())
        assert stage.ended == []


@both_ways
def test_a_duplicate_stands_by_and_takes_over(monkeypatch, local):
    with Stage(monkeypatch, local=local).playing() as stage:
        duplicate = stage.actor(1).join()
        stage.until(lambda: len(stage.supervisor.attempts.of(1)) == 2 and stage.supervisor.attempts.of(1)[1].joined)
        stands_by = stage.supervisor.attempts.of(1)[1]
        result = train(stage)
        stage.actors[0][0].answer()
        stage.actors[1][0].request()
        assert not duplicate.line.wait(200) or isinstance(duplicate.line.receive()[0], protocol.Ping)
        # What a duplicate says on its own counts for nothing. The driver hears it before it learns of the death.
        stands_by.heard = -1.0
        duplicate.done(1, [np.full(4, 9, "float32"), np.array([9]), np.ones(1)])
        stage.wait_until(lambda: stands_by.heard >= 0)
        stage.actors[1][0].die()
        duplicate.answer()
        assert_trained(result())


def test_a_duplicate_gives_its_slot_to_a_shard_without_a_worker(monkeypatch):
    with Stage(monkeypatch).playing() as stage:
        duplicate = stage.actor(0).join()
        result = train(stage)
        stage.actors[1][0].die()
        stage.wait_for_an_end()
        # The older one is of the stage that Spark has left.
        assert stage.ended == [stage.actors[0][0].identity["attempt"]]
        duplicate.answer()
        stage.actor(1).join().answer()
        assert_trained(result())


class Pickle(protocol.Message):
    pass


class WithoutTicket(protocol.Message, tag="done"):
    pass


NONSENSE = {
    "numbers of another model": lambda actor, ticket: actor.done(ticket, [np.ones(5, "float32"), *REST]),
    "other numbers": lambda actor, ticket: actor.done(ticket, [np.ones(4, "float64"), *REST]),
    "more rows than there are": lambda actor, ticket: actor.done(ticket, [np.ones(4, "float32"), *REST], rows=ROWS + 1),
    "negative rows": lambda actor, ticket: actor.done(ticket, [np.ones(4, "float32"), *REST], rows=-1),
    "no state": lambda actor, ticket: actor.done(ticket, []),
    "a held state of another size": lambda actor, ticket: actor.done(ticket, REST, held=3),
    "an unknown type": lambda actor, ticket: actor.line.send(Pickle()),
    "no ticket": lambda actor, ticket: actor.line.send(WithoutTicket()),
}
REST = [np.array([8], "int64"), np.array([1.0])]


@pytest.mark.parametrize("nonsense", NONSENSE)
def test_a_worker_that_answers_nonsense_is_replaced(monkeypatch, nonsense):
    with Stage(monkeypatch).playing() as stage:
        result = train(stage)
        stage.actors[0][0].answer()
        message, _ = stage.actors[1][0].request()
        NONSENSE[nonsense](stage.actors[1][0], message.ticket)
        stage.wait_for_an_end()
        stage.actor(1).join().answer()
        assert_trained(result())


def test_an_answer_to_an_earlier_round_is_ignored(monkeypatch):
    with Stage(monkeypatch, local=False).playing() as stage:
        for _ in range(2):
            result = train(stage)
            actor = stage.actors[1][0]
            message, arrays = actor.request()
            old = message.ticket - 1
            actor.done(old, [np.full(4, 9, "float32"), *REST])
            actor.done(message.ticket, [np.array(arrays[0]) + 1, *REST])
            actor.done(old, [np.full(4, 9, "float32"), *REST])
            stage.actors[0][0].answer()
            assert_trained(result())


def test_after_the_last_failure_the_error_names_worker_round_and_traceback(monkeypatch):
    with Stage(monkeypatch, failures=2).playing() as stage:
        result = train(stage, epoch=4)
        for _ in range(2):
            stage.actors[1][-1].fail()
            stage.actors[1][-1].die()
            stage.actor(1)
        with pytest.raises(WorkerError) as raised:
            result()
    assert "worker 1 failed 2 times in a row" in str(raised.value)
    assert "minibatches 0 to 9 of epoch 5" in str(raised.value)
    assert "Traceback: no space" in str(raised.value)


def test_an_answer_forgives_earlier_failures(monkeypatch):
    with Stage(monkeypatch, failures=2).playing() as stage:
        for epoch in range(4):
            result = train(stage, epoch=epoch)
            stage.actors[1][-1].die()
            stage.actor(1).join().answer()
            stage.actors[0][0].answer()
            assert_trained(result())


def test_an_answer_of_a_round_that_is_repeated_forgives_nothing(monkeypatch):
    with Stage(monkeypatch, failures=2).playing() as stage:
        for epoch in (0, 1, 0):
            result = train(stage, epoch=epoch)
            for shard in (0, 1):
                stage.actors[shard][-1].answer()
            assert_trained(result())
        result = train(stage, epoch=1)
        stage.actors[1][-1].die()
        stage.actor(1).join().answer()
        stage.actors[0][0].answer()
        assert_trained(result())
        result = train(stage, epoch=2)
        stage.actors[1][-1].die()
        stage.actor(1)
        with pytest.raises(WorkerError, match="worker 1 failed 2 times in a row"):
            result()


def test_an_error_of_the_model_is_not_tried_again(monkeypatch):
    with Stage(monkeypatch).playing() as stage:
        result = train(stage)
        stage.actors[0][0].fail(transient=False)
        with pytest.raises(WorkerError, match=r"(?s)worker 0 failed training minibatches .*Traceback: no space"):
            result()


def test_an_error_of_a_worker_that_was_replaced_does_no_harm(monkeypatch):
    with Stage(monkeypatch).playing() as stage:
        stage.actor(1).join()
        stage.until(lambda: len(stage.supervisor.attempts.of(1)) == 2)
        stage.actors[1][1].fail(transient=False)
        result = train(stage)
        stage.actors[0][0].answer()
        stage.actors[1][0].answer()
        assert_trained(result())


def test_other_rows_in_a_replacement_are_an_error(monkeypatch):
    with Stage(monkeypatch).playing() as stage:
        result = train(stage)
        stage.actors[1][0].die()
        stage.actor(1).join(digest="other rows")
        with pytest.raises(WorkerError, match="worker 1 found other rows when they were loaded again"):
            result()


def test_too_few_slots_are_told_within_the_time_limit(monkeypatch):
    stage = Stage(monkeypatch, shards=3, join_seconds=0.5)
    started = stage.supervisor.wait_for

    def one_worker_only(condition):
        stage.actor(1).join()
        started(condition)

    stage.supervisor.wait_for = one_worker_only
    message = r"no slot came free within 0\.5 s for 2 of 3 workers \(0, 2\), before the first round"
    with pytest.raises(WorkerError, match=message), stage.workers:
        pass


def test_workers_of_a_job_that_was_given_up_are_ignored(monkeypatch):
    with Stage(monkeypatch).playing() as stage:
        late = stage.actors[0][0]
        stage.supervisor._submit()
        late.line.send(protocol.Start(**late.identity, host="here", pid=1))
        late.join()
        for shard in (0, 1):
            stage.actor(shard).join()
        stage.until(lambda: len(stage.supervisor.attempts.active) == 2)
        result = train(stage)
        for shard in (0, 1):
            stage.actors[shard][-1].answer()
        assert_trained(result())


def test_rows_that_break_off_are_no_fault_of_the_model():
    """As when the executor dies while a worker begins to read: its next attempt may have them all."""

    def rows():
        yield pa.RecordBatch.from_pydict({"x": [1.0, 2.0]})
        raise pa.ArrowInvalid("Tried reading schema message, was null or length 0")

    line = SimpleNamespace(send=lambda message: None)
    received = serving.Heartbeat(line, protocol.Loading()).among(rows())
    assert next(received).num_rows == 2
    with pytest.raises(ConnectionError, match="broke off: Tried reading schema") as caught:
        next(received)
    assert task._described(caught.value)["transient"]
