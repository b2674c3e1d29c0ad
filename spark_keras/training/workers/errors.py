"""The error of a worker."""

from __future__ import annotations


class WorkerError(RuntimeError):
    """An exception on a worker, with the worker's own traceback."""
