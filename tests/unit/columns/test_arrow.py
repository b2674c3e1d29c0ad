"""DataFrame columns ↔ tensors: Arrow to numpy and back; shapes of rows."""

from __future__ import annotations

import math

import numpy as np
import pyarrow as pa
import pytest

from spark_keras.columns.arrow import to_arrow, to_numpy, usable_rows
from spark_keras.columns.expressions import fit_shape
from spark_keras.columns.tensor_column import TensorColumn
from spark_keras.executor.invalid_data import InvalidData


def tensor(shape=(), **fields):
    return TensorColumn(**{"name": "features", "param": "featuresCol", "columns": ("x",), "shape": shape, **fields})


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
