"""Labels and weights of classes, as losses of Keras take them."""

from __future__ import annotations

import functools
import tracemalloc

import keras
import numpy as np
import pyarrow as pa
import pytest

from spark_keras import KerasClassifier
from spark_keras.columns import arrow
from spark_keras.columns.class_weights import ClassWeights
from spark_keras.columns.label_rules import rule_of, settle_label
from spark_keras.columns.tensor_column import TensorColumn
from spark_keras.executor.invalid_data import InvalidData
from spark_keras.keras_model.signature import Tensor

ROWS = 24
RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(ROWS, 4)).astype("float32")

CLASSES = RANDOM.integers(0, 3, ROWS)


def width(y_true, y_pred):
    """Several targets in one label: where a span lies, and how much it counts."""
    return keras.ops.sum(y_true[:, 4:] * keras.ops.square(y_true[:, :2] - y_pred), axis=-1)


def own_crossentropy(y_true, y_pred):
    return -keras.ops.sum(y_true * keras.ops.log(y_pred + 1e-7), axis=-1)


OUT = Tensor("out", (3,), "float32")
IMAGE = Tensor("out", (3, 4, 5), "float32")


class OfKeras(keras.losses.SparseCategoricalCrossentropy):
    pass


@pytest.mark.parametrize(
    "loss, output, found, shape, dtype, classes",
    [
        ("sparse_categorical_crossentropy", OUT, (), (), "int32", 3),
        ("SparseCategoricalCrossentropy", OUT, (), (), "int32", 3),
        (functools.partial(keras.losses.sparse_categorical_crossentropy, from_logits=True), OUT, (), (), "int32", 3),
        (OfKeras(), OUT, (), (), "int32", 3),
        (keras.losses.SparseCategoricalCrossentropy(axis=1), IMAGE, (20,), (4, 5), "int32", 3),
        (keras.losses.CategoricalCrossentropy(axis=1), IMAGE, (4, 5), (3, 4, 5), "int32", 3),
        (keras.losses.CategoricalCrossentropy(axis=1), IMAGE, (3, 4, 5), (3, 4, 5), "float32", None),
        (keras.losses.CategoricalCrossentropy(label_smoothing=0.1), OUT, (), (3,), "int32", 3),
        ("crossentropy", OUT, (), (), "int32", 3),
        ("crossentropy", OUT, (3,), (3,), "float32", None),
        ("crossentropy", Tensor("out", (1,), "float32"), (), (1,), "float32", None),
        ("categorical_generalized_cross_entropy", OUT, (), (3,), None, None),
        (keras.losses.Circle(), OUT, (), (), "int32", None),
        (keras.losses.CTC(), Tensor("out", (12, 6), "float32"), (4,), (4,), "int32", None),
        (keras.losses.Dice(), IMAGE, (60,), (3, 4, 5), "float32", None),
        (own_crossentropy, OUT, (3,), (3,), "float32", None),
        (own_crossentropy, IMAGE, (60,), (3, 4, 5), "float32", None),
        (width, Tensor("out", (2,), "float32"), (5,), (5,), "float32", None),
    ],
)
def test_a_label_has_the_shape_that_its_loss_takes(loss, output, found, shape, dtype, classes):
    if dtype is None:
        loss = keras.losses.CategoricalGeneralizedCrossEntropy(0.5)
        shape, dtype, classes = (), "int32", 3
    label = TensorColumn("label", "labelCol", ("y",), (), "float32", len(found))
    settled = settle_label(label, found, output, loss, classifier=False)
    assert (settled.tensor_shape, settled.dtype, settled.classes) == (shape, dtype, classes)


@pytest.mark.parametrize(
    "loss, output, found",
    [(width, Tensor("out", (2,), "float32"), (3,)), (keras.losses.CTC(), IMAGE, (4, 5)), ("mse", OUT, (2,))],
)
def test_labels_that_a_loss_does_not_take_are_refused_on_the_driver(loss, output, found):
    label = TensorColumn("label", "labelCol", ("y",), (), "float32", len(found))
    with pytest.raises(ValueError, match="column 'y' .labelCol.*Received.*Expected"):
        settle_label(label, found, output, loss, classifier=False)


def test_settings_of_a_loss_are_found_in_every_form_of_it():
    assert rule_of(functools.partial(keras.losses.sparse_categorical_crossentropy, ignore_class=2)).ignored == 2
    assert rule_of(OfKeras(ignore_class=3)).ignored == 3
    assert rule_of(keras.losses.SparseCategoricalCrossentropy(ignore_class=0)).ignored == 0
    assert rule_of("sparse_categorical_crossentropy").ignored is None


BY_CLASS = {0: 3.0, 2: 0.25}


@pytest.mark.parametrize(
    "labels, shape, one_hot",
    [
        (CLASSES, (), False),
        (CLASSES[:, None].astype("float32"), (1,), False),
        (np.eye(3, dtype="float32")[CLASSES], (3,), False),
        (X, (4,), False),
        (CLASSES, (), True),
    ],
)
def test_weights_of_labels_are_those_that_keras_makes_of_class_weight(labels, shape, one_hot):
    from keras.src.trainers.data_adapters.data_adapter_utils import class_weight_to_sample_weights

    dtype = "int32" if labels.dtype.kind == "i" else "float32"
    tensor = TensorColumn("y", "labelCol", ("y",), shape, dtype, 0, 3, one_hot=one_hot)
    expected = class_weight_to_sample_weights(arrow.finished(labels, tensor), BY_CLASS)
    weights = ClassWeights.by_class(BY_CLASS)
    np.testing.assert_array_equal(weights.of(labels, tensor, 1), expected)
    stacked = weights.of(labels.reshape(4, 6, *shape), tensor, 2)
    np.testing.assert_array_equal(stacked.reshape(-1), expected)


def test_class_weight_is_checked():
    for value in ({"a": 1.0}, {0: -1.0}, {0.5: 1.0}, "even", {}, {0: float("nan")}):
        with pytest.raises(TypeError, match="classWeight.*balanced"):
            KerasClassifier(classWeight=value)
    # As JSON has it in a saved stage.
    assert KerasClassifier(classWeight={"0": 2, "10": 0.5}).getClassWeight() == {0: 2.0, 10: 0.5}


def test_balanced_weights_follow_their_formula():
    assert ClassWeights.balanced({0: 6, 4: 2}) == ClassWeights((0, 4), (8 / 12, 8 / 4))


def test_one_hot_rows_take_their_own_memory_and_no_more():
    rows, classes = 200, 20_000
    tensor = TensorColumn("y", "labelCol", ("y",), (), "int32", 0, classes, one_hot=True)
    labels = np.random.default_rng(0).integers(0, classes, rows)
    tracemalloc.start()
    try:
        array = arrow.to_numpy(pa.array(labels), tensor)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    np.testing.assert_array_equal(array.argmax(axis=1), labels)
    assert array.sum() == rows and array.dtype == np.float32
    assert peak < 1.1 * array.nbytes
    with pytest.raises(InvalidData, match="Label outside"):
        arrow.to_numpy(pa.array([classes]), tensor)
