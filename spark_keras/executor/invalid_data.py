"""The error of a row that cannot be used."""

from __future__ import annotations


class InvalidData(ValueError):
    """A row that cannot be used as it is; raised on a worker and shown on the driver without a traceback."""
