"""Columns of arrays: tensors, sequences; and those of any other type."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from typing import ClassVar

from pyspark.sql import types as T
from typing_extensions import Self

from spark_keras.preparation import fields as kinds
from spark_keras.preparation.fields import Field
from spark_keras.preparation.registry import registered

ELEMENTS: dict[str, type[Field]] = {
    "string": kinds.StringField,
    "integer": kinds.IntegerField,
    "long": kinds.LongField,
    "float": kinds.FloatField,
    "double": kinds.DoubleField,
    "boolean": kinds.BooleanField,
}


@registered("array")
class ArrayField(Field):
    """An array, nested once for each dimension of `shape`: a tensor. A dimension of None may have any length.

    Null elements are invalid; so are NaN and infinity, unless they are allowed.
    """

    element: str = "double"
    shape: tuple[int | None, ...] = (None,)
    allowNaN: bool = False
    allowInfinite: bool = False

    kind: ClassVar[str] = "array"

    def __post_init__(self) -> None:
        shape = tuple(self.shape)
        sizes = all(n is None or (isinstance(n, int) and n >= 0) for n in shape)
        if self.element not in ELEMENTS or not shape or not sizes:
            raise ValueError(
                f"Invalid array column {self.name!r}. Received: element={self.element!r}, shape={self.shape!r}. "
                f"Expected: an element among {list(ELEMENTS)}, and a shape such as (None, 3)."
            )
        object.__setattr__(self, "shape", shape)

    @property
    def elementField(self) -> Field:
        """One element, as a column of its own."""
        element = ELEMENTS[self.element](self.name)
        if isinstance(element, kinds.FloatingField):
            return dataclasses.replace(element, allowNaN=self.allowNaN, allowInfinite=self.allowInfinite)
        return element

    @property
    def sparkType(self) -> T.DataType:
        nested: T.DataType = self.elementField.sparkType
        for _ in self.shape:
            nested = T.ArrayType(nested)
        return nested

    def check(self, value: str) -> str:
        element = self.elementField
        return _nested_check(self.shape, value, lambda e: f"coalesce({element.check(e)}, false) AND {e} IS NOT NULL")

    @property
    def description(self) -> str:
        return f"array of {self.element} ({', '.join('?' if n is None else str(n) for n in self.shape)})"


def _nested_check(shape: tuple[int | None, ...], value: str, element: Callable[[str], str]) -> str:
    """SQL text: whether an array has this shape and valid elements."""
    if not shape:
        return element(value)
    part = "part" if value.startswith("`") else f"{value}_part"
    inside = f"forall({value}, {part} -> {_nested_check(shape[1:], part, element)})"
    return inside if shape[0] is None else f"(size({value}) = {shape[0]} AND {inside})"


@registered("sequence")
class SequenceField(Field):
    """The values of one column in the order of a sequence; `length` is None where it differs from row to row."""

    element: Field = kinds.StringField("")
    length: int | None = None

    kind: ClassVar[str] = "sequence"

    @property
    def sparkType(self) -> T.DataType:
        return T.ArrayType(self.element.sparkType)

    def check(self, value: str) -> str:
        nullable = str(self.element.nullable).lower()
        return _nested_check((self.length,), value, lambda step: f"coalesce({self.element.check(step)}, {nullable})")

    def named(self, name: str) -> Self:
        return dataclasses.replace(self, name=name, element=self.element.named(name))

    @property
    def description(self) -> str:
        return f"sequence of {'' if self.length is None else f'{self.length} × '}{self.element.description}"

    def __str__(self) -> str:
        # Groups have at least one row, so that a sequence is never null.
        return f"{self.name}: {self.description}"


@registered("other")
class OtherField(Field):
    """A column of any other Spark type, such as an ML vector: steps move it about, but do not look into it."""

    type: str = '"void"'

    kind: ClassVar[str] = "other"

    @property
    def sparkType(self) -> T.DataType:
        field = {"name": "", "type": json.loads(self.type), "nullable": True, "metadata": {}}
        return T.StructField.fromJson(field).dataType

    @property
    def description(self) -> str:
        return self.sparkType.simpleString()


@dataclasses.dataclass(frozen=True)
class PassedField(OtherField):
    """A column of a DataFrame that the process which runs over it does not know; steps leave it as it is."""

    kind: ClassVar[str] = "passed"
