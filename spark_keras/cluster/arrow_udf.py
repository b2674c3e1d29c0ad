"""A Python function over Arrow arrays as a Spark column, on every version of Spark."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import Column, DataFrame
from pyspark.sql.types import DataType

# From the arrays of each batch to one array of results, row by row.
Compute = Callable[[Iterator[Sequence[pa.Array]]], Iterator[pa.Array]]


def arrow_column(compute: Compute, return_type: DataType | str, dataset: DataFrame, inputs: Sequence[Column]) -> Column:
    """A Spark column of results: by an Arrow UDF where Spark has it (4.1 and later), a pandas UDF before, which copies
    each row's array once more.

    Args:
        return_type: of the results, or its `simpleString`. A type says whether elements of arrays may be null; it must
            be that of the Arrow arrays in this, too.
        dataset: the DataFrame of the input columns.
    """
    # Else Spark would push a filter on the results below the projection and run the function twice.
    return _function(compute, return_type, dataset, inputs).asNondeterministic()(*inputs)


def _function(compute: Compute, return_type: DataType | str, dataset: DataFrame, inputs: Sequence[Column]) -> Any:
    from pyspark.sql import functions as F

    arrow_udf = getattr(F, "arrow_udf", None)
    if arrow_udf is not None:

        def apply(batches: Iterator[tuple[pa.Array, ...]]) -> Iterator[pa.Array]:
            return compute(batches)

        apply.__annotations__ = {"batches": Iterator[tuple[pa.Array, ...]], "return": Iterator[pa.Array]}
        return arrow_udf(apply, return_type)

    import pandas as pd
    from pyspark.sql.pandas.types import to_arrow_type

    arrow_types = [to_arrow_type(field.dataType) for field in dataset.select(*inputs).schema]

    def apply_pandas(batches: Any) -> Any:
        arrays = (
            [
                pa.array(series, type=kind, from_pandas=True)
                for series, kind in zip(batch if isinstance(batch, tuple) else (batch,), arrow_types)
            ]
            for batch in batches
        )
        for result in compute(arrays):
            if not pa.types.is_struct(result.type):
                yield result.to_pandas()
                continue
            names = [field.name for field in result.type]
            # Field by field: a null struct has null fields.
            yield pd.DataFrame({name: pa.array(pc.struct_field(result, name)).to_pandas() for name in names})

    struct = (return_type if isinstance(return_type, str) else return_type.simpleString()).startswith("struct<")
    apply_pandas.__annotations__ = {
        "batches": Iterator[tuple[pd.Series, ...]],
        "return": Iterator[pd.DataFrame] if struct else Iterator[pd.Series],
    }
    # Its own annotations are those set above.
    return F.pandas_udf(apply_pandas, return_type)  # type: ignore[call-overload]
