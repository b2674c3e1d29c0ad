"""Texts as Spark reads them: what `spark.read.csv` makes of a text by the type of its column."""

from __future__ import annotations

from pyspark.sql import Column
from pyspark.sql import functions as F

from spark_keras.columns.expressions import quoted
from spark_keras.preparation import fields as kinds
from spark_keras.preparation.clock import has_legacy_parser
from spark_keras.preparation.scope import refused
from spark_keras.preparation.sql_text import text_literal

# Fields whose values text can stand for.
OF_TEXT = (kinds.NumberField, kinds.BooleanField, kinds.TimeField, kinds.DateField)


# Texts of which Spark's reader and its cast are known to make the same, and which are most of all numbers. A cast is
# several times as fast.
_PLAIN: dict[type[kinds.Field], str] = {
    kinds.IntegerField: "[+-]?[0-9]{1,9}",
    kinds.LongField: "[+-]?[0-9]{1,18}",
    kinds.FloatField: "[+-]?[0-9]+([.][0-9]+)?",
    kinds.DoubleField: "[+-]?[0-9]+([.][0-9]+)?",
}


def as_read(field: kinds.Field, text: str) -> str:
    """SQL text: the value that Spark's reader of CSV makes of a text, null where it makes none.

    The reader itself does it (`from_csv`), so that nothing here has to know its rules. A time without a zone is one of
    the field's zone, never the session's. No text with a quote or a backslash is a number, boolean, time or date.
    """
    kind = field.sparkType.simpleString()
    if isinstance(field, kinds.DateField) and not has_legacy_parser():
        # The cast takes the same texts, and does not stop where an older Spark warns of what Spark 2 would have read.
        return f"try_cast({text} AS {kind})"
    # Of a parser's own size, buffers of megabytes would be made for each text.
    options = ["'maxColumns', '2', 'inputBufferSize', '128'"]
    if isinstance(field, kinds.TimeField) and field.zone is not None:
        options.append(f"'timeZone', '{field.zone}'")
    # Between quotes, white space and the ends of lines belong to the text.
    line = f"""concat('"', {text}, '"')"""
    parsed = f"from_csv({line}, 'v {kind}', map({', '.join(options)})).v"
    plain = _PLAIN.get(type(field))
    fast = f"WHEN {text} RLIKE {text_literal(kinds.whole(plain))} THEN try_cast({text} AS {kind}) " if plain else ""
    return f"""CASE {fast}WHEN locate('"', {text}) = 0 AND locate(char(92), {text}) = 0 THEN {parsed} END"""


def times_of_text(field: kinds.TimeField, column: str) -> Column:
    """The points in time of a column of texts; a text that is none stops the job, an empty one is null."""
    text = quoted(column)
    wrong = refused(
        f"Unusable time in column {column!r}. Received: ",
        F.expr(text),
        ". Expected: a time as spark.read.csv reads it, such as 2020-07-31 12:00:00, in zone "
        f"{field.zone} unless it says its own. Step parseTime, on a `string` column of the schema, reads other "
        "forms and has a rule for those that are no times; DataQuality counts them.",
    )
    there = F.expr(f"{text} IS NOT NULL AND {text} <> ''")
    return F.coalesce(F.expr(as_read(field, text)), F.when(there, wrong))
