"""DataFrame columns ↔ tensors: every kind of column through a model."""

from __future__ import annotations

import decimal

import keras
import numpy as np
import pytest

from spark_keras import KerasTransformer

# --- which rows are usable -----------------------------------------------------------------------------------------


# --- Arrow → numpy -------------------------------------------------------------------------------------------------


# --- numpy → Arrow -------------------------------------------------------------------------------------------------


# --- shapes --------------------------------------------------------------------------------------------------------


# --- with Spark: what the model is given -----------------------------------------------------------------------------


def identity(shape, dtype="float32"):
    """A model that gives back what it is given."""
    inputs = keras.Input(shape, dtype=dtype)
    return keras.Model(inputs, keras.layers.Identity(dtype=dtype)(inputs))


def given_to_model(df, model, **params):
    """What the model was given, in the order of column `id`."""
    rows = sorted(KerasTransformer(model=model, **params).transform(df).collect(), key=lambda row: row.id)
    return np.array([row.prediction for row in rows])


def given_for_each(df, shape, columns):
    """What a model with one input for each column was given, by column."""
    inputs = [keras.Input(shape) for _ in columns]
    model = keras.Model(inputs, [keras.layers.Identity()(each) for each in inputs])
    stage = KerasTransformer(model=model, inputCols=columns, outputCols=[f"given {name}" for name in columns])
    rows = sorted(stage.transform(df).collect(), key=lambda row: row.id)
    return {name: np.array([row[f"given {name}"] for row in rows]) for name in columns}


ROWS = [(0, [1.5, 0.0, -2.0]), (1, [0.0, 0.0, 3.25]), (2, [4.0, 5.0, 6.0])]
FEATURES = np.array([values for _, values in ROWS])


@pytest.mark.slow
def test_dense_and_sparse_vectors_give_the_same_tensor(spark):
    from pyspark.ml.linalg import Vectors

    def sparse(values):
        return Vectors.sparse(3, [(i, value) for i, value in enumerate(values) if value])

    rows = [(i, Vectors.dense(v), sparse(v), sparse(v) if i % 2 else Vectors.dense(v)) for i, v in ROWS]
    df = spark.createDataFrame(rows, ["id", "dense", "sparse", "mixed"])
    for values in given_for_each(df, (3,), ["dense", "sparse", "mixed"]).values():
        np.testing.assert_array_equal(values, FEATURES)


NUMBERS = ["tinyint", "smallint", "int", "bigint", "float", "double", "decimal(6,2)"]


@pytest.mark.slow
def test_arrays_and_scalars_of_any_number_give_their_numbers(spark):
    numbers = [[1, -2, 3], [4, 5, -6]]
    df = spark.createDataFrame(
        [(i, [float(each) for each in row]) for i, row in enumerate(numbers)], "id int, d array<double>"
    )
    arrays = df.select("id", *[df.d.cast(f"array<{kind}>").alias(kind) for kind in NUMBERS])
    for kind, values in given_for_each(arrays, (3,), NUMBERS).items():
        np.testing.assert_array_equal(values, numbers, err_msg=kind)
    scalars = df.select("id", *[df.d[1].cast(kind).alias(kind) for kind in NUMBERS])
    for kind, values in given_for_each(scalars, (1,), NUMBERS).items():
        np.testing.assert_array_equal(values, [[-2], [5]], err_msg=kind)


def test_booleans_are_one_and_zero(spark):
    df = spark.createDataFrame([(0, True, [True]), (1, False, [False])], "id int, scalar boolean, array array<boolean>")
    for values in given_for_each(df, (1,), ["scalar", "array"]).values():
        np.testing.assert_array_equal(values, [[1], [0]])


def test_decimals_keep_their_fractions(spark):
    df = spark.createDataFrame([(0, decimal.Decimal("1.25")), (1, decimal.Decimal("-0.5"))], "id int, x decimal(10,3)")
    np.testing.assert_array_equal(given_to_model(df, identity((1,)), featuresCol="x"), [[1.25], [-0.5]])


def test_several_scalar_columns_stand_side_by_side_in_the_given_order(spark):
    df = spark.createDataFrame([(0, 1, 2.5, True), (1, -3, 4.5, False)], "id int, a int, b double, c boolean")
    given = given_to_model(df, identity((3,)), featuresCols=["c", "a", "b"])
    np.testing.assert_array_equal(given, [[1, 1, 2.5], [0, -3, 4.5]])


@pytest.mark.compat
def test_nested_arrays_give_a_tensor_of_their_shape(spark):
    images = np.random.default_rng(0).normal(size=(4, 2, 3)).astype("float32")
    df = spark.createDataFrame([(i, image.tolist()) for i, image in enumerate(images)], "id int, x array<array<float>>")
    np.testing.assert_array_equal(given_to_model(df, identity((2, 3)), featuresCol="x"), images)
    np.testing.assert_array_equal(given_to_model(df, identity((2, 3, 1)), featuresCol="x"), images[..., None])


def test_flat_pixels_take_the_shape_of_the_image_that_the_model_wants(spark):
    images = np.arange(24, dtype="float32").reshape(2, 2, 3, 2)
    rows = [(i, image.reshape(-1).tolist()) for i, image in enumerate(images)]
    df = spark.createDataFrame(rows, "id int, x array<double>")
    np.testing.assert_array_equal(given_to_model(df, identity((2, 3, 2)), featuresCol="x"), images)


def test_free_dimension_takes_the_length_of_the_data(spark):
    df = spark.createDataFrame([(0, [[1.0, 2.0]] * 5), (1, [[3.0, 4.0]] * 5)], "id int, x array<array<double>>")
    given = given_to_model(df, identity((None, 2)), featuresCol="x")
    np.testing.assert_array_equal(given, np.repeat([[[1, 2]], [[3, 4]]], 5, axis=1))


@pytest.mark.parametrize("dtype, ids", [("int32", [2**24 + 1, 2**31 - 1]), ("int64", [2**40 + 1, 2**53 - 1])])
def test_integer_ids_above_2_to_the_24_stay_exact(spark, dtype, ids):
    df = spark.createDataFrame(list(enumerate(ids)), "id int, x bigint")
    assert given_to_model(df, identity((1,), dtype), featuresCol="x").tolist() == [[each] for each in ids]


def test_double_precision_model_is_given_doubles(spark):
    values = [0.1, 1 / 3]
    df = spark.createDataFrame(list(enumerate(values)), "id int, x double")
    assert given_to_model(df, identity((1,), "float64"), featuresCol="x").tolist() == [[each] for each in values]


def two_inputs():
    left = keras.Input((2,), name="left")
    right = keras.Input((1,), name="right", dtype="int32")
    scaled = keras.layers.Rescaling(10.0)(right)
    return keras.Model([left, right], keras.layers.Concatenate()([left, scaled]))


@pytest.mark.parametrize("input_cols", [{"right": "r", "left": "l"}, ["l", "r"]])
def test_input_columns_reach_the_inputs_they_are_named_for(spark, input_cols):
    df = spark.createDataFrame([(0, [1.0, 2.0], 3), (1, [4.0, 5.0], 6)], "id int, l array<double>, r int")
    given = given_to_model(df, two_inputs(), inputCols=input_cols)
    np.testing.assert_array_equal(given, [[1, 2, 30], [4, 5, 60]])
