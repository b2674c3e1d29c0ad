"""Times as Spark expressions that do not depend on the session: instants, and what a clock in a zone shows."""

from __future__ import annotations

import datetime
from typing import Any

from pyspark.sql import Column, SparkSession
from pyspark.sql import functions as F

from spark_keras.preparation.fields import Field, TimeField
from spark_keras.preparation.scope import reference

MICROSECONDS = {
    "milliseconds": 1_000,
    "seconds": 1_000_000,
    "minutes": 60_000_000,
    "hours": 3_600_000_000,
    "days": 86_400_000_000,
}
_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)


def literal(value: Any) -> Column:
    """A value; a datetime with a time zone becomes a TIMESTAMP, one without a TIMESTAMP_NTZ."""
    if isinstance(value, datetime.datetime):
        if value.tzinfo is None:
            return F.lit(value.isoformat(sep=" ")).cast("timestamp_ntz")
        return F.timestamp_micros(F.lit((value - _EPOCH) // datetime.timedelta(microseconds=1)).cast("bigint"))
    return F.lit(value)


def microseconds(field: Field, value: Column | None = None) -> Column:
    """Microseconds since 1970-01-01 00:00 UTC of the column of a time or a date, or of another value of its kind.

    A time without zone, or a date, is taken to be in UTC.
    """
    value = reference(field.name) if value is None else value
    if not isinstance(field, TimeField):
        return F.unix_date(value).cast("bigint") * F.lit(MICROSECONDS["days"])
    # A cast between the two kinds of timestamps would go through the session's time zone.
    return F.unix_micros(point_in_time(value, "UTC") if field.zone is None else value)


def wall_clock(field: Field, value: Column | None = None) -> Column:
    """Reading of the clock and the calendar in the time zone of a time, or on a date, as TIMESTAMP_NTZ."""
    value = reference(field.name) if value is None else value
    if not isinstance(field, TimeField):
        return value.cast("timestamp_ntz")
    return value if field.zone is None else clock_at(F.unix_micros(value), field.zone)


def clock_at(micros: Column, zone: str) -> Column:
    """Reading of the clock in a zone, so many microseconds since 1970-01-01 00:00 UTC, as TIMESTAMP_NTZ."""
    seconds = (micros.cast("decimal(24,6)") / F.lit(1_000_000)).cast("decimal(18,6)")
    none = F.lit(0)
    utc = F.lit("1970-01-01 00:00:00").cast("timestamp_ntz") + F.make_dt_interval(none, none, none, seconds)
    return utc if zone == "UTC" else F.convert_timezone(F.lit("UTC"), F.lit(zone), utc)


def point_in_time(wall: Column, zone: str) -> Column:
    """The instant at which a clock in the zone shows a TIMESTAMP_NTZ.

    Of two the earlier; a time that the clock skips is moved by what it skips.
    """
    # This text has its own zone.
    return F.concat(wall.cast("string"), F.lit(f" {zone}")).cast("timestamp")


def wall_clock_of_text(text: Column, pattern: str) -> Column:
    """The TIMESTAMP_NTZ of a text by a pattern without a zone; null where it does not fit.

    Readers have an option for the pattern and no error for a text that does not fit, whatever the session's settings.
    """
    parsed = F.from_json(F.to_json(F.struct(text.alias("t"))), "t timestamp_ntz", {"timestampNTZFormat": pattern})
    return parsed.getField("t")


def has_legacy_parser() -> bool:
    """Tells whether the session reads times as Spark 2 did, with other letters in patterns."""
    session = SparkSession.getActiveSession()
    return session is not None and str(session.conf.get("spark.sql.legacy.timeParserPolicy")).upper() == "LEGACY"


def moved_by_calendar(field: TimeField, interval: Column) -> Column:
    """A time moved by an interval of the calendar, at the same time of day in the column's zone.

    Where the clock shows that time twice, it is the one with the same offset from UTC as before, as with Spark's own
    sum of a timestamp and an interval (`java.time.ZonedDateTime.plusDays`).
    """
    before = wall_clock(field)
    after = before + interval
    if field.zone is None:
        return after
    if field.zone == "UTC" or field.zone[0] in "+-":
        return point_in_time(after, field.zone)

    def shown(wall: Column) -> Column:
        return F.unix_micros(point_in_time(wall, "UTC"))

    kept = microseconds(field) + (shown(after) - shown(before))
    return F.when(clock_at(kept, field.zone) == after, F.timestamp_micros(kept)).otherwise(
        point_in_time(after, field.zone)
    )
