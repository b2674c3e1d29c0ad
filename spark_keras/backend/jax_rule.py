"""The rule for rounds on JAX."""

from __future__ import annotations

import keras


def choose(model: keras.Model) -> tuple[str, str]:
    """The kernel for a model, "scan", "jit" or "steps", and why.

    XLA runs convolutions inside a loop 3 to 13 times slower than outside of one on a CPU, and no other layer that was
    measured runs slower inside than outside. What a layer from elsewhere computes is not known.
    """
    if not model.jit_compile:
        return "steps", "the model was compiled with jit_compile=False"
    leaves = [layer for layer in model._flatten_layers() if not isinstance(layer, keras.Model)]
    if any(_may_convolve(type(layer).__module__) for layer in leaves):
        return "jit", "JAX, and a layer may convolve, which XLA runs slowly inside a loop"
    return "scan", "JAX, and none of the layers may convolve"


def _may_convolve(module: str) -> bool:
    return not module.startswith("keras.") or "conv" in module or "image_preprocessing" in module
