"""Connections between workers: who gets in, what arrives, and how it is known that one has gone."""

from __future__ import annotations

import contextlib
import socket
import time

import numpy as np
import pytest
import zmq

from spark_keras.training.wire import connections, protocol
from spark_keras.training.wire.others import Others
from spark_keras.training.wire.server import Server


@pytest.fixture
def opened():
    with contextlib.ExitStack() as stack:
        yield lambda each: stack.enter_context(contextlib.closing(each))


def driver(opened, encrypted):
    return opened(Server("127.0.0.1", "127.0.0.1", range(0), encrypted)).endpoint


def part(chunk=0):
    return protocol.Part(ticket=3, sender=1, chunk=chunk, averaged=False)


def received(others, count, seconds=20.0):
    """So many messages; fewer where no more come in time."""
    messages, deadline = [], time.monotonic() + seconds
    while len(messages) < count and time.monotonic() < deadline:
        message = others.receive() if others.wait(50) else None
        messages += [message] if message is not None else []
    return messages


@pytest.mark.parametrize("encrypted", [True, False])
def test_what_one_sends_the_other_gets_in_order(opened, encrypted):
    endpoint = driver(opened, encrypted)
    one, other = opened(Others(endpoint)), opened(Others(endpoint))
    one.connect([other.address])
    numbers = np.arange(300_000, dtype="float32")
    for chunk in range(3):
        one.send(other.address, part(chunk), [numbers + chunk, np.zeros(0, "int64")])
    got = received(other, 3)
    assert [(message.ticket, message.sender, message.chunk) for message, _ in got] == [(3, 1, 0), (3, 1, 1), (3, 1, 2)]
    for chunk, (_, (values, integers)) in enumerate(got):
        np.testing.assert_array_equal(values, numbers + chunk)
        assert integers.dtype == np.int64 and not len(integers)


@pytest.mark.parametrize("encrypted", [True, False])
def test_a_worker_of_another_fit_is_not_heard(opened, encrypted):
    one, stranger = opened(Others(driver(opened, encrypted))), opened(Others(driver(opened, encrypted)))
    stranger.connect([one.address])
    stranger.send(one.address, part(), [np.zeros(3, "float32")])
    assert received(one, 1, seconds=1.0) == []


def test_an_encrypted_fit_does_not_hear_who_has_no_keys(opened):
    endpoint = driver(opened, encrypted=True)
    one = opened(Others(endpoint))
    bare = opened(Others(endpoint._replace(server_key=None)))
    bare.connect([one.address])
    bare.send(one.address, part(), [np.zeros(3, "float32")])
    assert received(one, 1, seconds=1.0) == []


def test_a_worker_that_has_gone_is_noticed_and_its_successor_reached(opened):
    endpoint = driver(opened, encrypted=True)
    one, other = opened(Others(endpoint)), Others(endpoint)
    one.connect([other.address])
    one.send(other.address, part(), [np.zeros(3, "float32")])
    assert len(received(other, 1)) == 1 and not one.broken()
    other.close()
    deadline = time.monotonic() + 20
    while not one.broken() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert one.broken()
    successor = opened(Others(endpoint))
    one.connect([successor.address])
    one.send(successor.address, part(7), [np.zeros(3, "float32")])
    assert [message.chunk for message, _ in received(successor, 1)] == [7]
    assert not one.broken()


def test_one_that_cannot_be_reached_is_named(opened, monkeypatch):
    monkeypatch.setattr(connections, "CONNECT_SECONDS", 0.05)
    one = opened(Others(driver(opened, encrypted=True)))
    one.connect(["tcp://127.0.0.1:1"])
    time.sleep(0.1)
    with pytest.raises(ConnectionError, match=r"no answer from tcp://127.0.0.1:1 .*spark.keras.worker.port"):
        one.broken()


def test_a_worker_on_the_machine_of_the_driver_tells_the_name_by_which_others_reach_it(opened, monkeypatch):
    # As where /etc/hosts has the machine's own name beside 127.0.1.1.
    resolve = socket.getaddrinfo
    monkeypatch.setattr(
        socket, "getaddrinfo", lambda host, *a, **n: resolve({"driver": "127.0.0.1"}.get(host, host), *a, **n)
    )
    at_driver = driver(opened, True)
    by_name = at_driver._replace(address=at_driver.address.replace("127.0.0.1", "driver"))
    assert opened(Others(by_name)).address.startswith("tcp://driver:")
    assert opened(Others(at_driver)).address.startswith("tcp://127.0.0.1:")


def test_a_worker_may_have_more_than_a_thousand_sockets(opened):
    one = opened(Others(driver(opened, encrypted=True)))
    limit = one._server.context.get(zmq.MAX_SOCKETS)
    # Three for each of the other 999.
    assert limit > 3 * 999


def test_ports_that_are_taken_are_named_with_their_setting(opened):
    endpoint = driver(opened, encrypted=False)
    port = int(endpoint.address.rpartition(":")[2])
    with pytest.raises(OSError, match=rf"A worker cannot listen .*ports \[{port}\].*spark.keras.worker.port"):
        Others(endpoint, range(port, port + 1))


def test_what_nobody_says_is_not_heard(opened):
    endpoint = driver(opened, encrypted=True)
    one, other = opened(Others(endpoint)), opened(Others(endpoint))
    other.connect([one.address])
    other.send(one.address, protocol.Ping(), [])
    assert received(one, 1, seconds=1.0) == []
