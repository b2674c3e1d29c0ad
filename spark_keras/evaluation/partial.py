"""Messages of a partition on its rows: sums by index, points of curves, faults; and how the driver puts them together.

Free of Keras, and of Spark's session: both sides use it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

# Numbers travel as bytes: as arrays, Spark would make an object of each.
SCHEMA = "name string, key int, first binary, second binary, third binary"
_ARROW = pa.schema(
    [("name", pa.string()), ("key", pa.int32()), *((part, pa.binary()) for part in ("first", "second", "third"))]
)
POINTS = "curve"
_MESSAGE = "message"
_FAULT = "fault "

# Points that a partition holds before it sends them on, and those in one message.
_HELD = 2**20
_SENT = 2**16
# Entries of a sum before equal indices are added up, at least: else twice those that differ, so that each entry is
# sorted only a few times.
_ENTRIES = 2**16
_EXAMPLES = 3

Three = tuple[np.ndarray, np.ndarray, np.ndarray]


class Points:
    """Scores with the weights of rows that are of the class and that are not, by class; equal scores are added up."""

    def __init__(self) -> None:
        self._held: dict[int, list[Three]] = defaultdict(list)
        self._count = 0
        self.sent = 0

    def add(self, key: int, scores: np.ndarray, positives: np.ndarray, negatives: np.ndarray) -> None:
        seen = (positives > 0) | (negatives > 0)
        self._hold(key, (scores[seen], positives[seen], negatives[seen]))

    def _hold(self, key: int, arrays: Three) -> None:
        self._held[key].append(arrays)
        self._count += len(arrays[0])

    def overflow(self) -> Iterator[pa.RecordBatch]:
        """Batches to be sent on, so that no more than a part of the rows is held."""
        return self.flush() if self._count >= _HELD else iter(())

    def flush(self) -> Iterator[pa.RecordBatch]:
        for key, parts in self._held.items():
            first, second, third = self._joined(parts)
            self.sent += len(first)
            for start in range(0, len(first), _SENT):
                part = slice(start, start + _SENT)
                yield _batch([(POINTS, key, first[part], second[part], third[part])])
        self._held.clear()
        self._count = 0

    def _joined(self, parts: Sequence[Three]) -> Three:
        return together(parts)


class Triples(Points):
    """Three numbers of each row, as they are."""

    def add(self, key: int, first: np.ndarray, second: np.ndarray, third: np.ndarray) -> None:
        self._hold(key, (first, second, third))

    def _joined(self, parts: Sequence[Three]) -> Three:
        first, second, third = (np.concatenate(arrays) for arrays in zip(*parts))
        return first, second, third


def together(parts: Sequence[Three]) -> Three:
    """Distinct scores, rising, with the sums of their weights."""
    scores, positives, negatives = (np.concatenate(arrays) for arrays in zip(*parts))
    distinct, which = np.unique(scores, return_inverse=True)
    return (
        distinct,
        np.bincount(which, positives, minlength=len(distinct)),
        np.bincount(which, negatives, minlength=len(distinct)),
    )


def decoded(row: Any) -> Three:
    """The points of one message, a row of Spark or a dict."""
    first, second, third = (np.frombuffer(row[part], "float64") for part in ("first", "second", "third"))
    return first, second, third


def exploded(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Points one by one, for Spark: `EXPLODED`."""
    for key, arrays in points_of(batches):
        keys = np.full(len(arrays[0]), key, "int32")
        yield pa.RecordBatch.from_arrays(
            [pa.array(array) for array in (keys, *arrays)], ["key", "first", "second", "third"]
        )


EXPLODED = "key int, first double, second double, third double"


def points_of(batches: Iterator[pa.RecordBatch]) -> Iterator[tuple[int, Three]]:
    """Key and numbers of each message of points."""
    for batch in batches:
        for row in batch.to_pylist():
            yield row["key"], decoded(row)


def shares(parts: np.ndarray, wholes: np.ndarray, nothing: float = 0.0) -> np.ndarray:
    """Parts of wholes; `nothing` where there is nothing to take a share of."""
    return np.divide(parts, wholes, out=np.full(np.shape(wholes), nothing), where=np.asarray(wholes) > 0)


class Fault(NamedTuple):
    """Rows that cannot be evaluated.

    Args:
        role: of the column: "label", "prediction", "scores", "weight" or "mask".
        kind: of the fault, such as "null".
        rows: with this fault.
        examples: of their values.
    """

    role: str
    kind: str
    rows: int
    examples: tuple[float, ...]


class Sums:
    """Sums by name and index, the faults found, and arrays that do not add up, by key."""

    def __init__(self) -> None:
        self.messages: list[tuple[int, np.ndarray]] = []
        self._parts: dict[str, list[tuple[np.ndarray, np.ndarray]]] = defaultdict(list)
        # By name: entries held, and how many may be.
        self._held: dict[str, int] = defaultdict(int)
        self._most: dict[str, int] = {}
        self._faults: dict[tuple[str, str], Fault] = {}

    def add(self, name: str, index: Any, values: Any) -> None:
        index, values = np.atleast_1d(np.asarray(index, "int64")), np.atleast_1d(np.asarray(values, "float64"))
        self._parts[name].append((index, np.broadcast_to(values, index.shape)))
        self._held[name] += len(index)
        if self._held[name] > self._most.get(name, _ENTRIES):
            self._parts[name] = [self[name]]
            self._held[name] = len(self._parts[name][0][0])
            self._most[name] = max(_ENTRIES, 2 * self._held[name])

    def __getitem__(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """The indices that occur, rising, and their sums."""
        if not self._parts.get(name):
            return np.zeros(0, "int64"), np.zeros(0)
        index, values = (np.concatenate(arrays) for arrays in zip(*self._parts[name]))
        distinct, which = np.unique(index, return_inverse=True)
        return distinct, np.bincount(which, values, minlength=len(distinct))

    def total(self, name: str) -> float:
        return float(self[name][1].sum())

    def dense(self, name: str, size: int) -> np.ndarray:
        array = np.zeros(size)
        index, values = self[name]
        array[index] = values
        return array

    def fault(self, role: str, kind: str, bad: np.ndarray, values: np.ndarray | None = None) -> None:
        """Notes the rows with a fault, and some of their values."""
        if bad.any():
            examples = () if values is None else np.unique(values[bad])[:_EXAMPLES]
            self._note(Fault(role, kind, int(np.count_nonzero(bad)), tuple(examples)))

    def _note(self, new: Fault) -> None:
        old = self._faults.get((new.role, new.kind), Fault(new.role, new.kind, 0, ()))
        examples = tuple(sorted({*old.examples, *new.examples}))[:_EXAMPLES]
        self._faults[new.role, new.kind] = Fault(new.role, new.kind, old.rows + new.rows, examples)

    @property
    def faults(self) -> list[Fault]:
        return list(self._faults.values())

    def batches(self) -> Iterator[pa.RecordBatch]:
        rows = [(name, 0, *self[name], np.zeros(0)) for name in self._parts]
        for fault in self.faults:
            name = f"{_FAULT}{fault.role} {fault.kind}"
            rows.append((name, 0, np.array([fault.rows]), np.array(fault.examples, float), np.zeros(0)))
        for key, array in self.messages:
            rows.append((_MESSAGE, key, np.zeros(0), array, np.zeros(0)))
        if rows:
            yield _batch(rows)

    @classmethod
    def of(cls, rows: Iterable[Any]) -> Sums:
        """The sums over all partitions."""
        sums = cls()
        for row in rows:
            index, values = np.frombuffer(row.first, "int64"), np.frombuffer(row.second, "float64")
            if row.name == _MESSAGE:
                sums.messages.append((row.key, values))
            elif row.name.startswith(_FAULT):
                role, kind = row.name.removeprefix(_FAULT).split(" ", 1)
                sums._note(Fault(role, kind, int(index[0]), tuple(values)))
            else:
                sums.add(row.name, index, values)
        return sums


def rest(sums: Sums, points: Points) -> Iterator[pa.RecordBatch]:
    """Batches with all that a partition still has to tell, with the number of its points among the sums."""
    yield from points.flush()
    sums.add("points", 0, points.sent)
    yield from sums.batches()


def _batch(rows: Sequence[tuple[str, int, np.ndarray, np.ndarray, np.ndarray]]) -> pa.RecordBatch:
    names, keys, *parts = zip(*rows)
    arrays = [pa.array([array.tobytes() for array in part], pa.binary()) for part in parts]
    return pa.RecordBatch.from_arrays([pa.array(names), pa.array(keys, pa.int32()), *arrays], schema=_ARROW)
