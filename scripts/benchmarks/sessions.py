"""The Spark session of a competitor."""

from __future__ import annotations

import functools
from typing import Any

from pyspark.sql import SparkSession


@functools.cache
def session(cores: int = 2) -> SparkSession:
    spark = (
        SparkSession.builder.master(f"local[{cores}]")
        .config("spark.ui.enabled", "false")
        .config("spark.ui.showConsoleProgress", "false")
        .config("spark.driver.memory", "4g")
        .config("spark.sql.execution.arrow.pyspark.enabled", "true")
        .getOrCreate()
    )
    spark.sparkContext.setLogLevel("ERROR")
    return spark


@functools.cache
def cached_rows(data: str) -> Any:
    """The rows as a DataFrame in Spark's memory, so that reading files is no part of what is timed."""
    df = session().read.parquet(f"{data}/rows.parquet").cache()
    df.count()
    return df


def consume(df: Any) -> None:
    """Computes every row and throws it away."""
    df.write.format("noop").mode("overwrite").save()
