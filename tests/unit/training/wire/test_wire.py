"""Messages between driver and workers, over real sockets and shared memory."""

from __future__ import annotations

import contextlib
import os
import socket

import numpy as np
import pytest
import zmq

from spark_keras.training.requests import Evaluate
from spark_keras.training.wire import connections, protocol
from spark_keras.training.wire.server import Server
from spark_keras.training.wire.shared_memory import SharedMemory
from spark_keras.training.worker.task import _described


@pytest.fixture(params=["encrypted", "plain", "local", "shared"])
def server(request):
    kind = request.param
    server = Server("127.0.0.1", "127.0.0.1", range(0), kind == "encrypted", local=LOCAL[kind])
    server.size = SIZE[kind]
    with contextlib.closing(server):
        yield server


@pytest.fixture
def here():
    """A server of workers on this machine, as of others."""
    with contextlib.closing(Server("127.0.0.1", "127.0.0.1", range(0), encrypted=True)) as server:
        yield server


@pytest.fixture
def closing():
    """Closes what a test opens when the test ends."""
    with contextlib.ExitStack() as stack:
        yield lambda opened: stack.enter_context(contextlib.closing(opened))


LOCAL = {"encrypted": False, "plain": False, "local": True, "shared": True}
SIZE = {"encrypted": 0, "plain": 0, "local": 0, "shared": 1000}
ARRAYS = [np.arange(5, dtype="float32"), np.array([2**60], "int64"), np.zeros(0, "float64"), np.arange(3.0)]


def received(server):
    """The next message, when the worker has connected."""
    while server.wait(5000):
        message = server.receive()
        if message is not None:
            return message
    raise AssertionError("no message")


def assert_nothing_said(server):
    # Another driver of this machine may knock, to see whether somebody is there.
    while server.wait(100):
        assert server.receive() is None


def test_messages_arrive_with_their_arrays_in_both_directions(server, closing):
    line = closing(connections.connect(server.endpoint, server.size))
    assert (line.memory is not None) == bool(server.size)
    line.send(protocol.Loading())
    peer, message, buffers = received(server)
    memory = SharedMemory.open(server.endpoint.folder, line.memory_name) if line.memory_name else None
    assert isinstance(message, protocol.Loading) and protocol.arrays_of(message, buffers) == []
    for number in range(3):
        server.send(peer, protocol.encode(ask(number), [*ARRAYS, np.full(2, number)], memory))
        assert line.wait(5000)
        message, arrays = line.receive()
        assert message.ticket == number
        same(arrays, [*ARRAYS, np.full(2, number)])
        line.send(protocol.Done(ticket=number, rows=0, seconds=0.0), arrays[::-1])
        _, message, buffers = received(server)
        assert message.ticket == number and bool(buffers) == (not server.size)
        same(protocol.arrays_of(message, buffers, memory), [*ARRAYS, np.full(2, number)][::-1])


def ask(ticket):
    return protocol.Ask(ticket=ticket, request=Evaluate("graph"))


def same(arrays, expected):
    for got, sent in zip(arrays, expected, strict=True):
        assert got.dtype == sent.dtype
        np.testing.assert_array_equal(got, sent)


def test_one_message_tells_all_workers_of_the_machine_the_same(here, closing):
    lines = [closing(connections.connect(here.endpoint, 1000)) for _ in range(3)]
    for worker, line in enumerate(lines):
        line.send(protocol.Progress(ticket=worker))
    peers = {message.ticket: peer for peer, message, _ in (received(here) for _ in lines)}
    own = [SharedMemory.open(here.endpoint.folder, line.memory_name) for line in lines]
    for number in range(3):
        said = [*ARRAYS, np.full(2, number)]
        frames = here.encode_for_all(ask(number), said)
        for worker, line in enumerate(lines):
            here.send(peers[worker], frames)
            assert line.wait(5000)
            message, arrays = line.receive()
            assert message.ticket == number and len(frames) == 1
            same(arrays, said)
            # Between two of them, what only this worker is told lies elsewhere.
            here.send(
                peers[worker], protocol.encode(protocol.Piece(ticket=0, start=0), [np.full(3, worker)], own[worker])
            )
            assert line.wait(5000)
            same(line.receive()[1], [np.full(3, worker)])
            same(arrays, said)
    assert here.encode_for_all(ask(0), [np.zeros(10_000)]) is None
    here.close()
    assert not os.path.exists(here.endpoint.folder)


def full(descriptor, offset, length):
    raise OSError(28, "No space left on device")


def test_without_room_for_it_each_worker_is_told_by_itself(here, monkeypatch):
    monkeypatch.setattr(os, "posix_fallocate", full)
    assert here.encode_for_all(ask(0), ARRAYS) is None
    assert os.listdir(here.endpoint.folder) == ["socket"]


def test_what_does_not_fit_into_the_shared_memory_goes_through_the_socket(here, closing):
    line = closing(connections.connect(here.endpoint, 1000))
    line.send(protocol.Payload(ticket=0, start=0), [np.arange(10_000.0)])
    _, message, buffers = received(here)
    assert not message.shared
    same(protocol.arrays_of(message, buffers), [np.arange(10_000.0)])


def test_a_machine_without_room_for_shared_memory_goes_through_tcp(here, monkeypatch, closing):
    monkeypatch.setattr(os, "posix_fallocate", full)
    line = closing(connections.connect(here.endpoint, 1000))
    assert isinstance(line, connections.RemoteConnection)
    assert os.listdir(here.endpoint.folder) == ["socket"]
    line.send(protocol.Loading())
    assert isinstance(received(here)[1], protocol.Loading)


def test_arrays_of_the_same_sizes_come_as_the_same_views_and_others_do_not(tmp_path):
    name, own = SharedMemory.create(str(tmp_path), 1000)
    other = SharedMemory.open(str(tmp_path), name)
    seen = []
    for arrays in (ARRAYS, [array + 1 for array in ARRAYS], ARRAYS[:2], [np.arange(5.0)], ARRAYS):
        assert own.put(arrays)
        seen.append(other.get([[array.dtype.str, len(array)] for array in arrays]))
        same(seen[-1], arrays)
    assert all(one is another for one, another in zip(seen[0], seen[1], strict=True))
    with pytest.raises(ValueError, match="beyond the shared memory"):
        other.get([["<f8", 10_000]])
    same(other.get([[array.dtype.str, len(array)] for array in ARRAYS]), ARRAYS)


def test_only_this_user_can_enter_the_folder_and_nothing_of_it_stays(here, closing):
    folder = here.endpoint.folder
    assert os.stat(folder).st_mode & 0o777 == 0o700
    elsewhere = here.endpoint._replace(machine="another machine")
    assert isinstance(closing(connections.connect(elsewhere, 0)), connections.RemoteConnection)
    line = closing(connections.connect(here.endpoint, 1000))
    assert os.stat(os.path.join(folder, line.memory_name)).st_mode & 0o777 == 0o600
    SharedMemory.open(folder, line.memory_name)
    assert os.listdir(folder) == ["socket"]
    here.close()
    assert not os.path.exists(folder)


def test_the_folder_of_a_driver_that_was_killed_is_removed_and_no_other(here):
    killed = Server("127.0.0.1", "127.0.0.1", range(0), encrypted=True)
    folder = killed.endpoint.folder
    killed._listener.close()  # as the system does it
    killed.endpoint = killed.endpoint._replace(folder=None)
    killed.close()
    assert os.path.exists(folder)
    Server("127.0.0.1", "127.0.0.1", range(0), encrypted=True).close()
    assert not os.path.exists(folder) and os.path.exists(here.endpoint.unix_socket)


def test_a_connection_that_is_dropped_with_a_message_unread_disturbs_nobody(here, closing):
    dropped, there = closing(connections.connect(here.endpoint, 0)), closing(connections.connect(here.endpoint, 0))
    dropped.send(protocol.Progress(ticket=1))
    peer, _, _ = received(here)
    there.send(protocol.Progress(ticket=2))
    assert received(here)[1].ticket == 2
    for line in (dropped, there):
        line.send(protocol.Loading())
    assert here.wait(1000)
    here.drop(peer)
    assert isinstance(received(here)[1], protocol.Loading)
    assert_nothing_said(here)


def test_messages_that_arrive_together_are_heard_one_by_one(server, closing):
    line = closing(connections.connect(server.endpoint, server.size))
    for number in range(5):
        line.send(protocol.Progress(ticket=number), ARRAYS if not server.size else [])
    peer = None
    for number in range(5):
        peer, message, buffers = received(server)
        assert message.ticket == number
        assert len(buffers) == (0 if server.size else len(ARRAYS))
    assert_nothing_said(server)
    for number in range(5):
        server.send(peer, protocol.encode(ask(number)))
    for number in range(5):
        assert line.wait(5000)
        assert line.receive()[0].ticket == number
    assert not line.wait(100)


def test_one_that_says_much_does_not_keep_others_from_being_heard(here, closing):
    talkative, brief = closing(connections.connect(here.endpoint, 0)), closing(connections.connect(here.endpoint, 0))
    for line in (talkative, brief):
        line.send(protocol.Loading())
    for _ in range(2):
        received(here)
    for _ in range(50):
        talkative.send(protocol.Progress(ticket=1))
    brief.send(protocol.Loading())
    heard = [type(received(here)[1]) for _ in range(51)]
    assert protocol.Loading in heard[:3]
    # What is left of one that is dropped is not looked for.
    for _ in range(5):
        talkative.send(protocol.Progress(ticket=1))
    here.drop(received(here)[0])
    assert_nothing_said(here)


def done(warning=None):
    return protocol.Done(ticket=1, rows=0, seconds=0.0, warning=warning)


def test_a_message_that_cannot_be_sent_leaves_the_connection_as_it_was(server, closing):
    line = closing(connections.connect(server.endpoint, server.size))
    for _ in range(2):
        with pytest.raises(UnicodeEncodeError):
            line.send(done("\udcff"))
        line.send(done(protocol.sendable("\udcff")))
        assert received(server)[1].warning == r"\udcff"


def test_a_worker_that_has_gone_disturbs_nobody(here, closing):
    gone, there = closing(connections.connect(here.endpoint, 0)), closing(connections.connect(here.endpoint, 0))
    gone.send(protocol.Progress(ticket=1))
    peer, message, _ = received(here)
    assert message.ticket == 1
    gone.close()
    for _ in range(3):
        here.send(peer, protocol.encode(ask(0), [np.zeros(100_000)]))
    there.send(protocol.Progress(ticket=2))
    assert received(here)[1].ticket == 2


@pytest.mark.parametrize("keys", ["none", "own"])
def test_a_client_without_the_keys_of_the_fit_does_not_get_through(keys, monkeypatch, closing):
    server = closing(Server("127.0.0.1", "127.0.0.1", range(0), encrypted=True, local=False))
    stranger = connections.Endpoint(server.endpoint.address)
    if keys == "own":
        other, _ = zmq.curve_keypair()
        stranger = connections.Endpoint(server.endpoint.address, other, *zmq.curve_keypair())
    monkeypatch.setattr(connections, "CONNECT_SECONDS", 1)
    with pytest.raises(ConnectionError, match=f"no answer from {server.endpoint.address}"):
        connections.connect(stranger, 0)
    assert_nothing_said(server)


def test_a_worker_that_cannot_reach_the_driver_says_so(monkeypatch):
    monkeypatch.setattr(connections, "CONNECT_SECONDS", 0.3)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # nobody listens
        address = f"tcp://127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(ConnectionError, match=rf"{address} in 0.3 s.*spark\.keras\.driver\.host"):
            connections.connect(connections.Endpoint(address), 0)


def test_a_fixed_port_is_used_and_a_taken_one_is_named(closing):
    first = closing(Server("127.0.0.1", "127.0.0.1", range(0), encrypted=False))
    port = int(first.endpoint.address.rsplit(":", 1)[1])
    with pytest.raises(OSError, match=rf"{port}.*spark\.keras\.driver\.port"):
        Server("127.0.0.1", "127.0.0.1", range(port, port + 1), encrypted=False)
    second = closing(Server("127.0.0.1", "127.0.0.1", range(port, port + 50), encrypted=False))
    assert port < int(second.endpoint.address.rsplit(":", 1)[1]) < port + 50


def test_a_message_that_does_not_hold_what_it_announces_is_refused():
    message = done()
    _, *buffers = protocol.encode(message, [np.arange(4.0)])
    with pytest.raises(ValueError, match="announces 1 arrays"):
        protocol.arrays_of(message, [])
    with pytest.raises(ValueError, match="announces 4 numbers and brings 2"):
        protocol.arrays_of(message, [bytes(buffers[0])[:16]])
    message.shared = True
    with pytest.raises(ValueError, match="shared memory, and there is none"):
        protocol.arrays_of(message, [])


def test_an_error_about_a_file_whose_name_is_no_text_reaches_the_driver(server, closing):
    line = closing(connections.connect(server.endpoint, server.size))
    try:
        open(os.fsdecode(b"no such \xff"))
    except OSError as error:
        line.send(protocol.Error(shard=0, attempt=0, submission=0, **_described(error)))
    message = received(server)[1]
    assert r"no such \udcff" in message.message and r"no such \udcff" in message.traceback
    assert message.transient
