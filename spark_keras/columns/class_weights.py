"""Weights of classes, as they become weights of rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from spark_keras.columns.tensor_column import TensorColumn


class ClassWeights(NamedTuple):
    """Weights of classes; one that is not named weighs 1, as in Keras. Without any class they are not counted yet.

    Args:
        classes: ascending class indices.
        weights: of these classes.
    """

    classes: tuple[int, ...]
    weights: tuple[float, ...]

    @classmethod
    def by_class(cls, weights: Mapping[int, float]) -> ClassWeights:
        named = sorted(weights.items())
        return cls(tuple(index for index, _ in named), tuple(float(weight) for _, weight in named))

    @classmethod
    def balanced(cls, counts: Mapping[int, int]) -> ClassWeights:
        """n / (k · n_c) for a class with n_c of all n labels, of k classes: scikit-learn's "balanced" (King and Zeng,
        2001).
        """
        total = sum(counts.values())
        return cls.by_class({index: total / (len(counts) * count) for index, count in counts.items()})

    def of(self, labels: np.ndarray, tensor: TensorColumn, leading: int) -> np.ndarray:
        """Weights of labels as they are kept: float32, one for each of the labels' classes.

        Args:
            leading: how many axes stand before a row's own.
        """
        found = class_indices(labels, tensor, leading)
        if not self.classes:
            return np.ones(found.shape, "float32")
        known, weights = np.array(self.classes), np.array(self.weights, "float32")
        place = np.searchsorted(known, found).clip(max=len(known) - 1)
        return np.where(known[place] == found, weights[place], np.float32(1))


def class_indices(labels: np.ndarray, tensor: TensorColumn, leading: int) -> np.ndarray:
    """The class of each label, int64, where each row or each of its time steps or pixels has one.

    Indices are classes themselves; of anything else the rule is Keras' own for `class_weight`: a single number is
    rounded, and of several the largest one's place counts.
    """
    if not (tensor.one_hot or np.issubdtype(tensor.dtype, np.integer)) and labels.ndim > leading:
        single = labels.shape[-1] == 1
        labels = labels[..., 0] if single else labels.argmax(axis=tensor.class_axis)
    return np.round(labels).astype("int64")


def with_axes(weights: np.ndarray, axes: int) -> np.ndarray:
    """Weights with so many axes, or more: further ones of length 1 come last."""
    return weights.reshape(*weights.shape, *[1] * (axes - weights.ndim))
