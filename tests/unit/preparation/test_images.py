"""Layers for images that do not fit."""

from __future__ import annotations

import keras
import pytest

from spark_keras.preparation import Schema, TransformProcess


def test_layers_that_do_not_fit_are_refused_when_the_step_is_added():
    process = TransformProcess(Schema().array("v", shape=(4, 4, 3)).array("free", shape=(None, None, 3)).binary("file"))
    for add, error, message in [
        (
            lambda: process.applyLayers("v", "o", keras.layers.Dense(2)),
            ValueError,
            "Layers with weights in step applyL",
        ),
        (lambda: process.applyLayers("v", "o"), TypeError, "Invalid layers in step applyLayers. Received: \\[\\]"),
        (lambda: process.applyLayers("v", "o", "flip"), TypeError, "Expected: layers of Keras"),
        (
            lambda: process.applyLayers("v", "file", keras.layers.Flatten()),
            ValueError,
            "New column of step applyLayers",
        ),
        (
            lambda: process.applyLayers("file", "o", keras.layers.Flatten()),
            ValueError,
            "Column 'file' does not fit step",
        ),
        (
            lambda: process.applyLayers("v", "o", keras.layers.Reshape((5,))),
            ValueError,
            "does not fit the layers of step",
        ),
        (lambda: process.decodeImages("v", "o", 2, 2), ValueError, "Column 'v' does not fit step decodeImages"),
        (lambda: process.decodeImages("file", "o", 0, 2), ValueError, "Invalid height in step decodeImages"),
        (
            lambda: process.decodeImages("file", "o", 2, 2, channels=2),
            ValueError,
            "Invalid channels in step decodeImages",
        ),
    ]:
        with pytest.raises(error, match=message):
            add()
    assert process.applyLayers("free", "o", keras.layers.Resizing(8, 8)).schema["o"].shape == (8, 8, 3)
