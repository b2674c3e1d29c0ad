"""A classifier's outputs: probabilities, logits or margins, as activation, loss or `outputType` tell."""

from __future__ import annotations

import functools
import sys

import cloudpickle
import keras
import numpy as np
import pytest

from spark_keras import KerasClassifier
from spark_keras.columns import output_meaning
from spark_keras.columns.heads import ClassificationHead
from spark_keras.columns.output_meaning import Meaning
from spark_keras.executor.invalid_data import InvalidData
from spark_keras.keras_model import activations, signature

cloudpickle.register_pickle_by_value(sys.modules[__name__])

ALL = ("rawPrediction", "probability", "prediction")


def own_loss(y, prediction):
    """Binary cross-entropy of logits."""
    y = keras.ops.cast(y, prediction.dtype)
    return keras.ops.mean(keras.ops.softplus(prediction) - y * prediction, axis=-1)


def scored(kind, outputs, **options):
    fields = ("rawPrediction", "prediction") if kind == "margins" else ALL
    return ClassificationHead(fields, kind, **options)([np.asarray(outputs, "float32")])


def test_a_margin_becomes_the_raw_prediction_of_linear_svc():
    made = scored("margins", [[0.3], [3.0], [-0.5], [0.0]])
    np.testing.assert_allclose(made["rawPrediction"], [[-0.3, 0.3], [-3, 3], [0.5, -0.5], [0, 0]], atol=1e-7)
    assert made["prediction"].tolist() == [1, 1, 0, 0]
    assert scored("margins", [[0.3], [3.0]], threshold=0.5)["prediction"].tolist() == [0, 1]


def test_of_several_margins_the_largest_is_predicted():
    made = scored("margins", [[-3.0, -2.0, -5.0], [4.0, 0.0, 1.0]])
    np.testing.assert_array_equal(made["rawPrediction"], [[-3, -2, -5], [4, 0, 1]])
    assert made["prediction"].tolist() == [1, 0]


def test_logits_become_probabilities():
    made = scored("logits", [[np.log(3.0)], [-800.0]])
    np.testing.assert_allclose(made["probability"], [[0.25, 0.75], [1, 0]], atol=1e-7)
    made = scored("logits", np.log([[1.0, 2.0, 5.0]]))
    np.testing.assert_allclose(made["probability"], [[0.125, 0.25, 0.625]], atol=1e-7)
    np.testing.assert_allclose(made["rawPrediction"], np.log([[1.0, 2.0, 5.0]]), atol=1e-7)


def test_scores_of_classes_by_themselves_are_divided_by_their_sum_as_scikit_learn_does():
    made = scored("probabilities", [[0.9, 0.9, 0.2], [0.0, 0.0, 0.0]], exclusive=False)
    np.testing.assert_allclose(made["probability"], [[0.45, 0.45, 0.1], [1 / 3] * 3], atol=1e-7)
    np.testing.assert_allclose(made["rawPrediction"], [[0.9, 0.9, 0.2], [0, 0, 0]], atol=1e-7)
    # sigmoid(0) = 0.5 and sigmoid(log 3) = 0.75
    made = scored("logits", [[0.0, np.log(3.0)]], exclusive=False)
    np.testing.assert_allclose(made["probability"], [[0.4, 0.6]], atol=1e-7)


@pytest.mark.parametrize(
    "kind, outputs, parts",
    [
        ("probabilities", [[0.2], [1.2], [-3.0]], ["Received: 1.2, in 2 of 3 rows", "outputType"]),
        ("probabilities", [[0.2, 0.8], [0.5, 0.6]], ["a row with sum 1.1, in 1 of 2 rows", "outputType"]),
        ("probabilities", [[0.0, 0.0, 0.0]], ["a row with sum 0", "KerasEstimator"]),
        ("probabilities", [[np.inf, 0.0]], ["Received: inf"]),
        ("probabilities", [[0.2], [np.nan]], ["NaN. Received: 1 such rows in a batch of 2"]),
        ("logits", [[0.2, np.nan]], ["NaN. Received: 1 such rows"]),
        ("logits", [[np.inf, np.inf]], ["NaN"]),
        ("margins", [[np.nan], [1.0]], ["NaN. Received: 1 such rows"]),
    ],
)
def test_numbers_that_are_none_of_their_kind_are_refused(kind, outputs, parts):
    with pytest.raises(InvalidData) as refusal:
        scored(kind, outputs)
    assert all(part in str(refusal.value) for part in parts), refusal.value


def test_probabilities_stay_inside_their_interval_and_rounding_is_no_error():
    made = scored("probabilities", [[1.0005], [-0.0005]])["probability"]
    np.testing.assert_array_equal(made, [[0, 1], [1, 0]])
    # A third in 8 bits, as bfloat16 has it.
    rounded = np.full((1, 3), 171 / 512)
    with pytest.raises(InvalidData, match="sum 1.00195"):
        scored("probabilities", rounded)
    np.testing.assert_array_equal(scored("probabilities", rounded, tolerance=0.05)["probability"], rounded)


def test_a_batch_without_rows_has_no_predictions():
    for kind, shape in [("probabilities", (0, 1)), ("probabilities", (0, 3)), ("logits", (0, 1)), ("margins", (0, 2))]:
        assert scored(kind, np.zeros(shape))["prediction"].shape == (0,)


class Unknown(keras.layers.Layer):
    def call(self, x):
        return x


class Doubled(keras.layers.Dense):
    def call(self, x):
        return 2 * super().call(x)


def inner(last):
    return keras.Sequential([keras.Input((3,)), keras.layers.Dense(4), last])


ENDS = {
    "argument": (lambda x: keras.layers.Dense(2, "softmax")(x), "softmax"),
    "Activation": (lambda x: keras.layers.Activation("sigmoid")(keras.layers.Dense(2)(x)), "sigmoid"),
    "Softmax": (lambda x: keras.layers.Softmax()(keras.layers.Dense(2)(x)), "softmax"),
    "layer as activation": (lambda x: keras.layers.Dense(2, keras.layers.Softmax())(x), "softmax"),
    "operation": (lambda x: keras.ops.softmax(keras.layers.Dense(2)(x)), "softmax"),
    "activation called": (lambda x: keras.activations.sigmoid(keras.layers.Dense(2)(x)), "sigmoid"),
    "nested": (lambda x: inner(keras.layers.Dense(2, "softmax"))(x), "softmax"),
    "nested twice": (
        lambda x: inner(keras.Sequential([keras.layers.Dense(2), keras.layers.Softmax()]))(x),
        "softmax",
    ),
    "cast to float32": (
        lambda x: keras.layers.Activation("linear", dtype="float32")(keras.layers.Dense(2, "softmax")(x)),
        "softmax",
    ),
    "dropout": (lambda x: keras.layers.Dropout(0.5)(keras.layers.Dense(2, "sigmoid")(x)), "sigmoid"),
    "ensemble": (
        lambda x: keras.layers.Average()([keras.layers.Dense(4, "softmax")(x), inner(keras.layers.Softmax())(x)]),
        "softmax",
    ),
    "mixed ensemble": (
        lambda x: keras.layers.Average()([keras.layers.Dense(2, "softmax")(x), keras.layers.Dense(2)(x)]),
        None,
    ),
    "linear": (lambda x: keras.layers.Dense(2)(x), "linear"),
    "tanh": (lambda x: keras.layers.Dense(2, "tanh")(x), "tanh"),
    "layer of one's own": (lambda x: Unknown()(keras.layers.Dense(2, "softmax")(x)), None),
    "subclass of a layer": (lambda x: Doubled(2, "softmax")(x), None),
    "function of one's own": (lambda x: keras.layers.Dense(2, lambda t: t)(x), None),
    "over another axis": (
        lambda x: keras.layers.Flatten()(keras.layers.Softmax(axis=1)(keras.layers.Reshape((3, 1))(x))),
        None,
    ),
}


@pytest.mark.parametrize("name", ENDS)
def test_the_last_activation_is_found(name):
    end, expected = ENDS[name]
    inputs = keras.Input((3,))
    (output,) = signature.symbolic_outputs(keras.Model(inputs, end(inputs)))
    assert activations.activation_of(output) == expected


class OwnHinge(keras.losses.Hinge):
    pass


class OwnLoss(keras.losses.Loss):
    def call(self, y, prediction):
        return own_loss(y, prediction)


LOSSES = [
    ("hinge", Meaning("margins", False)),
    ("squared_hinge", Meaning("margins", False)),
    ("categorical_hinge", Meaning("margins", True)),
    (keras.losses.hinge, Meaning("margins", False)),
    (keras.losses.CategoricalHinge(), Meaning("margins", True)),
    (OwnHinge(), Meaning("margins", False)),
    ("bce", Meaning("probabilities", False)),
    ("kld", Meaning("probabilities", True)),
    (keras.losses.BinaryFocalCrossentropy(from_logits=True), Meaning("logits", False)),
    (keras.losses.SparseCategoricalCrossentropy(from_logits=True), Meaning("logits", True)),
    (keras.losses.CategoricalFocalCrossentropy(), Meaning("probabilities", True)),
    (functools.partial(keras.losses.binary_crossentropy, from_logits=True), Meaning("logits", False)),
    ("mse", Meaning()),
    (own_loss, Meaning()),
    (OwnLoss(), Meaning()),
    ("a_loss_of_ones_own", Meaning()),
    (None, Meaning()),
]


@pytest.mark.parametrize("loss, meaning", LOSSES, ids=range(len(LOSSES)))
def test_a_loss_tells_what_it_takes_outputs_for(loss, meaning):
    assert output_meaning.said_by_loss(loss) == meaning


@pytest.mark.parametrize("form", [lambda loss: {"out": loss}, lambda loss: [loss], lambda loss: loss])
@pytest.mark.parametrize(
    "loss, activation, output_type, meaning",
    [
        ("hinge", None, "auto", Meaning("margins", False)),
        ("hinge", "tanh", "auto", Meaning("margins", False)),
        # What a sigmoid or softmax gives are probabilities, whatever the loss makes of them.
        ("hinge", "sigmoid", "auto", Meaning("probabilities", False)),
        ("mse", "sigmoid", "auto", Meaning("probabilities", False)),
        ("mse", "softmax", "auto", Meaning("probabilities", True)),
        ("binary_crossentropy", "softmax", "auto", Meaning("probabilities", True)),
        (keras.losses.CategoricalCrossentropy(from_logits=True), "softmax", "auto", Meaning("probabilities", True)),
        ("mse", None, "auto", Meaning()),
        ("mse", None, "margins", Meaning("margins", None)),
        (own_loss, None, "logits", Meaning("logits", None)),
    ],
)
def test_the_activation_comes_before_the_loss_and_a_param_before_both(form, loss, activation, output_type, meaning):
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, activation, name="out")])
    model.compile("sgd", form(loss))
    assert output_meaning.of_classifier(model, KerasClassifier(outputType=output_type)) == meaning
