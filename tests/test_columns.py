"""DataFrame columns ↔ tensors: Arrow to numpy and back without Spark, then every kind of column through a model."""

from __future__ import annotations

import decimal
import math

import keras
import numpy as np
import pyarrow as pa
import pytest

from spark_keras import KerasTransformer
from spark_keras.columns.arrow import to_arrow, to_numpy, usable_rows
from spark_keras.columns.expressions import fit_shape
from spark_keras.columns.tensor_column import TensorColumn
from spark_keras.executor.invalid_data import InvalidData


def tensor(shape=(), **fields):
    return TensorColumn(**{"name": "features", "param": "featuresCol", "columns": ("x",), "shape": shape, **fields})


# --- which rows are usable -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "values, expected",
    [
        (pa.array([1.0, None, float("nan"), float("inf")]), [True, False, False, True]),
        (pa.array([1, None, -3], pa.int64()), [True, False, True]),
        (pa.array([], pa.float32()), []),
        (pa.array([[1.0], None, [None], [float("nan")], []]), [True, False, False, False, True]),
        (pa.array([[[1.0], [2.0, None]], [[3.0]], [None], [[]], None]), [False, True, False, True, False]),
        (pa.array([[1, 2], [3, None]], pa.list_(pa.int32())), [True, False]),
        (pa.array([[1.0], [None]], pa.large_list(pa.float64())), [True, False]),
    ],
)
def test_row_with_a_null_or_nan_at_any_depth_is_not_usable(values, expected):
    assert usable_rows(values).tolist() == expected


def test_usable_rows_of_a_slice_are_those_of_its_rows():
    values = pa.array([[None], [1.0, 2.0], None, [3.0], [float("nan")], [4.0]])
    whole = usable_rows(values)
    for start in range(len(values)):
        assert usable_rows(values.slice(start, 3)).tolist() == whole[start : start + 3].tolist()


def _has_no_gap(value):
    if isinstance(value, list):
        return all(_has_no_gap(each) for each in value)
    return value is not None and not math.isnan(value)


def test_usable_rows_of_random_nested_columns_agree_with_a_walk_over_their_rows():
    random = np.random.default_rng(7)

    def value(depth):
        if random.random() < 0.1:
            return None
        if depth == 0:
            return float("nan") if random.random() < 0.1 else float(random.normal())
        return [value(depth - 1) for _ in range(random.integers(0, 4))]

    for _ in range(200):
        depth = int(random.integers(0, 4))
        kind = pa.float64()
        for _ in range(depth):
            kind = pa.list_(kind)
        rows = [value(depth) for _ in range(random.integers(0, 12))]
        assert usable_rows(pa.array(rows, kind)).tolist() == [_has_no_gap(row) for row in rows]


# --- Arrow → numpy -------------------------------------------------------------------------------------------------


def test_nested_lists_become_the_tensor_that_numpy_reads_from_them():
    rows = [[[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]], [[7.0, 8.0, 9.0], [10.0, 11.0, 12.0]]]
    array = to_numpy(pa.array(rows), tensor((2, 3)))
    assert array.dtype == np.float32 and array.flags.c_contiguous
    np.testing.assert_array_equal(array, np.array(rows, "float32"))


def test_flat_list_is_read_in_row_major_order():
    array = to_numpy(pa.array([[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]]), tensor((3, 2)))
    np.testing.assert_array_equal(array, [[[1, 2], [3, 4], [5, 6]]])


def test_sliced_arrays_give_the_rows_of_the_slice():
    array = pa.array([[float(i), float(-i)] for i in range(10)]).slice(4, 3)
    np.testing.assert_array_equal(to_numpy(array, tensor((2,))), [[4, -4], [5, -5], [6, -6]])


def test_no_rows_give_an_empty_tensor_of_the_right_shape():
    assert to_numpy(pa.array([], pa.list_(pa.float32())), tensor((2, 3))).shape == (0, 2, 3)


@pytest.mark.parametrize("rows", [[[1.0, 2.0], [3.0]], [[[1.0], [2.0]], [[1.0, 2.0], [3.0]]], [[1.0, 2.0], []]])
def test_ragged_arrays_are_refused_with_both_lengths(rows):
    shortest, longest = (0, 2) if rows[1] == [] else (1, 2)
    with pytest.raises(
        InvalidData, match=f"column 'x' .featuresCol..*of {shortest} and of {longest} elements.*same number"
    ):
        to_numpy(pa.array(rows), tensor((2,)))


def test_row_of_another_length_than_the_tensor_is_refused():
    with pytest.raises(InvalidData, match=r"Wrong shape in column 'x'.*4 elements.*shape \(3,\), 3 elements"):
        to_numpy(pa.array([[1.0, 2.0, 3.0, 4.0]]), tensor((3,)))


def test_integers_above_2_to_the_24_stay_exact():
    ids = [2**24 + 1, 2**31 - 1, 0]
    assert to_numpy(pa.array(ids), tensor(dtype="int32")).tolist() == ids
    wide = [2**53 + 1, -(2**62) - 1]
    assert to_numpy(pa.array(wide), tensor(dtype="int64")).tolist() == wide


@pytest.mark.parametrize(
    "dtype, values", [("int32", [2**31, 0]), ("uint8", [0, 256]), ("uint8", [-1, 3]), ("int8", [-129])]
)
def test_overflow_of_an_integer_tensor_is_refused(dtype, values):
    with pytest.raises(InvalidData, match=f"Overflow in column 'x'.*Received.*Expected.*{dtype}"):
        to_numpy(pa.array(values), tensor(dtype=dtype))


def test_infinity_in_an_integer_tensor_is_refused():
    with pytest.raises(InvalidData, match="column 'x'.*inf"):
        to_numpy(pa.array([1.0, float("inf")]), tensor(dtype="int32"))


def test_fractions_in_an_integer_tensor_are_refused():
    assert to_numpy(pa.array([1.0, 2.0]), tensor(dtype="int32")).tolist() == [1, 2]
    with pytest.raises(InvalidData, match="Fractions in column 'x'.*Received: 2.5.*whole numbers"):
        to_numpy(pa.array([1.0, 2.5]), tensor(dtype="int32"))


@pytest.mark.parametrize("label", [-1.0, 3.0])
def test_class_index_outside_the_classes_is_refused(label):
    with pytest.raises(InvalidData, match=rf"outside \[0, 3\).*Received: {label:g}\..*from 0 to 2"):
        to_numpy(pa.array([0.0, label]), tensor(classes=3, dtype="int32"))


def test_one_hot_rows_have_a_single_one_at_the_class_index():
    array = to_numpy(pa.array([2.0, 0.0, 1.0]), tensor(classes=3, one_hot=True, dtype="int32"))
    np.testing.assert_array_equal(array, [[0, 0, 1], [1, 0, 0], [0, 1, 0]])
    assert array.dtype == np.float32


def test_negative_weights_are_refused_and_zero_is_not():
    weight = tensor(non_negative=True)
    assert to_numpy(pa.array([0.0, 2.0]), weight).tolist() == [0, 2]
    with pytest.raises(InvalidData, match="Negative weight in column 'x'.*Received: -0.5.*0 or more"):
        to_numpy(pa.array([1.0, -0.5]), weight)


# --- numpy → Arrow -------------------------------------------------------------------------------------------------


def test_random_tensors_survive_the_way_to_arrow_and_back():
    random = np.random.default_rng(11)
    for _ in range(100):
        shape = tuple(random.integers(1, 5, size=random.integers(0, 4)))
        rows = int(random.integers(0, 6))
        dtype = str(random.choice(["float32", "float64", "int64"]))
        values = (random.normal(size=(rows, *shape)) * 100).astype(dtype)
        array = to_arrow(values)
        assert array.to_pylist() == values.tolist()
        np.testing.assert_array_equal(to_numpy(array, tensor(shape, dtype=dtype)), values)


def test_tensors_that_are_not_contiguous_keep_their_order():
    values = np.arange(24.0).reshape(2, 3, 4).transpose(2, 0, 1)
    assert to_arrow(values).to_pylist() == values.tolist()


# --- shapes --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "wanted, found, shape",
    [
        ((3,), (3,), (3,)),  # a vector
        ((), (), ()),  # a number
        ((1,), (), (1,)),
        ((28, 28, 1), (784,), (28, 28, 1)),  # flat elements take the model's shape
        ((28, 28, 1), (28, 28), (28, 28, 1)),  # only dimensions of size 1 differ
        ((28, 28), (28, 28, 1), (28, 28)),
        ((None, 4), (20,), (5, 4)),  # one free dimension follows from the number of elements
        ((None, 4), (5, 4), (5, 4)),
        ((None, None, 3), (8, 9, 3), (8, 9, 3)),
        ((None, 1), (7,), (7, 1)),
        ((None,), (7,), (7,)),
        ((3,), None, (3,)),  # nothing known of the data: the model's shape holds
        (None, (3, 2), (3, 2)),  # nothing known of the model: the data's shape holds
    ],
)
def test_row_shape_is_settled_from_model_and_data(wanted, found, shape):
    assert fit_shape(tensor(), wanted, found).shape == shape


@pytest.mark.parametrize(
    "wanted, found",
    [((3,), (4,)), ((), (2,)), ((28, 28), (783,)), ((2, 3), (3, 2)), ((None, 4), (21,)), ((None, 4), (5, 3))],
)
def test_shape_that_does_not_fit_names_column_elements_and_expected_shape(wanted, found):
    with pytest.raises(ValueError) as error:
        fit_shape(tensor(), wanted, found)
    for part in ("column 'x' (featuresCol)", f"{math.prod(found)} element", str(wanted)):
        assert part in str(error.value)


@pytest.mark.parametrize("wanted", [None, (None, 4)])
def test_shape_that_nobody_knows_is_refused(wanted):
    with pytest.raises(ValueError, match="The shape of column 'x' .featuresCol. is unknown"):
        fit_shape(tensor(), wanted, None)


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
