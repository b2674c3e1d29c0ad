"""Values of Python as Spark expressions that do not depend on the session's time zone."""

from __future__ import annotations

import datetime
from typing import Any

from pyspark.sql import Column
from pyspark.sql import functions as F

_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)


def literal(value: Any) -> Column:
    """A value; a datetime with a time zone becomes a TIMESTAMP, one without a TIMESTAMP_NTZ."""
    if isinstance(value, datetime.datetime):
        if value.tzinfo is None:
            return F.lit(value.isoformat(sep=" ")).cast("timestamp_ntz")
        return F.timestamp_micros(F.lit((value - _EPOCH) // datetime.timedelta(microseconds=1)).cast("bigint"))
    return F.lit(value)
