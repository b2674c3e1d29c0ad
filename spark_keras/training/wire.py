"""Connections between driver and workers.

Workers on other machines come over ZeroMQ, encrypted. Those on the driver's own machine come through a folder that no
other user can enter: a Unix socket for the headers, shared memory for the numbers. That is several times faster, which
counts where a round takes milliseconds.
"""

from __future__ import annotations

import hmac
import itertools
import logging
import os
import secrets
import select
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from multiprocessing.connection import Client, Connection
from typing import Any, NamedTuple

import numpy as np
import zmq
from zmq.utils.monitor import recv_monitor_message

from spark_keras import temporary
from spark_keras.training import messages, shared_memory
from spark_keras.training.shared_memory import SharedMemory

logger = logging.getLogger(__name__)

# For the rest of a message that has begun: a stopped process must not stop the other one, too.
MESSAGE_SECONDS = 60

# For a worker to reach the driver, which answers within milliseconds.
CONNECT_SECONDS = 60

# For ZeroMQ to end what is left of its connections.
END_SECONDS = 10

# A connection that has gone without a word, as with a machine's power, is noticed within so many milliseconds.
HEARTBEAT_MILLISECONDS = 60_000


class Endpoint(NamedTuple):
    """Where the driver listens, and the keys that let this fit's workers in (None: no encryption).

    The server's key is made for the fit and travels in the task closure alone. CURVE never sends it over the wire, and
    a client that does not know it cannot complete the handshake; so it is what lets a worker in.

    Args:
        folder: of the Unix socket and, for a moment each, the files of shared memory; None: TCP for everybody.
        machine: on which that folder is.
        fit: a secret of the fit, which begins each connection: without encryption, a worker of an earlier fit may come
            to a port that is this fit's now.
    """

    address: str
    server_key: bytes | None = None
    client_public: bytes | None = None
    client_secret: bytes | None = None
    folder: str | None = None
    machine: str | None = None
    fit: str = ""

    @property
    def unix_socket(self) -> str:
        return os.path.join(self.folder, shared_memory.SOCKET)

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
        # What all workers of this machine read, and its name.
        self._for_all: tuple[str, SharedMemory] | None = None
        self._connections: dict[int, Connection] = {}
        self._ready: list[Any] = []
        # Messages received from each peer; None: nothing more is heard from it.
        self._received: dict[Any, int | None] = {}
        fit = secrets.token_hex(16)
        self._fit = repr(fit).encode()
        self.endpoint = Endpoint("")
        try:
            self.endpoint = self._listen_for_others(bind_host, host, ports, encrypted)._replace(fit=fit)
            if local and hasattr(socket, "AF_UNIX"):
                self._listen_here()
        except BaseException:
            self.close()
            raise

    def _listen_for_others(self, bind_host: str, host: str, ports: range, encrypted: bool) -> Endpoint:
        keys: tuple[bytes, ...] = ()
        self._socket.setsockopt(zmq.MAXMSGSIZE, messages.BUFFER_BYTES)
        self._socket.setsockopt(zmq.HEARTBEAT_IVL, HEARTBEAT_MILLISECONDS // 4)
        self._socket.setsockopt(zmq.HEARTBEAT_TIMEOUT, HEARTBEAT_MILLISECONDS)
        # A message to a worker that has gone is an error, by which it is known to have gone.
        self._socket.setsockopt(zmq.ROUTER_MANDATORY, 1)
        self._socket.setsockopt(zmq.SNDTIMEO, 1000 * MESSAGE_SECONDS)
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
        # It gets its name when it listens, for by that other drivers know that somebody is there.
        unnamed = f"{self.endpoint.unix_socket}.new"
        self._listener.bind(unnamed)
        self._listener.listen(128)
        os.rename(unnamed, self.endpoint.unix_socket)
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
            peer, *frames = self._socket.recv_multipart(copy=False)
            return self._checked(bytes(peer.buffer), lambda: messages.opened(self._unsealed(frames)))
        if source == self._listener.fileno():
            accepted = self._listener.accept()[0]
            for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
                accepted.setsockopt(socket.SOL_SOCKET, option, struct.pack("ll", MESSAGE_SECONDS, 0))
            connection = Connection(accepted.detach())
            self._connections[connection.fileno()] = connection
            self._poller.register(connection.fileno(), zmq.POLLIN)
            return None
        connection = self._connections[source]
        try:
            return self._checked(connection, lambda: _read(connection))
        except (EOFError, OSError):
            self.drop(connection)
            return None

    def _checked(self, peer: Peer, receive: Callable[[], tuple[dict[str, Any], list[Any]]]) -> Any:
        number = self._received.get(peer, 0)
        try:
            header, buffers = receive()
            if number is None:
                return None
            if number == 0 and not hmac.compare_digest(repr(header.get("fit")).encode(), self._fit):
                raise messages.Garbled("It is from a worker of another fit.")
            if header.get("number") != number:
                raise messages.Garbled(f"It has number {header.get('number')!r} instead of {number}.")
        except messages.Garbled as error:
            self.refuse(peer, error)
            return None
        self._received[peer] = number + 1
        return peer, header, buffers

    def _unsealed(self, frames: list[zmq.Frame]) -> list[Any]:
        buffers = [frame.buffer for frame in frames]
        return buffers if self.endpoint.server_key else messages.verified(buffers)

    def refuse(self, peer: Peer, error: Exception) -> None:
        """Says why a peer is dropped."""
        logger.warning("A message was refused, and its sender is not heard any more: %s", error)
        self.drop(peer)

    def drop(self, peer: Peer) -> None:
        """Hears no more of a peer. A worker that is still there finds its connection closed, or is ignored."""
        if isinstance(peer, bytes):
            self._received[peer] = None
        elif not peer.closed:
            descriptor = peer.fileno()
            self._poller.unregister(descriptor)
            del self._connections[descriptor]
            # Its number may soon be another one's.
            self._ready = [source for source in self._ready if source != descriptor]
            self._received.pop(peer, None)
            peer.close()

    def alive(self, peer: Peer) -> bool:
        """Whether a peer's process is there, busy or not, as far as its connection tells."""
        if not isinstance(peer, bytes):
            return not peer.closed  # `receive` closes it when all that it said has been read
        return self._received.get(peer, 0) is not None and self._sent(
            peer, messages.encode({"type": "ping"}), zmq.NOBLOCK
        )

    def encode_for_all(self, header: dict[str, Any], arrays: messages.Arrays) -> list[Any] | None:
        """Frames of a message to any worker of this machine, the arrays written once for all of them. They hold until
        this is called again. None: there is no room for the arrays."""
        if self._for_all is None:
            try:
                size = shared_memory.footprint(arrays)
                self._for_all = SharedMemory.create_for_all(self.endpoint.folder, size)
            except OSError:
                return None
        name, memory = self._for_all
        return messages.encode({**header, "memory": name}, arrays, memory) if memory.fits(arrays) else None

    def send(self, peer: Peer, frames: list[Any]) -> None:
        if isinstance(peer, bytes):
            self._sent(peer, frames)
        elif not peer.closed:
            try:
                _write(peer, frames)
            except ConnectionError:
                pass  # it has gone; its last words may still be there to be read
            except OSError:  # it does not read, and half a message is on its way
                self.drop(peer)

    def _sent(self, peer: bytes, frames: list[Any], flags: int = 0) -> bool:
        """False: it has gone."""
        try:
            self._socket.send_multipart([peer, *self._sealed(frames)], flags, copy=False)
        except zmq.Again:
            pass  # it does not read; time will tell
        except zmq.ZMQError as error:
            if error.errno != zmq.EHOSTUNREACH:
                raise
            return False
        return True

    def _sealed(self, frames: list[Any]) -> list[Any]:
        return frames if self.endpoint.server_key else messages.with_checksum(frames)

    def close(self) -> None:
        for connection in self._connections.values():
            connection.close()
        if self._listener is not None:
            self._listener.close()
        self._socket.close(linger=1000)
        _end(self._context)
        if self.endpoint.folder:
            temporary.remove(self.endpoint.folder)


def _end(context: zmq.Context) -> None:
    """Frees what the closed sockets of a context have left.

    In a thread of its own, because libzmq has been seen to wait for ever where a handshake was never finished
    (https://github.com/zeromq/libzmq/issues/2733); a fit does not.
    """
    ending = threading.Thread(target=context.term, name="spark_keras end of connections", daemon=True)
    ending.start()
    ending.join(END_SECONDS)
    if ending.is_alive():
        logger.warning("ZeroMQ does not end the connections of a fit within %d s; they are left to it.", END_SECONDS)


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

    Raises:
        ConnectionError: where nobody answers.
    """

    memory = memory_name = None

    def __init__(self, endpoint: Endpoint):
        self._stamps = _stamps(endpoint)
        self._encrypted = endpoint.server_key is not None
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.DEALER)
        self._socket.setsockopt(zmq.LINGER, 5000)
        self._socket.setsockopt(zmq.MAXMSGSIZE, messages.BUFFER_BYTES)
        self._socket.setsockopt(zmq.HEARTBEAT_IVL, HEARTBEAT_MILLISECONDS // 4)
        self._socket.setsockopt(zmq.HEARTBEAT_TIMEOUT, HEARTBEAT_MILLISECONDS)
        if endpoint.server_key is not None:
            self._socket.curve_serverkey = endpoint.server_key
            self._socket.curve_publickey, self._socket.curve_secretkey = endpoint.client_public, endpoint.client_secret
        if "[" in endpoint.address:
            self._socket.setsockopt(zmq.IPV6, 1)
        self._events = self._socket.get_monitor_socket(zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_DISCONNECTED)
        self._socket.connect(endpoint.address)
        if not self._connected():
            self.close(linger=0)
            raise ConnectionError(
                f"This executor cannot reach the fit's driver. Received: no answer from {endpoint.address} in "
                f"{CONNECT_SECONDS} s. Expected: executors can connect to that port; see spark.keras.driver.host, "
                "spark.keras.driver.port and firewalls."
            )

    def _connected(self) -> bool:
        """Whether the driver answers in time; ZeroMQ itself tries again and again, for ever."""
        deadline = time.monotonic() + CONNECT_SECONDS
        while (left := deadline - time.monotonic()) > 0 and self._events.poll(int(1000 * left)):
            if recv_monitor_message(self._events)["event"] == zmq.EVENT_HANDSHAKE_SUCCEEDED:
                return True
        return False

    def wait(self, milliseconds: int) -> bool:
        """Whether a message is there, or comes within this time.

        Raises ConnectionError where the connection was lost: a new one would be another worker's to the driver.
        """
        there = bool(self._socket.poll(milliseconds))
        if not there and self._events.poll(0):
            raise ConnectionError("The connection to the driver was lost.")
        return there

    def send(self, header: dict[str, Any], arrays: messages.Arrays = ()) -> None:
        frames = messages.encode({**header, **next(self._stamps)}, arrays)
        self._socket.send_multipart(frames if self._encrypted else messages.with_checksum(frames), copy=False)

    def receive(self) -> tuple[dict[str, Any], list[np.ndarray]]:
        buffers = [frame.buffer for frame in self._socket.recv_multipart(copy=False)]
        header, buffers = messages.opened(buffers if self._encrypted else messages.verified(buffers))
        return header, messages.arrays_of(header, buffers)

    def close(self, linger: int | None = None) -> None:
        """Ends it; messages on their way get so many milliseconds (None: five seconds)."""
        self._socket.disable_monitor()
        self._events.close(linger=0)
        self._socket.close(linger=linger)
        _end(self._context)


class LocalLine:
    """A worker's connection on the driver's own machine.

    Attributes:
        memory: what it shares with the driver.
        memory_name: by which the driver finds it.
    """

    def __init__(self, endpoint: Endpoint, memory_name: str | None, memory: SharedMemory | None):
        self.memory_name, self.memory = memory_name, memory
        # What the driver writes for all workers, by its name.
        self._for_all: dict[str, SharedMemory] = {}
        self._folder = endpoint.folder
        self._stamps = _stamps(endpoint)
        self._connection = Client(endpoint.unix_socket, "AF_UNIX")
        # The connection's own `poll` makes one of these for each call.
        self._poll = select.poll()
        self._poll.register(self._connection, select.POLLIN)

    def wait(self, milliseconds: int) -> bool:
        return bool(self._poll.poll(milliseconds))

    def send(self, header: dict[str, Any], arrays: messages.Arrays = ()) -> None:
        _write(self._connection, messages.encode({**header, **next(self._stamps)}, arrays, self.memory))

    def receive(self) -> tuple[dict[str, Any], list[np.ndarray]]:
        header, buffers = _read(self._connection)
        name, memory = header.get("memory"), self.memory
        if name is not None:
            if name not in self._for_all:
                self._for_all[name] = SharedMemory.open_for_all(self._folder, name)
            memory = self._for_all[name]
        return header, messages.arrays_of(header, buffers, memory)

    def close(self) -> None:
        self._connection.close()


Line = RemoteLine | LocalLine


def _stamps(endpoint: Endpoint) -> Iterator[dict[str, Any]]:
    """What tells the driver that a worker's messages belong to its fit, and that none is missing or comes again."""
    yield {"number": 0, "fit": endpoint.fit}
    for number in itertools.count(1):
        yield {"number": number}


def _write(connection: Connection, frames: list[Any]) -> None:
    for frame in frames:
        connection.send_bytes(frame)


def _read(connection: Connection) -> tuple[dict[str, Any], list[Any]]:
    header = messages.header_of(connection.recv_bytes(messages.HEADER_BYTES))
    sizes = [] if header["shared"] else [messages.DTYPES[dtype] * length for dtype, length in header["arrays"]]
    return header, [connection.recv_bytes(size) for size in sizes]
