"""A model with all that a round must carry, and minibatches for it."""

from __future__ import annotations

import keras
import numpy as np

from spark_keras.keras_model import first_step
from spark_keras.keras_model import state as states

BACKEND = keras.backend.backend()

KERNELS = {"tensorflow": ["xla", "graph", "steps"], "jax": ["scan", "jit", "steps"], "torch": ["steps"]}[BACKEND]
BATCH, STEPS = 8, 5


def minibatches(seed=0):
    """Five minibatches for `two_outputs`, stacked: ({inputs}, {outputs}, weights)."""
    random = np.random.default_rng(seed)
    x = {"taste": random.normal(size=(STEPS, BATCH, 6)), "user": random.integers(0, 9, (STEPS, BATCH, 1))}
    y = {"score": random.normal(size=(STEPS, BATCH, 1)), "bought": random.integers(0, 2, (STEPS, BATCH, 1))}
    x = {"taste": x["taste"].astype("float32"), "user": x["user"].astype("int32")}
    return x, {name: value.astype("float32") for name, value in y.items()}, random.random((STEPS, BATCH), "float32")


def two_outputs(optimizer="adam", layer="dense"):
    """Two inputs and outputs, penalties on weights and on what they make, a constraint, batch statistics, random
    numbers.

    Args:
        layer: "embedding" or "convolution", to have one of them, too.
    """
    keras.utils.set_random_seed(3)
    taste, user = keras.Input((6,), name="taste"), keras.Input((1,), dtype="int32", name="user")
    numbers = keras.layers.Embedding(9, 3) if layer == "embedding" else keras.layers.Rescaling(0.1)
    hidden = keras.layers.Concatenate()([taste, keras.layers.Flatten()(numbers(user))])
    hidden = keras.layers.Dense(
        16,
        "relu",
        kernel_regularizer=keras.regularizers.L2(0.01),
        activity_regularizer=keras.regularizers.L2(0.02),
        kernel_constraint=keras.constraints.MaxNorm(1.1),
    )(hidden)
    if layer == "convolution":
        hidden = keras.layers.Flatten()(keras.layers.Conv1D(3, 4)(keras.layers.Reshape((16, 1))(hidden)))
    hidden = keras.layers.Dropout(0.3)(keras.layers.BatchNormalization(momentum=0.9)(hidden))
    score = keras.layers.Dense(1, name="score")(hidden)
    bought = keras.layers.Dense(1, "sigmoid", name="bought")(hidden)
    model = keras.Model({"taste": taste, "user": user}, {"score": score, "bought": bought})
    model.compile(
        optimizer,
        {"score": "mse", "bought": "binary_crossentropy"},
        weighted_metrics={"score": ["mae"], "bought": ["accuracy", keras.metrics.AUC(num_thresholds=20)]},
    )
    return model


def prepared(model, batches):
    """The model with all of its variables, its layout and its state."""
    return prepared_from(model, keras.tree.map_structure(lambda stacked: stacked[0], batches))


def prepared_from(model, sample):
    first_step.build_symbolically(model, sample)
    layout = states.layout_of(model)
    return layout, states.read(model, layout)
