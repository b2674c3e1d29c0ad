"""The numbers that a fit follows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

# Minibatches of a round that is an epoch, however long that is.
WHOLE_EPOCH = 2**31
# Least rows of a minibatch's part, where all workers share it. Smaller ones can diverge, or tell BatchNormalization too
# little of the mean and variance of all rows: docs/many-workers.md.
FEWEST_ROWS, FEWEST_ROWS_OF_STATISTICS = 8, 16


def minibatches_of_round(averaging_frequency: int | str) -> int | None:
    """Reads Param `averagingFrequency`: minibatches between two averagings; None for "epoch", however long that is."""
    return None if averaging_frequency == "epoch" else int(averaging_frequency)


def shared_rows(batch_size: int, workers: int, batch_statistics: bool = False) -> int:
    """Rows per minibatch of each of the workers that share one of `batch_size` rows.

    Args:
        batch_statistics: whether the model normalises rows by those of their minibatch.
    """
    fewest = FEWEST_ROWS_OF_STATISTICS if batch_statistics else FEWEST_ROWS
    return min(batch_size, max(fewest, -(-batch_size // workers)))


class Schedule(NamedTuple):
    """Schedule of a training: how many epochs, in what minibatches, and when it validates.

    Args:
        epochs: epochs at most; a callback may stop earlier.
        rows: training rows of each shard.
        validation: whether there are validation rows.
        batch_size: rows per minibatch and worker.
        frequency: minibatches between two averagings; None for a whole epoch.
        optimizer_state: "average", "local" or "reset".
        non_finite: of updates that are NaN or infinite: "error", "skip", or "keep" where a callback looks after them.
        validate_every: epochs from one validation to the next; the last epoch has one, too.
        initial_epoch: the first epoch, unless a callback sets another one.
        kernel: how rounds are compiled.
        mode: "synchronous" or "asynchronous".
        combine: what becomes of the workers' changes, their "mean" or "sum".
        compression: how changes are coded, "float16", "bfloat16" or "threshold"; None: states travel.
        overlap: whether workers train on while states are averaged.
    """

    epochs: int
    rows: tuple[int, ...]
    validation: bool
    batch_size: int
    frequency: int | None
    optimizer_state: str
    non_finite: str = "error"
    validate_every: int = 1
    initial_epoch: int = 0
    kernel: str = "graph"
    mode: str = "synchronous"
    combine: str = "mean"
    compression: str | None = None
    overlap: bool = False

    @property
    def minibatches(self) -> int:
        """Minibatches per epoch of the largest shard."""
        return -(-max(self.rows) // self.batch_size)

    @property
    def largest_round(self) -> int:
        """Minibatches of a round at most, for the size of the workers' stacks."""
        return self.frequency or WHOLE_EPOCH

    def validates(self, epoch: int) -> bool:
        """Tells whether an epoch (from 0 on) ends with a validation."""
        return self.validation and ((epoch + 1) % self.validate_every == 0 or epoch + 1 == self.epochs)

    def rounds(self) -> Iterator[tuple[int, int]]:
        """(start, stop) of each round of an epoch, in minibatches. Every shard's last, short one is in one of them."""
        step = self.frequency or self.minibatches
        for start in range(0, self.minibatches, step):
            yield start, min(start + step, self.minibatches)
