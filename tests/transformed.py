"""Rows that a transform process makes."""

from __future__ import annotations

from spark_keras.preparation import TransformProcess


def rows_of(process, frame):
    """By id, of the process as its JSON brings it back; their types are those of its schema."""
    copy = TransformProcess.fromJSON(process.toJSON())
    assert str(copy) == str(process) and copy.schema == process.schema
    made = copy.transform(frame)
    assert made.columns == process.schema.names
    assert [f.dataType.simpleString() for f in made.schema] == [f.sparkType.simpleString() for f in process.schema]
    return sorted(made.collect(), key=lambda row: row.id)
