"""Sources of an epoch's score: a result of the training, a Spark evaluator, or a function of the model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras


class MonitorScore:
    """A result of the epoch, such as "val_loss".

    Args:
        name: of the result.
        mode: "min", "max" or "auto".
        callbacks: whether the estimator has callbacks, which may add results of their own.
    """

    def __init__(self, name: str, mode: str, callbacks: bool):
        self.name, self.mode, self._callbacks = name, mode, callbacks

    def check(self, model: keras.Model, held_out: Any) -> None:
        validates = held_out is not None
        if self.name.startswith("val_") and not validates:
            raise ValueError(
                f"Param `monitor` needs validation rows. Received: {self.name!r}, and an estimator that validates on "
                "none. Expected: validationSplit or validationIndicatorCol of the estimator, or a monitor such as "
                '"loss".'
            )
        known = list(model.get_metrics_result())
        model.reset_metrics()
        if self.name.removeprefix("val_") not in known and not self._callbacks:
            known += [f"val_{name}" for name in known] if validates else []
            raise ValueError(f"Unknown Param `monitor`. Received: {self.name!r}. Expected: one of {known}.")

    def __call__(self, logs: dict[str, Any], current: Callable[[], Any]) -> float:
        if self.name not in logs:
            raise ValueError(f"Unknown Param `monitor`. Received: {self.name!r}. Expected: one of {list(logs)}.")
        return float(logs[self.name])


class EvaluatorScore:
    """A Spark evaluator over the rows that the fit validates on.

    Args:
        evaluator: of pyspark.ml.evaluation.
    """

    def __init__(self, evaluator: Any):
        self._evaluator = evaluator
        self.name = type(evaluator).__name__
        if evaluator.hasParam("metricName"):
            self.name = evaluator.getOrDefault("metricName")
        self.mode = "max" if evaluator.isLargerBetter() else "min"

    def check(self, model: keras.Model, held_out: Any) -> None:
        if held_out is None:
            raise ValueError(
                f"Param `evaluator` needs validation rows. Received: {self._evaluator}, and an estimator that "
                "validates on none. Expected: validationSplit or validationIndicatorCol of the estimator."
            )
        self._held_out = held_out

    def __call__(self, logs: dict[str, Any], current: Callable[[], Any]) -> float:
        return float(self._evaluator.evaluate(current().transform(self._held_out)))


class FunctionScore:
    """Any function of the fitted model of the moment."""

    def __init__(self, function: Callable[[Any], float], mode: str):
        if mode == "auto":
            raise ValueError(
                "Keras cannot infer whether a scoreFunction is to be maximised. Received: mode='auto'. "
                'Expected: Param `mode` is "min" or "max".'
            )
        self._function, self.mode = function, mode
        self.name = getattr(function, "__name__", type(function).__name__)

    def check(self, model: keras.Model, held_out: Any) -> None:
        """Nothing is known of the function before it is called."""

    def __call__(self, logs: dict[str, Any], current: Callable[[], Any]) -> float:
        score = self._function(current())
        try:
            return float(score)
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"Param `scoreFunction` did not return a number. Received: {score!r}. Expected: a float."
            ) from error
