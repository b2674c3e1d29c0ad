"""The layers and sizes for which XLA is faster on a CPU."""

from __future__ import annotations

import keras

from spark_keras.keras_model.origin import of_keras

# Layers for which one XLA program per round wins on a CPU, unless minibatches are large. XLA runs convolutions inside a
# loop some twenty times slower than TensorFlow's own kernels, and gains nothing on recurrent layers; a layer that was
# never measured counts as one of those.
XLA_LAYERS = (
    "InputLayer Dense Activation ReLU LeakyReLU PReLU ELU Softmax Dropout GaussianNoise GaussianDropout AlphaDropout "
    "BatchNormalization LayerNormalization UnitNormalization Normalization Rescaling Flatten Reshape Permute "
    "Concatenate Add Subtract Multiply Average Maximum Minimum Dot ActivityRegularization Identity"
).split()


def without_gain(model: keras.Model) -> keras.layers.Layer | None:
    """A layer that is not known to run faster on a CPU when XLA compiles it, compiling aside; None if there is none."""
    for layer in model._flatten_layers():
        known = of_keras(type(layer)) and type(layer).__name__ in XLA_LAYERS
        if not known and not isinstance(layer, keras.Model):
            return layer
    return None


# Multiplications and additions of a forward pass: with more, TensorFlow's own matrix products are up to 1.6 times as
# fast on the CPUs that were measured; with fewer, starting an operation costs so much that XLA is up to twice as fast.
XLA_FORWARD_OPERATIONS = 1e9


def forward_gains(model: keras.Model, rows: int) -> bool:
    """Tells whether XLA makes a forward pass of so many rows faster on a CPU."""
    # A weight of the layers that gain is multiplied once for each row.
    return without_gain(model) is None and 2 * rows * model.count_params() <= XLA_FORWARD_OPERATIONS
