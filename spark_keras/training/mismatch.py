"""What a model was compiled with that does not go together: losses and activations, metrics and labels."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence
from typing import Any

import keras

from spark_keras import output_meaning, signature
from spark_keras.signature import Tensor


def warn_of_losses(model: keras.Model, outputs: Sequence[Tensor]) -> None:
    """Warns of losses that take the numbers of an output for something that its activation does not make of them.

    Keras trains such a model without a word, and it learns little or something else.
    """
    made = output_meaning.symbolic_outputs(model)
    for index, (symbol, output) in enumerate(zip(made, outputs)):
        activation = output_meaning.activation_of(symbol)
        if activation is None:
            continue
        loss = signature.loss_of(model, index, output.name)
        problem = _problem(activation, output.shape, output_meaning.said_by_loss(loss).kind)
        if problem:
            warnings.warn(
                f"Output {output.name!r} and its loss do not go together. Received: activation {activation!r} and loss "
                f"{_described(loss)}. {problem}",
                UserWarning,
                stacklevel=_level_of_the_caller(),
            )


def _problem(activation: str, shape: tuple[int | None, ...], wanted: str | None) -> str | None:
    given = output_meaning.said_by_activation(activation).kind
    if activation == "softmax" and shape[-1:] == (1,):
        return 'A softmax over one number is always 1. Expected: activation "sigmoid", or an output for each class.'
    if wanted is None or wanted == given:
        return None
    if wanted == "probabilities":
        return (
            "The loss takes the numbers for probabilities, and they may be any. Expected: activation "
            '"softmax" or "sigmoid", or the loss with from_logits=True, such as '
            "keras.losses.SparseCategoricalCrossentropy(from_logits=True)."
        )
    if given == "probabilities":
        taken = "logits (from_logits=True)" if wanted == "logits" else "margins, of which the sign tells the class"
        return f"The loss takes the numbers for {taken}, and they are probabilities. Expected: a linear last layer."
    return None


def _described(loss: Any) -> str:
    if not isinstance(loss, keras.losses.Loss):
        return repr(getattr(loss, "__name__", loss))
    logits = loss.get_config().get("from_logits")
    return f"{type(loss).__name__}({'' if logits is None else f'from_logits={logits}'})"


def _level_of_the_caller() -> int:
    """The `stacklevel` at which a warning of the function that calls this one names the user's own line."""
    level, frame = 1, sys._getframe(1)
    while frame.f_back and frame.f_globals.get("__name__", "").split(".")[0] in ("spark_keras", "pyspark"):
        level, frame = level + 1, frame.f_back
    return level
