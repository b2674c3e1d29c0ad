"""`TransformProcess`: named steps, one behind the other, as one transformer of Spark ML."""

from __future__ import annotations

import dataclasses
import itertools
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pyspark.ml import Transformer
from pyspark.ml.util import DefaultParamsReader, MLReadable, MLReader, MLWritable
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import StructType
from typing_extensions import Self

from spark_keras import plain_json
from spark_keras.preparation.registry import decode, encode
from spark_keras.preparation.running import Run, apply_to_record
from spark_keras.preparation.schema import Schema
from spark_keras.preparation.sql_text import whole_number_problem
from spark_keras.preparation.step import Step, check_choices
from spark_keras.preparation.steps.array_shapes import ArrayShapeSteps
from spark_keras.preparation.steps.arrays import ArraySteps
from spark_keras.preparation.steps.categories import CategorySteps
from spark_keras.preparation.steps.columns import ColumnSteps
from spark_keras.preparation.steps.fill import FillSteps
from spark_keras.preparation.steps.images import ImageSteps
from spark_keras.preparation.steps.in_sequences import InSequences, TimeStepSteps, settled
from spark_keras.preparation.steps.join import Join, JoinSteps, Rows, SavedRows
from spark_keras.preparation.steps.normalise import NormaliseSteps
from spark_keras.preparation.steps.one_hot import OneHotSteps
from spark_keras.preparation.steps.reduce import ReduceSteps
from spark_keras.preparation.steps.rows import RowSteps
from spark_keras.preparation.steps.sequence_figures import SequenceFigureSteps
from spark_keras.preparation.steps.sequence_values import SequenceValueSteps
from spark_keras.preparation.steps.sequence_windows import SequenceWindowSteps
from spark_keras.preparation.steps.sequences import SequenceSteps
from spark_keras.preparation.steps.strings import StringSteps
from spark_keras.preparation.steps.text import TextSteps
from spark_keras.preparation.steps.time import TimeSteps
from spark_keras.preparation.steps.time_texts import TimeTextSteps
from spark_keras.preparation.yaml_form import HasYAML
from spark_keras.reports.cards import Shown, listed
from spark_keras.reports.tables import html_table
from spark_keras.stage_metadata import VERSION, StageWriter, connection, save_metadata


class TransformProcess(
    Shown,
    Transformer,
    ColumnSteps,
    RowSteps,
    FillSteps,
    CategorySteps,
    OneHotSteps,
    StringSteps,
    TextSteps,
    TimeSteps,
    TimeTextSteps,
    NormaliseSteps,
    ReduceSteps,
    ArraySteps,
    ArrayShapeSteps,
    ImageSteps,
    JoinSteps,
    SequenceSteps,
    SequenceValueSteps,
    SequenceFigureSteps,
    SequenceWindowSteps,
    TimeStepSteps,
    HasYAML,
    MLReadable["TransformProcess"],
    MLWritable,
):
    """An immutable list of steps that prepare a DataFrame; a transformer of Spark ML.

    Each method that adds a step returns a new process and leaves the old one as it was. A step that cannot follow the
    ones before it is refused when it is added: the schema is known after every step, without data. All steps together
    are one plan of Spark's expressions.

    The process runs over any DataFrame that has the columns its steps need, whose names are compared as Spark does.
    Columns that its schema does not know pass through, behind the others, up to a step that makes one row of several
    (`groupBy`, `toSequences`). Labels may be missing, with all that steps make of them; so may columns that no step
    needs.

    Args:
        schema: what the process starts from: a `Schema`, or a DataFrame or StructType with one.
        labels: columns of it that are labels; `Schema.labels` marks them, too.

    Example:
        >>> process = (
        ...     TransformProcess(schema)
        ...     .remove("customer", "merchant")
        ...     .keepWhere(col("country").isIn("USA", "CAN"))
        ...     .replaceWhere("amount", 0.0, col("amount") < 0)
        ... )
        >>> process.transform(df)
    """

    def __init__(self, schema: Schema | DataFrame | StructType | None = None, labels: str | Sequence[str] = ()):
        super().__init__()
        given = Schema() if schema is None else schema
        start = given if isinstance(given, Schema) else Schema.of(given)
        marked = (labels,) if isinstance(labels, str) else tuple(labels)
        self._schemas: tuple[Schema, ...] = (start.labels(*marked) if marked else start,)
        self._steps: tuple[tuple[str, Step], ...] = ()

    # --- steps ---------------------------------------------------------------------------------------------------

    def add(self, step: Step) -> Self:
        """The process with one more step: one of a user's own; the methods named after the steps make all others."""
        if not isinstance(step, Step) or "registered_name" not in vars(type(step)):
            raise TypeError(
                f"Invalid step. Received: {step!r}. Expected: a step of spark_keras.preparation, or a subclass of Step "
                "with a name of its own by the decorator `registered`."
            )
        return self._with(step, self._new_name(step.label.removeprefix("step ")))

    def named(self, name: str) -> Self:
        """The process with another name for its last step; by default a step has the name of its method."""
        if not self._steps:
            raise ValueError(f"Nothing to name. Received: {name!r}. Expected: a process with a step.")
        if not isinstance(name, str) or not name or name in dict(self._steps[:-1]):
            raise ValueError(
                f"Invalid name of a step. Received: {name!r}. "
                f"Expected: a name that is not among {list(dict(self._steps[:-1]))}."
            )
        return self._copy_of(self._schemas, (*self._steps[:-1], (name, self._steps[-1][1])))

    def _new_name(self, name: str) -> str:
        numbered = (f"{name} {number}" for number in itertools.count(2))
        return next(each for each in itertools.chain([name], numbered) if each not in self.steps)

    def _with(self, step: Step, name: str) -> Self:
        check_choices(step)
        _check_numbers(step.label, step)
        step, after = settled(step, self.schema)
        if not isinstance(after, Schema):
            raise TypeError(f"No schema behind {step.label}. Received: {after!r}. Expected: the Schema that follows.")
        return self._copy_of((*self._schemas, after), (*self._steps, (name, step)))

    def _copy_of(self, schemas: tuple[Schema, ...], steps: tuple[tuple[str, Step], ...]) -> Self:
        process = type(self)()
        process._schemas, process._steps = schemas, steps
        return process

    @property
    def steps(self) -> dict[str, Step]:
        """The steps by their names, in their order."""
        return dict(self._steps)

    @property
    def initialSchema(self) -> Schema:
        """Schema that the process starts from."""
        return self._schemas[0]

    @property
    def schema(self) -> Schema:
        """Schema behind the last step."""
        return self._schemas[-1]

    def schemaAfter(self, step: str | int) -> Schema:
        """The schema behind a step, given by its name, or its number from 1."""
        names = list(self.steps)
        number = names.index(step) + 1 if step in names else step
        if not isinstance(number, int) or not 0 <= number <= len(names):
            raise ValueError(f"Unknown step. Received: {step!r}. Expected: one of {names}, or 0 to {len(names)}.")
        return self._schemas[number]

    # --- on data -------------------------------------------------------------------------------------------------

    def _transform(self, dataset: DataFrame) -> DataFrame:
        return Run.of(self._schemas, self._steps, dataset).apply()

    def problems(self, dataset: DataFrame, examples: int = 5) -> list[Problem]:
        """Values that steps cannot use, whatever their rule for them: times that do not parse, strings that are no
        state …

        One small job for each step that can meet such values, and one more for examples where there are some.

        Args:
            examples: how many different values to show, in their order as strings.
        """
        found = []
        run = Run.of(self._schemas, self._steps, dataset)
        dataset = run.dataset
        for name, step, schema in run.steps:
            bad = step.unusable(schema)
            if bad:
                counts = dataset.agg(
                    *[F.count_if(condition).alias(f"c{i}") for i, condition in enumerate(bad.values())]
                )
                for (column, condition), count in zip(bad.items(), counts.collect()[0]):
                    if count:
                        shown = step.shown(schema, column)
                        values = dataset.where(condition).select(shown.cast("string").alias("value")).distinct()
                        rows = values.orderBy("value").limit(examples).collect()
                        found.append(Problem(name, column, count, tuple(row.value for row in rows)))
            dataset = _lenient(step).apply(dataset, schema)
        return found

    def apply(self, record: Mapping[str, Any]) -> dict[str, Any] | None:
        """One record without Spark: what `transform` makes of a row, or None where a step removes it.

            process.apply({"country": "USA", "amount": 73.2})

        Columns may be missing, and unknown ones pass through, as with `transform`. Values are Python's; points in time
        are `datetime.datetime`s with the zone of their column, and texts or times without a zone are read as such.

        Raises:
            NotImplementedError: where a step needs several rows (groups, joins, sequences), or only Spark knows it.
            ValueError: where a value is of another type than its column, or a step cannot use it.
        """
        return apply_to_record(self._schemas, self._steps, record)

    # --- in other forms ------------------------------------------------------------------------------------------

    def toJSON(self) -> str:
        """The process as JSON: its first schema, and its steps by name."""
        for name, step in self._steps:
            if isinstance(step, Join) and isinstance(step.table, Rows):
                raise ValueError(
                    f"Step {name!r} joins a DataFrame, which JSON cannot hold. Expected: the name of a table or "
                    "view as `other`; or save the process, which saves the rows as well."
                )
        return plain_json.dumps({**VERSION, **self._encoded()})

    @classmethod
    def fromJSON(cls, text: str) -> Self:
        """The inverse of `toJSON`."""
        return cls._decoded(plain_json.loads(text))

    def _encoded(self) -> dict[str, Any]:
        return {"version": 1, "schema": encode(self.initialSchema), "steps": [[n, encode(s)] for n, s in self._steps]}

    @classmethod
    def _decoded(cls, parts: dict[str, Any]) -> Self:
        if not isinstance(parts, dict) or parts.get("version") != 1:
            raise ValueError(
                "No transform process in the JSON. Expected: what TransformProcess.toJSON gives, version 1."
            )
        process = cls(decode(parts["schema"]))
        for name, step in parts["steps"]:
            process = process._with(decode(step), name)
        return process

    def _facts(self) -> dict[str, Any]:
        before, after = len(self._schemas[0]), len(self._schemas[-1])
        steps = listed(name for name, _ in self._steps)
        return {"uid": self.uid, "steps": steps or "none", "columns": f"{before} → {after}"}

    def _parts(self) -> Iterator[str]:
        steps = [("", "", " ".join(map(str.strip, _shown(self.initialSchema))))]
        for (name, step), (before, after) in zip(self._steps, itertools.pairwise(self._schemas)):
            columns = " ".join(map(str.strip, _shown(after))) if after != before else "the same columns"
            steps.append((name, str(step), columns))
        yield html_table(("step", "what it does", "columns behind it"), steps)

    def __str__(self) -> str:
        """The schema that the process starts from, each step, and the schema behind it."""
        lines = [f"TransformProcess, {len(self._steps)} steps", *_shown(self.initialSchema)]
        for number, (name, step) in enumerate(self._steps, 1):
            given = str(step)
            lines.append(f"{number}. {given}" if given.startswith(name) else f"{number}. {name}: {given}")
            before, after = self._schemas[number - 1 : number + 1]
            lines += _shown(after) if after != before else ["     → the same columns"]
        return "\n".join(lines)

    def write(self) -> TransformProcessWriter:
        """The writer: `process.write().overwrite().save(path)`."""
        return TransformProcessWriter(self)

    @classmethod
    def read(cls) -> TransformProcessReader:
        """The reader: `TransformProcess.read().load(path)`."""
        return TransformProcessReader()


def _shown(schema: Schema) -> list[str]:
    fields = [str(field) for field in schema]
    if len(fields) > 40:
        fields = [*fields[:30], f"… {len(fields) - 30} more"]
    text = ", ".join(fields) or "no columns"
    return textwrap.wrap(text, 110, initial_indent="     → ", subsequent_indent="       ", break_on_hyphens=False)


@dataclasses.dataclass(frozen=True)
class Problem:
    """Values of one column that a step cannot use: how many, and examples."""

    step: str
    column: str
    count: int
    examples: tuple[str, ...]

    def __str__(self) -> str:
        return (
            f"step {self.step!r}, column {self.column!r}: {self.count} unusable values, such as {list(self.examples)}"
        )


def _check_numbers(label: str, part: Any) -> None:
    """Raises a `ValueError` where a step holds a whole number that Spark cannot."""
    expected = whole_number_problem(part)
    if expected:
        raise ValueError(f"Number too large in {label}. Received: {part}. Expected: {expected}; or a float.")
    if isinstance(part, (tuple, list)):
        parts = list(part)
    else:
        parts = [getattr(part, f.name) for f in dataclasses.fields(part)] if dataclasses.is_dataclass(part) else []
    for inner in parts:
        _check_numbers(label, inner)


def _lenient(step: Step) -> Step:
    """The step with a rule that stops at nothing."""
    if isinstance(step, InSequences):
        return dataclasses.replace(step, step=_lenient(step.step))
    rules = {"invalid": "null", "unseen": "keep" if step.registered_name == "pivot" else "null"}
    changes = {name: rule for name, rule in rules.items() if hasattr(step, name)}
    return dataclasses.replace(step, **changes)


# --- on disk ---------------------------------------------------------------------------------------------------------


class TransformProcessWriter(StageWriter):
    """Writes `path/metadata`, as Spark does, with the steps in it, and joined DataFrames as `path/tables/<number>`."""

    def saveImpl(self, path: str) -> None:
        instance, steps, tables = self.instance, [], []
        for name, step in instance._steps:
            if isinstance(step, Join) and isinstance(step.table, Rows):
                tables.append(step.table.frame)
                step = dataclasses.replace(step, table=SavedRows(len(tables) - 1))
            steps.append((name, step))
        process = instance._copy_of(instance._schemas, tuple(steps))._encoded()
        save_metadata(instance, path, self, {"process": process})
        for number, table in enumerate(tables):
            table.write.parquet(f"{path}/tables/{number}")


class TransformProcessReader(MLReader):
    """Reads what `TransformProcessWriter` wrote."""

    def load(self, path: str) -> TransformProcess:
        metadata = DefaultParamsReader.loadMetadata(path, connection(self))
        if "process" not in metadata:
            raise ValueError(
                f"{path} holds another stage. Received: {metadata['class']}. Expected: a TransformProcess."
            )
        process = TransformProcess._decoded(metadata["process"])
        steps = []
        for name, step in process._steps:
            if isinstance(step, Join) and isinstance(step.table, SavedRows):
                frame = self.sparkSession.read.parquet(f"{path}/tables/{step.table.number}")
                step = dataclasses.replace(step, table=Rows(frame))
            steps.append((name, step))
        process._steps = tuple(steps)
        process._resetUid(metadata["uid"])
        return process
