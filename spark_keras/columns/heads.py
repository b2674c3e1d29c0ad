"""Heads: from the outputs of a model, as numpy, to the fields of the result.

Free of Keras, because executors unpickle them before they import it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from spark_keras.executor.invalid_data import InvalidData


class TensorHead(NamedTuple):
    """Outputs as they are, or as flat rows of doubles.

    Args:
        wanted: names of the outputs to give; None leaves one out.
        vectors: whether to give flat rows of doubles, in row-major order.
    """

    wanted: tuple[str | None, ...]
    vectors: bool

    def __call__(self, outputs: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
        given = {name: output for name, output in zip(self.wanted, outputs) if name is not None}
        return {name: _doubles(output) for name, output in given.items()} if self.vectors else given


def _doubles(output: np.ndarray) -> np.ndarray:
    values = output.astype("float64").reshape(len(output), math.prod(output.shape[1:]))
    if output.dtype.kind in "iu" and output.dtype.itemsize == 8 and ((output > 2**53) | (output < -(2**53))).any():
        raise InvalidData(
            f"Integers too large for a vector, which holds doubles. Received: {np.abs(values).max():g}. Expected: at "
            'most 2**53, or Param `outputFormat` set to "array".'
        )
    return values


class RegressionHead(NamedTuple):
    """One number per row if `scalar`, or an array where the model gives several."""

    scalar: bool

    def __call__(self, outputs: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
        values = outputs[0].astype("float64")
        return {"prediction": values.reshape(len(values)) if self.scalar else values}


class ClassificationHead(NamedTuple):
    """Raw prediction, probability and class.

    Args:
        wanted: which of "rawPrediction", "probability" and "prediction" to give.
        kind: "probabilities", "logits" or "margins": the meaning of the model's output, of shape (rows, classes), or
            (rows, 1) for the second of two classes.
        exclusive: whether classes exclude each other. Of classes that do not (a sigmoid for each), the probabilities
            are divided by their sum, as scikit-learn's OneVsRestClassifier does.
        thresholds: as in pyspark.ml: the class with the largest probability / threshold is predicted.
        threshold: as in pyspark.ml.classification.LinearSVC: the second of two classes is predicted where its margin is
            larger.
        tolerance: by how much a probability may be outside of [0, 1], and a row's sum beside 1.
    """

    wanted: tuple[str, ...]
    kind: str
    exclusive: bool = True
    thresholds: tuple[float, ...] | None = None
    threshold: float = 0.0
    tolerance: float = 1e-3

    def raw_is_probability(self, outputs: int) -> bool:
        """Tells whether the raw prediction of so many outputs is the probability itself."""
        return self.kind == "probabilities" and (self.exclusive or outputs == 1)

    def __call__(self, outputs: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
        scores = outputs[0].astype("float64").reshape(len(outputs[0]), outputs[0].shape[-1])
        if self.kind == "margins":
            fields = self._of_margins(scores)
        else:
            raw, probability = self._logistic(scores) if self.kind == "logits" else self._given(scores)
            fields = {"rawPrediction": raw, "probability": probability, "prediction": self._likeliest(probability)}
        return {name: fields[name] for name in self.wanted}

    def _of_margins(self, margins: np.ndarray) -> dict[str, np.ndarray]:
        _refuse_nan(margins)
        if margins.shape[1] == 1:
            prediction = (margins[:, 0] > self.threshold).astype("float64")
            return {"rawPrediction": _opposed(-margins, margins), "prediction": prediction}
        return {"rawPrediction": margins, "prediction": np.argmax(margins, axis=1).astype("float64")}

    def _logistic(self, logits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        with np.errstate(over="ignore", invalid="ignore"):
            if logits.shape[1] == 1:
                positive = 1.0 / (1.0 + np.exp(-logits))
                raw, probability = _opposed(-logits, logits), _opposed(1.0 - positive, positive)
            elif self.exclusive:
                powers = np.exp(logits - logits.max(axis=1, keepdims=True))
                raw, probability = logits, powers / powers.sum(axis=1, keepdims=True)
            else:
                raw, probability = logits, _shares(1.0 / (1.0 + np.exp(-logits)))
        # Those of infinite logits of several classes, too.
        _refuse_nan(probability)
        return raw, probability

    def _given(self, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        _refuse_nan(scores)
        low, high = (scores.min(), scores.max()) if len(scores) else (0.0, 1.0)
        if low < -self.tolerance or high > 1.0 + self.tolerance:
            wrong = (scores < -self.tolerance) | (scores > 1.0 + self.tolerance)
            raise InvalidData(
                "The model's outputs are no probabilities, as which they are taken. "
                f"Received: {scores[wrong][0]:g}, in {np.count_nonzero(wrong.any(axis=1))} of {len(scores)} rows of a "
                'batch. Expected: numbers in [0, 1], or Param `outputType` set to "logits" or "margins".'
            )
        if low < 0.0 or high > 1.0:
            scores = np.clip(scores, 0.0, 1.0)
        if scores.shape[1] == 1:
            probability = _opposed(1.0 - scores, scores)
            return probability, probability
        if not self.exclusive:
            return scores, _shares(scores)
        sums = scores.sum(axis=1)
        wrong = np.abs(sums - 1.0) > self.tolerance
        if wrong.any():
            raise InvalidData(
                "The model's outputs are no probabilities of classes that exclude each other, as which they are taken. "
                f"Received: a row with sum {sums[wrong][0]:g}, in {np.count_nonzero(wrong)} of {len(scores)} rows of "
                'a batch. Expected: rows that sum to 1, or Param `outputType` set to "logits" or "margins"; '
                "KerasEstimator and KerasTransformer take outputs of any meaning, such as several labels per row."
            )
        return scores, scores

    def _likeliest(self, probability: np.ndarray) -> np.ndarray:
        ranked = probability
        if self.thresholds is not None:
            # As Spark does: a class of threshold 0 wins unless its probability is 0, too.
            with np.errstate(divide="ignore", invalid="ignore"):
                ranked = np.nan_to_num(probability / np.asarray(self.thresholds), nan=-np.inf, posinf=np.inf)
        return np.argmax(ranked, axis=1).astype("float64")


def _opposed(negative: np.ndarray, positive: np.ndarray) -> np.ndarray:
    """The columns of two classes, of which the model gives one."""
    return np.concatenate([negative, positive], axis=1)


def _shares(scores: np.ndarray) -> np.ndarray:
    """Rows divided by their sums; equal shares where all are zero."""
    sums = scores.sum(axis=1, keepdims=True)
    equal = np.full_like(scores, 1.0 / scores.shape[1])
    return np.divide(scores, sums, out=equal, where=sums > 0)


def _refuse_nan(values: np.ndarray) -> None:
    # The sum of a row with NaN is NaN.
    with np.errstate(over="ignore", invalid="ignore"):
        suspicious = not np.isfinite(values.sum())
    if suspicious and (nan := np.isnan(values).any(axis=1)).any():
        raise InvalidData(
            f"The model gives NaN. Received: {np.count_nonzero(nan)} such rows in a batch of {len(nan)}. Expected: a "
            "number for each class; look for NaN among the model's weights, and for features that are too large."
        )
