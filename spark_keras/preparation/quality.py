"""Quality of a DataFrame by its schema: valid, invalid and missing values, column by column."""

from __future__ import annotations

import dataclasses
from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F
from pyspark.sql import types as T

from spark_keras import plain_json
from spark_keras.columns.expressions import quoted
from spark_keras.preparation import fields as kinds
from spark_keras.preparation.agreement import Agreement, disagreement, no_column
from spark_keras.preparation.schema import Schema
from spark_keras.preparation.sql_text import text_literal
from spark_keras.preparation.texts import OF_TEXT, as_read
from spark_keras.reports.cards import Shown, listed
from spark_keras.reports.tables import html_table, text_table
from spark_keras.similar_names import unknown

if TYPE_CHECKING:
    import pandas


@dataclasses.dataclass(frozen=True)
class ColumnQuality:
    """One column: numbers of values, and examples of invalid ones.

    Args:
        name: the column.
        expected: what the schema says of it.
        valid: values that are as the schema says.
        invalid: values that are there, but not as it says.
        missing: nulls.
        examples: different invalid values as strings, the first ones in their order.
        nullable: whether the schema lets values be missing.
        empty: of a column of strings, those without a character; None for other columns, as the next two.
        alphabetic: strings of letters only, of any alphabet.
        numeric: strings that are a number in decimal digits, such as "12", "-3.5" or "1e3".
    """

    name: str
    expected: str
    valid: int
    invalid: int
    missing: int
    examples: tuple[str, ...] = ()
    nullable: bool = True
    empty: int | None = None
    alphabetic: int | None = None
    numeric: int | None = None

    @property
    def ok(self) -> bool:
        """No value is invalid, and none is missing where the schema does not let it."""
        return not self.invalid and (self.nullable or not self.missing)


@dataclasses.dataclass(frozen=True, repr=False)
class DataQuality(Shown):
    """The values of a DataFrame held against a `Schema`; made by `DataQuality.of`.

    Example:
        >>> quality = DataQuality.of(df, schema)
        >>> quality["amount"].invalid
        1
        >>> quality["amount"].examples
        ('-0.9',)
    """

    columns: tuple[ColumnQuality, ...]

    @staticmethod
    def of(dataset: DataFrame, schema: Schema, examples: int = 5) -> DataQuality:
        """Checks all values: one pass over the DataFrame, and one more for examples where values are invalid.

        NaN and infinity are invalid unless the schema allows them. Where the schema has a number, boolean, time or date
        and the column holds strings, a string is what `spark.read.csv` with this schema makes of it: one that it reads
        as null is invalid.

        Args:
            dataset: a DataFrame with the columns of the schema; further columns are not looked at.
            schema: what is expected.
            examples: how many different invalid values to keep for each column.

        Raises:
            ValueError: where columns are missing, or their types cannot be checked.
        """
        values = _Values.of(dataset, schema)
        counts = values.counts()
        shown = values.examples([index for index, count in enumerate(counts) if count["invalid"]], examples)
        columns = []
        for index, (field, count) in enumerate(zip(schema, counts)):
            valid, missing = count["present"] - count["invalid"], count["rows"] - count["present"]
            classes = [count[name] for name in _CLASSES] if index in values.texts else []
            figures = (valid, count["invalid"], missing, shown.get(index, ()), field.nullable)
            columns.append(ColumnQuality(field.name, field.description, *figures, *classes))
        return DataQuality(tuple(columns))

    @property
    def ok(self) -> bool:
        """Tells whether every column is as the schema says."""
        return all(column.ok for column in self.columns)

    def __getitem__(self, name: str) -> ColumnQuality:
        for column in self.columns:
            if column.name == name:
                return column
        raise KeyError(unknown("Unknown column", name, [column.name for column in self.columns]))

    def toPandas(self) -> pandas.DataFrame:
        """One row for each column, as a pandas DataFrame."""
        import pandas as pd

        return pd.DataFrame([{**dataclasses.asdict(column), "ok": column.ok} for column in self.columns])

    def toJSON(self) -> str:
        """All figures as JSON: a list with one object for each column."""
        return plain_json.dumps([{**dataclasses.asdict(column), "ok": column.ok} for column in self.columns])

    def _facts(self) -> dict[str, Any]:
        wrong = [column.name for column in self.columns if not column.ok]
        return {"ok": self.ok, "columns": len(self.columns), "not as expected": listed(wrong) or None}

    def _parts(self) -> list[str]:
        return [html_table(_HEADER, self._rows())]

    def _rows(self) -> list[tuple[str, ...]]:
        return [
            (c.name, c.expected, str(c.valid), str(c.invalid), str(c.missing), ", ".join(c.examples))
            for c in self.columns
        ]

    def __str__(self) -> str:
        return text_table(_HEADER, self._rows(), left=len(_HEADER))


_HEADER = ("column", "expected", "valid", "invalid", "missing", "examples")
# Beyond this many columns Spark does not compile a pass as a whole (spark.sql.codegen.maxFields).
_WIDE = 100
# Classes of strings, as regular expressions of the whole text.
_CLASSES = {"empty": "", "alphabetic": r"\p{L}+", "numeric": r"[+-]?([0-9]+([.][0-9]*)?|[.][0-9]+)([eE][+-]?[0-9]+)?"}


class _Values(NamedTuple):
    """The values of a DataFrame as the schema takes them, as SQL text: built once, however many columns there are.

    Args:
        rows: for each column of the schema, `c<number>` as it is and `v<number>` as the schema takes it.
        schema: the schema.
        texts: numbers of the columns that hold strings.
        read: numbers of those that hold strings where the schema has something else.
        sources: the Spark types of the columns.
    """

    rows: DataFrame
    schema: Schema
    texts: frozenset[int]
    read: frozenset[int]
    sources: tuple[T.DataType, ...]

    @staticmethod
    def of(dataset: DataFrame, schema: Schema) -> _Values:
        agreement = Agreement.of(schema, dataset)
        problems = list(map(no_column, agreement.missing))
        types = {name: column.dataType for name, column in agreement.found.items()}
        texts = frozenset(i for i, field in enumerate(schema) if isinstance(types.get(field.name), T.StringType))
        read = frozenset(i for i in texts if isinstance(schema.fields[i], OF_TEXT))
        problems += agreement.wrong_types([field for i, field in enumerate(schema) if i not in read])
        if problems:
            raise disagreement("the schema", problems, schema)
        selected = []
        for index, field in enumerate(schema):
            column = quoted(agreement.found[field.name].name)
            selected.append(f"{column} AS c{index}")
            if index in read:
                selected.append(f"{as_read(field, column)} AS v{index}")
        sources = tuple(types[field.name] for field in schema)
        return _Values(dataset.selectExpr(*selected), schema, texts, read, sources)

    def counts(self) -> list[Counter[str]]:
        """For each column how many values are there, are invalid, and are of each class of strings; and all rows."""
        names = ["rows", *self._flags(0, everything=True)]
        codes = [self._code(index) for index in range(len(self.schema))]
        if len(codes) > _WIDE:
            # A row for each value: Spark takes many seconds to plan thousands of figures.
            values = self.rows.selectExpr(f"posexplode(array({', '.join(codes)})) AS (place, code)")
            found = values.groupBy("place", "code").count().collect()
            counts: list[Counter[str]] = [Counter() for _ in codes]
            for row in found:
                for bit, name in enumerate(names):
                    counts[row["place"]][name] += row["count"] * (row["code"] >> bit & 1)
            return counts
        coded = self.rows.selectExpr(*[f"{code} AS k{index}" for index, code in enumerate(codes)])
        figures = [
            f"count_if(k{index} & {1 << bit} <> 0) AS {name}{index}"
            for index in range(len(codes))
            for bit, name in enumerate(names)
        ]
        row = coded.selectExpr(*figures).collect()[0]
        return [Counter({name: row[f"{name}{index}"] for name in names}) for index in range(len(codes))]

    def _flags(self, index: int, everything: bool = False) -> dict[str, str]:
        """Conditions that are counted of a value that is there, as SQL text."""
        classes = {
            name: f"c{index} RLIKE {text_literal(kinds.whole(pattern))}"
            for name, pattern in _CLASSES.items()
            if everything or index in self.texts
        }
        return {"present": "true", "invalid": self._invalid(index), **classes}

    def _code(self, index: int) -> str:
        """SQL text: a number with a bit for everything that is counted, the first one for the row itself."""
        flags = enumerate(self._flags(index).values(), 1)
        bits = " + ".join(f"CASE WHEN {flag} THEN {1 << bit} ELSE 0 END" for bit, flag in flags)
        return f"CASE WHEN c{index} IS NULL THEN 1 ELSE 1 + {bits} END"

    def _invalid(self, index: int) -> str:
        field = self.schema.fields[index]
        if index not in self.read:
            return f"c{index} IS NOT NULL AND NOT coalesce({field.check(f'c{index}')}, false)"
        return f"c{index} IS NOT NULL AND NOT coalesce({field.check(f'v{index}')} AND v{index} IS NOT NULL, false)"

    def examples(self, columns: list[int], count: int) -> dict[int, tuple[str, ...]]:
        """Some invalid values of each of these columns, in one pass."""
        if not columns:
            return {}
        texts = [
            f"CASE WHEN {self._invalid(index)} THEN named_struct('column', {index}, 'value', {self._text(index)}) END"
            for index in columns
        ]
        bad = self.rows.selectExpr(f"explode(array({', '.join(texts)})) AS bad")
        different = bad.where("bad IS NOT NULL").select("bad.*").distinct()
        place = F.row_number().over(Window.partitionBy("column").orderBy("value"))
        found: dict[int, list[str]] = {index: [] for index in columns}
        for row in different.select("*", place.alias("place")).where(F.col("place") <= count).collect():
            found[row["column"]].append(row["value"])
        return {index: tuple(sorted(values)) for index, values in found.items()}

    def _text(self, index: int) -> str:
        return f"hex(c{index})" if isinstance(self.sources[index], T.BinaryType) else f"CAST(c{index} AS STRING)"
