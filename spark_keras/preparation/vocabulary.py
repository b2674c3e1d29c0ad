"""Numbers of terms of a vocabulary, as a Spark expression that looks a term up in constant time."""

from __future__ import annotations

import json
import zlib
from collections.abc import Sequence
from typing import Any

from pyspark.sql import Column
from pyspark.sql import functions as F

# Terms in each bucket, on the average. Spark searches a map from its start.
_IN_BUCKET = 4


def checked_vocabulary(step: str, terms: Any) -> tuple[str, ...]:
    """The terms: strings that are not empty, each once."""
    given = tuple(terms) if isinstance(terms, (list, tuple)) else ()
    wrong = [term for term in given if not isinstance(term, str) or not term]
    if not given or wrong or len(set(given)) < len(given):
        twice = sorted({term for term in given if given.count(term) > 1})[:5] if not wrong else []
        received = f"{wrong[:5]!r}" if wrong else f"{twice} more than once" if twice else f"{terms!r}"
        raise ValueError(
            f"Invalid vocabulary in step {step}. Received: {received}. "
            "Expected: a list of strings, at least one, none empty, each once."
        )
    return given


def number_of(term: Column, vocabulary: Sequence[str]) -> Column:
    """The number of a term, from 0 in the order of the vocabulary; null for others."""
    count = max(1, len(vocabulary) // _IN_BUCKET)
    buckets: list[dict[str, int]] = [{} for _ in range(count)]
    for number, known in enumerate(vocabulary):
        buckets[zlib.crc32(known.encode()) % count][known] = number
    # One literal, which Spark parses once for a query, instead of an expression for each term.
    tables = F.from_json(F.lit(json.dumps(buckets)), "array<map<string,int>>")
    bucket = F.pmod(F.crc32(term.cast("binary")), F.lit(count)).cast("int")
    return F.try_element_at(F.get(tables, bucket), term)
