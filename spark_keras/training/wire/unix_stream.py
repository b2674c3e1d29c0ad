"""Frames of messages through a Unix socket."""

from __future__ import annotations

import socket
import struct

_LENGTH = struct.Struct("<Q")

# Bytes to ask the system for at a time: a whole message, where its arrays are in shared memory.
_PART = 2**16


class Stream:
    """One side of a connected socket: each frame travels after its length.

    `multiprocessing.connection` does the same in three times as many steps of Python. Between two rounds, when the
    core's caches are full of what was computed, these take longer than everything that is done to the numbers.
    """

    def __init__(self, connected: socket.socket):
        connected.settimeout(None)
        self._socket = connected
        # What was received after the last frame.
        self._unread = b""

    @classmethod
    def to(cls, path: str) -> Stream:
        """Connects to the socket of this path."""
        connected = socket.socket(socket.AF_UNIX)
        try:
            connected.connect(path)
        except OSError:
            connected.close()
            raise
        return cls(connected)

    def fileno(self) -> int:
        """-1 when it is closed."""
        return self._socket.fileno()

    @property
    def closed(self) -> bool:
        return self.fileno() < 0

    @property
    def unread(self) -> bool:
        """Tells whether a frame, or its beginning, was received already: the socket does not tell of it any more."""
        return bool(self._unread)

    def send(self, frame: bytes | memoryview) -> None:
        length = _LENGTH.pack(len(frame))
        if len(frame) < _PART:
            self._socket.sendall(length + frame)
        else:
            self._socket.sendall(length)
            self._socket.sendall(frame)

    def receive(self, limit: int) -> bytes:
        """The next frame.

        Args:
            limit: bytes that it may have. A longer one is refused before there is memory for it.

        Raises:
            EOFError: where the other side has gone.
            OSError: where the frame is longer, or its rest does not come.
        """
        received = self._unread or self._some(_PART)
        while len(received) < _LENGTH.size:
            received += self._some(_PART)
        (size,) = _LENGTH.unpack_from(received)
        if size > limit:
            raise OSError(f"A frame of {size} bytes is announced where at most {limit} are expected.")
        end = _LENGTH.size + size
        if len(received) < end:
            whole = bytearray(received)
            while len(whole) < end:
                whole += self._some(min(end - len(whole), 2**20))
            received = bytes(whole)
        self._unread = received[end:]
        return received[_LENGTH.size : end]

    def _some(self, size: int) -> bytes:
        part = self._socket.recv(size)
        if not part:
            raise EOFError("The other side has closed the connection.")
        return part

    def close(self) -> None:
        self._socket.close()
