"""The ways of training that are compared, and a run; free of Keras."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

TASKS = ("flights", "embeddings", "air time", "digits", "characters", "synthetic")
OPTIMIZERS = ("Adam", "AdamW", "RMSprop", "SGD with momentum")
# From which the best learning rate for one worker is taken: by half orders of magnitude.
_ADAPTIVE = [10 ** (power / 2) for power in range(-8, -2)]
RATES = {name: [10 * rate for rate in _ADAPTIVE] if "SGD" in name else _ADAPTIVE for name in OPTIMIZERS}
WORKERS = (2, 4, 8, 16, 32)
TIMES_THE_BEST = (1.0, 3.0, 0.3333)


class Way(NamedTuple):
    """A way of training with many workers.

    Args:
        scaling: of the learning rate, by the number of workers: "none", "sqrt" or "linear".
        batch: rows per minibatch and worker, as a share of those of one worker.
        shared: power of the number of workers by which these are divided; 1: workers share a minibatch of one worker.
        least: rows that a minibatch has at least.
        auto: whether the rows are those of `globalBatch="auto"`.
        optimizer_state: "average", "local" or "reset".
        combine: "mean" or "sum".
        compression: "float16", "bfloat16" or "threshold"; None: states travel.
        overlap: whether workers train on while states are averaged.
        momentum: of an outer Nesterov optimizer; None: plain averaging.
        outer_rate: its learning rate.
        frequency: minibatches between two averagings.
        warm_up: share of a worker's steps in which the scaling sets in.
    """

    scaling: str = "none"
    batch: float = 1.0
    shared: float = 0.0
    least: int = 1
    momentum: float | None = None
    outer_rate: float = 1.0
    frequency: int = 10
    warm_up: float = 0.0
    auto: bool = False
    optimizer_state: str = "average"
    combine: str = "mean"
    compression: str | None = None
    overlap: bool = False


PLAIN, DEFAULT = "plain", "batch of all workers, 8 or 16 rows at least"
WAYS = {
    PLAIN: Way(),
    "sqrt": Way("sqrt"),
    "linear": Way("linear"),
    "half batch": Way(batch=0.5),
    "half batch, sqrt": Way("sqrt", 0.5),
    "half batch, linear": Way("linear", 0.5),
    "quarter batch, sqrt": Way("sqrt", 0.25),
    "quarter batch": Way(batch=0.25),
    "batch by the root of workers": Way(shared=0.5),
    "batch of all workers": Way(shared=1.0),
    "batch of all workers, 8 rows at least": Way(shared=1.0, least=8),
    DEFAULT: Way(auto=True),
    f"{DEFAULT}, every 3": Way(auto=True, frequency=3),
    "batch of all workers, every 3": Way(shared=1.0, frequency=3),
    "batch of all workers, every minibatch": Way(shared=1.0, frequency=1),
    "Nesterov 0.5": Way(momentum=0.5),
    "Nesterov 0.9, rate 0.7": Way(momentum=0.9, outer_rate=0.7),
    "half batch, Nesterov 0.5": Way(batch=0.5, momentum=0.5),
    "half batch, sqrt, Nesterov 0.5": Way("sqrt", 0.5, momentum=0.5),
    "quarter batch, Nesterov 0.9, rate 0.7": Way(batch=0.25, momentum=0.9, outer_rate=0.7),
    "half batch, linear, warm-up": Way("linear", 0.5, warm_up=0.2),
    "every minibatch": Way(frequency=1),
    "every minibatch, linear": Way("linear", frequency=1),
}


class Run(NamedTuple):
    """A training and what came of it.

    Args:
        times: of the best learning rate for one worker.
        rate: the learning rate of one worker.
        loss: on the rows held out.
        auc: area under the ROC curve on them; NaN where it is not told.
    """

    task: str
    optimizer: str
    seed: int
    workers: int
    way: str
    times: float
    rate: float
    loss: float
    auc: float

    @classmethod
    def of(cls, row: Mapping[str, str]) -> Run:
        """A run as it is written."""
        numbers = {name: float(row[name]) for name in ("times", "rate", "loss", "auc")}
        return cls(row["task"], row["optimizer"], int(row["seed"]), int(row["workers"]), row["way"], **numbers)

    def written(self) -> list[str]:
        """Its fields as text."""
        return [f"{each:.5g}" if isinstance(each, float) else str(each) for each in self]
