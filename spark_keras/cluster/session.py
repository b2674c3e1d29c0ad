"""Everything that touches Spark's JVM and `SparkContext`: slots, addresses, jobs, broadcasts and file systems."""

from __future__ import annotations

from typing import Any


def session_of(dataset: Any) -> Any:
    """The DataFrame's session; refuses Spark Connect, where workers cannot reach the driver's Python process."""
    if ".connect." in type(dataset).__module__:
        raise NotImplementedError(
            "Spark Connect is not supported. Received: a DataFrame of a Spark Connect session. Expected: one of a "
            "classic session, whose driver runs this Python process (spark-submit, a notebook on the driver)."
        )
    return dataset.sparkSession


# --- slots ---------------------------------------------------------------------------------------------------------


def stopped(spark: Any) -> bool:
    return spark.sparkContext._jsc is None


# --- rows ----------------------------------------------------------------------------------------------------------


# --- addresses -----------------------------------------------------------------------------------------------------


# --- jobs ----------------------------------------------------------------------------------------------------------


# --- broadcasts and files ------------------------------------------------------------------------------------------
