"""The gate that admits fits."""

from __future__ import annotations

import threading
import time

import pytest

from spark_keras.cluster import slots


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
