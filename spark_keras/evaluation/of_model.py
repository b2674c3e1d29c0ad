"""Reports on what a fitted model's own outputs say: the rows scored, and the columns and the meaning of an output."""

from __future__ import annotations

from typing import Any, NamedTuple

from pyspark.sql import DataFrame

from spark_keras.columns import expressions, label_rules, output_meaning
from spark_keras.keras_model import activations, signature
from spark_keras.params.values import param_or_none


class Scored(NamedTuple):
    """Rows with an output of a model.

    Args:
        rows: the DataFrame.
        label: the output's label column.
        prediction: the output's column.
        weight: column of the weights, or None.
        kind: "probabilities", "logits" or "margins"; None where neither the activation nor the loss tells.
        one_hot: whether the loss takes one-hot labels, and the label column holds arrays as the output's.
        ignored: label that the loss ignores, or None.
    """

    rows: Any
    label: str
    prediction: str
    weight: str | None
    kind: str | None
    one_hot: bool
    ignored: int | None

    def scores(self, bins: int) -> dict[str, Any]:
        """The arguments of a report that say what the scores are; margins have no calibration."""
        return {"fromLogits": self.kind == "logits", "bins": 0 if self.kind == "margins" else bins}


def scored(dataset: DataFrame, stage: Any, column: str) -> DataFrame:
    """The DataFrame itself where it has the model's output column already, else the model applied to it."""
    if not column:
        raise ValueError("Param `predictionCol` is ''. Expected: a column for the predictions that are evaluated.")
    return dataset if column in dataset.columns else stage.transform(dataset)


def ignored_class(loss: Any) -> int | None:
    """The label that a loss ignores."""
    return None if loss is None else label_rules.rule_of(loss).ignored


def of_output(dataset: DataFrame, stage: Any, output: str | None) -> Scored:
    """The rows with one output of a `KerasModel`.

    Args:
        output: its name; None for the only one.
    """
    model = stage._driver_model(compile=True)
    names = list(getattr(model, "output_names", None) or ["output"])
    if (output is None and len(names) > 1) or output not in (None, *names):
        raise ValueError(
            f"Invalid value for argument `output`. Received: {output!r}. Expected: one of the model's outputs {names}."
        )
    index = 0 if output is None else names.index(output)
    column = stage._output_columns(tuple(signature.Tensor(name, (), "float32") for name in names))[index]
    rows = scored(dataset, stage, column or "")
    label, weight = (_of(param_or_none(stage, param), names, index) for param in ("labelCols", "weightCols"))
    label = label or stage.getLabelCol()
    weight = weight or param_or_none(stage, "weightCol")
    loss = signature.loss_of(model, index, names[index])
    symbols = signature.symbolic_outputs(model)
    activation = activations.activation_of(symbols[index]) if len(symbols) == len(names) else None
    depths = [
        expressions.depth_of(rows, param, name) for param, name in (("labelCol", label), ("predictionCol", column))
    ]
    return Scored(
        rows,
        label,
        column,
        weight,
        output_meaning.said_by_activation(activation).kind or output_meaning.said_by_loss(loss).kind,
        loss is not None and label_rules.rule_of(loss).kind in ("categories", "either") and depths[0] == depths[1],
        ignored_class(loss),
    )


def _of(named: Any, names: list[str], index: int) -> str | None:
    """Gives what a Param that may be a column, a list by output or a dict by output says of one output."""
    if isinstance(named, dict):
        return named.get(names[index])
    return named[index] if isinstance(named, (list, tuple)) else named
