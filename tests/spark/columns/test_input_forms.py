"""A model gets its inputs in the form in which it takes them: a tensor, a list, a tuple, a dict, or nested ones."""

from __future__ import annotations

import sys

import cloudpickle
import keras
import numpy as np
import pytest
from conftest import session_for

from spark_keras import KerasEstimator, KerasRegressor, KerasTransformer
from spark_keras.columns import input_forms
from spark_keras.keras_model.archive import KerasArchive
from spark_keras.params import converters

cloudpickle.register_pickle_by_value(sys.modules[__name__])

ROWS = 32
GENERATOR = np.random.default_rng(1)
A = GENERATOR.normal(size=(ROWS, 2)).astype("float32")
B = GENERATOR.normal(size=(ROWS, 3)).astype("float32")
C = GENERATOR.normal(size=(ROWS, 1)).astype("float32")
Y = A.sum(axis=1) - B[:, 0] + C[:, 0]


class Parts(keras.Model):
    """What the models of this file share: a dense layer on each part."""

    def __init__(self, **options):
        super().__init__(**options)
        self.layer_a, self.layer_b = keras.layers.Dense(2), keras.layers.Dense(2)
        self.out = keras.layers.Dense(1)

    def combined(self, a, b):
        return self.out(keras.ops.tanh(self.layer_a(a)) + keras.ops.sigmoid(self.layer_b(b)))


class Sequence(Parts):
    def call(self, inputs):
        a, b = inputs
        return self.combined(a, b)


class Named(Parts):
    def call(self, inputs):
        return self.combined(inputs["b"], inputs["a"])


class Nested(Parts):
    def call(self, inputs):
        a, c = inputs["pair"]
        return self.combined(keras.ops.concatenate([a, c], axis=-1), inputs["other"])


class OneNamed(keras.Model):
    def __init__(self, **options):
        super().__init__(**options)
        self.out = keras.layers.Dense(1)

    def call(self, inputs):
        return self.out(inputs["a"])


def compiled(model_class):
    keras.utils.set_random_seed(4)
    model = model_class()
    model.compile(keras.optimizers.SGD(0.1), "mse")
    return model


# model, its inputs for Keras, and inputCols
FORMS = {
    "a tuple, columns as a list": (Sequence, (A, B), ["a", "b"]),
    "a tuple, columns as a dict": (Sequence, (A, B), {"first": "a", "second": "b"}),
    "a dict, columns as a dict": (Named, {"a": A, "b": B}, {"b": "b", "a": "a"}),
    "a dict, columns as a list": (Named, {"a": A, "b": B}, ["b", "a"]),
    "nested": (Nested, {"pair": (A, C), "other": B}, {"pair": ["a", "c"], "other": "b"}),
    "a dict of one": (OneNamed, {"a": A}, {"a": "a"}),
}


@pytest.fixture(scope="module")
def df():
    rows = [(i, A[i].tolist(), B[i].tolist(), C[i].tolist(), float(Y[i])) for i in range(ROWS)]
    names = "id int, a array<float>, b array<float>, c array<float>, label double"
    return session_for("local[2]").createDataFrame(rows, names).coalesce(1).cache()


@pytest.mark.parametrize("built", [False, True], ids=["new", "built"])
@pytest.mark.parametrize("model_class, inputs, columns", FORMS.values(), ids=FORMS)
def test_form_is_that_of_the_models_call_or_of_the_columns(model_class, inputs, columns, built):
    model = compiled(model_class)
    if built:
        model(keras.tree.map_structure(lambda x: x[:1], inputs))
    model = KerasArchive.of(model).load({model_class.__name__: model_class})
    columns = converters.input_columns(columns)
    arrays = {"a": A, "b": B, "c": C}
    pairs = input_forms.named(model, columns)
    symbols = [keras.KerasTensor((None, *arrays[column].shape[1:])) for _, column in pairs]
    forms = input_forms.possible(model, columns, [name for name, _ in pairs])
    assert not built or len(forms) == 1
    _, _, form = input_forms.called(model, forms, symbols)
    given = keras.tree.map_structure(lambda index: arrays[pairs[index][1]], form)
    keras.tree.assert_same_structure(given, inputs)
    for one, other in zip(keras.tree.flatten(given), keras.tree.flatten(inputs), strict=True):
        assert one is other


@pytest.mark.slow
@pytest.mark.parametrize("name", ["a tuple, columns as a list", "a dict, columns as a list", "nested"])
def test_fit_transform_and_evaluate_are_those_of_keras(df, name):
    model_class, inputs, columns = FORMS[name]
    expected = compiled(model_class)
    expected(keras.tree.map_structure(lambda x: x[:1], inputs))
    # Built, because the weights of a model that is not are drawn by the fit's own seed.
    model = KerasArchive.of(expected)
    expected.fit(inputs, Y, batch_size=ROWS, epochs=3, shuffle=False, verbose=0)
    params = {"batchSize": ROWS, "epochs": 3, "shuffle": False, "numWorkers": 1, "verbose": 0}
    objects = {model_class.__name__: model_class}
    fitted = KerasRegressor(model=model, inputCols=columns, customObjects=objects, **params).fit(df)
    predicted = [row.prediction for row in fitted.transform(df).orderBy("id").collect()]
    np.testing.assert_allclose(predicted, expected.predict(inputs, verbose=0)[:, 0], rtol=1e-4, atol=1e-6)
    assert fitted.evaluate(df)["loss"] == pytest.approx(expected.evaluate(inputs, Y, verbose=0), rel=1e-4)


def test_new_model_with_a_list_of_inputs_trains(df):
    params = {"batchSize": 8, "epochs": 20, "numWorkers": 1, "verbose": 0}
    fitted = KerasEstimator(model=compiled(Sequence), inputCols=["a", "b"], **params).fit(df)
    losses = fitted.summary.history["loss"]
    assert losses[-1] < 0.7 * losses[0]
    own = fitted.toKeras().predict((A, B), verbose=0)
    predicted = [row.prediction for row in fitted.transform(df).orderBy("id").collect()]
    np.testing.assert_allclose(predicted, own, rtol=1e-5, atol=1e-6)


def test_connected_model_with_nested_inputs(df):
    a, b, c = keras.Input((2,), name="in_a"), keras.Input((3,), name="in_b"), keras.Input((1,), name="in_c")
    hidden = keras.layers.Concatenate()([a, c, b])
    model = keras.Model({"pair": [a, c], "other": b}, keras.layers.Dense(1)(hidden))
    expected = model.predict({"pair": [A, C], "other": B}, verbose=0)
    for columns in (
        {"pair": ["a", "c"], "other": "b"},
        {"in_a": "a", "in_b": "b", "in_c": "c"},
        ["b", "a", "c"],  # in the order in which Keras takes nested structures apart
    ):
        stage = KerasTransformer(model=model, inputCols=columns)
        predicted = [row.prediction for row in stage.transform(df).orderBy("id").collect()]
        np.testing.assert_allclose(predicted, expected, rtol=1e-5, atol=1e-6)


def test_wrong_columns_of_a_built_model_are_refused_with_what_it_wants(df):
    model = compiled(Named)
    model({"a": A[:1], "b": B[:1]})
    for columns in ({"a": "a", "x": "b"}, ["a", "b", "c"]):
        with pytest.raises(ValueError, match=r"`inputCols`. Received: .*Expected: 2 columns.*\['a', 'b'\]"):
            KerasTransformer(model=model, inputCols=columns, customObjects={"Named": Named}).transform(df)


def test_a_model_that_takes_no_such_form_is_told_with_each_error(df):
    class Three(Sequence):
        def call(self, inputs):
            a, b, _ = inputs
            return self.combined(a, b)

    stage = KerasRegressor(model=compiled(Three), inputCols=["a", "b"])
    with pytest.raises(ValueError, match="`inputCols`. Received: as a tuple: not enough values .*; as a dict: not"):
        stage.fit(df)
