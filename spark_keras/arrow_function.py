"""A Python function over Arrow arrays as a Spark function of columns, on every version of Spark."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

# From the arrays of each batch to one array of results, row by row.
Compute = Callable[[Iterator[Sequence[pa.Array]]], Iterator[pa.Array]]


def arrow_function(compute: Compute, return_type: str, wire_types: Sequence[str]) -> Any:
    """A Spark function of input columns: an Arrow UDF where Spark has it (4.1 and later), a pandas UDF before, which
    copies each row's array once more.

    Args:
        return_type: of the results, as `simpleString` has it.
        wire_types: of the input columns, likewise.
    """
    from pyspark.sql import functions as F

    if hasattr(F, "arrow_udf"):

        def apply(batches: Iterator[tuple[pa.Array, ...]]) -> Iterator[pa.Array]:
            return compute(batches)

        apply.__annotations__ = {"batches": Iterator[tuple[pa.Array, ...]], "return": Iterator[pa.Array]}
        return F.arrow_udf(apply, return_type)

    import pandas as pd

    arrow_types = [_arrow_type(wire) for wire in wire_types]

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

    apply_pandas.__annotations__ = {
        "batches": Iterator[tuple[pd.Series, ...]],
        "return": Iterator[pd.DataFrame if return_type.startswith("struct<") else pd.Series],
    }
    return F.pandas_udf(apply_pandas, return_type)


_NUMBERS = {
    "boolean": pa.bool_(),
    "tinyint": pa.int8(),
    "smallint": pa.int16(),
    "int": pa.int32(),
    "bigint": pa.int64(),
    "float": pa.float32(),
    "double": pa.float64(),
}


def _arrow_type(wire: str) -> pa.DataType:
    if wire.startswith("array<"):
        return pa.list_(_arrow_type(wire[len("array<") : -1]))
    return _NUMBERS[wire]
