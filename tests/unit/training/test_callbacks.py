"""Callbacks of Keras that there are, and values of `verbose`."""

from __future__ import annotations

import keras
import pytest

from spark_keras import KerasRegressor


def test_every_callback_class_of_keras_is_tried():
    classes = {name for name in dir(keras.callbacks) if isinstance(getattr(keras.callbacks, name), type)}
    tried = (
        "BackupAndRestore CSVLogger Callback CallbackList EarlyStopping History LambdaCallback LearningRateScheduler "
        "ModelCheckpoint OrbaxCheckpoint ProgbarLogger ReduceLROnPlateau RemoteMonitor SwapEMAWeights TensorBoard "
        "TerminateOnNaN"
    ).split()
    assert classes <= set(tried)


def test_verbose_takes_what_keras_takes():
    taken = {"auto": 1, True: 1, False: 0, 2: 2}
    assert {value: KerasRegressor(verbose=value).getVerbose() for value in taken} == taken
    with pytest.raises(TypeError, match="`verbose`.*Received: 'loud'"):
        KerasRegressor(verbose="loud")
