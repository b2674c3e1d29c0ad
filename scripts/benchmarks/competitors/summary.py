"""What Spark itself tells of the columns of a DataFrame: `DataFrame.summary()`. It makes the rows of the case, too."""

from __future__ import annotations

import time
from typing import Any

from pyspark.sql import functions as F

from benchmarks.serving import serve
from benchmarks.sessions import session


def write(path: str, rows: int) -> dict[str, Any]:
    """20 columns: 10 doubles, 3 floats, 3 small and 2 large whole numbers, a category, and an identifier."""
    numbered = session().range(rows, numPartitions=8)  # before the columns, which need a session
    doubles = [F.randn(seed=i).alias(f"double{i}") for i in range(10)]
    floats = [(F.rand(seed=10 + i) * 1000).cast("float").alias(f"float{i}") for i in range(3)]
    small = [(F.rand(seed=20 + i) * 100).cast("int").alias(f"int{i}") for i in range(3)]
    large = [F.xxhash64("id", F.lit(i)).alias(f"long{i}") for i in range(2)]
    category = F.concat(F.lit("category "), (F.rand(seed=30) * 20).cast("int").cast("string")).alias("category")
    name = F.hex(F.xxhash64("id")).alias("name")
    # Nulls in one column.
    doubles[0] = F.when(F.col("id") % 10 > 0, F.randn(seed=0)).alias("double0")
    table = numbered.select(*doubles, *floats, *small, *large, category, name)
    table.write.mode("overwrite").parquet(path)
    return {"rows": rows, "columns": len(table.columns)}


def summary(path: str) -> dict[str, Any]:
    """count, mean, stddev, min, three quartiles, max of every column."""
    df = session().read.parquet(path)
    rows = df.count()
    started = time.perf_counter()
    df.summary().collect()
    seconds = time.perf_counter() - started
    return {"seconds": seconds, "rate": rows / seconds}


if __name__ == "__main__":
    serve(write=write, summary=summary)
