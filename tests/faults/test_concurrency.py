"""Several fits at the same time, from several threads, on two slots."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import keras
from faults import fits


def test_four_fits_at_once_are_as_one_after_the_other(spark):
    rows = fits.rows(spark)
    estimators = [fits.estimator(numWorkers=1, seed=seed, epochs=2) for seed in range(4)]
    alone = [fits.bits(estimator.fit(rows)) for estimator in estimators]
    with ThreadPoolExecutor(4) as threads:
        together = list(threads.map(lambda estimator: fits.bits(estimator.fit(rows)), estimators))
    assert together == alone and len(set(alone)) == 4


def test_one_estimator_may_be_fitted_from_two_threads(spark):
    rows = fits.rows(spark)
    stop = keras.callbacks.EarlyStopping(monitor="val_loss", patience=0, restore_best_weights=True)
    estimator = fits.estimator(numWorkers=1, callbacks=[stop])
    alone = fits.bits(estimator.fit(rows))
    with ThreadPoolExecutor(2) as threads:
        together = list(threads.map(lambda _: fits.bits(estimator.fit(rows)), range(2)))
    assert together == [alone, alone]
