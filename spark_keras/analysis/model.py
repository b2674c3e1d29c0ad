"""`DataFrameAnalysis`: what is known of the columns, shown, kept, and held against later rows."""

from __future__ import annotations

import dataclasses
import html
import warnings
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from pyspark.ml import Model
from pyspark.ml.util import DefaultParamsReadable, DefaultParamsReader, MLWritable
from pyspark.sql import DataFrame, SparkSession

from spark_keras import plain_json
from spark_keras.analysis import column_analysis, drift
from spark_keras.analysis.alerts import Alert, alerts_of
from spark_keras.analysis.column_analysis import ColumnAnalysis
from spark_keras.analysis.comparisons import Drift, Tolerances
from spark_keras.analysis.drift import DriftError, DriftWarning
from spark_keras.analysis.params import AnalysisStageParams
from spark_keras.analysis.relations import Relation
from spark_keras.cluster import session
from spark_keras.reports import cards
from spark_keras.reports.tables import html_table
from spark_keras.similar_names import unknown
from spark_keras.stage_metadata import VERSION, StageWriter

if TYPE_CHECKING:
    import pandas


class Correlations(NamedTuple):
    """Pearson correlations; NaN where one of the columns is constant or no row has both numbers.

    Args:
        columns: names.
        values: row by row, symmetric, 1 on the diagonal.
    """

    columns: tuple[str, ...]
    values: tuple[tuple[float, ...], ...]

    def toPandas(self) -> pandas.DataFrame:
        """A pandas DataFrame, as `pandas.DataFrame.corr` gives it."""
        import pandas as pd

        return pd.DataFrame(list(self.values), index=list(self.columns), columns=list(self.columns))

    def __repr__(self) -> str:
        return cards.text("Correlations", {"columns": cards.listed(self.columns)})

    def _repr_html_(self) -> str:
        rows = [(name, *row) for name, row in zip(self.columns, self.values)]
        return cards.html("Correlations", {}, [html_table(("", *self.columns), rows)])


class DataFrameAnalysis(Model, AnalysisStageParams, MLWritable, DefaultParamsReadable["DataFrameAnalysis"]):
    """The findings of a `DataFrameAnalyzer`; as a stage it checks later rows.

    `analysis["column"]` is a `ColumnAnalysis`, `analysis["address.city"]` a field of a struct. `transform` gives its
    rows back as they are; unless `onDrift` is "ignore" it computes them once, at once, to compare them with the
    analysis. The DataFrame that was analysed itself is not compared again, so that `Pipeline.fit` does not pay for it.
    """

    def __init__(
        self,
        columns: Sequence[ColumnAnalysis] = (),
        correlations: Correlations | None = None,
        relations: Sequence[Relation] = (),
    ):
        super().__init__()
        self._defaults()
        self._columns = {column.name: column for column in columns}
        self._correlations = correlations
        self._relations = tuple(relations)
        self._fitted_plan: int | None = None

    # --- what is known ---

    @property
    def columns(self) -> list[str]:
        """Names of the analysed columns, each struct followed by its fields."""
        return list(self._columns)

    @property
    def rows(self) -> int:
        """Rows that were analysed."""
        return next(iter(self._columns.values())).rows if self._columns else 0

    @property
    def correlations(self) -> Correlations | None:
        """Pearson correlations of `correlationCols`; None where there are none."""
        return self._correlations

    @property
    def relations(self) -> tuple[Relation, ...]:
        """Of each column to `labelCol`, most telling first; empty without one."""
        return tuple(sorted(self._relations, key=lambda each: -each.mutualInformation))

    @property
    def alerts(self) -> tuple[Alert, ...]:
        """Columns that are nearly all missing, constant, unique, imbalanced, skewed or highly correlated."""
        return alerts_of(self)

    def __getitem__(self, name: str) -> ColumnAnalysis:
        if name not in self._columns:
            raise KeyError(unknown("Unknown column", name, self.columns, "one of the analysed columns"))
        return self._columns[name]

    def __contains__(self, name: object) -> bool:
        return name in self._columns

    def __iter__(self) -> Iterator[ColumnAnalysis]:
        return iter(self._columns.values())

    def __len__(self) -> int:
        return len(self._columns)

    # --- later rows ---

    def drift(self, dataset: DataFrame) -> list[Drift]:
        """Differences of the rows from those that were analysed, beyond the tolerances; empty where they do not.

        Where columns are missing or have other types, only that is told. Otherwise one pass over the rows, and a second
        one where there are categories that the analysis does not know. Rows of the same distribution differ, in
        whatever columns, with a probability of at most `falseAlarmRate`.
        """
        return self._drift(dataset, stacklevel=4)

    def _drift(self, dataset: DataFrame, stacklevel: int) -> list[Drift]:
        drift.warn_of_earlier_version(list(self), stacklevel)
        tolerances = Tolerances(
            self.getMaxDistance(),
            self.getMaxOutOfRange(),
            self.getMaxNullIncrease(),
            self.getMaxUnseen(),
            self.getFalseAlarmRate(),
        )
        return drift.check(dataset, list(self), tolerances, self.getRelativeError())

    def _transform(self, dataset: DataFrame) -> DataFrame:
        action = self.getOnDrift()
        if action == "ignore" or self._fitted_plan == dataset.semanticHash():
            return dataset
        if dataset.isStreaming:
            raise ValueError(
                f'A stream has no end at which it could be compared. Received: onDrift="{action}" and a streaming '
                'DataFrame. Expected: onDrift="ignore", or transform in foreachBatch.'
            )
        found = self._drift(dataset, stacklevel=5)
        if found:
            message = "\n".join(["Rows differ from those that were analysed.", *map(str, found)])
            if action == "error":
                raise DriftError(message)
            warnings.warn(message, DriftWarning, stacklevel=3)
        return dataset

    # --- shown and kept ---

    def toPandas(self) -> pandas.DataFrame:
        """One row for each column, indexed by its name; what is not known is NaN or None."""
        import pandas as pd

        records = [_record(column) for column in self]
        return pd.DataFrame(records, columns=list(_FIGURES)).set_index("name")

    def toDF(self, spark: SparkSession | None = None) -> DataFrame:
        """The same figures as a Spark DataFrame; least, greatest and mean as strings, because times are among them.

        Args:
            spark: the session; default the active one.
        """
        spark = spark or session.running_or_new()
        schema = ", ".join(f"`{name}` {data_type}" for name, data_type in _FIGURES.items())
        return spark.createDataFrame([tuple(_typed(_record(column)).values()) for column in self], schema)

    def toJSON(self) -> str:
        """Everything, for `fromJSON`."""
        values: dict[str, Any] = {**VERSION, "columns": [column_analysis.to_dict(column) for column in self]}
        if self._correlations is not None:
            values["correlations"] = self._correlations._asdict()
        if self._relations:
            values["relations"] = [dataclasses.asdict(each) for each in self._relations]
        return plain_json.dumps(values)

    @classmethod
    def fromJSON(cls, text: str) -> DataFrameAnalysis:
        """The analysis of `toJSON`; Params have their defaults."""
        analysis = cls()
        analysis._load(text)
        return analysis

    def _load(self, text: str) -> None:
        values = plain_json.loads(text)
        if not isinstance(values, dict) or "columns" not in values:
            raise ValueError("No analysis in the JSON. Expected: what DataFrameAnalysis.toJSON gives.")
        columns = [column_analysis.from_dict(ColumnAnalysis, each) for each in values["columns"]]
        self._columns = {column.name: column for column in columns}
        self._relations = tuple(Relation(**each) for each in values.get("relations", ()))
        if "correlations" in values:
            correlations = values["correlations"]
            self._correlations = Correlations(
                tuple(correlations["columns"]), tuple(tuple(row) for row in correlations["values"])
            )

    def toHTML(self, path: str | None = None, title: str = "Analysis") -> str:
        """One self-contained page, which needs no network; returned, and written to `path` on this machine."""
        from spark_keras.analysis.page import render
        from spark_keras.reports.render import kept

        return kept(render(self, title), path)

    def _repr_html_(self) -> str:
        # In a frame, so that the page's style is not the notebook's.
        page = html.escape(self.toHTML(), quote=True)
        return f'<iframe srcdoc="{page}" style="width:100%;height:40em;border:0" title="Analysis"></iframe>'

    def _learned(self) -> dict[str, Any]:
        return {"rows": self.rows, "columns": len(self), "alerts": len(self.alerts)}

    def write(self) -> _AnalysisWriter:
        """The stage's writer: `analysis.write().overwrite().save(path)`."""
        return _AnalysisWriter(self)

    @classmethod
    def read(cls) -> _AnalysisReader:
        """The stage's reader: `DataFrameAnalysis.read().load(path)`."""
        return _AnalysisReader(cls)


class _AnalysisWriter(StageWriter):
    """Spark's metadata, and beside them the analysis as one line of JSON."""

    def saveImpl(self, path: str) -> None:
        super().saveImpl(path)
        lines = self.sparkSession.createDataFrame([(self.instance.toJSON(),)], "value string")
        lines.coalesce(1).write.text(f"{path}/analysis")


class _AnalysisReader(DefaultParamsReader["DataFrameAnalysis"]):
    def load(self, path: str) -> DataFrameAnalysis:
        analysis = super().load(path)
        if not isinstance(analysis, DataFrameAnalysis):
            raise ValueError(
                f"{path} holds another stage. Received: {type(analysis).__name__}. Expected: a DataFrameAnalysis."
            )
        analysis._load(self.sparkSession.read.text(f"{path}/analysis").collect()[0].value)
        return analysis


# Figures of a column that are one value each, with their types in a Spark DataFrame.
_FIGURES = {
    **dict.fromkeys(("name", "dataType", "kind"), "string"),
    **dict.fromkeys(("rows", "count", "nulls", "nan", "infinite"), "bigint"),
    **dict.fromkeys(("min", "max", "mean"), "string"),
    **dict.fromkeys(("stdev", "variance", "sum", "skewness"), "double"),
    **dict.fromkeys(("zeros", "negatives", "positives", "countAtMin", "countAtMax", "distinct"), "bigint"),
    "distinctIsExact": "boolean",
    "quantiles": "map<double,string>",
    "mostFrequent": "array<struct<value:string,count:bigint>>",
    **dict.fromkeys(("minLength", "maxLength", "meanLength"), "double"),
    "tensorShape": "array<int>",
}


def _record(column: ColumnAnalysis) -> dict[str, Any]:
    lengths = column.lengths or column_analysis.Statistics()
    values = {"minLength": lengths.min, "maxLength": lengths.max, "meanLength": lengths.mean}
    return {name: values[name] if name in values else getattr(column, name) for name in _FIGURES}


def _typed(record: dict[str, Any]) -> dict[str, Any]:
    """As the columns of `toDF` want it."""

    def text(value: Any) -> str | None:
        return None if value is None else str(value)

    typed = dict(record)
    for name in ("min", "max", "mean"):
        typed[name] = text(record[name])
    if hasattr(record["stdev"], "total_seconds"):
        typed["stdev"] = record["stdev"].total_seconds()
    if record["quantiles"] is not None:
        typed["quantiles"] = {probability: text(value) for probability, value in record["quantiles"].items()}
    for name in ("tensorShape", "mostFrequent"):
        if record[name] is not None:
            typed[name] = list(record[name])
    return typed
