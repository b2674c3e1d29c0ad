"""The meaning of a classifier's outputs: probabilities, logits or margins.

The activation that makes an output tells it, else the loss, else Param `outputType`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import keras
from pyspark.sql import DataFrame

from spark_keras.columns import expressions
from spark_keras.columns.heads import ClassificationHead
from spark_keras.keras_model import activations, losses, signature
from spark_keras.keras_model.origin import of_keras
from spark_keras.keras_model.signature import Tensor
from spark_keras.params import converters
from spark_keras.params.values import param_or_none


class Meaning(NamedTuple):
    """Meaning of a model's numbers.

    Args:
        kind: "probabilities", "logits" or "margins"; None: not told.
        exclusive: whether classes exclude each other, so that the probabilities of a row sum to 1; None: not told.
    """

    kind: str | None = None
    exclusive: bool | None = None


UNKNOWN = Meaning()

# --- told by the activation ----------------------------------------------------------------------------------------

_ACTIVATIONS = {
    "softmax": Meaning("probabilities", True),
    "sparsemax": Meaning("probabilities", True),
    "sigmoid": Meaning("probabilities", False),
    "hard_sigmoid": Meaning("probabilities", False),
    "sparse_sigmoid": Meaning("probabilities", False),
    # Logarithms of probabilities; their softmax is the probabilities.
    "log_softmax": Meaning("logits", True),
}

# --- told by the loss ----------------------------------------------------------------------------------------------

_LOSSES = {
    "binary_crossentropy": Meaning("probabilities", False),
    "binary_focal_crossentropy": Meaning("probabilities", False),
    "categorical_crossentropy": Meaning("probabilities", True),
    "categorical_focal_crossentropy": Meaning("probabilities", True),
    "categorical_generalized_cross_entropy": Meaning("probabilities", True),
    "sparse_categorical_crossentropy": Meaning("probabilities", True),
    "kl_divergence": Meaning("probabilities", True),
    "hinge": Meaning("margins", False),
    "squared_hinge": Meaning("margins", False),
    "categorical_hinge": Meaning("margins", True),
}


def said_by_loss(loss: Any) -> Meaning:
    """Meaning that a loss gives the outputs, in whatever form compile() was given it."""
    function, settings = losses.computed_by(loss)
    said = _LOSSES.get(getattr(function, "__name__", ""), UNKNOWN) if of_keras(function) else UNKNOWN
    # A loss of the user's own may have this setting, too.
    if "from_logits" in settings:
        return said._replace(kind="logits" if settings["from_logits"] else "probabilities")
    return said


# --- both ----------------------------------------------------------------------------------------------------------


def said_by_activation(activation: str | None) -> Meaning:
    """Meaning that an activation, by its name, gives its numbers."""
    return UNKNOWN if activation is None else _ACTIVATIONS.get(activation, UNKNOWN)


def of_classifier(model: keras.Model, stage: Any) -> Meaning:
    """Meaning of a model's only output: by Param `outputType`, else the activation, else the loss.

    The activation comes first, because a sigmoid or softmax gives probabilities whatever the loss makes of them.
    """
    outputs = signature.symbolic_outputs(model)
    by_activation = said_by_activation(activations.activation_of(outputs[0]) if len(outputs) == 1 else None)
    by_loss = said_by_loss(signature.only_loss_of(model))
    exclusive = by_loss.exclusive if by_activation.exclusive is None else by_activation.exclusive
    kind = stage.getOutputType()
    if kind == "auto":
        kind = by_activation.kind or by_loss.kind
    return Meaning(kind, exclusive)


def head_of(model: keras.Model, stage: Any, output: Tensor) -> ClassificationHead:
    """Head that makes a classifier's columns of the model's output; the Params that go with its meaning are checked.

    An output of which nothing tells the meaning is taken for probabilities, which the executors check.
    """
    kind, exclusive = of_classifier(model, stage)
    classes = number_of_classes(output)
    thresholds = param_or_none(stage, "thresholds")
    converters.check_thresholds(thresholds, classes)
    by_margin = kind == "margins" and output.shape == (1,)
    if stage.getThreshold() != 0.0 and not by_margin:
        raise ValueError(
            f"Param `threshold` is for one margin, which tells two classes apart. Received: {stage.getThreshold()} and "
            f"{kind or 'probabilities'} of {classes} classes. Expected: Param `thresholds`, by which probabilities are "
            "divided, or none."
        )
    if kind == "margins":
        said = "margins, which are no probabilities (a hinge loss, or Param `outputType`)"
        if thresholds is not None:
            raise ValueError(
                "Param `thresholds` divides probabilities, of which this model has none. "
                f"Received: {thresholds} and {said}. Expected: Param `threshold`, a margin, for two classes; or none."
            )
        if stage.isSet("probabilityCol") and stage.getProbabilityCol():
            raise ValueError(
                "Param `probabilityCol` names a column that cannot be written. Received: "
                f'{stage.getProbabilityCol()!r} and {said}. Expected: "" or not set; column `rawPredictionCol` has the '
                "margins."
            )
    return ClassificationHead(
        wanted=(),
        kind=kind or "probabilities",
        exclusive=exclusive is not False,
        thresholds=tuple(thresholds) if thresholds else None,
        threshold=stage.getThreshold(),
        # Numbers with 8 or 11 bits.
        tolerance=0.05 if output.dtype in ("bfloat16", "float16") else 1e-3,
    )


def number_of_classes(output: Tensor) -> int:
    """Of a classifier's output; one score tells two classes apart."""
    return max(2, output.shape[-1] or 0)


def check_output(outputs: Sequence[Tensor]) -> None:
    """Refuses a model that is no classifier by its outputs."""
    signature.check_only_output(outputs)
    if len(outputs[0].shape) != 1 or outputs[0].shape[0] is None:
        raise ValueError(
            f"The model is not a classifier. Received: output {outputs[0].name!r} of shape {outputs[0].shape}. "
            "Expected: shape (number of classes,), or (1,) for two classes. KerasEstimator trains, and "
            "KerasTransformer applies, any model."
        )


def check_classifier(dataset: DataFrame, stage: Any, model: keras.Model, outputs: Sequence[Tensor]) -> None:
    """Refuses a model whose output is none of a classifier, has no known meaning, or has several labels per row."""
    check_output(outputs)
    meaning = of_classifier(model, stage)
    if meaning.kind is None:
        raise ValueError(
            "Nothing tells what the model's output means: its last activation may give any number or is unknown, and "
            f"so is the loss. Received: loss {signature.only_loss_of(model)!r} and an output of shape "
            f'{outputs[0].shape}. Expected: Param `outputType`, "probabilities", "logits" or "margins"; or a softmax '
            "or sigmoid as the last activation; or a loss that tells, such as a cross-entropy with from_logits=True."
        )
    head_of(model, stage, outputs[0])
    label = stage.getLabelCol()
    several = expressions.depth_of(dataset, "labelCol", label) > 0
    if several and outputs[0].shape != (1,) and meaning.exclusive is False:
        raise ValueError(
            f"Several labels per row are not what a classifier learns. Received: arrays in column {label!r} "
            f"(labelCol), and a model that scores each of {outputs[0].shape[-1]} labels by itself. Expected: class "
            "indices as labels, of which a row has one; or KerasEstimator, whose `prediction` is an array with a score "
            "for each label."
        )
