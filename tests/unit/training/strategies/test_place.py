"""The rule for where states are averaged, against figures by hand."""

from __future__ import annotations

import keras
import pytest

from spark_keras.keras_model.state import Layout
from spark_keras.training.strategies.place import place, seconds_among_workers, star_seconds

SGD = keras.optimizers.SGD(0.7, momentum=0.9, nesterov=True)


def placed(wanted="auto", numbers=10_000_000, optimizer_state="average", outer=None, workers=8, hosts=4, local=()):
    layout = Layout((), "float32", (numbers, 0), (numbers, 0), None, None, (), local=local)
    return place(wanted, layout, optimizer_state, outer, workers, hosts)


def test_times_are_those_of_links_of_one_gigabit():
    # 40 MB to and from each of 8 workers at 125 MB/s.
    assert star_seconds(40_000_000, 8) == pytest.approx(5.12)
    # To and from each of a host's 2 workers, but for the quarter that stays on the host; and 14 messages, and 2 ms.
    assert seconds_among_workers(40_000_000, 8, 4) == pytest.approx(2 * 2 * 0.75 * 0.32 + 0.0034)


@pytest.mark.parametrize(
    "case, expected",
    [
        ({}, "workers"),
        ({"hosts": 1}, "driver"),
        ({"workers": 1}, "driver"),
        # A few kilobytes: messages take longer than numbers.
        ({"numbers": 500}, "driver"),
        ({"optimizer_state": "local"}, "driver"),
        ({"local": (slice(0, 3),)}, "driver"),
        ({"optimizer_state": "reset", "outer": SGD}, "workers"),
        ({"outer": keras.optimizers.SGD(1.0, clipnorm=1.0)}, "driver"),
        ({"outer": keras.optimizers.Lamb()}, "driver"),
        ({"wanted": "driver"}, "driver"),
        ({"wanted": "workers", "hosts": 1, "optimizer_state": "local"}, "workers"),
    ],
)
def test_sizes_decide_where(case, expected):
    assert placed(**case)[0] == expected


def test_both_times_are_told():
    reason = placed()[1]
    assert reason == "38.1 MiB of 8 workers in 5.1 s through the driver's link of 1 Gbit/s, 0.96 s among 4 hosts"


def test_an_outer_optimizer_with_norms_is_refused_among_workers():
    with pytest.raises(ValueError, match="`averaging` does not go with `outerOptimizer`.*Lamb.*Expected"):
        placed("workers", outer=keras.optimizers.Lamb())
