"""Messages between driver and workers: a header of a known type as JSON, and raw number buffers. Never pickle."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from typing import Annotated, Any

import msgspec
import numpy as np

from spark_keras.training.requests import Request
from spark_keras.training.wire.shared_memory import SharedMemory

Arrays = Sequence[np.ndarray]

# What a header and the buffers of a message may have. A larger frame is refused before there is memory for it.
HEADER_BYTES = 2**20
BUFFER_BYTES = 2**31
DTYPES = {np.dtype(name).str: np.dtype(name).itemsize for name in ("float32", "float64", "int64", "uint8")}

Count = Annotated[int, msgspec.Meta(ge=0)]


class Envelope(msgspec.Struct, kw_only=True, omit_defaults=True):
    """The part that any message has.

    Args:
        arrays: type and length of each array.
        shared: whether they are in shared memory.
        number: of the message on its connection, from 0 on.
        fit: in a worker's first message, the secret of the fit.
    """

    arrays: list[tuple[str, Count]] = []
    shared: bool = False
    number: int | None = None
    fit: str | None = None


class Message(Envelope, tag_field="type", tag=str.lower):
    """A message; its type is the name of its class."""


# --- what workers say ----------------------------------------------------------------------------------------------


class FromTask(Message):
    """A message of a worker that has no connection yet that the driver knows.

    Args:
        shard: its index.
        attempt: Spark's number of the task attempt.
        submission: how often the fit's job was submitted before.
    """

    shard: Count
    attempt: Count
    submission: Count


class Start(FromTask):
    """A task has begun, in this process."""

    host: str
    pid: Count


class Loading(Message):
    """It is loading its rows."""


class Error(FromTask):
    """It has failed.

    Args:
        invalid_data: whether the rows are at fault.
        transient: whether the next one may do better.
    """

    invalid_data: bool
    transient: bool
    message: str
    traceback: str


class Join(FromTask):
    """It has loaded its rows; see `ShardInfo`.

    Args:
        memory: name of what it shares with the driver.
        address: where it listens for the other workers; "": nowhere.
    """

    rows: Count
    validation_rows: Count
    skipped: dict[str, Count]
    storage: str
    bytes: Count
    digest: str
    seconds: dict[str, float]
    warning: str | None = None
    memory: str | None = None
    address: str = ""


class Progress(Message):
    """It gets on with a request."""

    ticket: Count


class Done(Message):
    """It has done what was asked; its arrays are the state, and the metric states.

    Args:
        held: numbers of the state that are to be fetched, piece by piece; 0: the state is here.
        phases: seconds by phase.
        kernels: seconds by kernel, where they were measured.
        lost: whether nothing was done: a state is not here, or another worker has gone.
    """

    ticket: Count
    rows: Count
    seconds: float
    kernel: str | None = None
    warning: str | None = None
    non_finite: str | None = None
    held: Count = 0
    phases: list[float] = []
    kernels: dict[str, float] | None = None
    lost: bool = False


class Payload(Message):
    """A piece of a state that it holds."""

    ticket: Count
    start: Count


class Pull(Message):
    """It wants these numbers of the state that a request begins with; or of the frozen weights."""

    ticket: Count
    start: Count
    stop: Count
    frozen: bool = False


# --- what the driver says ------------------------------------------------------------------------------------------


class Ask(Message):
    """Do this, from the state in the arrays on.

    Args:
        ticket: which the answer names.
        pull: type and length of the state's numbers, where they are to be pulled; the arrays lack them then.
        memory: of all workers of a machine, where the arrays are there.
        frozen: digest, type and length of the model's frozen weights; a worker that holds others pulls them first.
        addresses: of all workers, for what they do among themselves.
    """

    ticket: Count
    request: Request
    pull: tuple[str, Count] | None = None
    memory: str | None = None
    frozen: tuple[str, str, Count] | None = None
    addresses: list[str] = []


class BreakOff(Message):
    """End of what the workers do among themselves: one of them has gone."""

    ticket: Count


class Piece(Message):
    """The numbers that `Pull` wanted."""

    ticket: Count
    start: Count


class Fetch(Message):
    """Send these numbers of the state that you hold."""

    ticket: Count
    start: Count
    stop: Count


class Stop(Message):
    """The fit is over."""


class Ping(Message):
    """Nothing: by it the driver finds out whether somebody is there."""


# --- what workers say to each other --------------------------------------------------------------------------------


class Part(Message):
    """A parcel of an `Exchange`.

    Args:
        ticket: of the request of which it is a part.
    """

    ticket: Count
    sender: Count
    chunk: Count
    averaged: bool


class Unexpected(Envelope):
    """A message that nobody says, but for its envelope.

    Args:
        error: what is wrong.
    """

    type: str
    error: str = ""


FROM_WORKERS = msgspec.json.Decoder(Start | Loading | Error | Join | Progress | Done | Payload | Pull)
FROM_DRIVER = msgspec.json.Decoder(Ask | BreakOff | Piece | Fetch | Stop | Ping)
FROM_OTHERS = msgspec.json.Decoder(Part)
_UNEXPECTED = msgspec.json.Decoder(Unexpected)
_ENCODER = msgspec.json.Encoder()


# --- frames --------------------------------------------------------------------------------------------------------


def sendable(text: str) -> str:
    """Text that a header can hold: the names of files, for one, may have bytes that are no text."""
    return text.encode("utf-8", "backslashreplace").decode()


class ProtocolError(ValueError):
    """A message that is not as this protocol has it."""


def opened(frames: list[Any], decoder: msgspec.json.Decoder) -> tuple[Any, list[Any]]:
    """A message, and its buffers."""
    if not frames:
        raise ProtocolError("It is empty.")
    return header_of(bytes(frames[0][: HEADER_BYTES + 1]), decoder), frames[1:]


def header_of(data: bytes, decoder: msgspec.json.Decoder) -> Any:
    """A message without its arrays, after checks of all that their receipt relies on; an `Unexpected` where the rest
    is what nobody says.
    """
    if len(data) > HEADER_BYTES:
        raise ProtocolError(f"Its header is longer than {HEADER_BYTES} bytes.")
    try:
        try:
            message = decoder.decode(data)
        except msgspec.ValidationError as error:
            message = _UNEXPECTED.decode(data)
            message.error = str(error)
        valid = all(DTYPES[dtype] * length <= BUFFER_BYTES for dtype, length in message.arrays)
    except (msgspec.DecodeError, UnicodeDecodeError, KeyError, RecursionError) as error:
        raise ProtocolError(f"Its header cannot be read: {type(error).__name__}.") from error
    if not valid:
        raise ProtocolError("Its header announces what no message has.")
    return message


def with_checksum(frames: list[Any]) -> list[Any]:
    """Encryption authenticates each byte, and a connection within the machine loses none; for the others, CRC-32."""
    return [*frames, struct.pack("<I", _checksum(frames))]


def verified(frames: list[Any]) -> list[Any]:
    """The frames, which `with_checksum` has sealed."""
    if not frames:
        raise ProtocolError("It is empty.")
    *frames, checksum = frames
    if bytes(checksum[:5]) != struct.pack("<I", _checksum(frames)):
        raise ProtocolError("Its checksum is wrong.")
    return frames


def _checksum(frames: list[Any]) -> int:
    checksum = 0
    for frame in frames:
        checksum = zlib.crc32(frame, zlib.crc32(struct.pack("<Q", len(frame)), checksum))
    return checksum


def encode(message: Message, arrays: Arrays = (), memory: SharedMemory | None = None) -> list[Any]:
    """Frames of a message: its header, and the buffers of one-dimensional arrays without a copy, unless they fit into
    the shared memory.
    """
    message.shared = bool(arrays) and memory is not None and memory.put(arrays)
    message.arrays = [(array.dtype.str, len(array)) for array in arrays]
    frames = [] if message.shared else [np.ascontiguousarray(array).data.cast("B") for array in arrays]
    return [_ENCODER.encode(message), *frames]


def arrays_of(message: Envelope, buffers: list[Any], memory: SharedMemory | None = None) -> list[np.ndarray]:
    """The arrays of a message: read-only views of the received buffers, or views of the shared memory."""
    described = message.arrays
    if len(buffers) != (0 if message.shared else len(described)):
        raise ProtocolError(f"A message with {len(buffers)} buffers announces {len(described)} arrays.")
    if message.shared:
        if memory is None:
            raise ProtocolError("A message announces arrays in shared memory, and there is none.")
        try:
            return memory.get(described)
        except ValueError as error:
            raise ProtocolError(str(error)) from error
    arrays = []
    for buffer, (dtype, length) in zip(buffers, described):
        if len(buffer) != DTYPES[dtype] * length:
            raise ProtocolError(f"A message announces {length} numbers and brings {len(buffer) / DTYPES[dtype]:g}.")
        arrays.append(np.frombuffer(buffer, dtype=dtype))
    return arrays
