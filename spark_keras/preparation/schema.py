"""The columns of a DataFrame, known without data: names, types and what values are valid."""

from __future__ import annotations

import builtins
import dataclasses
import datetime
import functools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar, overload

from pyspark.sql import DataFrame
from pyspark.sql import types as T
from typing_extensions import Self

from spark_keras import plain_json
from spark_keras.cluster import session
from spark_keras.columns.expressions import reference
from spark_keras.preparation import fields as kinds
from spark_keras.preparation.agreement import METADATA, Agreement, column_ddl, disagreement, field_of, no_column
from spark_keras.preparation.array_fields import ArrayField, PassedField
from spark_keras.preparation.fields import Field
from spark_keras.preparation.names import UnknownColumn, repeated, same_name, unknown_column
from spark_keras.preparation.registry import decode, encode, registered
from spark_keras.preparation.yaml_form import HasYAML
from spark_keras.reports.cards import Shown, listed
from spark_keras.reports.tables import html_table

F = TypeVar("F", bound=Field)


@registered("schema")
@dataclasses.dataclass(frozen=True, repr=False)
class Schema(Shown, HasYAML):
    """An immutable, ordered list of typed columns. Each method that adds columns returns a new schema.

    Args:
        fields: the columns; most users start with none and add them by type.

    Raises:
        ValueError: on a name that occurs twice, an impossible range, an invalid pattern, an unknown time zone.

    Example:
        >>> schema = (
        ...     Schema()
        ...     .time("time", zone="UTC")
        ...     .string("customer", pattern="[0-9a-z]+")
        ...     .integer("items", minimum=1)
        ...     .categorical("country", ["USA", "CAN", "FR", "MX"])
        ...     .double("amount", minimum=0)
        ... )
    """

    fields: Sequence[Field] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "fields", tuple(self.fields))
        twice = repeated(self.names)
        if twice:
            raise ValueError(
                f"Columns occur twice in a schema. Received: {twice}. Expected: each name once; to Spark, names that "
                "differ in case only are the same."
            )

    @functools.cached_property
    def _by_name(self) -> dict[str, Field]:
        return dict(zip(self.names, self.fields))

    # --- columns by type -----------------------------------------------------------------------------------------

    def string(
        self,
        *names: str,
        minLength: int | None = None,
        maxLength: int | None = None,
        pattern: str | None = None,
        nullable: bool = True,
    ) -> Schema:
        """Adds columns of text; lengths are in characters, `pattern` matches the whole value."""
        options = dict(minLength=minLength, maxLength=maxLength, pattern=pattern, nullable=nullable)
        return self._with(kinds.StringField, names, options)

    def integer(
        self, *names: str, minimum: int | None = None, maximum: int | None = None, nullable: bool = True
    ) -> Schema:
        """Adds columns of whole numbers (32 bits) in [minimum, maximum]."""
        return self._with(kinds.IntegerField, names, dict(minimum=minimum, maximum=maximum, nullable=nullable))

    def long(
        self, *names: str, minimum: int | None = None, maximum: int | None = None, nullable: bool = True
    ) -> Schema:
        """Adds columns of whole numbers (64 bits) in [minimum, maximum]."""
        return self._with(kinds.LongField, names, dict(minimum=minimum, maximum=maximum, nullable=nullable))

    def float(
        self,
        *names: str,
        minimum: builtins.float | None = None,
        maximum: builtins.float | None = None,
        allowNaN: bool = False,
        allowInfinite: bool = False,
        nullable: bool = True,
    ) -> Schema:
        """Adds columns of floating point numbers (32 bits) in [minimum, maximum]."""
        return self._floating(kinds.FloatField, names, minimum, maximum, allowNaN, allowInfinite, nullable)

    def double(
        self,
        *names: str,
        minimum: builtins.float | None = None,
        maximum: builtins.float | None = None,
        allowNaN: bool = False,
        allowInfinite: bool = False,
        nullable: bool = True,
    ) -> Schema:
        """Adds columns of floating point numbers (64 bits) in [minimum, maximum]."""
        return self._floating(kinds.DoubleField, names, minimum, maximum, allowNaN, allowInfinite, nullable)

    def boolean(self, *names: str, nullable: bool = True) -> Schema:
        """Adds columns of true and false."""
        return self._with(kinds.BooleanField, names, dict(nullable=nullable))

    def categorical(self, *namesAndStates: str | Sequence[str], nullable: bool = True) -> Schema:
        """Adds columns of strings out of a list of states: `categorical("label", ["Fraud", "Legit"])`.

        The order of the states gives their numbers, from 0.
        """
        names, states = namesAndStates[:-1], namesAndStates[-1] if namesAndStates else ()
        kinds.checked_states(", ".join(map(str, names)), states)
        return self._with(kinds.CategoricalField, names, dict(states=tuple(states), nullable=nullable))

    def time(
        self,
        *names: str,
        zone: str | None = "UTC",
        minimum: datetime.datetime | None = None,
        maximum: datetime.datetime | None = None,
        nullable: bool = True,
    ) -> Schema:
        """Adds columns of points in time (TIMESTAMP). Hours, days and so on are those of the time zone `zone`.

        With `zone=None` they are times that belong to no zone (TIMESTAMP_NTZ). Limits are datetimes with a time zone,
        of times that belong to none without one.
        """
        return self._with(kinds.TimeField, names, dict(zone=zone, minimum=minimum, maximum=maximum, nullable=nullable))

    def date(
        self,
        *names: str,
        minimum: datetime.date | None = None,
        maximum: datetime.date | None = None,
        nullable: bool = True,
    ) -> Schema:
        """Adds columns of days in [minimum, maximum]."""
        return self._with(kinds.DateField, names, dict(minimum=minimum, maximum=maximum, nullable=nullable))

    def binary(
        self, *names: str, minLength: int | None = None, maxLength: int | None = None, nullable: bool = True
    ) -> Schema:
        """Adds columns of bytes."""
        return self._with(kinds.BinaryField, names, dict(minLength=minLength, maxLength=maxLength, nullable=nullable))

    def array(
        self,
        *names: str,
        element: str = "double",
        shape: Sequence[int | None] = (None,),
        allowNaN: bool = False,
        allowInfinite: bool = False,
        nullable: bool = True,
    ) -> Schema:
        """Adds columns of arrays, nested once for each dimension of `shape`: tensors.

        Args:
            element: "string", "integer", "long", "float", "double" or "boolean".
            shape: lengths by dimension; None for any.
        """
        shape = tuple(shape)
        options = dict(element=element, shape=shape, allowNaN=allowNaN, allowInfinite=allowInfinite, nullable=nullable)
        return self._with(ArrayField, names, options)

    def _floating(self, cls: type[Field], names: Sequence[str], *options: builtins.float | bool | None) -> Schema:
        keys = ("minimum", "maximum", "allowNaN", "allowInfinite", "nullable")
        return self._with(cls, names, dict(zip(keys, options)))

    def _with(self, cls: type[Field], names: Sequence[object], options: dict[str, Any]) -> Schema:
        strings = [name for name in names if isinstance(name, str) and name]
        if len(strings) < len(names) or not names:
            raise TypeError(f"Columns need names. Received: {list(names)}. Expected: one string or more.")
        return Schema([*self.fields, *(cls(name, **options) for name in strings)])

    def labels(self, *names: str) -> Schema:
        """Marks columns as labels: a process goes without them where rows to be scored do not have them."""
        found = self.require("Schema.labels", names)
        return self.replaced({field.name: dataclasses.replace(field, label=True) for field in found})

    # --- looking at it -------------------------------------------------------------------------------------------

    @property
    def names(self) -> list[str]:
        """The columns' names in their order."""
        return [field.name for field in self.fields]

    @property
    def known(self) -> list[str]:
        """The names without those of columns that only pass through a process which does not know them."""
        return [field.name for field in self.fields if not isinstance(field, PassedField)]

    @property
    def known_first(self) -> list[str]:
        """All names; those of columns that only pass through come last."""
        known = self.known
        return [*known, *(name for name in self.names if name not in known)]

    def __iter__(self) -> Iterator[Field]:
        return iter(self.fields)

    def __len__(self) -> int:
        return len(self.fields)

    def __contains__(self, name: object) -> bool:
        return name in self._by_name

    def __getitem__(self, name: str) -> Field:
        if name not in self._by_name:
            raise KeyError(unknown_column("schema", name, self.names))
        return self._by_name[name]

    def _facts(self) -> dict[str, Any]:
        return {"columns": len(self), "names": listed(self.names)}

    def _parts(self) -> list[str]:
        rows = [(field.name, f"{field.description}{field.marks}") for field in self.fields]
        return [html_table(("column", "values"), rows)]

    def __str__(self) -> str:
        width = max((len(field.name) for field in self.fields), default=0)
        lines = [f"  {f.name:<{width}}  {f.description}{f.marks}" for f in self.fields]
        return "\n".join([f"Schema of {len(self)} columns", *lines])

    # --- for steps: fields that must be there, and schemas that follow -----------------------------------------------

    @overload
    def require(self, step: str, columns: Iterable[object], *, expected: str = "") -> list[Field]: ...

    @overload
    def require(
        self, step: str, columns: Iterable[object], type_: type[F], /, *types: type[F], expected: str = ""
    ) -> list[F]: ...

    @overload
    def require(
        self, step: str, columns: Iterable[object], *types: type[Field], expected: str = ""
    ) -> Sequence[Field]: ...

    def require(self, step: str, columns: Iterable[object], *types: type[Field], expected: str = "") -> Sequence[Field]:
        """The fields of these columns; raises a `ValueError` that names the step, the column and what was expected."""
        found = []
        for column in columns:
            if not isinstance(column, str):
                raise TypeError(f"Invalid column in {step}. Received: {column!r}. Expected: the name of a column.")
            if column not in self:
                raise UnknownColumn(unknown_column(step, column, self.names), column)
            field = self[column]
            if types and not isinstance(field, types):
                raise kinds.unfit(step, field, expected or " or ".join(kind.kind for kind in types))
            found.append(field)
        return found

    def field(self, name: str, kind: type[F]) -> F:
        """The field of a column that `require` has found to be of this kind."""
        found = self[name]
        if not isinstance(found, kind):
            raise TypeError(f"Unexpected column {name!r}. Received: {found.description}. Expected: {kind.kind}.")
        return found

    def require_new(self, step: str, columns: Iterable[str]) -> None:
        """Raises a `ValueError` where a column that a step makes is there already."""
        for column in columns:
            if not isinstance(column, str) or not column:
                raise TypeError(f"Invalid new column in {step}. Received: {column!r}. Expected: a name.")
            if same_name(column, self.names) is not None:
                raise ValueError(
                    f"New column of {step} is there already. Received: {column!r}. "
                    f"Expected: a name that is not among {self.names}."
                )

    def replaced(self, changes: Mapping[str, Field]) -> Schema:
        """The schema with these columns changed where they are, and new ones at the end."""
        kept = [changes.get(field.name, field) for field in self.fields]
        return Schema([*kept, *(field for name, field in changes.items() if name not in self)])

    def made(self, step: str, field: Field, *read: str) -> Schema:
        """The schema with a column that a step makes: a new one at the end, or in the place of one that it has read."""
        if field.name not in read:
            self.require_new(step, [field.name])
        return self.replaced({field.name: field})

    def inserted(self, after: str, new: Iterable[Field]) -> Schema:
        """The schema with new columns right behind another one."""
        at = self.names.index(after) + 1
        return Schema([*self.fields[:at], *new, *self.fields[at:]])

    def without(self, names: Iterable[str]) -> Schema:
        gone = set(names)
        return Schema([field for field in self.fields if field.name not in gone])

    # --- from and to other forms ---------------------------------------------------------------------------------

    @staticmethod
    def of(data: DataFrame | T.StructType, categorical: Sequence[str] = (), zone: str = "UTC") -> Schema:
        """The schema of a DataFrame or a StructType.

        Types that a schema does not have (decimals, structs, ML vectors …) become columns that steps do not look into.
        What `toStructType` has written down about ranges, states and so on is read from the metadata of the columns.

        Args:
            data: a DataFrame, of any kind of session, or a StructType.
            categorical: string columns whose distinct values, sorted, become the states of a categorical column: one
                job over the DataFrame.
            zone: time zone of its timestamps' calendar.
        """
        structure = data if isinstance(data, T.StructType) else getattr(data, "schema", None)
        if not isinstance(structure, T.StructType):
            raise TypeError(f"Invalid data for a schema. Received: {data!r}. Expected: a DataFrame or a StructType.")
        schema = Schema([field_of(field, zone) for field in structure.fields])
        if not categorical:
            return schema
        if isinstance(data, T.StructType):
            raise TypeError(
                "The states of categorical columns come from data. Received: a StructType. Expected: a DataFrame."
            )
        schema.require("Schema.of(categorical=…)", categorical, kinds.StringField)
        return schema.replaced({name: _categories(data, schema[name]) for name in categorical})

    def toStructType(self) -> T.StructType:
        """The schema as Spark's; the metadata of the columns keep what Spark's types do not tell."""
        return T.StructType(
            [
                T.StructField(field.name, field.sparkType, field.nullable, {METADATA: plain_json.dumps(encode(field))})
                for field in self.fields
            ]
        )

    def toDDL(self) -> str:
        """The columns' names and the Spark types to read them with: `spark.read.csv(path, schema=schema.toDDL())`.

        A time with a zone is read as STRING, with its zone as a comment: a reader takes texts to be times of the
        session's zone, where `conform`, a transform process and `DataQuality` take them to be times of the column's.
        Ranges, states and so on are not part of it.
        """
        return ", ".join(map(column_ddl, self.fields))

    @staticmethod
    def fromDDL(ddl: str, zone: str = "UTC") -> Schema:
        """The schema of a DDL string such as "time TIMESTAMP, amount DOUBLE NOT NULL"; Spark's active session reads
        it. `zone` is that of timestamps without a comment as `toDDL` writes it.
        """
        return Schema.of(session.running_or_new().createDataFrame([], ddl).schema, zone=zone)

    def toJSON(self) -> str:
        """The schema as JSON, with everything it knows."""
        return plain_json.dumps(encode(self))

    @classmethod
    def fromJSON(cls, text: str) -> Self:
        """The inverse of `toJSON`."""
        found = decode(plain_json.loads(text))
        if not isinstance(found, cls):
            raise ValueError(f"No schema in the JSON. Received: {text[:80]!r}. Expected: what Schema.toJSON gives.")
        return found

    # --- against data --------------------------------------------------------------------------------------------

    def conform(self, dataset: DataFrame, what: str = "the schema", dropOthers: bool = False) -> DataFrame:
        """The DataFrame with exactly the columns of this schema, in its order.

        Narrower numbers are widened where nothing is lost. Texts, and times of no zone, become points in time where the
        schema has a time with a zone: those of that zone, whatever the session's is. Otherwise values are not looked
        at: `DataQuality` does that.

        Args:
            what: how messages name the schema.
            dropOthers: leaves columns out that the schema does not know, instead of refusing them.

        Raises:
            ValueError: where columns are missing, are too many, or have other types; all of them are named.
        """
        agreement = Agreement.of(self, dataset)
        problems = [*map(no_column, agreement.missing), *agreement.wrong_types(self)]
        if not dropOthers:
            problems += [f"column {c.name!r} ({c.dataType.simpleString()}) is not in it" for c in agreement.others]
        if problems:
            raise disagreement(what, problems, self)
        return agreement.conformed(self, dataset)


def _categories(dataset: DataFrame, field: Field) -> Field:
    values = dataset.select(reference(field.name).alias("state")).where("state IS NOT NULL").distinct().collect()
    return kinds.CategoricalField(field.name, tuple(sorted(row.state for row in values)), nullable=field.nullable)
