"""Bars and numbers of charts."""

from __future__ import annotations

import re

import pytest

from spark_keras.reports import charts, numbers


def test_bars_are_as_tall_as_their_counts():
    svg = str(charts.histogram([1, 4, 0], ["a", "b", "<c>"], "x & y", width=30, height=40))
    assert [float(height) for height in re.findall(r'height="([\d.]+)">', svg)] == [10, 40, 0]
    assert "&lt;c&gt;: 0" in svg and 'aria-label="x &amp; y"' in svg
    lying = str(charts.bars([("many", 8), ("few", 2)], "title", width=100))
    assert [float(width) for width in re.findall(r'<rect[^>]*width="([\d.]+)"', lying)] == [100, 25]


@pytest.mark.parametrize(
    "value, shown",
    [(None, "–"), (1234567, "1,234,567"), (3.0, "3"), (0.1 + 0.2, "0.3"), (1.5e-7, "1.50000e-07"), (float("nan"), "–")],
)
def test_numbers_are_short(value, shown):
    assert numbers.number(value) == shown
