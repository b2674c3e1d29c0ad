"""The rule for where states are averaged, on the driver or among the workers."""

from __future__ import annotations

import keras

from spark_keras.keras_model.state import Layout
from spark_keras.reports.numbers import size
from spark_keras.training.rules.outer_step import is_elementwise

# What a network is taken for: 1 Gbit/s each way at each host; and a message, the ends of a round among the workers.
BYTES_PER_SECOND = 125e6
MESSAGE_SECONDS, ROUND_SECONDS = 1e-4, 2e-3


def place(
    wanted: str,
    layout: Layout,
    optimizer_state: str,
    outer: keras.optimizers.Optimizer | None,
    workers: int,
    hosts: int,
) -> tuple[str, str]:
    """Chooses where states are averaged, "driver" or "workers"; says why, too.

    Args:
        wanted: Param `averaging`.
        layout: of a state.
        optimizer_state: "average", "local" or "reset".
        outer: the outer optimizer, or None.
        hosts: machines that the workers are on.

    Raises:
        ValueError: where the workers would not come to the bits of the driver.
    """
    exact = outer is None or is_elementwise(outer)
    if wanted == "workers" and not exact:
        raise ValueError(
            'Param `averaging` does not go with `outerOptimizer`. Received: "workers" and '
            f"{type(outer).__name__}, with norms of whole weights, whose bits depend on the number of threads. "
            'Expected: averaging="driver", or an outer optimizer that treats each number by itself, such as SGD or '
            "Adam without clipnorm and global_clipnorm."
        )
    if wanted != "auto":
        return (wanted, "the default")
    if not exact:
        return ("driver", "the outer optimizer computes norms")
    if optimizer_state == "local" or layout.local:
        return ("driver", "workers have states of their own, which a checkpoint has on the driver")
    hosts = min(hosts, workers)  # a fit need not use all of them
    if hosts == 1:
        return ("driver", "all workers are on one machine")
    state = layout.sizes[0] * (8 if layout.dtype == "float64" else 4) + 8 * layout.sizes[1]
    star, among = star_seconds(state, workers), seconds_among_workers(state, workers, hosts)
    told = f"{size(state)} of {workers} workers in {star:.2g} s through the driver's link of 1 Gbit/s, "
    told += f"{among:.2g} s among {hosts} hosts"
    return ("workers" if among < star else "driver", told)


def star_seconds(state: int, workers: int) -> float:
    """Seconds that states of so many bytes take through the link of the driver, both ways."""
    return 2 * state * workers / BYTES_PER_SECOND


def seconds_among_workers(state: int, workers: int, hosts: int) -> float:
    """Likewise through the link of each host, to and from the workers that are not on it."""
    on_host = -(-workers // hosts)
    return (
        2 * state * on_host * (workers - on_host) / workers / BYTES_PER_SECOND
        + 2 * (workers - 1) * MESSAGE_SECONDS
        + ROUND_SECONDS
    )
