"""A regressor's rows, summed where they are. Free of Keras; runs on the executors."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from spark_keras.evaluation.partial import Sums, Triples, points_of, rest
from spark_keras.evaluation.steps import Rules, read

RULES = Rules(lead="prediction", label="finite", prediction="finite", grouped=True)


class Moments(NamedTuple):
    """Of one output of a part of the rows, with weights w; e is prediction − label. Sums of squares are those of what
    is left of the mean: of the numbers themselves they would lose their digits.

    Args:
        rows: Σw.
        y: mean of the labels.
        p: mean of the predictions.
        yy: Σw(label − y)².
        pp: Σw(prediction − p)².
        yp: Σw(label − y)(prediction − p).
        ee: Σwe².
        absolute: Σw|e|.
        largest: |e|.
        low: label or prediction.
        high: label or prediction.
    """

    rows: float
    y: float
    p: float
    yy: float
    pp: float
    yp: float
    ee: float
    absolute: float
    largest: float
    low: float
    high: float

    @classmethod
    def of(cls, y: np.ndarray, p: np.ndarray, w: np.ndarray) -> Moments:
        rows = float(w.sum())
        # From the first number on, so that numbers that are all the same leave nothing.
        y_mean, p_mean = (float(v[0] + w @ (v - v[0]) / rows) if rows else float(v[0]) for v in (y, p))
        from_y, from_p, e = y - y_mean, p - p_mean, p - y
        return cls(
            rows=rows,
            y=y_mean,
            p=p_mean,
            yy=float(np.sum(w * from_y**2)),
            pp=float(np.sum(w * from_p**2)),
            yp=float(np.sum(w * (from_y * from_p))),
            ee=float(np.sum(w * e**2)),
            absolute=float(np.sum(w * np.abs(e))),
            largest=float(np.abs(e).max()),
            low=float(min(y.min(), p.min())),
            high=float(max(y.max(), p.max())),
        )

    def plus(self, other: Moments) -> Moments:
        """Of both parts (Chan, Golub and LeVeque, 1979)."""
        rows = self.rows + other.rows
        share = other.rows / rows if rows else 0.0
        y, p = other.y - self.y, other.p - self.p
        between = self.rows * share
        return Moments(
            rows,
            self.y + y * share,
            self.p + p * share,
            self.yy + other.yy + y * y * between,
            self.pp + other.pp + p * p * between,
            self.yp + other.yp + y * p * between,
            self.ee + other.ee,
            self.absolute + other.absolute,
            max(self.largest, other.largest),
            min(self.low, other.low),
            max(self.high, other.high),
        )


def moments(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """The moments of each output, and labels, predictions and weights for what needs the moments first."""
    sums, parts = Sums(), Triples()
    found: dict[int, Moments] = {}
    for batch in batches:
        steps = read(batch, RULES, sums)
        for output in range(steps.width):
            own = steps.place == output
            values = steps.label[own], steps.prediction[own], steps.weight[own]
            if len(values[0]):
                found[output] = merged([*([found[output]] if output in found else []), Moments.of(*values)])
                parts.add(output, *values)
        yield from parts.overflow()
    sums.messages = [(output, np.array(each)) for output, each in found.items()]
    yield from rest(sums, parts)


def merged(parts: Sequence[Moments]) -> Moments:
    return functools.reduce(Moments.plus, parts)


def histograms(
    extents: dict[int, tuple[float, float, float]], cells: int, batches: Iterator[pa.RecordBatch]
) -> Iterator[pa.RecordBatch]:
    """Rows by label and prediction, and by prediction and error, in equal cells along each axis.

    Args:
        extents: by output: lowest and highest label or prediction, and largest error.
    """
    sums = Sums()
    for output, (y, p, w) in points_of(batches):
        if output not in extents:
            continue
        low, high, largest = extents[output]
        by_label, by_prediction = (_cell(values, low, high, cells) for values in (y, p))
        sums.add(f"labels {output}", by_label * cells + by_prediction, w)
        sums.add(f"errors {output}", by_prediction * cells + _cell(p - y, -largest, largest, cells), w)
    yield from sums.batches()


def _cell(values: np.ndarray, low: float, high: float, cells: int) -> np.ndarray:
    # Halves, because the difference of large numbers may be infinite.
    share = (values / 2 - low / 2) / (high / 2 - low / 2)
    return np.clip(np.floor(share * cells), 0, cells - 1).astype("int64")
