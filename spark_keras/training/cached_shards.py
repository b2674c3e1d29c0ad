"""Rows that several fits of one search train on, kept by Spark from one fit to the next."""

from __future__ import annotations

import collections
import contextlib
import logging
import threading
import weakref
from collections.abc import Iterable, Iterator
from typing import Any

from pyspark import StorageLevel

from spark_keras.cluster import session
from spark_keras.params.row import Decides
from spark_keras.params.table import TABLE
from spark_keras.params.values import param_or_none

logger = logging.getLogger(__name__)


def _key(estimator: Any) -> str:
    """Values of the Params that decide which rows a worker gets. The model decides in what form it gets them; hence
    plans are compared beside.
    """
    values = {row.name: param_or_none(estimator, row.name) for row in TABLE.deciding(Decides.ROWS)}
    if not values["validationSplit"]:
        del values["seed"]
    if values["numWorkers"] is not None:
        del values["cpusPerWorker"]
    return repr(values)


class CachedShards:
    """Rows as they travel to the workers, one partition for each, in Spark's memory or on its disks: from the first
    fit that has others after it to the end of the last one, or to one that fails.

    Those of a search that nobody carries on are let go with this object.

    Args:
        estimators: one for each fit, on the same DataFrame.
    """

    def __init__(self, estimators: Iterable[Any]):
        self._lock = threading.Lock()
        self._left = collections.Counter(map(_key, estimators))
        self._fitting = 0
        self._failed = False
        self._kept: dict[str, list[Any]] = {}
        weakref.finalize(self, _abandoned, self._kept).atexit = False

    @contextlib.contextmanager
    def during_fit(self, estimator: Any) -> Iterator[None]:
        """Around each fit, from its beginning on."""
        if not self._left:  # a fit by itself
            yield
            return
        with self._lock:
            self._fitting += 1
        try:
            yield
        except BaseException:
            self._failed = True
            raise
        finally:
            with self._lock:
                self._fitting -= 1
                self._ended(_key(estimator))

    def _ended(self, key: str) -> None:
        self._left[key] -= 1
        if self._left[key] == 0:
            _let_go({key: self._kept.pop(key, [])})
        if self._failed and not self._fitting:
            _let_go(self._kept)

    def of(self, estimator: Any, rows: Any) -> Any:
        """These rows of a fit, or equal ones that are kept."""
        key = _key(estimator)
        with self._lock:
            for kept in self._kept.get(key, []):
                if kept.sameSemantics(rows):
                    # Another search on the same rows may have let them go.
                    return kept if kept.storageLevel != StorageLevel.NONE else kept.persist()
            if self._left[key] > 1 and not self._failed:
                self._kept.setdefault(key, []).append(rows.persist())
        return rows


def _let_go(kept: dict[str, list[Any]]) -> None:
    while kept:
        for rows in kept.popitem()[1]:
            if session.stopped(rows.sparkSession):
                continue
            try:
                rows.unpersist()
            except Exception as error:  # it must not take the place of the fit's own, or of its model
                logger.warning("Rows of a search may stay in Spark: %s", error)


def _abandoned(kept: dict[str, list[Any]]) -> None:
    # Whatever Python is doing at the moment, a thread of its own may talk to the JVM.
    if kept:
        threading.Thread(target=_let_go, args=(kept,), daemon=True).start()
