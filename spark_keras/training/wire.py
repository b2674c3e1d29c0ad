"""Messages between driver and workers: a JSON header and raw number buffers. Never pickle.

Workers on other machines come over ZeroMQ, encrypted. Those on the driver's own machine come through a folder that no
other user can enter: a Unix socket for the headers, shared memory for the numbers. That is several times faster, which
counts where a round takes milliseconds.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import socket
from multiprocessing.connection import Client, Connection
from typing import Any, NamedTuple

import numpy as np
import zmq

from spark_keras.training import shared_memory
from spark_keras.training.shared_memory import SharedMemory

Arrays = list[np.ndarray] | tuple[np.ndarray, ...]


class Endpoint(NamedTuple):
    """Where the driver listens, and the keys that let this fit's workers in (None: no encryption).

    The server's key is made for the fit and travels in the task closure alone. CURVE never sends it over the wire, and
    a client that does not know it cannot complete the handshake; so it is what lets a worker in.

    Args:
        folder: of the Unix socket and, for a moment each, the files of shared memory; None: TCP for everybody.
        machine: on which that folder is.
    """

    address: str
    server_key: bytes | None = None
    client_public: bytes | None = None
    client_secret: bytes | None = None
    folder: str | None = None
    machine: str | None = None

    @property
    def unix_socket(self) -> str:
        return os.path.join(self.folder, "socket")

    @property
    def is_local(self) -> bool:
        """Whether this process can use the folder; one in a container of its own or of another user cannot."""
        if self.folder is None or self.machine != shared_memory.machine():
            return False
        return os.access(self.unix_socket, os.R_OK | os.W_OK)


# --- the driver's side ---------------------------------------------------------------------------------------------

# How a worker is addressed: ZeroMQ's identity, or the worker's own connection.
Peer = bytes | Connection


class Server:
    """The driver's side of a fit's connections.

    Args:
        bind_host: the interface to listen on.
        host: the name under which workers reach it.
        ports: ports to try in turn; an empty range lets the system choose.
        encrypted: whether TCP connections are.
        local: whether workers on this machine may come without TCP.
    """

    def __init__(self, bind_host: str, host: str, ports: range, encrypted: bool, local: bool = True):
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.ROUTER)
        self._poller = zmq.Poller()
        self._poller.register(self._socket, zmq.POLLIN)
        self._listener: socket.socket | None = None
        self._connections: dict[int, Connection] = {}
        self._ready: list[Any] = []
        self.endpoint = Endpoint("")
        try:
            self.endpoint = self._listen_for_others(bind_host, host, ports, encrypted)
            if local and hasattr(socket, "AF_UNIX"):
                self._listen_here()
        except BaseException:
            self.close()
            raise

    def _listen_for_others(self, bind_host: str, host: str, ports: range, encrypted: bool) -> Endpoint:
        keys: tuple[bytes, ...] = ()
        if ":" in bind_host:
            self._socket.setsockopt(zmq.IPV6, 1)
            bind_host = f"[{bind_host}]"
        if encrypted:
            server_public, server_secret = zmq.curve_keypair()
            client_public, client_secret = zmq.curve_keypair()
            self._socket.curve_server = True
            self._socket.curve_secretkey, self._socket.curve_publickey = server_secret, server_public
            keys = (server_public, client_public, client_secret)
        try:
            port = _bind(self._socket, bind_host, ports)
        except zmq.ZMQError as error:
            raise OSError(
                f"The driver cannot listen for its workers on {bind_host}, "
                f"{'ports ' + str(list(ports)) if ports else 'any port'}: {error}. Set spark.driver.bindAddress to an "
                "address of this machine, and spark.keras.driver.port to a free port or a range such as 40000-40100."
            ) from error
        host = f"[{host}]" if ":" in host else host
        return Endpoint(f"tcp://{host}:{port}", *keys)

    def _listen_here(self) -> None:
        self.endpoint = self.endpoint._replace(folder=shared_memory.private_folder(), machine=shared_memory.machine())
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(self.endpoint.unix_socket)
        self._listener.listen(128)
        self._poller.register(self._listener.fileno(), zmq.POLLIN)

    def wait(self, milliseconds: int) -> bool:
        """Whether a message is there, or something else for `receive` to look at, or comes within this time."""
        if not self._ready:
            self._ready = [source for source, _ in self._poller.poll(milliseconds)]
        return bool(self._ready)

    def receive(self) -> tuple[Peer, dict[str, Any], list[Any]] | None:
        """(sender, header, buffers) of a message, for `arrays_of`; None where a worker has only connected or gone.

        To be called after `wait` said yes.
        """
        source = self._ready.pop(0)
        if source is self._socket:
            sender, *frames = self._socket.recv_multipart(copy=False)
            return bytes(sender.buffer), *_opened(frames)
        connection = self._connections.get(source)
        if connection is None:
            connection = Connection(self._listener.accept()[0].detach())
            self._connections[connection.fileno()] = connection
            self._poller.register(connection.fileno(), zmq.POLLIN)
            return None
        try:
            return connection, *_read(connection)
        except (EOFError, OSError):
            # Spark, not the socket, announces the death of a worker.
            self._poller.unregister(source)
            del self._connections[source]
            connection.close()
            return None

    def send(self, peer: Peer, frames: list[Any]) -> None:
        if isinstance(peer, bytes):
            self._socket.send_multipart([peer, *frames], copy=False)
        else:
            with contextlib.suppress(OSError):  # it has gone; Spark will say so
                _write(peer, frames)

    def close(self) -> None:
        for connection in self._connections.values():
            connection.close()
        if self._listener is not None:
            self._listener.close()
        self._socket.close(linger=1000)
        self._context.term()
        if self.endpoint.folder:
            shutil.rmtree(self.endpoint.folder, ignore_errors=True)


def _bind(server: zmq.Socket, bind_host: str, ports: range) -> int:
    if not ports:
        return server.bind_to_random_port(f"tcp://{bind_host}")
    for port in ports:
        try:
            server.bind(f"tcp://{bind_host}:{port}")
            return port
        except zmq.ZMQError:
            if port == ports[-1]:
                raise
    raise AssertionError


# --- the worker's side ---------------------------------------------------------------------------------------------


def connect(endpoint: Endpoint, size: int) -> Line:
    """A worker's connection to the driver.

    Args:
        size: bytes of shared memory for one direction; 0: none is needed.
    """
    if endpoint.is_local:
        try:
            name, memory = SharedMemory.create(endpoint.folder, size) if size else (None, None)
        except OSError:
            pass  # no room for it: through TCP, as from another machine
        else:
            return LocalLine(endpoint, name, memory)
    return RemoteLine(endpoint)


class RemoteLine:
    """A worker's connection over TCP.

    Attributes:
        memory: None, for there is none.
        memory_name: likewise.
    """

    memory = memory_name = None

    def __init__(self, endpoint: Endpoint):
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.DEALER)
        self._socket.setsockopt(zmq.LINGER, 5000)
        if endpoint.server_key is not None:
            self._socket.curve_serverkey = endpoint.server_key
            self._socket.curve_publickey, self._socket.curve_secretkey = endpoint.client_public, endpoint.client_secret
        if "[" in endpoint.address:
            self._socket.setsockopt(zmq.IPV6, 1)
        self._socket.connect(endpoint.address)

    def wait(self, milliseconds: int) -> bool:
        """Whether a message is there, or comes within this time."""
        return bool(self._socket.poll(milliseconds))

    def send(self, header: dict[str, Any], arrays: Arrays = ()) -> None:
        self._socket.send_multipart(encode(header, arrays), copy=False)

    def receive(self) -> tuple[dict[str, Any], list[np.ndarray]]:
        header, buffers = _opened(self._socket.recv_multipart(copy=False))
        return header, arrays_of(header, buffers)

    def close(self, linger: int | None = None) -> None:
        """Ends it; messages on their way get so many milliseconds (None: five seconds)."""
        self._socket.close(linger=linger)
        self._context.term()


class LocalLine:
    """A worker's connection on the driver's own machine.

    Attributes:
        memory: what it shares with the driver.
        memory_name: by which the driver finds it.
    """

    def __init__(self, endpoint: Endpoint, memory_name: str | None, memory: SharedMemory | None):
        self.memory_name, self.memory = memory_name, memory
        self._connection = Client(endpoint.unix_socket, "AF_UNIX")
        # The connection's own `poll` makes one of these for each call.
        self._poll = select.poll()
        self._poll.register(self._connection, select.POLLIN)

    def wait(self, milliseconds: int) -> bool:
        return bool(self._poll.poll(milliseconds))

    def send(self, header: dict[str, Any], arrays: Arrays = ()) -> None:
        _write(self._connection, encode(header, arrays, self.memory))

    def receive(self) -> tuple[dict[str, Any], list[np.ndarray]]:
        header, buffers = _read(self._connection)
        return header, arrays_of(header, buffers, self.memory)

    def close(self) -> None:
        self._connection.close()


Line = RemoteLine | LocalLine


# --- messages ------------------------------------------------------------------------------------------------------


def _write(connection: Connection, frames: list[Any]) -> None:
    for frame in frames:
        connection.send_bytes(frame)


def _read(connection: Connection) -> tuple[dict[str, Any], list[Any]]:
    header = json.loads(connection.recv_bytes())
    return header, [connection.recv_bytes() for _ in range(_buffers_of(header))]


def _opened(frames: list[zmq.Frame]) -> tuple[dict[str, Any], list[Any]]:
    return json.loads(bytes(frames[0].buffer)), [frame.buffer for frame in frames[1:]]


def _buffers_of(header: dict[str, Any]) -> int:
    return 0 if header["shared"] else len(header["arrays"])


def encode(header: dict[str, Any], arrays: Arrays = (), memory: SharedMemory | None = None) -> list[Any]:
    """Frames of a message: its header, and the buffers of one-dimensional arrays without a copy, unless they fit into
    the shared memory."""
    shared = bool(arrays) and memory is not None and memory.put(arrays)
    described = {**header, "arrays": [[array.dtype.str, len(array)] for array in arrays], "shared": shared}
    frames = [] if shared else [memoryview(np.ascontiguousarray(array)).cast("B") for array in arrays]
    return [json.dumps(described).encode(), *frames]


def arrays_of(header: dict[str, Any], buffers: list[Any], memory: SharedMemory | None = None) -> list[np.ndarray]:
    """The arrays of a message: read-only views of the received buffers, or views of the shared memory."""
    described = header["arrays"]
    if len(buffers) != _buffers_of(header):
        raise ValueError(f"A message with {len(buffers)} buffers announces {len(described)} arrays.")
    if header["shared"] and memory is None:
        raise ValueError("A message announces arrays in shared memory, and there is none.")
    if header["shared"]:
        return memory.get(described)
    arrays = []
    for buffer, (dtype, length) in zip(buffers, described):
        array = np.frombuffer(buffer, dtype=dtype)
        if len(array) != length:
            raise ValueError(f"A message announces {length} numbers and brings {len(array)}.")
        arrays.append(array)
    return arrays
