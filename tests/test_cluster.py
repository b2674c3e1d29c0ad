"""The gate that admits fits, without Spark; slots and addresses on real sessions."""

from __future__ import annotations

import threading
import time

import pytest
from conftest import every_session

from spark_keras.cluster import files, slots


def test_the_gate_never_admits_more_workers_than_slots_and_lets_everybody_through():
    gate, held, most, lock = slots._Gate(), [0], [0], threading.Lock()

    def fit(workers):
        with gate.admit(workers, lambda: 4):
            with lock:
                held[0] += workers
                most[0] = max(most[0], held[0])
            time.sleep(0.01)
            with lock:
                held[0] -= workers

    threads = [threading.Thread(target=fit, args=(1 + index % 4,)) for index in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert not any(thread.is_alive() for thread in threads)
    assert most[0] == 4


def test_a_fit_that_fails_frees_its_slots():
    gate = slots._Gate()
    with pytest.raises(KeyError), gate.admit(4, lambda: 4):
        raise KeyError
    with gate.admit(4, lambda: 4):
        pass


@every_session
def test_slots_are_what_the_session_can_run_at_once(spark):
    assert slots.slots(spark) == 2
    assert slots.task_cpus(spark) == 1
    assert not slots.slots_can_grow(spark)


@every_session
def test_files_go_through_sparks_file_system(spark, tmp_path):
    path = f"file://{tmp_path}/some folder/file"
    assert files.read_file(spark, path) is None
    data = bytes(range(256)) * 1000
    files.write_file(spark, path, data)
    assert files.read_file(spark, path) == data
    assert (tmp_path / "some folder" / "file").read_bytes() == data
