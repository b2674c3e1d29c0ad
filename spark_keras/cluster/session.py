"""Spark's session: the one of a DataFrame, and what it is told."""

from __future__ import annotations

from pyspark.sql import DataFrame, SparkSession


def session_of(dataset: DataFrame) -> SparkSession:
    """The DataFrame's session; refuses Spark Connect, where workers cannot reach the driver's Python process."""
    if ".connect." in type(dataset).__module__:
        raise NotImplementedError(
            "Spark Connect is not supported. Received: a DataFrame of a Spark Connect session. Expected: one of a "
            "classic session, whose driver runs this Python process (spark-submit, a notebook on the driver)."
        )
    return dataset.sparkSession


def setting(spark: SparkSession, name: str, default: str = "") -> str:
    """A setting of the session, the default where it has none."""
    return spark.conf.get(name, default) or default


def running() -> SparkSession | None:
    """This process' session, of whichever thread; None: it has none."""
    return SparkSession.getActiveSession() or getattr(SparkSession, "_instantiatedSession", None)


def application_id(spark: SparkSession) -> str:
    return spark.sparkContext.applicationId


def master(spark: SparkSession) -> str:
    """Master of the application, such as "local[4]"."""
    return spark.sparkContext.master or ""


def stopped(spark: SparkSession) -> bool:
    return spark.sparkContext._jsc is None
