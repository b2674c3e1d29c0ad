"""Outputs as vectors with exact numbers; formats that there are."""

from __future__ import annotations

import numpy as np
import pytest

from spark_keras import KerasTransformer


def test_integers_are_exact_in_vectors_or_refused():
    from spark_keras.columns.heads import TensorHead
    from spark_keras.executor.invalid_data import InvalidData

    exact = TensorHead(("f0",), vectors=True)([np.array([[2**53, -(2**53)]])])["f0"]
    assert exact.dtype == "float64" and exact.astype("int64").tolist() == [[2**53, -(2**53)]]
    with pytest.raises(InvalidData, match="outputFormat"):
        TensorHead(("f0",), vectors=True)([np.array([[2**53 + 1]])])


def test_another_format_is_refused_when_it_is_set():
    with pytest.raises(ValueError, match=r"outputFormat.*'matrix'.*'array', 'vector'"):
        KerasTransformer(outputFormat="matrix")
