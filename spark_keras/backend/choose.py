"""The rule that chooses how a round is compiled."""

from __future__ import annotations

import math

import keras

from spark_keras.backend.base import Choice
from spark_keras.backend.kernels import candidates
from spark_keras.backend.xla_rule import without_gain
from spark_keras.keras_model import held

# What XLA costs and saves, in seconds: to compile a round, beyond what TensorFlow's own graph takes; saved in a
# minibatch whatever the model, and for each weight, which an optimizer updates in one pass; lost for each
# floating-point operation, because oneDNN is faster, and for each random number. Fitted to 24 MLPs on one core: 10 to
# 1,900,000 weights, minibatches of 8 to 4,096 rows, with and without Dropout and BatchNormalization.
XLA_COMPILE_SECONDS = 1.3
XLA_SAVED_SECONDS = 2e-4
XLA_SAVED_SECONDS_PER_WEIGHT = 2.7e-9
XLA_LOST_SECONDS_PER_OPERATION = 1.5e-12
XLA_LOST_SECONDS_PER_RANDOM_NUMBER = 1e-8


def choose(model: keras.Model, minibatches: int | None, batch_size: int, jit: bool | str = "auto") -> Choice:
    """The kernel for a model: "xla", "graph" or "steps", on JAX "scan", "jit" or "steps". A rule, not a timing: two
    kernels differ in the last bits, and a fit must not depend on which one was faster that day.

    Args:
        minibatches: how many each worker will train in the whole fit; None: unknown, and taken to be many.
        batch_size: rows in each.
        jit: the Param `jitCompile`; True and False leave the rule only what is possible.
    """
    possible = candidates(model)
    if len(possible) == 1:
        return Choice(possible[0], "the model or the backend asks for Keras' own steps")
    if jit != "auto":
        return Choice(possible[0] if jit else possible[-1], "Param jitCompile")
    if keras.backend.backend() == "jax":
        return _on_jax(model)
    if held.has_own_step(model):
        return Choice("graph", "the model has a train_step of its own")
    other = without_gain(model)
    if other is not None:
        return Choice("graph", f"XLA is not known to gain with layer {other.name!r} ({type(other).__name__})")
    saved = _saved_by_xla(model, batch_size)
    if saved <= 0:
        return Choice("graph", f"XLA is not expected to gain with minibatches of {batch_size:,} rows")
    needed = math.ceil(XLA_COMPILE_SECONDS / saved)
    if minibatches is None:
        return Choice("xla", f'all layers gain from XLA; rows unknown: below {needed:,} minibatches it is "graph"')
    if minibatches < needed:
        return Choice("graph", f"{minibatches:,} minibatches per worker are too few for XLA ({needed:,} or more)")
    return Choice("xla", f"all layers gain from XLA, and {minibatches:,} minibatches per worker ({needed:,} or more)")


def _on_jax(model: keras.Model) -> Choice:
    """The kernel on JAX.

    XLA runs convolutions inside a loop 3 to 13 times slower than outside of one on a CPU, and no other layer that was
    measured runs slower inside than outside. What a layer from elsewhere computes is not known.
    """
    if not model.jit_compile:
        return Choice("steps", "the model was compiled with jit_compile=False")
    modules = [type(layer).__module__ for layer in model._flatten_layers() if not isinstance(layer, keras.Model)]
    if all(each.startswith("keras.") and "conv" not in each and "image_preprocessing" not in each for each in modules):
        return Choice("scan", "JAX, and none of the layers may convolve")
    return Choice("jit", "JAX, and a layer may convolve, which XLA runs slowly inside a loop")


def _saved_by_xla(model: keras.Model, batch_size: int) -> float:
    """Seconds in each minibatch."""
    weights = sum(math.prod(weight.shape) for weight in model.trainable_weights)
    # A weight of these layers is multiplied once forward and twice backward for each row.
    operations = 6 * batch_size * weights
    # One for each number that Dropout or a kind of noise lets through, where Keras has noted how many these are.
    random_layers = [layer for layer in model._flatten_layers() if hasattr(layer, "seed_generator")]
    shapes = [node.output_tensors[0].shape[1:] for layer in random_layers for node in layer._inbound_nodes[-1:]]
    random_numbers = batch_size * sum(math.prod(size or 1 for size in shape) for shape in shapes)
    return (
        XLA_SAVED_SECONDS
        + XLA_SAVED_SECONDS_PER_WEIGHT * weights
        - XLA_LOST_SECONDS_PER_OPERATION * operations
        - XLA_LOST_SECONDS_PER_RANDOM_NUMBER * random_numbers
    )
