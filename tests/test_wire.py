"""Messages between driver and workers, over real sockets on the loopback interface."""

from __future__ import annotations

import numpy as np
import pytest
import zmq

from spark_keras.training import wire


@pytest.fixture(params=[True, False], ids=["encrypted", "plain"])
def server(request):
    server = wire.listen("127.0.0.1", "127.0.0.1", range(0), encrypted=request.param)
    yield server
    server.close()


def test_a_message_arrives_with_its_arrays(server):
    context, socket = wire.connect(server.endpoint)
    arrays = [np.arange(5, dtype="float32"), np.array([2**60], "int64"), np.zeros(0, "float64")]
    socket.send_multipart(wire.encode({"type": "done", "rows": 3}, arrays), copy=False)
    assert server.socket.poll(5000)
    _, *frames = server.socket.recv_multipart(copy=False)
    header, received = wire.decode(frames)
    assert header == {"type": "done", "rows": 3}
    for sent, got in zip(arrays, received, strict=True):
        assert got.dtype == sent.dtype
        np.testing.assert_array_equal(got, sent)
    socket.close()
    context.term()


@pytest.mark.parametrize("keys", ["none", "own"])
def test_a_client_without_the_keys_of_the_fit_does_not_get_through(keys):
    server = wire.listen("127.0.0.1", "127.0.0.1", range(0), encrypted=True)
    stranger = wire.Endpoint(server.endpoint.address)
    if keys == "own":
        other, _ = zmq.curve_keypair()
        stranger = wire.Endpoint(server.endpoint.address, other, *zmq.curve_keypair())
    context, socket = wire.connect(stranger)
    socket.setsockopt(zmq.LINGER, 0)
    socket.send_multipart(wire.encode({"type": "join"}))
    assert not server.socket.poll(1000)
    socket.close()
    context.term()
    server.close()


def test_a_fixed_port_is_used_and_a_taken_one_is_named():
    first = wire.listen("127.0.0.1", "127.0.0.1", range(0), encrypted=False)
    port = int(first.endpoint.address.rsplit(":", 1)[1])
    with pytest.raises(OSError, match=rf"{port}.*spark\.keras\.driver\.port"):
        wire.listen("127.0.0.1", "127.0.0.1", range(port, port + 1), encrypted=False)
    second = wire.listen("127.0.0.1", "127.0.0.1", range(port, port + 50), encrypted=False)
    assert port < int(second.endpoint.address.rsplit(":", 1)[1]) < port + 50
    second.close()
    first.close()


def test_a_message_that_does_not_hold_what_it_announces_is_refused():
    frames = [zmq.Frame(bytes(part)) for part in wire.encode({"type": "done"}, [np.arange(4.0)])]
    with pytest.raises(ValueError, match="announces 1 arrays"):
        wire.decode(frames[:1])
    with pytest.raises(ValueError, match="announces 4 numbers and brings 2"):
        wire.decode([frames[0], zmq.Frame(bytes(frames[1].buffer)[:16])])
