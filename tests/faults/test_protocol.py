"""The protocol under attack: random and mutated frames, replays, strangers, absurd lengths. No Spark."""

from __future__ import annotations

import contextlib
import json
import socket
import struct
import threading

import numpy as np
import pytest
import zmq
from actors import Stage, state
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from spark_keras.training.requests import Evaluate
from spark_keras.training.wire import connections, protocol
from spark_keras.training.wire.server import Server
from spark_keras.training.worker import serving

quickly = settings(max_examples=250, deadline=None, suppress_health_check=list(HealthCheck), database=None)

# What a worker sends, as the fuzzer's point of departure.
VALID = [
    protocol.Start(shard=0, attempt=1, submission=1, host="here", pid=1),
    protocol.Loading(),
    protocol.Progress(ticket=1),
    protocol.Done(ticket=1, rows=1, seconds=0.1),
    protocol.Payload(ticket=1, start=0),
    protocol.Pull(ticket=1, start=0, stop=4),
    protocol.Error(shard=0, attempt=1, submission=1, invalid_data=False, transient=True, message="", traceback=""),
]
ARRAYS = [np.arange(4, dtype="float32"), np.array([7]), np.ones(1)]

# In its place comes the secret of the fit that is attacked: the fuzzer has got in.
OWN_FIT = "the fit's own"

values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=5,
)


@st.composite
def frames(draw):
    """Frames of a message: valid ones with something changed, or anything."""
    if draw(st.integers(0, 3)) == 0:
        return draw(st.lists(st.binary(max_size=60), min_size=1, max_size=4))
    message = draw(st.sampled_from(VALID))
    message.number, message.fit = draw(st.integers(0, 2)), draw(st.sampled_from(["", "x"]))
    made = [bytes(frame) for frame in protocol.encode(message, draw(st.sampled_from([[], ARRAYS[:1], ARRAYS])))]
    mutation = draw(st.sampled_from(["value", "removed", "bytes", "cut", "frame more", "frame less"]))
    if mutation in ("value", "removed"):
        header = json.loads(made[0])
        key = draw(st.sampled_from(sorted(header)))
        header.pop(key)
        if mutation == "value":
            header[key] = draw(values)
        made[0] = json.dumps(header).encode()
    elif mutation == "bytes":
        place = draw(st.integers(0, len(made[0]) - 1))
        made[0] = made[0][:place] + draw(st.binary(min_size=1, max_size=3)) + made[0][place + 1 :]
    elif mutation == "cut":
        index = draw(st.integers(0, len(made) - 1))
        made[index] = made[index][: draw(st.integers(0, len(made[index])))]
    elif mutation == "frame more":
        made.append(draw(st.binary(max_size=20)))
    else:
        made.pop()
    return made or [b""]


def let_in(sent, endpoint):
    return [frame.replace(OWN_FIT.encode(), endpoint.fit.encode()) for frame in sent]


@pytest.fixture
def played(monkeypatch):
    """A fit between rounds; at the end it still trains as if nothing had been."""
    with Stage(monkeypatch).playing() as stage:
        yield stage
        outcome = []
        thread = threading.Thread(
            target=lambda: outcome.extend(np.array(update.state.values) for update in stage.train(0, 0, 1, state))
        )
        thread.start()
        for shard in (0, 1):
            stage.actors[shard][-1].answer()
        thread.join(10)
        np.testing.assert_array_equal(outcome, [np.full(4, 1.0), np.full(4, 2.0)])
        assert stage.ended == []


def attend(stage, milliseconds=2):
    """The driver reads what there is, and what comes soon."""
    while stage.supervisor.server.wait(milliseconds):
        stage.supervisor._receive()


@pytest.mark.slow
def test_mutated_frames_of_a_local_process_harm_nothing(played):
    @quickly
    @given(frames())
    def fuzz(sent):
        endpoint = played.supervisor.server.endpoint
        with contextlib.closing(socket.socket(socket.AF_UNIX)) as client:
            client.connect(endpoint.unix_socket)
            client.sendall(b"".join(struct.pack("<Q", len(frame)) + frame for frame in let_in(sent, endpoint)))
        attend(played)

    fuzz()


def test_random_bytes_of_a_local_process_harm_nothing(played):
    @quickly
    @given(st.binary(min_size=1, max_size=200))
    def fuzz(sent):
        with contextlib.closing(socket.socket(socket.AF_UNIX)) as client:
            client.connect(played.supervisor.server.endpoint.unix_socket)
            client.sendall(sent)
        attend(played)

    fuzz()


@pytest.mark.slow
def test_mutated_frames_of_a_client_that_has_the_keys_harm_nothing(played):
    endpoint = played.supervisor.server.endpoint
    context = zmq.Context()

    @quickly
    @given(frames())
    def fuzz(sent):
        with context.socket(zmq.DEALER) as client:
            client.setsockopt(zmq.LINGER, 1000)
            client.curve_serverkey = endpoint.server_key
            client.curve_publickey, client.curve_secretkey = endpoint.client_public, endpoint.client_secret
            client.connect(endpoint.address)
            client.send_multipart(let_in(sent, endpoint))
            attend(played, 10)

    fuzz()
    connections.end(context)


def test_random_bytes_at_the_port_harm_nothing(played):
    host, port = played.supervisor.server.endpoint.address.removeprefix("tcp://").split(":")

    @quickly
    @given(st.binary(min_size=1, max_size=200), st.booleans())
    def fuzz(sent, greeted):
        with contextlib.closing(socket.create_connection((host, int(port)))) as client:
            # ZeroMQ's own greeting, so that what follows is looked at.
            greeting = b"\xff" + bytes(8) + b"\x7f\x03\x00CURVE".ljust(54, b"\0") if greeted else b""
            client.sendall(greeting + sent)
        attend(played)

    fuzz()


def test_a_length_of_ten_gigabytes_is_refused_before_there_is_memory_for_it(played):
    endpoint = played.supervisor.server.endpoint
    header = json.dumps({"type": "done", "arrays": [["<f8", 10**10 // 8]], "shared": False, "number": 0}).encode()
    for sent in (
        struct.pack("<Q", 10**10),
        struct.pack("<Q", len(header)) + header + struct.pack("<Q", 10**10),
    ):
        with contextlib.closing(socket.socket(socket.AF_UNIX)) as client:
            client.settimeout(5)
            client.connect(endpoint.unix_socket)
            client.sendall(sent)
            attend(played)
            with contextlib.suppress(ConnectionResetError):
                assert client.recv(1) == b""  # the driver has closed it
    host, port = endpoint.address.removeprefix("tcp://").split(":")
    with contextlib.closing(socket.create_connection((host, int(port)))) as client:
        client.settimeout(5)
        client.sendall(b"\xff" + bytes(8) + b"\x7f\x03\x01" + b"NULL".ljust(20, b"\0") + bytes(32))
        client.sendall(b"\x02" + struct.pack("!Q", 10**10))
        received = b""
        with contextlib.suppress(ConnectionError):
            while part := client.recv(1000):
                received += part
        assert len(received) <= 64  # a greeting, and then the end
    attend(played)


def test_recorded_frames_sent_again_are_refused(played):
    """What one connection said is not accepted from another one, nor twice from the same one."""
    endpoint = played.supervisor.server.endpoint
    first = played.actors[0][0].line
    before = dict(played.supervisor.attempts.active)
    recorded = protocol.encode(
        protocol.Start(number=0, fit=endpoint.fit, host="here", pid=1, **played.actors[0][0].identity)
    )
    with contextlib.closing(connections.connect(endpoint, 0)) as other:
        for _ in range(2):
            connections.write(other._stream, protocol.encode(protocol.Loading(number=0, fit=endpoint.fit)))
            attend(played)
        with pytest.raises((EOFError, ConnectionError)):
            other.receive()
    with contextlib.closing(socket.socket(socket.AF_UNIX)) as client:
        client.connect(endpoint.unix_socket)
        client.sendall(b"".join(struct.pack("<Q", len(frame)) + bytes(frame) for frame in recorded))
        attend(played)
    assert played.supervisor.attempts.active == before
    assert first is played.actors[0][0].line


def test_recorded_bytes_of_an_encrypted_connection_say_nothing_to_the_driver():
    """A tape of everything a worker sent, played to the same port."""
    server = Server("127.0.0.1", "127.0.0.1", range(0), encrypted=True, local=False)
    host, port = server.endpoint.address.removeprefix("tcp://").split(":")
    tape = []
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as relay:
        endpoint = server.endpoint._replace(address=f"tcp://127.0.0.1:{relay.getsockname()[1]}")
        lines: list[connections.RemoteConnection] = []
        connecting = threading.Thread(target=lambda: lines.append(connections.RemoteConnection(endpoint)))
        connecting.start()
        there, back = relay.accept()[0], socket.create_connection((host, int(port)))

        def copy(source, target, note):
            with contextlib.suppress(OSError):
                while data := source.recv(65536):
                    note(data)
                    target.sendall(data)

        threads = [
            threading.Thread(target=copy, args=(there, back, tape.append), daemon=True),
            threading.Thread(target=copy, args=(back, there, len), daemon=True),
        ]
        for thread in threads:
            thread.start()
        connecting.join(10)
        (line,) = lines
        line.send(protocol.Loading())
        assert server.wait(5000) and isinstance(server.receive()[1], protocol.Loading)
        line.close()
        for end in (there, back):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()
        for thread in threads:
            thread.join(5)
    with contextlib.closing(socket.create_connection((host, int(port)))) as player:
        player.sendall(b"".join(tape))
        assert not server.wait(500)
    server.close()


def test_without_encryption_each_bit_counts():
    frames = protocol.with_checksum(protocol.encode(protocol.Loading(), [np.arange(4.0)]))
    plain = [bytes(frame) for frame in frames]
    assert protocol.verified(plain) == plain[:-1]
    for index, frame in enumerate(plain):
        for place in range(len(frame)):
            changed = bytes([*frame[:place], frame[place] ^ 1, *frame[place + 1 :]])
            with pytest.raises(protocol.ProtocolError, match="checksum"):
                protocol.verified([*plain[:index], changed, *plain[index + 1 :]])
    with pytest.raises(protocol.ProtocolError):
        protocol.verified([plain[0], plain[1][:8], plain[1][8:], plain[2]])


@pytest.mark.parametrize("encrypted", [False, True])
def test_a_worker_of_an_earlier_fit_at_the_same_port_is_not_heard(encrypted, caplog, monkeypatch):
    earlier = Server("127.0.0.1", "127.0.0.1", range(0), encrypted, local=False)
    address = earlier.endpoint.address
    port = int(address.rsplit(":", 1)[1])
    old = earlier.endpoint
    earlier.close()
    now = Server("127.0.0.1", "127.0.0.1", range(port, port + 1), encrypted, local=False)
    if encrypted:
        monkeypatch.setattr(connections, "CONNECT_SECONDS", 1)
        with pytest.raises(ConnectionError):
            connections.RemoteConnection(old)
    else:
        line = connections.RemoteConnection(old)
        line.send(protocol.Loading())
    while now.wait(500):
        assert now.receive() is None
    assert ("another fit" in caplog.text) == (not encrypted)
    if not encrypted:
        line.close(linger=0)
    now.close()


class Said:
    """A line on which the driver has said something already."""

    memory = None

    def __init__(self, *said):
        self.said, self.asked = list(said), []

    def wait(self, milliseconds):
        return True

    def send(self, message, arrays=()):
        self.asked.append(message)

    def receive(self):
        return self.said.pop(0)


def piece(start):
    return protocol.Piece(ticket=1, start=start)


def test_a_stop_in_the_middle_of_a_large_state_ends_the_worker():
    pull = ("float32", 10)
    line = Said((piece(0), [np.ones(4, "float32")]), (protocol.Ping(), []), (protocol.Stop(), []), (None, None))
    assert serving._pull(line, 1, pull, 4) is None
    whole = [(piece(start), [np.full(min(4, 10 - start), start, "float32")]) for start in (0, 4, 8)]
    np.testing.assert_array_equal(serving._pull(Said(*whole), 1, pull, 4), [0] * 4 + [4] * 4 + [8] * 2)
    with pytest.raises(protocol.ProtocolError, match="instead of numbers 0 to 4"):
        serving._pull(Said(whole[1]), 1, pull, 4)
    with pytest.raises(protocol.ProtocolError, match="instead of numbers 0 to 4"):
        serving._pull(Said((protocol.Ask(ticket=1, request=Evaluate("graph")), [])), 1, pull, 4)
