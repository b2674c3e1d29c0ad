"""The order in which a shard's rows are trained in an epoch, drawn so that rows in a file can be read in large pieces.

Rows are divided into blocks. An epoch draws an order of the blocks, deals them out into windows in that order, and
trains the rows of one window after the other, each window's in an order of its own. A shard that fits into one window,
as most do, is permuted as a whole. Where the rows are kept changes nothing: in memory and in a file the order is the
same.
"""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Iterator

import numpy as np

# What is read from a file at once: large enough that a disk's seeks do not count.
BLOCK_BYTES = 2**20

# Rows that are mixed with each other; a worker that reads from a file holds this much of it.
WINDOW_BYTES = 128 * 2**20


def block_rows(row_bytes: int) -> int:
    """Rows in a block, of which the last one of a shard may have fewer."""
    return max(1, BLOCK_BYTES // max(1, row_bytes))


class EpochOrder:
    """The order of one epoch: a function of the arguments alone. A window's part of it is drawn when it is reached.

    Args:
        rows: of the shard.
        row_bytes: of one row's tensors.
        seed: of the fit.
        shuffle: False keeps the order in which the shard holds its rows.
    """

    def __init__(self, rows: int, row_bytes: int, seed: int, shard: int, epoch: int, shuffle: bool):
        self._size = block_rows(row_bytes)
        self._key = (seed % 2**64, shard, epoch)
        self._shuffle = shuffle
        blocks = -(-rows // self._size)
        most = max(1, WINDOW_BYTES // (self._size * max(1, row_bytes)))
        drawn = np.arange(blocks)
        if shuffle and blocks > most:
            drawn = np.random.default_rng(self._key).permutation(blocks)
        # Ascending within a window, for the disk's sake: the rows are permuted anyway.
        self._blocks = [np.sort(drawn[first : first + most]) for first in range(0, blocks, most)]
        missing = blocks * self._size - rows
        lengths = [len(each) * self._size - missing * (each[-1] == blocks - 1) for each in self._blocks]
        self._starts = [0, *itertools.accumulate(int(length) for length in lengths)]
        self._drawn: tuple[int, np.ndarray] = (-1, np.zeros(0, "int64"))

    @property
    def windows(self) -> int:
        return len(self._blocks)

    def blocks(self, window: int) -> np.ndarray:
        """The blocks of a window, ascending; its rows are numbered through them in this order."""
        return self._blocks[window]

    def parts(self, start: int, stop: int) -> Iterator[tuple[int, np.ndarray]]:
        """Rows `start` to `stop` of the epoch, as (window, rows within the window) for each window they lie in."""
        while start < stop:
            window = bisect.bisect_right(self._starts, start) - 1
            first, end = self._starts[window], min(stop, self._starts[window + 1])
            if self._shuffle:
                yield window, self._permutation(window)[start - first : end - first]
            else:
                yield window, np.arange(start - first, end - first)
            start = end

    def rows(self, window: int, index: np.ndarray) -> np.ndarray:
        """Rows within a window as rows of the shard."""
        if self.windows == 1:
            return index
        return self._blocks[window][index // self._size] * self._size + index % self._size

    def _permutation(self, window: int) -> np.ndarray:
        of, drawn = self._drawn
        if of != window:
            # Not (…, window) alone: numpy takes (a, b, c) and (a, b, c, 0) for the same seed.
            key = self._key if self.windows == 1 else (*self._key, window, 1)
            drawn = np.random.default_rng(key).permutation(self._starts[window + 1] - self._starts[window])
            self._drawn = (window, drawn)
        return drawn
