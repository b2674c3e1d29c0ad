"""spark_keras: `DataFrameAnalyzer`."""

from __future__ import annotations

import time
from typing import Any

from benchmarks.serving import serve
from benchmarks.sessions import session
from spark_keras import DataFrameAnalyzer


def analyse(path: str) -> dict[str, Any]:
    """All figures of every column."""
    df = session().read.parquet(path)
    rows = df.count()
    started = time.perf_counter()
    analysis = DataFrameAnalyzer().fit(df)
    seconds = time.perf_counter() - started
    if analysis.rows != rows:
        raise RuntimeError(f"{analysis.rows} rows were analysed, not {rows}.")
    return {"seconds": seconds, "rate": rows / seconds}


if __name__ == "__main__":
    serve(analyse=analyse)
