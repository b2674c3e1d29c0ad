"""Callbacks that a fit works with are copies."""

from __future__ import annotations

import os
import sys
import threading

import cloudpickle
import keras

from spark_keras.training import callbacks

cloudpickle.register_pickle_by_value(sys.modules[__name__])


def test_a_callback_with_an_open_file_can_be_in_two_fits_at_once(tmp_path):
    logger = keras.callbacks.CSVLogger(str(tmp_path / "log.csv"))
    with callbacks.exclusive([logger]) as (first,):
        first.on_train_begin()
        with callbacks.exclusive([logger]) as (second,):
            assert first is logger and second is not logger and second.filename == logger.filename
            second.on_train_begin()
            second.on_train_end()
        first.on_epoch_end(0, {"loss": 1.0})
        first.on_train_end()
    assert "1.0" in (tmp_path / "log.csv").read_text()


def test_what_a_callback_holds_is_copied_item_by_item_where_something_cannot_be():
    lock, numbers = threading.Lock(), [1]
    copied = callbacks._copied_value({"lock": lock, "numbers": numbers, "file": open(os.devnull)})
    assert copied["lock"] is lock and copied["file"] is None
    assert copied["numbers"] == numbers and copied["numbers"] is not numbers
