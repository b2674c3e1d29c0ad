"""Several fits at the same time, from several threads."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import keras
from conftest import four_slots
from faults import fits


@four_slots
def test_four_fits_at_once_are_as_one_after_the_other(spark):
    rows = fits.rows(spark)
    estimators = [fits.estimator(numWorkers=1, seed=seed, epochs=2) for seed in range(4)]
    alone = [fits.bits(estimator.fit(rows)) for estimator in estimators]
    with ThreadPoolExecutor(4) as threads:
        together = list(threads.map(lambda estimator: fits.bits(estimator.fit(rows)), estimators))
    assert together == alone and len(set(alone)) == 4


@four_slots
def test_one_estimator_may_be_fitted_from_two_threads(spark):
    rows = fits.rows(spark)
    stop = keras.callbacks.EarlyStopping(monitor="val_loss", patience=0, restore_best_weights=True)
    estimator = fits.estimator(numWorkers=2, callbacks=[stop])
    alone = fits.bits(estimator.fit(rows))
    with ThreadPoolExecutor(2) as threads:
        together = list(threads.map(lambda _: fits.bits(estimator.fit(rows)), range(2)))
    assert together == [alone, alone]
