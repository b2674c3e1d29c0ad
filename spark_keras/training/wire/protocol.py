"""Messages between driver and workers: a JSON header and raw number buffers. Never pickle."""

from __future__ import annotations

import struct
import zlib
from typing import Any

import numpy as np
import orjson

from spark_keras.training.wire.shared_memory import SharedMemory

Arrays = list[np.ndarray] | tuple[np.ndarray, ...]

# What a header and the buffers of a message may have. A larger frame is refused before there is memory for it.
HEADER_BYTES = 2**20
BUFFER_BYTES = 2**31
DTYPES = {np.dtype(name).str: np.dtype(name).itemsize for name in ("float32", "float64", "int64")}


# What workers say, and what the driver relies on in it. A number here is an integer, and not negative.
_WORKER = {"shard": int, "attempt": int, "submission": int}
FIELDS: dict[str, dict[str, type | tuple[type, ...]]] = {
    "start": {**_WORKER, "host": str, "pid": int},
    "loading": {},
    "error": {**_WORKER, "invalid_data": bool, "transient": bool, "message": str, "traceback": str},
    "join": {
        **_WORKER,
        "rows": int,
        "validation_rows": int,
        "skipped": dict,
        "storage": str,
        "bytes": int,
        "digest": str,
        "seconds": dict,
        "warning": (str, type(None)),
        "memory": (str, type(None)),
    },
    "progress": {"ticket": int},
    "done": {"ticket": int, "rows": int, "seconds": float},
    "payload": {"ticket": int, "start": int},
    "pull": {"ticket": int, "start": int, "stop": int},
}


def sendable(text: str) -> str:
    """Text that a header can hold: the names of files, for one, may have bytes that are no text."""
    return text.encode("utf-8", "backslashreplace").decode()


class Garbled(ValueError):
    """A message that is not as this protocol has it."""


def check_fields(header: dict[str, Any]) -> None:
    """Refuses what no worker says."""
    fields = FIELDS.get(header["type"])
    if fields is None:
        raise Garbled(f"Workers send nothing of type {header['type'][:20]!r}.")
    for name, kind in fields.items():
        value = header.get(name)
        if not isinstance(value, kind) or (kind is int and (isinstance(value, bool) or value < 0)):
            raise Garbled(f"A message of type {header['type']!r} has no valid {name!r}.")


def opened(frames: list[Any]) -> tuple[dict[str, Any], list[Any]]:
    """The header of a message, and its buffers."""
    if not frames:
        raise Garbled("It is empty.")
    return header_of(bytes(frames[0][: HEADER_BYTES + 1])), frames[1:]


def header_of(data: bytes) -> dict[str, Any]:
    """A message's header, after checks of all that the receipt of its arrays relies on."""
    if len(data) > HEADER_BYTES:
        raise Garbled(f"Its header is longer than {HEADER_BYTES} bytes.")
    try:
        header = orjson.loads(data)
        valid = type(header["type"]) is str and type(header["shared"]) is bool
        for dtype, length in header["arrays"]:
            valid = valid and type(length) is int and 0 <= DTYPES[dtype] * length <= BUFFER_BYTES
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise Garbled(f"Its header cannot be read: {type(error).__name__}.") from error
    if not valid:
        raise Garbled("Its header announces what no message has.")
    return header


def with_checksum(frames: list[Any]) -> list[Any]:
    """Encryption authenticates each byte, and a connection within the machine loses none; for the others, CRC-32."""
    return [*frames, struct.pack("<I", _checksum(frames))]


def verified(frames: list[Any]) -> list[Any]:
    """The frames, which `with_checksum` has sealed."""
    if not frames:
        raise Garbled("It is empty.")
    *frames, checksum = frames
    if bytes(checksum[:5]) != struct.pack("<I", _checksum(frames)):
        raise Garbled("Its checksum is wrong.")
    return frames


def _checksum(frames: list[Any]) -> int:
    checksum = 0
    for frame in frames:
        checksum = zlib.crc32(frame, zlib.crc32(struct.pack("<Q", len(frame)), checksum))
    return checksum


def _buffers_of(header: dict[str, Any]) -> int:
    return 0 if header["shared"] else len(header["arrays"])


def encode(header: dict[str, Any], arrays: Arrays = (), memory: SharedMemory | None = None) -> list[Any]:
    """Frames of a message: its header, and the buffers of one-dimensional arrays without a copy, unless they fit into
    the shared memory.
    """
    shared = bool(arrays) and memory is not None and memory.put(arrays)
    described = {**header, "arrays": [[array.dtype.str, len(array)] for array in arrays], "shared": shared}
    frames = [] if shared else [memoryview(np.ascontiguousarray(array)).cast("B") for array in arrays]
    return [orjson.dumps(described), *frames]


def arrays_of(header: dict[str, Any], buffers: list[Any], memory: SharedMemory | None = None) -> list[np.ndarray]:
    """The arrays of a message: read-only views of the received buffers, or views of the shared memory."""
    described = header["arrays"]
    if len(buffers) != _buffers_of(header):
        raise Garbled(f"A message with {len(buffers)} buffers announces {len(described)} arrays.")
    if header["shared"] and memory is None:
        raise Garbled("A message announces arrays in shared memory, and there is none.")
    if header["shared"]:
        try:
            return memory.get(described)
        except ValueError as error:
            raise Garbled(str(error)) from error
    arrays = []
    for buffer, (dtype, length) in zip(buffers, described):
        if len(buffer) != DTYPES[dtype] * length:
            raise Garbled(f"A message announces {length} numbers and brings {len(buffer) / DTYPES[dtype]:g}.")
        arrays.append(np.frombuffer(buffer, dtype=dtype))
    return arrays
