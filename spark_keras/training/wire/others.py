"""A worker's connections to the other workers of its fit.

Each listens, over TCP, and each sends on connections of its own. They know each other by the fit's keys, as driver and
workers do (see `Endpoint`).
"""

from __future__ import annotations

import socket
import time
from collections.abc import Iterable
from ipaddress import ip_address
from urllib.parse import urlsplit

import numpy as np
import zmq
from zmq.utils.monitor import recv_monitor_message

from spark_keras.training.wire import connections, protocol
from spark_keras.training.wire.connections import Endpoint
from spark_keras.training.wire.server import Server


class Others:
    """The other workers.

    Args:
        endpoint: of the driver.
        ports: to listen on, in turn; an empty range lets the system choose.

    Attributes:
        address: where this worker listens.
    """

    def __init__(self, endpoint: Endpoint, ports: range = range(0)):
        bind, host = _own_host(endpoint.address)
        self._server = Server(bind, host, ports, endpoint.server_key is not None, local=False, fit=endpoint)
        self._keys = endpoint._replace(server_key=self._server.endpoint.server_key)
        self._links: dict[str, _Link] = {}
        self.address = self._server.endpoint.address

    def connect(self, addresses: Iterable[str]) -> None:
        """Connects to these, and leaves all others. A connection that has broken is made anew."""
        wanted = set(addresses)
        for address, link in list(self._links.items()):
            if address not in wanted or link.broken():
                self._links.pop(address).close()
        for address in wanted - set(self._links):
            self._links[address] = _Link(self._server.context, self._keys._replace(address=address))

    def send(self, address: str, message: protocol.Message, arrays: protocol.Arrays) -> None:
        """Sends a message, which may wait here until it can travel. The arrays must stay as they are meanwhile."""
        self._links[address].send(message, arrays)

    def wait(self, milliseconds: int) -> bool:
        """Tells if a message is there, or comes within this time."""
        return self._server.wait(milliseconds)

    def receive(self) -> tuple[protocol.Part, list[np.ndarray]] | None:
        """The next message, and its arrays; None for one that is none of this fit."""
        received = self._server.receive()
        if received is None:
            return None
        peer, message, buffers = received
        try:
            if isinstance(message, protocol.Unexpected):
                raise protocol.ProtocolError(message.error)
            return message, protocol.arrays_of(message, buffers)
        except (protocol.ProtocolError, ValueError) as error:
            self._server.refuse(peer, error)
            return None

    def broken(self) -> bool:
        """Tells if one of them has gone.

        Raises:
            ConnectionError: where one cannot be reached in time.
        """
        return any([link.broken() for link in self._links.values()])

    def leave(self) -> None:
        """Ends all connections; what is under way on them gets lost."""
        for link in self._links.values():
            link.close()
        self._links.clear()

    def close(self) -> None:
        self.leave()
        self._server.close()


class _Link(connections.Connection):
    """A connection on which a worker sends to another one."""

    def __init__(self, context: zmq.Context, endpoint: Endpoint):
        super().__init__(endpoint.fit)
        self._address, self._encrypted = endpoint.address, endpoint.server_key is not None
        self._socket = connections.dealer(context, endpoint)
        # A whole state may wait for an owner that is busy.
        self._socket.setsockopt(zmq.SNDHWM, 0)
        self._events = self._socket.get_monitor_socket(zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_DISCONNECTED)
        self._since, self._reached, self._broken = time.monotonic(), False, False
        self._socket.connect(endpoint.address)

    def _send(self, frames: list[bytes]) -> None:
        self._socket.send_multipart(frames if self._encrypted else protocol.with_checksum(frames), copy=False)

    def broken(self) -> bool:
        while self._events.poll(0):
            reached = recv_monitor_message(self._events)["event"] == zmq.EVENT_HANDSHAKE_SUCCEEDED
            self._reached, self._broken = self._reached or reached, self._broken or not reached
        if not self._reached and time.monotonic() - self._since > connections.CONNECT_SECONDS:
            raise ConnectionError(
                f"A worker cannot reach another one. Received: no answer from {self._address} in "
                f"{connections.CONNECT_SECONDS} s. Expected: executors can connect to each other; see "
                'spark.keras.worker.port and firewalls. averaging="driver" needs only that they reach the driver.'
            )
        return self._broken

    def close(self) -> None:
        self._socket.disable_monitor()
        self._events.close(linger=0)
        self._socket.close(linger=0)


def _own_host(driver: str) -> tuple[str, str]:
    """(interface, name for others) of this machine on the network on which it reaches the driver."""
    parts = urlsplit(driver)
    family, kind, _, _, address = socket.getaddrinfo(parts.hostname, parts.port, type=socket.SOCK_DGRAM)[0]
    with socket.socket(family, kind) as probe:
        probe.connect(address)  # sends nothing
        own = probe.getsockname()[0]
    if ip_address(own).is_loopback and parts.hostname and parts.hostname != own:
        # The driver's own machine may know itself by an address that others do not reach: they reach it by the name.
        return ("::" if family == socket.AF_INET6 else "0.0.0.0"), parts.hostname
    return own, own
