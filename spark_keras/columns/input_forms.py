"""The form in which a model takes its inputs: one tensor, a list, a tuple, a dict, or these inside each other.

A form is that structure with the index of a tensor in place of each. A model of connected tensors tells its own. One
that was called or built tells the form of that call. Any other takes what it is called with: then the form of Param
`inputCols` is tried first, and the others that the same columns can take after it.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from typing import Any

import keras

from spark_keras.keras_model import signature
from spark_keras.keras_model.signature import Tensor


def known(model: keras.Model) -> Any:
    """The form that the model itself tells; None where it does not."""
    structure = signature.input_structure(model)
    if structure is None:
        structure = _of_shapes(signature.built_for(model))
    if structure is None:
        return None
    return keras.tree.pack_sequence_as(structure, list(range(len(keras.tree.flatten(structure)))))


def _of_shapes(shapes: Any) -> Any:
    """Nested shapes as a structure of zeros. An archive keeps tuples as lists, so sequences become tuples."""
    if isinstance(shapes, dict):
        named = {name: _of_shapes(part) for name, part in shapes.items()}
        return None if not named or None in named.values() else named
    if not isinstance(shapes, (list, tuple)) or not shapes:
        return None
    if all(length is None or isinstance(length, int) for length in shapes):
        return 0
    parts = tuple(map(_of_shapes, shapes))
    return None if None in parts else parts


def named(model: keras.Model, columns: Any) -> list[tuple[str, str]]:
    """(name, column) of each tensor of a model that is not made of connected tensors, from Param `inputCols`."""
    form = known(model)
    pairs = leaves(columns)
    if form is None:
        return pairs
    names = sorted(form) if isinstance(form, dict) and all(isinstance(each, int) for each in form.values()) else None
    given = [column for _, column in pairs]
    if names and isinstance(columns, dict) and set(columns) == set(names):
        return [(name, columns[name]) for name in names]
    if names and isinstance(columns, list) and set(given) == set(names):
        return [(name, name) for name in names]
    count = len(keras.tree.flatten(form))
    if len(pairs) != count or (names and isinstance(columns, dict)):
        raise ValueError(
            f"Wrong inputs in Param `inputCols`. Received: {columns!r}. Expected: {count} "
            f"column{'s' if count > 1 else ''}, one for each input that the model was built for"
            f"{f' {names}' if names else ''}."
        )
    return list(zip(names, given)) if names else pairs


def is_nested(columns: Any) -> bool:
    """Tells whether Param `inputCols` has dicts or lists inside."""
    return not all(isinstance(each, str) for each in (columns.values() if isinstance(columns, dict) else columns))


def leaves(columns: Any, name: str = "") -> list[tuple[str, str]]:
    """(name, column) of each column in Param `inputCols`, in the order in which Keras takes nested structures apart:
    that of a list, or of a nested dict's sorted names. A flat dict keeps its own.
    """
    if isinstance(columns, str):
        return [(name or columns, columns)]
    if isinstance(columns, dict):
        pairs: Any = sorted(columns.items()) if name or is_nested(columns) else columns.items()
    else:
        pairs = [(str(index) if name or is_nested(columns) else "", each) for index, each in enumerate(columns)]
    return [leaf for key, each in pairs for leaf in leaves(each, f"{name}.{key}".strip("."))]


def possible(model: keras.Model, columns: Any, names: Sequence[str]) -> list[Any]:
    """The forms in which the model may take its inputs, the likeliest first.

    Args:
        columns: Param `inputCols`; None where one column, or several as one tensor, feed the model.
        names: of the inputs, in their order.
    """
    form = known(model)
    if form is not None:
        return [form]
    indices = list(range(len(names)))
    by_name = dict(zip(names, indices))
    if columns is None:
        return [0]
    if is_nested(columns):
        return [_with_indices(columns, iter(indices))]
    sequences = [tuple(indices), indices]
    forms = [by_name, *sequences] if isinstance(columns, dict) else [*sequences, by_name]
    return [0, *forms] if len(names) == 1 else forms


def _with_indices(columns: Any, indices: Any) -> Any:
    if isinstance(columns, str):
        return next(indices)
    if isinstance(columns, dict):
        return {name: _with_indices(columns[name], indices) for name in sorted(columns)}
    return tuple(_with_indices(each, indices) for each in columns)


def called(model: keras.Model, forms: Sequence[Any], symbols: Sequence[Any]) -> tuple[tuple[Tensor, ...], Any, Any]:
    """(output tensors, the structure they come in, the form of the inputs), by a symbolic call in the first form that
    works. It builds the model.

    Args:
        forms: at least one.
        symbols: `keras.KerasTensor`s of the inputs.
    """
    errors, built = [], model.built
    for form in forms:
        try:
            with warnings.catch_warnings():
                if len(forms) > 1:
                    warnings.filterwarnings("ignore", ".*unbuilt state", UserWarning)
                return (*signature.outputs_of(model, signature.pack_inputs(form, symbols)), form)
        except Exception as error:  # whatever a model raises that is called with something else
            if len(forms) == 1:
                raise
            errors.append(error)
            if not built:
                signature.unbuild(model)
    told = "; ".join(f"as {_told(form)}: {_reason(error)}" for form, error in zip(forms, errors))
    raise ValueError(
        f"The model {model.name!r} cannot be called with its inputs in Param `inputCols`. Received: {told}. Expected: "
        "columns in the form that the model's call() takes: a list, a dict by name, or these inside each other."
    ) from errors[0]


def _reason(error: Exception) -> str:
    """Reason of an error, without what Keras puts around it."""
    text = re.sub(r"\x1b\[\d*m", "", str(error)).partition("Error encountered:")
    return (text[2] or text[0]).partition("\n\nArguments received")[0].strip()[:500]


def _told(form: Any) -> str:
    return {int: "one tensor", tuple: "a tuple", list: "a list", dict: "a dict"}[type(form)]
