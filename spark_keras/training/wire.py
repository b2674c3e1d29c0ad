"""Messages between driver and workers: a JSON header and raw number buffers, over encrypted ZeroMQ. Never pickle."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

import numpy as np
import zmq


class Endpoint(NamedTuple):
    """Where the driver listens, and the keys that let this fit's workers in (None: no encryption).

    The server's key is made for the fit and travels in the task closure alone. CURVE never sends it over the wire, and
    a client that does not know it cannot complete the handshake; so it is what lets a worker in.
    """

    address: str
    server_key: bytes | None = None
    client_public: bytes | None = None
    client_secret: bytes | None = None


class Server(NamedTuple):
    """The driver's side of a fit's connection."""

    context: zmq.Context
    socket: zmq.Socket
    endpoint: Endpoint

    def close(self) -> None:
        self.socket.close(linger=1000)
        self.context.term()


def listen(bind_host: str, host: str, ports: range, encrypted: bool) -> Server:
    """Opens the driver's socket.

    Args:
        bind_host: the interface to listen on.
        host: the name under which workers reach it.
        ports: ports to try in turn; an empty range lets the system choose.
    """
    context = zmq.Context()
    socket = context.socket(zmq.ROUTER)
    keys: tuple[bytes, ...] = ()
    if ":" in bind_host:
        socket.setsockopt(zmq.IPV6, 1)
        bind_host = f"[{bind_host}]"
    if encrypted:
        server_public, server_secret = zmq.curve_keypair()
        client_public, client_secret = zmq.curve_keypair()
        socket.curve_server = True
        socket.curve_secretkey, socket.curve_publickey = server_secret, server_public
        keys = (server_public, client_public, client_secret)
    try:
        port = _bind(socket, bind_host, ports)
    except zmq.ZMQError as error:
        Server(context, socket, Endpoint("")).close()
        raise OSError(
            f"The driver cannot listen for its workers on {bind_host}, "
            f"{'ports ' + str(list(ports)) if ports else 'any port'}: {error}. Set spark.driver.bindAddress to an "
            "address of this machine, and spark.keras.driver.port to a free port or a range such as 40000-40100."
        ) from error
    host = f"[{host}]" if ":" in host else host
    return Server(context, socket, Endpoint(f"tcp://{host}:{port}", *keys))


def _bind(socket: zmq.Socket, bind_host: str, ports: range) -> int:
    if not ports:
        return socket.bind_to_random_port(f"tcp://{bind_host}")
    for port in ports:
        try:
            socket.bind(f"tcp://{bind_host}:{port}")
            return port
        except zmq.ZMQError:
            if port == ports[-1]:
                raise
    raise AssertionError


def connect(endpoint: Endpoint) -> tuple[zmq.Context, zmq.Socket]:
    """A worker's socket to the driver."""
    context = zmq.Context()
    socket = context.socket(zmq.DEALER)
    socket.setsockopt(zmq.LINGER, 5000)
    if endpoint.server_key is not None:
        socket.curve_serverkey = endpoint.server_key
        socket.curve_publickey, socket.curve_secretkey = endpoint.client_public, endpoint.client_secret
    if "[" in endpoint.address:
        socket.setsockopt(zmq.IPV6, 1)
    socket.connect(endpoint.address)
    return context, socket


def encode(header: dict[str, Any], arrays: list[np.ndarray] | tuple[np.ndarray, ...] = ()) -> list[Any]:
    """Frames of a message: its header, and the buffers of one-dimensional arrays without a copy."""
    described = {**header, "arrays": [[str(array.dtype), len(array)] for array in arrays]}
    return [json.dumps(described).encode(), *(memoryview(np.ascontiguousarray(array)).cast("B") for array in arrays)]


def decode(frames: list[zmq.Frame]) -> tuple[dict[str, Any], list[np.ndarray]]:
    """Header and arrays of a message; the arrays are read-only views of the received frames."""
    header = json.loads(bytes(frames[0].buffer))
    described = header.pop("arrays")
    if len(described) != len(frames) - 1:
        raise ValueError(f"A message of {len(frames)} frames announces {len(described)} arrays.")
    arrays = []
    for frame, (dtype, length) in zip(frames[1:], described):
        array = np.frombuffer(frame.buffer, dtype=dtype)
        if len(array) != length:
            raise ValueError(f"A message announces {length} numbers and brings {len(array)}.")
        arrays.append(array)
    return header, arrays
