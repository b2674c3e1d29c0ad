"""Connections between driver and workers: where the driver listens, and the worker's side.

Workers on other machines come over ZeroMQ, encrypted. Those on the driver's own machine come through a folder that no
other user can enter: a Unix socket for the headers, shared memory for the numbers. That is several times faster, which
counts where a round takes milliseconds.
"""

from __future__ import annotations

import logging
import os
import select
import threading
import time
from typing import Any, NamedTuple

import msgspec
import numpy as np
import zmq
from zmq.utils.monitor import recv_monitor_message

from spark_keras.training.wire import protocol, shared_memory
from spark_keras.training.wire.shared_memory import SharedMemory
from spark_keras.training.wire.unix_stream import Stream

logger = logging.getLogger(__name__)

# For a worker to reach the driver, which answers within milliseconds.
CONNECT_SECONDS = 60

# For ZeroMQ to end what is left of its connections.
END_SECONDS = 10

# A connection that has gone without a word, as with a machine's power, is noticed within so many milliseconds.
HEARTBEAT_MILLISECONDS = 60_000


class Endpoint(NamedTuple):
    """Address on which the driver listens, and the keys that let this fit's workers in (None: no encryption).

    The server's key is made for the fit and travels in the task closure alone. CURVE never sends it over the wire, and
    a client that does not know it cannot complete the handshake; so it is what lets a worker in.

    Args:
        folder: of the Unix socket and, for a moment each, the files of shared memory; "": TCP for everybody.
        machine: on which that folder is.
        fit: a secret of the fit, which begins each connection: without encryption, a worker of an earlier fit may come
            to a port that is this fit's now.
    """

    address: str
    server_key: bytes | None = None
    client_public: bytes | None = None
    client_secret: bytes | None = None
    folder: str = ""
    machine: str | None = None
    fit: str = ""

    @property
    def unix_socket(self) -> str:
        return os.path.join(self.folder, shared_memory.SOCKET)

    @property
    def is_local(self) -> bool:
        """Tells whether this process can use the folder; one in a container of its own or of another user cannot."""
        if not self.folder or self.machine != shared_memory.machine():
            return False
        return os.access(self.unix_socket, os.R_OK | os.W_OK)


def connect(endpoint: Endpoint, size: int) -> Connection:
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
            return LocalConnection(endpoint, name, memory)
    return RemoteConnection(endpoint)


class Connection:
    """A worker's connection to the driver.

    Attributes:
        memory: what it shares with the driver; None: nothing.
        memory_name: by which the driver finds it.
    """

    def __init__(self, fit: str, memory_name: str | None = None, memory: SharedMemory | None = None):
        self._fit, self._number = fit, 0
        self.memory_name, self.memory = memory_name, memory

    def wait(self, milliseconds: int) -> bool:
        """Tells whether a message is there, or comes within this time."""
        raise NotImplementedError

    def send(self, message: protocol.Message, arrays: protocol.Arrays = ()) -> None:
        """Sends a message, with what tells the driver that it is of this fit, and that none is missing or repeated."""
        message.number, message.fit = self._number, None if self._number else self._fit
        self._send(protocol.encode(message, arrays, self.memory))
        self._number += 1

    def _send(self, frames: list[Any]) -> None:
        raise NotImplementedError

    def receive(self) -> tuple[Any, list[np.ndarray]]:
        """The next message, and its arrays."""
        raise NotImplementedError

    def close(self) -> None:
        """Ends it."""
        raise NotImplementedError


def dealer(context: zmq.Context, endpoint: Endpoint) -> zmq.Socket:
    """A socket with the keys of a fit, not connected yet."""
    socket = context.socket(zmq.DEALER)
    socket.setsockopt(zmq.LINGER, 5000)
    socket.setsockopt(zmq.MAXMSGSIZE, protocol.BUFFER_BYTES)
    socket.setsockopt(zmq.HEARTBEAT_IVL, HEARTBEAT_MILLISECONDS // 4)
    socket.setsockopt(zmq.HEARTBEAT_TIMEOUT, HEARTBEAT_MILLISECONDS)
    if endpoint.server_key is not None:
        socket.curve_serverkey = endpoint.server_key
        socket.curve_publickey, socket.curve_secretkey = endpoint.client_public, endpoint.client_secret
    if "[" in endpoint.address:
        socket.setsockopt(zmq.IPV6, 1)
    return socket


class RemoteConnection(Connection):
    """A worker's connection over TCP.

    Raises:
        ConnectionError: where nobody answers.
    """

    def __init__(self, endpoint: Endpoint):
        super().__init__(endpoint.fit)
        self._encrypted = endpoint.server_key is not None
        self._context = zmq.Context()
        self._socket = dealer(self._context, endpoint)
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
        """Tells whether the driver answers in time; ZeroMQ itself tries again and again, for ever."""
        deadline = time.monotonic() + CONNECT_SECONDS
        while (left := deadline - time.monotonic()) > 0 and self._events.poll(int(1000 * left)):
            if recv_monitor_message(self._events)["event"] == zmq.EVENT_HANDSHAKE_SUCCEEDED:
                return True
        return False

    def wait(self, milliseconds: int) -> bool:
        """Tells whether a message is there, or comes within this time.

        Raises ConnectionError where the connection was lost: a new one would be another worker's to the driver.
        """
        there = bool(self._socket.poll(milliseconds))
        if not there and self._events.poll(0):
            raise ConnectionError("The connection to the driver was lost.")
        return there

    def _send(self, frames: list[Any]) -> None:
        self._socket.send_multipart(frames if self._encrypted else protocol.with_checksum(frames), copy=False)

    def receive(self) -> tuple[Any, list[np.ndarray]]:
        """The next message, and its arrays."""
        buffers = [frame.buffer for frame in self._socket.recv_multipart(copy=False)]
        buffers = buffers if self._encrypted else protocol.verified(buffers)
        message, buffers = protocol.opened(buffers, protocol.FROM_DRIVER)
        return message, protocol.arrays_of(message, buffers)

    def close(self, linger: int | None = None) -> None:
        """Ends it; messages on their way get so many milliseconds (None: five seconds)."""
        self._socket.disable_monitor()
        self._events.close(linger=0)
        self._socket.close(linger=linger)
        end(self._context)


class LocalConnection(Connection):
    """A worker's connection on the driver's own machine."""

    def __init__(self, endpoint: Endpoint, memory_name: str | None, memory: SharedMemory | None):
        super().__init__(endpoint.fit, memory_name, memory)
        # What the driver writes for all workers, by its name.
        self._for_all: dict[str, SharedMemory] = {}
        self._folder = endpoint.folder
        self._stream = Stream.to(endpoint.unix_socket)
        self._poll = select.poll()
        self._poll.register(self._stream, select.POLLIN)

    def wait(self, milliseconds: int) -> bool:
        return self._stream.unread or bool(self._poll.poll(milliseconds))

    def _send(self, frames: list[Any]) -> None:
        write(self._stream, frames)

    def receive(self) -> tuple[Any, list[np.ndarray]]:
        """The next message, and its arrays."""
        message, buffers = read(self._stream, protocol.FROM_DRIVER)
        name, memory = getattr(message, "memory", None), self.memory
        if name is not None:
            if name not in self._for_all:
                self._for_all[name] = SharedMemory.open_for_all(self._folder, name)
            memory = self._for_all[name]
        return message, protocol.arrays_of(message, buffers, memory)

    def close(self) -> None:
        self._stream.close()


def write(stream: Stream, frames: list[Any]) -> None:
    """Sends the frames of a message."""
    for frame in frames:
        stream.send(frame)


def read(stream: Stream, decoder: msgspec.json.Decoder) -> tuple[Any, list[Any]]:
    """The next message, and its buffers."""
    message = protocol.header_of(stream.receive(protocol.HEADER_BYTES), decoder)
    sizes = [] if message.shared else [protocol.DTYPES[dtype] * length for dtype, length in message.arrays]
    return message, [stream.receive(size) for size in sizes]


def end(context: zmq.Context) -> None:
    """Frees what the closed sockets of a context have left.

    In a thread of its own, because libzmq has been seen to wait for ever where a handshake was never finished
    (https://github.com/zeromq/libzmq/issues/2733); a fit does not.
    """
    ending = threading.Thread(target=context.term, name="spark_keras end of connections", daemon=True)
    ending.start()
    ending.join(END_SECONDS)
    if ending.is_alive():
        logger.warning("ZeroMQ does not end the connections of a fit within %d s; they are left to it.", END_SECONDS)
