"""The averaging of a worker's states with those of the others, over its connections to them."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable

from spark_keras.training.requests import Average
from spark_keras.training.wire import connections, protocol
from spark_keras.training.wire.others import Others
from spark_keras.training.worker.exchange import Exchange, Parcel
from spark_keras.training.worker.shard_worker import LOST, Done, ShardWorker

# Without a parcel from anybody, the connections are made anew.
SILENT_SECONDS = 120.0


def average(
    worker: ShardWorker,
    request: Average,
    ask: protocol.Ask,
    others: Others,
    connection: connections.Connection,
    beat: Callable[[], None],
) -> Done | None:
    """Averages with the others; None, if the driver says stop meanwhile.

    Args:
        ask: with which the request came.
        connection: to the driver, which may break it off.
        beat: called again and again.
    """
    exchange = worker.held.exchange(request)
    if exchange is None or not all(ask.addresses):
        return LOST  # or another one is not there
    shard = worker.shard
    others.connect(address for other, address in enumerate(ask.addresses) if other != shard)
    outcome = _carry(exchange, shard, ask, others, connection, beat)
    if outcome is None:
        return None
    if not outcome:
        others.leave()
        return LOST
    worker.held.averaged(request, exchange.mean)
    return Done(0)


def _carry(
    exchange: Exchange,
    shard: int,
    ask: protocol.Ask,
    others: Others,
    connection: connections.Connection,
    beat: Callable[[], None],
) -> bool | None:
    """Carries parcels until the mean is here; False: another worker has gone; None: the driver says stop."""

    def send(parcels: Iterable[Parcel]) -> None:
        for to, chunk, averaged, arrays in parcels:
            part = protocol.Part(ticket=ask.ticket, sender=shard, chunk=chunk, averaged=averaged)
            others.send(ask.addresses[to], part, arrays)

    parent, heard = os.getppid(), time.monotonic()
    send(exchange.begin())
    while not exchange.complete:
        beat()
        while not exchange.complete and others.wait(20):
            received = others.receive()
            # Others may be left from an averaging that was broken off.
            if received is not None and received[0].ticket == ask.ticket:
                part, arrays = received
                send(exchange.receive(part.sender, part.chunk, part.averaged, arrays))
                heard = time.monotonic()
            beat()
        if connection.wait(0):
            message, _ = connection.receive()
            if isinstance(message, protocol.Stop):
                return None
            if isinstance(message, protocol.BreakOff):
                return False
            if not isinstance(message, protocol.Ping):
                raise protocol.ProtocolError(f"The driver sent {type(message).__name__!r} during an averaging.")
        if not exchange.complete and (others.broken() or time.monotonic() - heard > SILENT_SECONDS):
            return False
        if os.getppid() != parent:
            raise RuntimeError("The executor has ended.")
    return True
