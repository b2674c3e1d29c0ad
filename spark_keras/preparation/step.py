"""The step of a transform process, and what steps share."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Set
from typing import Any, ClassVar

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from typing_extensions import Self

from spark_keras.columns.expressions import with_shape
from spark_keras.preparation.array_fields import ArrayField, OtherField
from spark_keras.preparation.fields import Field
from spark_keras.preparation.schema import Schema
from spark_keras.preparation.scope import reference, refused


class Step:
    """One change of a DataFrame: a frozen dataclass that knows the schema it leads to without data.

    A subclass defines `schema_after`, which checks, and either `expressions`, the new values of columns in the same
    rows, or `apply`, where rows change. It is `registered` under a name, and `TransformProcess.add` adds it. Its
    fields are what JSON can hold, conditions, dates and times, other registered dataclasses, and tuples of such; so it
    is saved with a process, and can be loaded once its module is imported. With `record`, it works without Spark.

    Example:
        >>> @registered("clip")
        ... class Clip(Step):
        ...     column: str
        ...     low: float
        ...     high: float
        ...
        ...     def schema_after(self, schema):
        ...         schema.require(self.label, [self.column], DoubleField)
        ...         return schema
        ...
        ...     def expressions(self, schema):
        ...         return {self.column: F.greatest(F.lit(self.low), F.least(F.lit(self.high), reference(self.column)))}
        >>> process.add(Clip("amount", 0.0, 100.0))
    """

    # Every step is a dataclass.
    __dataclass_fields__: ClassVar[dict[str, dataclasses.Field[Any]]]
    # Set by `registered`: the step's name in messages, in print and in JSON.
    registered_name: str
    # The dataclass field whose parts are columns, or begin with one, that the step changes each for itself.
    each_alone: ClassVar[str | None] = None
    # Whether it only chooses among columns, so that it can do without them.
    only_chooses: ClassVar[bool] = False
    # Whether it only chooses among rows.
    filters: ClassVar[bool] = False
    # Whether new values come from the row alone, so that it can be taken within each time step of sequences.
    within_row: ClassVar[bool] = True

    def schema_after(self, schema: Schema) -> Schema:
        """The schema behind this step; raises a `ValueError` where the step cannot follow."""
        raise NotImplementedError

    def expressions(self, schema: Schema) -> dict[str, Column]:
        """New values of columns, by name; `schema` is that in front of the step."""
        return {}

    def record(self, row: Mapping[str, Any], schema: Schema) -> Mapping[str, Any] | None:
        """New values of columns of one record, by name, or None where the step removes it: `expressions` without Spark,
        for `TransformProcess.apply`.
        """
        raise NotImplementedError(
            f"No form of {self.label} for one record. Received: a dict. Expected: a DataFrame, for transform."
        )

    def apply(self, dataset: DataFrame, schema: Schema) -> DataFrame:
        """The DataFrame behind this step; `schema` is that in front of it."""
        changed, metadata = self.expressions(schema), self.metadata(schema)

        def selected(field: Field) -> Column:
            if field.name not in changed:
                return reference(field.name)
            value = changed[field.name]
            if not isinstance(field, OtherField):
                value = value.cast(field.sparkType)
            known = metadata.get(field.name) or _shape_of(field)
            # Without new metadata, a column that is only renamed keeps its own.
            return value.alias(field.name, metadata=known) if known else value.alias(field.name)

        return dataset.select(*[selected(field) for field in self.schema_after(schema)])

    @property
    def same_rows(self) -> bool:
        """Tells whether the step only gives columns new values, in the same rows."""
        return type(self).apply is Step.apply

    def without(self, missing: Set[str]) -> Step | None:
        """The rest of the step where these columns are missing; None for nothing."""
        if self.each_alone is None:
            return self
        parts = getattr(self, self.each_alone)
        left = tuple(part for part in parts if self.column_of(part) not in missing)
        if len(left) == len(parts):
            return self
        return dataclasses.replace(self, **{self.each_alone: left}) if left else None

    def column_of(self, part: Any) -> str | None:
        """The column that a part of `each_alone` stands for."""
        return part[0] if isinstance(part, tuple) else part

    def metadata(self, schema: Schema) -> dict[str, dict[str, Any]]:
        """Metadata of the new columns, by name: ML attributes, as Spark's own stages write them."""
        return {}

    def unusable(self, schema: Schema) -> dict[str, Column]:
        """For each column that the step reads by a rule for unusable values: where a value is unusable."""
        return {}

    def shown(self, schema: Schema, column: str) -> Column:
        """A value that `unusable` tells of, to be shown as an example."""
        return reference(column)

    @property
    def _rule(self) -> str:
        """The step's rule for values that it cannot use."""
        return getattr(self, "unseen", getattr(self, "invalid", "error"))

    def may_be_null(self, field: Field) -> bool:
        """Tells whether a value that is made of this field's may be null: as that is, or by the step's rule."""
        return field.nullable or self._rule == "null"

    def by_rule(self, name: str, source: Column, result: Column, expected: str) -> Column:
        """The result; where it is null though the source is not, that or an error, by the step's rule."""
        if self._rule != "error":
            return result
        wrong = refused(
            f"Unusable value in column {name!r}, {self.label}. Received: ",
            source,
            f". Expected: {expected}. TransformProcess.problems(df) counts such values; "
            'another rule of the step, such as "null", lets them pass.',
        )
        return F.coalesce(result, F.when(source.isNotNull(), wrong))

    def value_by_rule(self, name: str, source: Any, result: Any, expected: str) -> Any:
        """As `by_rule`, of the values of one record."""
        if result is None and source is not None and self._rule == "error":
            raise ValueError(
                f"Unusable value in column {name!r}, {self.label}. Received: {source!r}. Expected: {expected}."
            )
        return result

    @property
    def label(self) -> str:
        """Name of the step in messages."""
        return f"step {self.registered_name}"

    def __str__(self) -> str:
        shown = []
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if field.metadata.get("vocabulary"):
                more = [f"… {len(value)} terms"] if len(value) > 6 else []
                shown.append(f"[{', '.join([*map(repr, value[:6]), *more])}]")
            elif field.metadata.get("mapping"):
                shown.append("{" + ", ".join(f"{_shown(key)}: {_shown(part)}" for key, part in value) + "}")
            elif field.name == "columns":
                shown += [_shown(part) for part in value]
            elif field.default is dataclasses.MISSING:
                shown.append(_shown(value))
            elif value != field.default:
                shown.append(f"{field.name}={_shown(value)}")
        return f"{self.label.removeprefix('step ')}({', '.join(shown)})"


class RuledStep(Step):
    """A step that puts new values in the place of a column's, and has a rule for those that it cannot use."""

    def results(self, schema: Schema) -> dict[str, Column]:
        """New values by column; null where the step cannot use the old one."""
        raise NotImplementedError

    def expected(self, column: str) -> str:
        """Describes the values that the step can use."""
        raise NotImplementedError

    def expressions(self, schema: Schema) -> dict[str, Column]:
        return {
            name: self.by_rule(name, self.shown(schema, name), result, self.expected(name))
            for name, result in self.results(schema).items()
        }

    def unusable(self, schema: Schema) -> dict[str, Column]:
        results = self.results(schema).items()
        return {name: self.shown(schema, name).isNotNull() & result.isNull() for name, result in results}


class AddsSteps:
    """A transform process, to the methods named after steps; each of them returns a new process."""

    def add(self, step: Step) -> Self:
        """The process with one more step."""
        raise NotImplementedError

    @property
    def steps(self) -> dict[str, Step]:
        """The steps by their names, in their order."""
        raise NotImplementedError

    @property
    def schema(self) -> Schema:
        """Schema behind the last step."""
        raise NotImplementedError


def _shape_of(field: Field) -> dict[str, Any]:
    """Metadata that tell estimators the shape of an array."""
    if not isinstance(field, ArrayField) or set(field.shape) == {None}:
        return {}
    return with_shape({}, [-1 if length is None else length for length in field.shape])


def _shown(value: Any) -> str:
    """A value in one line; what is not Python's own prints itself."""
    if isinstance(value, tuple):
        return "[" + ", ".join(_shown(part) for part in value) + "]"
    return repr(value) if value is None or isinstance(value, (str, int, float)) else str(value)


def mapping_field() -> Any:
    """A dataclass field that holds a dict, as a tuple of pairs."""
    return dataclasses.field(metadata={"mapping": True})


def vocabulary_field() -> Any:
    """A dataclass field that holds terms, of which the first are shown."""
    return dataclasses.field(metadata={"vocabulary": True})


def check_choices(step: Step) -> None:
    """Raises a `ValueError` where a field of a step holds none of its choices."""
    for field in dataclasses.fields(step):
        if "choices" in field.metadata:
            what = field.metadata["what"] or field.name
            choose(step.label.removeprefix("step "), what, getattr(step, field.name), field.metadata["choices"])


def pairs(step: str, given: Any, expected: str) -> tuple[tuple[str, Any], ...]:
    """A dict as a tuple of pairs."""
    if not isinstance(given, Mapping) or not given or not all(isinstance(key, str) for key in given):
        raise TypeError(f"Invalid value for step {step}. Received: {given!r}. Expected: {expected}.")
    return tuple(given.items())


def each(step: str, columns: tuple[Any, ...]) -> tuple[str, ...]:
    """Columns given one by one, or as one list."""
    if len(columns) == 1 and isinstance(columns[0], (list, tuple)):
        columns = tuple(columns[0])
    if not columns:
        raise ValueError(f"No columns in step {step}. Received: (). Expected: one column or more.")
    return tuple(columns)


def choose(step: str, what: str, value: Any, choices: Any) -> Any:
    """One of several; raises a `ValueError` that lists them."""
    if value not in choices:
        raise ValueError(f"Invalid {what} in step {step}. Received: {value!r}. Expected: one of {list(choices)}.")
    return value
