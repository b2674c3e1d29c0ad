"""Statistics that Spark's optimizer has of a DataFrame's size."""

from __future__ import annotations

from pyspark.sql import DataFrame

# These give out each row that they are given.
_KEEP_ALL_ROWS = ("Project", "RepartitionByExpression", "Repartition", "Sort", "SubqueryAlias")


# Where nothing is known Spark takes the size of a relation to be the largest long, so that nobody broadcasts it.
_UNKNOWN_BYTES = 2**55


def row_statistics(dataset: DataFrame) -> tuple[int | None, int | None]:
    """(number of rows, bytes), as far as Spark's optimizer knows them; starts no job.

    The number is exact or None: that of a cached DataFrame whose rows were computed, of a range, or of a table that was
    analyzed. The bytes are the optimizer's estimate.
    """
    # A plan of its own, because a DataFrame keeps the plan that it had before it was cached.
    plan = dataset.select("*")._jdf.queryExecution().optimizedPlan()
    size = int(str(plan.stats().sizeInBytes()))
    while plan.stats().rowCount().isEmpty() and plan.nodeName() in _KEEP_ALL_ROWS:
        plan = plan.children().head()
    count = plan.stats().rowCount()
    return None if count.isEmpty() else int(str(count.get())), None if size > _UNKNOWN_BYTES else size
