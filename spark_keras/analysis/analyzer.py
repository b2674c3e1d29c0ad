"""`DataFrameAnalyzer`: columns in, their analysis out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from pyspark.ml import Estimator
from pyspark.ml.util import DefaultParamsReadable
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import BooleanType, NumericType

from spark_keras.analysis import aggregations, measured_columns, relations, summaries
from spark_keras.analysis.column_analysis import ColumnAnalysis
from spark_keras.analysis.model import Correlations, DataFrameAnalysis
from spark_keras.analysis.params import AnalysisStageParams
from spark_keras.columns import expressions as dataframe_columns
from spark_keras.params.keyword_only import keyword_only
from spark_keras.stage_metadata import StageWritable


class DataFrameAnalyzer(
    Estimator[DataFrameAnalysis], AnalysisStageParams, DefaultParamsReadable["DataFrameAnalyzer"], StageWritable
):
    """Looks at the columns of a DataFrame: counts, moments, quantiles, histograms, frequencies, lengths, shapes.

    Two passes over the rows, however many columns there are, one more for correlations, and one for relations to a
    label; cache rows that are costly to compute. Everything runs as Spark's own expressions. The driver receives some
    hundred numbers for each column.

    Args:
        inputCols: columns to look at; not set: all.
        bins: bins of a histogram, default 10.
        quantiles: probabilities of the quantiles, default 0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99.
        quantileRule: "value" (default): a quantile is a value of the column, as `percentile_approx` gives it;
            "midpoint": the mean of two neighbouring values where the probability falls between them.
        relativeError: greatest error of a quantile's rank, as a share of the values, default 0.0001.
        maxDistinct: up to so many distinct strings are counted one by one, default 1000.
        elementStatistics: whether each position of arrays is analysed, default False; one more pass finds their
            lengths, where ML attributes do not tell them.
        correlationCols: numeric columns whose Pearson correlations are computed; default none.
        labelCol: column to which each other column's relation is computed; default none.
        onDrift: what the fitted stage does with rows that differ: "error" (default), "warn" or "ignore".
        maxDistance: greatest distance between distributions, default 0.1.
        maxOutOfRange: greatest share of values out of range, default 0.01.
        maxNullIncrease: by how much the share of nulls may grow, default 0.05.
        maxUnseen: greatest share of unseen categories, default 0.
        falseAlarmRate: greatest probability that rows of the same distribution are told to differ, in whatever columns
            and checks, default 0.01; with 1 the limits above alone decide.

    Raises:
        ValueError: on unknown columns, and where the rows are not the same in both passes.

    Example:
        >>> analysis = DataFrameAnalyzer().fit(df)
        >>> analysis["sepal length"].mean
        5.843333333333334
        >>> analysis.toHTML("iris.html")
    """

    @keyword_only
    def __init__(
        self,
        *,
        inputCols: list[str] | None = None,
        bins: int = 10,
        quantiles: Sequence[float] = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99),
        quantileRule: str = "value",
        relativeError: float = 0.0001,
        maxDistinct: int = 1000,
        elementStatistics: bool = False,
        correlationCols: list[str] | None = None,
        labelCol: str | None = None,
        onDrift: str = "error",
        maxDistance: float = 0.1,
        maxOutOfRange: float = 0.01,
        maxNullIncrease: float = 0.05,
        maxUnseen: float = 0.0,
        falseAlarmRate: float = 0.01,
    ):
        super().__init__()
        self._defaults()
        self._set(**self._input_kwargs)

    def _fit(self, dataset: DataFrame) -> DataFrameAnalysis:
        names = self.getInputCols() if self.isSet("inputCols") else list(dataset.columns)
        if not names:
            raise ValueError("There is nothing to analyse. Received: no columns. Expected: one or more.")
        for name in names:
            dataframe_columns.check_column(dataset, "inputCols", name)
        correlated = self.getCorrelationCols()
        _check_numeric(dataset, correlated)
        fields = measured_columns.fields_of(dataset, names)
        label = self.getLabelCol() if self.isSet("labelCol") else None
        if label is not None:
            relations.check_label(fields, label)
        analyses = self._analyses(dataset, fields)
        related = relations.relations(dataset, fields, analyses, label, self.getRelativeError()) if label else ()
        fitted = DataFrameAnalysis(analyses, _correlations(dataset, correlated) if correlated else None, related)
        fitted._fitted_plan = dataset.semanticHash()
        fitted._resetUid(self.uid)
        return self._copyValues(fitted)

    def _analyses(self, dataset: DataFrame, fields: Sequence[measured_columns.Field]) -> list[ColumnAnalysis]:
        element_counts = _element_counts(dataset, fields) if self.getElementStatistics() else {}
        measures = measured_columns.measures_of(fields, element_counts)
        probabilities = sorted(set(self.getQuantiles()))
        rule = summaries.QUANTILE_RULES[self.getQuantileRule()]
        asked = [each for probability in probabilities for each in rule(probability)]
        sketches = aggregations.sketches(dataset, measures, asked, self.getRelativeError())
        most = self.getMaxDistinct()
        ranges, strings = [], []
        for measure, sketch in zip(measures, sketches):
            few, text = summaries.few(sketch, most), measure.text
            ranges.append(sketch.range(few) if text is None else aggregations.Range())
            strings.append(text if text is None or few else aggregations.only_hashes(text, sketch.heavy))
        counts = aggregations.counts(dataset, measures, ranges, self.getBins(), strings)
        _check_same_rows([fields[measure.column].name for measure in measures], sketches, counts)
        measured = [summaries.Measured(*parts) for parts in zip(measures, sketches, ranges, counts)]
        return summaries.columns(fields, measured, probabilities, rule, most)


def _check_numeric(dataset: DataFrame, names: Sequence[str]) -> None:
    for name in names:
        data_type = dataframe_columns.check_column(dataset, "correlationCols", name)
        if not isinstance(data_type, (NumericType, BooleanType)):
            raise ValueError(
                f"Column {name!r} in Param `correlationCols` has no correlations. "
                f"Received type: {data_type.simpleString()}. Expected: numbers or booleans."
            )
    if len(names) == 1:
        raise ValueError(
            f"Invalid value for Param `correlationCols`. Received: {names}. Expected: two columns or more."
        )


def _check_same_rows(names: Sequence[str], sketches: Sequence[Any], counts: Sequence[aggregations.Counts]) -> None:
    for name, sketch, counted in zip(names, sketches, counts):
        if sketch.content != counted.content:
            raise ValueError(
                f"The rows were not the same in both passes. Received: other values in column {name!r} in the second "
                "pass. Expected: a DataFrame that gives the same rows whenever it is computed; cache it, or give a "
                "seed to what is random in it."
            )


def _element_counts(dataset: DataFrame, fields: Sequence[measured_columns.Field]) -> dict[str, int]:
    """Elements of each array of numbers: from its ML attributes, else from the greatest length, in one job."""
    arrays = [field for field in fields if measured_columns.has_numeric_elements(field)]
    known = {field.name: field.metadata.get("ml_attr", {}).get("num_attrs") for field in arrays}
    unknown = [field for field in arrays if not known[field.name]]
    if unknown:
        lengths = [F.max(F.size(measured_columns.flat_array(field))) for field in unknown]
        row = dataset.agg(*[length.alias(f"n{index}") for index, length in enumerate(lengths)]).collect()[0]
        known |= {field.name: max(length or 0, 0) for field, length in zip(unknown, row)}
    return known


def _correlations(dataset: DataFrame, names: Sequence[str]) -> Correlations:
    """Pearson's, of the rows in which both numbers are finite."""
    fields = [measured_columns.field_of(dataset, name) for name in names]
    # One for each; hashes of categories come behind them.
    measures = measured_columns.measures_of(fields, {})[: len(names)]
    numbers = [F.when(F.abs(each.expression) < float("inf"), each.expression) for each in measures]
    pairs = [(i, j) for i in range(len(names)) for j in range(i)]
    x = F.col("x")
    structs = [F.struct(F.lit(n).alias("pair"), x[i].alias("a"), x[j].alias("b")) for n, (i, j) in enumerate(pairs)]
    both = dataset.select(F.array(*numbers).alias("x")).select(F.inline(F.array(*structs)))
    both = both.where(F.col("a").isNotNull() & F.col("b").isNotNull())
    matrix = np.full((len(names), len(names)), np.nan)
    np.fill_diagonal(matrix, 1.0)
    for row in both.groupBy("pair").agg(F.corr("a", "b").alias("r")).collect():
        i, j = pairs[row.pair]
        matrix[i, j] = matrix[j, i] = np.nan if row.r is None else row.r
    return Correlations(tuple(names), tuple(tuple(each) for each in matrix.tolist()))
