"""`col`: how users name a column, or the length of its values, in conditions and reductions."""

from __future__ import annotations

from typing import Any

from pyspark.sql import Column

from spark_keras.preparation import conditions
from spark_keras.preparation.conditions import Condition
from spark_keras.preparation.reductions import Reduction, SqlReduction
from spark_keras.preparation.schema import Schema


def col(name: str) -> ColumnExpression:
    """A column in a condition or a reduction: `col("amount") < 0`, `col("amount").sum()`.

    Unlike a Column of pyspark, what is made of it can be checked against a schema and saved.
    """
    if not isinstance(name, str) or not name:
        raise TypeError(f"Invalid column. Received: {name!r}. Expected: a name.")
    return ColumnExpression(name)


def countRows(where: Condition | None = None) -> Reduction:
    """The number of rows of a group, or of those of its rows for which a condition holds."""
    return Reduction("count", None, where)


def sqlReduction(expression: str) -> SqlReduction:
    """A reduction of one's own: an aggregate expression of SQL over the columns of the rows of a group.

    `agg(spread=sqlReduction("percentile(amount, 0.9) - percentile(amount, 0.1)"))`. Spark checks it when the step is
    added, and tells its type; a condition on rows is written as `FILTER (WHERE …)`. Names with dots or blanks stand
    between backticks.
    """
    return SqlReduction(expression)


def operand(value: Any) -> Any:
    """A value as steps keep it: a `col` becomes its name, a list a tuple."""
    return conditions.ColumnName(value.name) if isinstance(value, ColumnExpression) else value


class Compared:
    """An expression that Python's operators compare with values, to conditions."""

    # So it is no key of a dict.
    __hash__ = None  # type: ignore[assignment]  # Python's own way to say so

    def _compare(self, operator: str, other: Any) -> Condition:
        raise NotImplementedError

    def __eq__(self, other: Any) -> Condition:  # type: ignore[override]  # as in Spark's Column
        return self._compare("==", other)

    def __ne__(self, other: Any) -> Condition:  # type: ignore[override]  # as in Spark's Column
        return self._compare("!=", other)

    def __lt__(self, other: Any) -> Condition:
        return self._compare("<", other)

    def __le__(self, other: Any) -> Condition:
        return self._compare("<=", other)

    def __gt__(self, other: Any) -> Condition:
        return self._compare(">", other)

    def __ge__(self, other: Any) -> Condition:
        return self._compare(">=", other)

    def between(self, low: Any, high: Any) -> Condition:
        """low ≤ value ≤ high."""
        return (self >= low) & (self <= high)


class LengthExpression(Compared):
    """The length of a column's value; the methods make conditions, which are unknown where the value is null."""

    def __init__(self, name: str):
        self.name = name

    def __repr__(self) -> str:
        return f"col({self.name!r}).length()"

    def _compare(self, operator: str, other: Any) -> Condition:
        return conditions.CompareLength(self.name, operator, other)

    def isIn(self, *lengths: int) -> Condition:
        """The length is one of these."""
        return conditions.CompareLength(self.name, "in", tuple(lengths))


class ColumnExpression(Compared, Condition):
    """A column by its name; the methods make conditions and reductions. A boolean column is a condition itself."""

    def __init__(self, name: str):
        self.name = name

    def __repr__(self) -> str:
        return f"col({self.name!r})"

    def written_out(self) -> Condition:
        return conditions.Compare(self.name, "==", True)

    def check(self, schema: Schema, step: str) -> None:
        self.written_out().check(schema, step)

    def column(self, schema: Schema) -> Column:
        return self.written_out().column(schema)

    # --- conditions ----------------------------------------------------------------------------------------------

    def _compare(self, operator: str, other: Any) -> Condition:
        return conditions.Compare(self.name, operator, operand(other))

    def isIn(self, *values: Any) -> Condition:
        """The value is one of these (given one by one, or as one list)."""
        if len(values) == 1 and isinstance(values[0], (list, tuple, set, frozenset)):
            values = tuple(sorted(values[0]) if isinstance(values[0], (set, frozenset)) else values[0])
        return conditions.IsIn(self.name, tuple(values))

    def matches(self, pattern: str) -> Condition:
        """The whole string matches a regular expression (of Java, as Spark's); of a number, what Spark prints: 12, or
        for doubles 1.5, 1.0E10.
        """
        return conditions.Matches(self.name, pattern)

    def isNull(self) -> Condition:
        """The value is missing."""
        return conditions.IsNull(self.name)

    def isNotNull(self) -> Condition:
        """The value is there."""
        return ~conditions.IsNull(self.name)

    def isNaN(self) -> Condition:
        """The value is not a number (and not missing either)."""
        return conditions.IsNaN(self.name)

    def isInfinite(self) -> Condition:
        """The value is plus or minus infinity."""
        return conditions.IsInfinite(self.name)

    def isInvalid(self) -> Condition:
        """The value is there and not valid by the schema: out of range, none of the states, NaN where it is not
        allowed.
        """
        return conditions.IsInvalid(self.name)

    def length(self) -> LengthExpression:
        """The number of time steps of a sequence, elements of an array, characters of a string or bytes of a binary,
        to be compared: `col("delay").length() >= 10`.
        """
        return LengthExpression(self.name)

    # --- reductions ----------------------------------------------------------------------------------------------

    def sum(self, where: Condition | None = None) -> Reduction:
        """The sum: a long for whole numbers, else a double."""
        return Reduction("sum", self.name, where)

    def mean(self, where: Condition | None = None) -> Reduction:
        """The arithmetic mean."""
        return Reduction("mean", self.name, where)

    def stdev(self, where: Condition | None = None) -> Reduction:
        """The standard deviation with n − 1; null for one value."""
        return Reduction("stdev", self.name, where)

    def variance(self, where: Condition | None = None) -> Reduction:
        """The variance with n − 1; null for one value."""
        return Reduction("variance", self.name, where)

    def min(self, where: Condition | None = None) -> Reduction:
        """The smallest value."""
        return Reduction("min", self.name, where)

    def max(self, where: Condition | None = None) -> Reduction:
        """The largest value."""
        return Reduction("max", self.name, where)

    def range(self, where: Condition | None = None) -> Reduction:
        """The largest minus the smallest value."""
        return Reduction("range", self.name, where)

    def count(self, where: Condition | None = None) -> Reduction:
        """Number of values that are not null."""
        return Reduction("count", self.name, where)

    def countDistinct(self, where: Condition | None = None) -> Reduction:
        """Number of different values, nulls apart; exact."""
        return Reduction("countDistinct", self.name, where)

    def first(self, by: str | None = None, where: Condition | None = None) -> Reduction:
        """The value in the row where column `by` is smallest; without `by`, in the first time step of a sequence."""
        return Reduction("first", self.name, where, by)

    def last(self, by: str | None = None, where: Condition | None = None) -> Reduction:
        """The value in the row where column `by` is largest; without `by`, in the last time step of a sequence."""
        return Reduction("last", self.name, where, by)

    def median(self, where: Condition | None = None) -> Reduction:
        """The middle value, or the mean of the two in the middle; exact, a double."""
        return Reduction("median", self.name, where)

    def product(self, where: Condition | None = None) -> Reduction:
        """The product, a double."""
        return Reduction("product", self.name, where)

    def populationStdev(self, where: Condition | None = None) -> Reduction:
        """The standard deviation with n; 0 for one value."""
        return Reduction("populationStdev", self.name, where)

    def populationVariance(self, where: Condition | None = None) -> Reduction:
        """The variance with n; 0 for one value."""
        return Reduction("populationVariance", self.name, where)

    def append(self, by: str | None = None, separator: str = "", where: Condition | None = None) -> Reduction:
        """The strings one behind the other in the order of column `by`, rows without an order left out; without `by`,
        in the order of a sequence.
        """
        return Reduction("append", self.name, where, by, separator)

    def prepend(self, by: str | None = None, separator: str = "", where: Condition | None = None) -> Reduction:
        """The strings as with `append`, the last one first."""
        return Reduction("prepend", self.name, where, by, separator)
