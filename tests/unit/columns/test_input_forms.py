"""A model gets its inputs in the form in which it takes them."""

from __future__ import annotations

import sys

import cloudpickle
import pytest

from spark_keras import KerasRegressor

cloudpickle.register_pickle_by_value(sys.modules[__name__])


def test_what_names_no_column_is_refused():
    for columns in ({"a": ["x", 1]}, [["a"], []], {"a": {1: "b"}}):
        with pytest.raises(TypeError, match="`inputCols`.*Received.*Expected"):
            KerasRegressor(inputCols=columns)
