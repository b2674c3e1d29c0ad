"""The driver's side of a fit's connections."""

from __future__ import annotations

import hmac
import logging
import os
import secrets
import socket
import struct
from collections.abc import Callable
from typing import Any

import zmq

from spark_keras import temporary
from spark_keras.training.wire import connections, protocol, shared_memory
from spark_keras.training.wire.shared_memory import SharedMemory
from spark_keras.training.wire.unix_stream import Stream

logger = logging.getLogger(__name__)

# For the rest of a message that has begun: a stopped process must not stop the other one, too.
MESSAGE_SECONDS = 60

# How a worker is addressed: ZeroMQ's identity, or the worker's own connection.
Peer = bytes | Stream


class Server:
    """The driver's side of a fit's connections.

    Args:
        bind_host: the interface to listen on.
        host: the name under which workers reach it.
        ports: ports to try in turn; an empty range lets the system choose.
        encrypted: whether TCP connections are.
        local: whether workers on this machine may come without TCP.
        fit: the endpoint of a fit's driver, where a worker listens for the others: they show that they are of this fit
            as they do to the driver, and the worker is known by the keys that all of them have.
    """

    def __init__(
        self,
        bind_host: str,
        host: str,
        ports: range,
        encrypted: bool,
        local: bool = True,
        fit: connections.Endpoint | None = None,
    ):
        self._decoder = protocol.FROM_WORKERS if fit is None else protocol.FROM_OTHERS
        self.context = zmq.Context()
        if fit is not None:
            # Three for each other worker; by default 1,023 in all.
            self.context.set(zmq.MAX_SOCKETS, self.context.get(zmq.SOCKET_LIMIT))
        self._socket = self.context.socket(zmq.ROUTER)
        self._poller = zmq.Poller()
        self._poller.register(self._socket, zmq.POLLIN)
        self._listener: socket.socket | None = None
        # What all workers of this machine read, and its name.
        self._for_all: tuple[str, SharedMemory] | None = None
        self._connections: dict[int, Stream] = {}
        self._ready: list[Any] = []
        # Messages received from each peer; None: nothing more is heard from it.
        self._received: dict[Any, int | None] = {}
        secret = secrets.token_hex(16) if fit is None else fit.fit
        self._fit = repr(secret).encode()
        self.endpoint = connections.Endpoint("")
        try:
            self.endpoint = self._listen_for_others(bind_host, host, ports, encrypted, fit)._replace(fit=secret)
            if local and hasattr(socket, "AF_UNIX"):
                self._listen_here()
        except BaseException:
            self.close()
            raise

    def _listen_for_others(
        self, bind_host: str, host: str, ports: range, encrypted: bool, fit: connections.Endpoint | None
    ) -> connections.Endpoint:
        endpoint = connections.Endpoint("")
        self._socket.setsockopt(zmq.MAXMSGSIZE, protocol.BUFFER_BYTES)
        self._socket.setsockopt(zmq.HEARTBEAT_IVL, connections.HEARTBEAT_MILLISECONDS // 4)
        self._socket.setsockopt(zmq.HEARTBEAT_TIMEOUT, connections.HEARTBEAT_MILLISECONDS)
        # A message to a worker that has gone is an error, by which it is known to have gone.
        self._socket.setsockopt(zmq.ROUTER_MANDATORY, 1)
        self._socket.setsockopt(zmq.SNDTIMEO, 1000 * MESSAGE_SECONDS)
        if ":" in bind_host:
            self._socket.setsockopt(zmq.IPV6, 1)
            bind_host = f"[{bind_host}]"
        if encrypted:
            client_public, client_secret = (
                zmq.curve_keypair() if fit is None else (fit.client_public, fit.client_secret)
            )
            server_public, server_secret = zmq.curve_keypair() if fit is None else (client_public, client_secret)
            self._socket.curve_server = True
            self._socket.curve_secretkey, self._socket.curve_publickey = server_secret, server_public
            endpoint = connections.Endpoint("", server_public, client_public, client_secret)
        try:
            port = _bind(self._socket, bind_host, ports)
        except zmq.ZMQError as error:
            where = f"{bind_host}, {'ports ' + str(list(ports)) if ports else 'any port'}: {error}"
            raise OSError(
                f"The driver cannot listen for its workers on {where}. Set spark.driver.bindAddress to an "
                "address of this machine, and spark.keras.driver.port to a free port or a range such as 40000-40100."
                if fit is None
                else f"A worker cannot listen for the other workers on {where}. Set spark.keras.worker.port to a range "
                "with more ports than workers on a host, such as 40000-40100, or leave it unset."
            ) from error
        host = f"[{host}]" if ":" in host else host
        return endpoint._replace(address=f"tcp://{host}:{port}")

    def _listen_here(self) -> None:
        self.endpoint = self.endpoint._replace(folder=shared_memory.new_folder(), machine=shared_memory.machine())
        temporary.make(self.endpoint.folder)
        self._listener = socket.socket(socket.AF_UNIX)
        # It gets its name when it listens, for by that other drivers know that somebody is there.
        unnamed = f"{self.endpoint.unix_socket}.new"
        self._listener.bind(unnamed)
        self._listener.listen(128)
        os.rename(unnamed, self.endpoint.unix_socket)
        self._poller.register(self._listener.fileno(), zmq.POLLIN)

    def wait(self, milliseconds: int) -> bool:
        """Tells whether a message is there, or something else for `receive` to look at, or comes within this time."""
        if not self._ready:
            # Those that have received more than the message that was read.
            left = [descriptor for descriptor, connection in self._connections.items() if connection.unread]
            polled = self._poller.poll(0 if left else milliseconds)
            self._ready = [*left, *(source for source, _ in polled if source not in left)]
        return bool(self._ready)

    def receive(self) -> tuple[Peer, Any, list[Any]] | None:
        """(sender, message, buffers), for `arrays_of`; None where a worker has only connected or gone.

        To be called after `wait` said yes.
        """
        source = self._ready.pop(0)
        if source is self._socket:
            peer, *frames = self._socket.recv_multipart(copy=False)
            return self._checked(bytes(peer.buffer), lambda: protocol.opened(self._unsealed(frames), self._decoder))
        if self._listener is not None and source == self._listener.fileno():
            accepted = self._listener.accept()[0]
            for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
                accepted.setsockopt(socket.SOL_SOCKET, option, struct.pack("ll", MESSAGE_SECONDS, 0))
            connection = Stream(accepted)
            self._connections[connection.fileno()] = connection
            self._poller.register(connection.fileno(), zmq.POLLIN)
            return None
        connection = self._connections[source]
        try:
            return self._checked(connection, lambda: connections.read(connection, self._decoder))
        except (EOFError, OSError):
            self.drop(connection)
            return None

    def _checked(self, peer: Peer, receive: Callable[[], tuple[Any, list[Any]]]) -> Any:
        number = self._received.get(peer, 0)
        try:
            message, buffers = receive()
            if number is None:
                return None
            if number == 0 and not hmac.compare_digest(repr(message.fit).encode(), self._fit):
                raise protocol.ProtocolError("It is from a worker of another fit.")
            if message.number != number:
                raise protocol.ProtocolError(f"It has number {message.number!r} instead of {number}.")
        except protocol.ProtocolError as error:
            self.refuse(peer, error)
            return None
        self._received[peer] = number + 1
        return peer, message, buffers

    def _unsealed(self, frames: list[zmq.Frame]) -> list[Any]:
        buffers = [frame.buffer for frame in frames]
        return buffers if self.endpoint.server_key else protocol.verified(buffers)

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
        """Tells whether a peer's process is there, busy or not, as far as its connection tells."""
        if not isinstance(peer, bytes):
            return not peer.closed  # `receive` closes it when all that it said has been read
        return self._received.get(peer, 0) is not None and self._sent(
            peer, protocol.encode(protocol.Ping()), zmq.NOBLOCK
        )

    def encode_for_all(self, message: protocol.Ask, arrays: protocol.Arrays) -> list[Any] | None:
        """Frames of a message to any worker of this machine, the arrays written once for all of them. They hold until
        this is called again. None: there is no room for the arrays.
        """
        if self._for_all is None:
            try:
                size = shared_memory.footprint(arrays)
                self._for_all = SharedMemory.create_for_all(self.endpoint.folder, size)
            except OSError:
                return None
        message.memory, memory = self._for_all
        return protocol.encode(message, arrays, memory) if memory.fits(arrays) else None

    def send(self, peer: Peer, frames: list[Any]) -> None:
        if isinstance(peer, bytes):
            self._sent(peer, frames)
        elif not peer.closed:
            try:
                connections.write(peer, frames)
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
        return frames if self.endpoint.server_key else protocol.with_checksum(frames)

    def close(self) -> None:
        for connection in self._connections.values():
            connection.close()
        if self._listener is not None:
            self._listener.close()
        self._socket.close(linger=1000)
        connections.end(self.context)
        if self.endpoint.folder:
            temporary.remove(self.endpoint.folder)


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
