"""Spark's session: the one of a DataFrame, and what it is told."""

from __future__ import annotations

from pyspark.sql import DataFrame, SparkSession


def is_connect(spark: SparkSession) -> bool:
    """Tells whether it is a session of Spark Connect, whose driver is another process, which runs no Python of ours."""
    return ".connect." in type(spark).__module__


def session_to_train_on(dataset: DataFrame) -> SparkSession:
    """The DataFrame's session; refuses Spark Connect, where workers cannot reach the driver's Python process."""
    spark = dataset.sparkSession
    if is_connect(spark):
        raise NotImplementedError(
            "A fit does not run on Spark Connect. Received: a DataFrame of a Spark Connect session. Expected: one of a "
            "classic session, whose driver runs this Python process (spark-submit, a notebook on the driver). Fit and "
            "save there; saved models load on Spark Connect, where transform and evaluate work."
        )
    return spark


def setting(spark: SparkSession, name: str, default: str = "") -> str:
    """A setting of the session, the default where it has none."""
    return spark.conf.get(name, default) or default


def slots_can_grow(spark: SparkSession) -> bool:
    return setting(spark, "spark.dynamicAllocation.enabled", "false").lower() == "true"


def running() -> SparkSession | None:
    """This process' session, of whichever thread; None: it has none."""
    return SparkSession.getActiveSession() or getattr(SparkSession, "_instantiatedSession", None)


def running_or_new() -> SparkSession:
    """This process' session, or a new one."""
    # A builder asks for the server's address again where the session is of Spark Connect.
    return running() or SparkSession.builder.getOrCreate()


def master(spark: SparkSession) -> str:
    """Master of the application, such as "local[4]"."""
    return spark.sparkContext.master or ""


def stopped(spark: SparkSession) -> bool:
    return spark.sparkContext._jsc is None
