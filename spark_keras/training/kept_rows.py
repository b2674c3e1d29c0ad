"""Rows that several fits of one search train on, kept by Spark from one fit to the next."""

from __future__ import annotations

import collections
import contextlib
import threading
import weakref
from collections.abc import Iterator, Sequence
from typing import Any

from spark_keras import tensors

# What decides which rows a worker gets, and as what. Where a model or `modelParams` decide, too, plans are compared.
_DECISIVE = (
    "featuresCol featuresCols inputCols labelCol labelCols weightCol validationIndicatorCol validationSplit "
    "handleInvalid numWorkers cpusPerWorker"
).split()


def _key(estimator: Any) -> str:
    decisive = [*_DECISIVE, "seed"] if tensors.set_value(estimator, "validationSplit") else _DECISIVE
    return repr([tensors.set_value(estimator, name) for name in decisive])


class KeptRows:
    """Rows as they travel to the workers, one partition for each, in Spark's memory or on its disks: from the first
    fit that has others after it to the end of the last one.

    Rows that are still there when nobody fits any more, because a fit has failed, are let go with this object.

    Args:
        estimators: one for each fit, on the same DataFrame.
    """

    def __init__(self, estimators: Sequence[Any]):
        self._lock = threading.Lock()
        self._left = collections.Counter(map(_key, estimators))
        self._kept: dict[str, Any] = {}
        weakref.finalize(self, _let_go, self._kept)

    @contextlib.contextmanager
    def of_fit(self, estimator: Any, rows: Any) -> Iterator[Any]:
        """The rows of one fit, equal to `rows`, while it lasts."""
        key = _key(estimator)
        if key not in self._left:
            yield rows
            return
        with self._lock:
            if key not in self._kept and self._left[key] > 1:
                self._kept[key] = rows.persist()
            kept = self._kept.get(key, rows)
        try:
            yield kept if kept.sameSemantics(rows) else rows
        finally:
            with self._lock:
                self._left[key] -= 1
                if self._left[key] == 0 and key in self._kept:
                    self._kept.pop(key).unpersist()


def _let_go(kept: dict[str, Any]) -> None:
    while kept:
        kept.popitem()[1].unpersist()
