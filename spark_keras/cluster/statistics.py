"""Statistics that Spark's optimizer has of a DataFrame's size."""

from __future__ import annotations

from pyspark.sql import DataFrame

from spark_keras.cluster.kinds import kind_of


def row_statistics(dataset: DataFrame) -> tuple[int | None, int | None]:
    """(number of rows, bytes), as far as Spark's optimizer knows them and tells; starts no job.

    The number is exact or None: that of a cached DataFrame whose rows were computed, of a range, or of a table that was
    analyzed. The bytes are the optimizer's estimate. Spark Connect tells neither.
    """
    return kind_of(dataset.sparkSession).row_statistics(dataset)
