"""Codings of changes: fewer bytes than the numbers have, and what they leave over for the next time.

A coding takes any numbers, also those that are left over from the last ones (error feedback: F. Seide et al., "1-Bit
Stochastic Gradient Descent", 2014). "threshold" is that of N. Strom, "Scalable Distributed DNN Training Using Commodity
GPU Cloud Computing" (2015), with a threshold that adapts, and the mean of what exceeds it instead of itself
(F. Sattler et al., "Robust and Communication-Efficient Federated Learning from Non-IID Data", 2019).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

CODINGS = ("float16", "bfloat16", "threshold")

# About this share of the numbers exceeds the threshold, estimated from so many of them at most.
SHARE, SAMPLE = 0.1, 2**18

LARGEST_FLOAT16 = 65504.0
LARGEST_BFLOAT16 = float(np.uint32(0x7F7F0000).view("float32"))

# Of "threshold": the size of a step, and how many numbers make one.
_HEADER = np.dtype([("step", "<f4"), ("count", "<u4")])


def split(coding: str, numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The coded numbers as bytes, and what of the numbers they do not hold: both together are the numbers, but for a
    rounding of each.
    """
    coded = _CODERS[coding](numbers)
    return coded, numbers - decoded(coding, coded, len(numbers), numbers.dtype)[:]


def decoded(coding: str, coded: Sequence[int] | np.ndarray, size: int, dtype: np.dtype | str) -> Decoded:
    """The numbers, of which slices are taken."""
    return (Steps if coding == "threshold" else Halves)(coding, coded, size, dtype)


def bytes_at_most(coding: str, size: int) -> int:
    """Bytes of so many numbers, coded."""
    return _HEADER.itemsize + 2 * -(-size // 8) if coding == "threshold" else 2 * size


def usual_bytes(coding: str, size: int) -> int:
    """Likewise as they are as a rule."""
    if coding != "threshold":
        return 2 * size
    count = round(SHARE * size)
    return _HEADER.itemsize + min(4 * count, _bitmap_bytes(count, size))


class Decoded:
    """Coded numbers, decoded slice by slice.

    Args:
        coding: one of `CODINGS`.
        coded: bytes.
        size: of the numbers.
        dtype: that they get.
    """

    def __init__(self, coding: str, coded: Sequence[int] | np.ndarray, size: int, dtype: np.dtype | str):
        self._coding, self._coded, self._size, self._dtype = coding, coded, size, dtype

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, part: slice) -> np.ndarray:
        start, stop, _ = part.indices(self._size)
        return self._numbers(start, stop)

    def _numbers(self, start: int, stop: int) -> np.ndarray:
        raise NotImplementedError


# --- 16 bits -------------------------------------------------------------------------------------------------------


def _float16(numbers: np.ndarray) -> np.ndarray:
    """Rounded to the nearest, to even where two are: as by numpy, which takes 20 times as long for subnormal halves."""
    numbers = np.clip(numbers, -LARGEST_FLOAT16, LARGEST_FLOAT16).astype("<f4")
    magnitudes = np.abs(numbers)
    bits, half = magnitudes.view("<u4"), np.float32(0.5)
    normal = (bits - (112 << 23) + 0xFFF + ((bits >> 13) & 1)) >> 13
    # Beside 0.5 a float32 has the steps of a subnormal half.
    subnormal = (magnitudes + half).view("<u4") - half.view("<u4")
    halves = np.where(magnitudes < 2**-14, subnormal, normal)
    halves[np.isnan(numbers)] = 0x7E00
    return (halves | ((numbers.view("<u4") >> 16) & 0x8000)).astype("<u2").view("uint8")


def _bfloat16(numbers: np.ndarray) -> np.ndarray:
    """The upper half of each float32, rounded to the nearest, to even where two are."""
    bits = np.clip(numbers, -LARGEST_BFLOAT16, LARGEST_BFLOAT16).astype("<f4").view("<u4")
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype("<u2").view("uint8")


# The number of each half: numpy takes several times as long to convert subnormal ones.
_FLOAT16 = np.arange(2**16, dtype="uint16").view("float16").astype("float32")


class Halves(Decoded):
    """Numbers of 16 bits; of the bytes only slices are taken, in the order in which they lie."""

    def _numbers(self, start: int, stop: int) -> np.ndarray:
        part = np.asarray(self._coded[2 * start : 2 * stop], "uint8")
        if self._coding == "float16":
            return _FLOAT16[part.view("<u2")].astype(self._dtype, copy=False)
        return (part.view("<u2").astype("<u4") << 16).view("<f4").astype(self._dtype)


# --- threshold -----------------------------------------------------------------------------------------------------


def _threshold(numbers: np.ndarray) -> np.ndarray:
    """The signs of the numbers that exceed the threshold: their places, or a bitmap, whichever is smaller."""
    magnitudes = np.abs(numbers)
    sent = np.flatnonzero(magnitudes >= _adapted(magnitudes))
    header = np.zeros(1, _HEADER)
    if len(sent):
        header[0] = (np.mean(magnitudes[sent], dtype="float64"), len(sent))
    negative = numbers[sent] < 0
    body: list[np.ndarray]
    if _is_sparse(len(sent), len(numbers)):
        body = [(sent.astype("<u4") << 1) | negative]
    else:
        mask = np.zeros(len(numbers), "bool")
        mask[sent] = True
        body = [np.packbits(mask), np.packbits(negative)]
    return np.concatenate([each.view("uint8") for each in (header, *body)])


def _adapted(magnitudes: np.ndarray) -> float:
    """The threshold that the wanted share reaches; above 0, because nothing needs no sending."""
    smallest = float(np.finfo("float32").smallest_subnormal)
    # An odd step, because neighbours in a kernel are often powers of two apart.
    sample = magnitudes[:: (len(magnitudes) // SAMPLE) | 1]
    if not len(sample):
        return smallest
    place = len(sample) - max(1, round(SHARE * len(sample)))
    return max(float(np.partition(sample, place)[place]), smallest)


def _is_sparse(count: int, size: int) -> bool:
    return 4 * count <= _bitmap_bytes(count, size)


def _bitmap_bytes(count: int, size: int) -> int:
    """Bytes of which numbers of all are sent, and of the signs of those."""
    return -(-size // 8) + -(-count // 8)


class Steps(Decoded):
    """Steps of one size up or down, at some places."""

    def __init__(self, coding: str, coded: Sequence[int] | np.ndarray, size: int, dtype: np.dtype | str):
        super().__init__(coding, coded, size, dtype)
        message = np.asarray(coded[:], "uint8")
        header, body = message[: _HEADER.itemsize].view(_HEADER)[0], message[_HEADER.itemsize :]
        count = int(header["count"])
        self._places: np.ndarray
        if _is_sparse(count, size):
            places = body.view("<u4")
            self._places, negative = places >> 1, (places & 1).astype("bool")
        else:
            length = -(-size // 8)
            self._places = np.flatnonzero(np.unpackbits(body[:length], count=size))
            negative = np.unpackbits(body[length:], count=count).astype("bool")
        if len(self._places) != count:
            raise ValueError(f"A change announces {count} steps and has {len(self._places)}.")
        self._steps = np.where(negative, -header["step"], header["step"])

    def _numbers(self, start: int, stop: int) -> np.ndarray:
        first, last = np.searchsorted(self._places, (start, stop))
        numbers = np.zeros(stop - start, self._dtype)
        numbers[self._places[first:last] - start] = self._steps[first:last]
        return numbers


_CODERS = {"float16": _float16, "bfloat16": _bfloat16, "threshold": _threshold}
