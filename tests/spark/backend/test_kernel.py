"""How rounds are compiled, and what they are given: neither may change what a round computes."""

from __future__ import annotations

import numpy as np
import pytest
from regression import dropout_model, frame, linear, mlp, regression_rows, weights_of

from spark_keras import KerasRegressor


@pytest.mark.slow
def test_jit_compile_decides_the_kernel_and_not_the_result(spark):
    df = frame(spark, *regression_rows(100))
    fitted = {
        jit: KerasRegressor(model=mlp("adam"), epochs=2, numWorkers=2, jitCompile=jit, verbose=0).fit(df)
        for jit in ("auto", True, False, "measure")
    }
    kernels = {jit: each.summary.kernel for jit, each in fitted.items()}
    assert kernels["auto"] == "graph" and kernels[False] == "graph" and kernels["measure"] in ("xla", "graph")
    weights = {jit: weights_of(each) for jit, each in fitted.items()}
    for jit in (True, "measure"):
        np.testing.assert_allclose(weights[jit], weights[False], atol=1e-5)
    assert weights["auto"].tobytes() == weights[False].tobytes()


def test_a_kernel_once_measured_is_kept_for_the_whole_fit(spark):
    df = frame(spark, *regression_rows(640))
    fitted = KerasRegressor(model=linear("sgd"), epochs=2, jitCompile="measure", numWorkers=2, verbose=0).fit(df)
    again = KerasRegressor(
        model=linear("sgd"), epochs=2, jitCompile=fitted.summary.kernel == "xla", numWorkers=2, verbose=0
    ).fit(df)
    assert weights_of(fitted).tobytes() == weights_of(again).tobytes()


@pytest.mark.slow
def test_what_is_prepared_ahead_changes_no_bit(spark):
    df = frame(spark, *regression_rows(100))
    fitted = [
        KerasRegressor(
            model=dropout_model(), epochs=2, batchSize=7, averagingFrequency=3, prefetch=ahead, verbose=0
        ).fit(df)
        for ahead in (0, 1, 50)
    ]
    assert len({weights_of(each).tobytes() for each in fitted}) == 1
    assert len({str(each.summary.history) for each in fitted}) == 1
