"""The YAML of schemas and processes."""

from __future__ import annotations

import builtins
import dataclasses

import pytest

import spark_keras
from spark_keras.preparation import Schema, TransformProcess, col, registered
from spark_keras.preparation.registry import decode, encode

SCHEMA = Schema().double("amount").integer("n").string("label").labels("label")


def test_yaml_holds_what_json_holds():
    schema = (
        SCHEMA.categorical("country", ["yes", "no", "1", "Ü"])
        .time("at", zone="Europe/Berlin")
        .array("v", shape=(None, 2))
    )
    assert Schema.fromYAML(schema.toYAML()) == schema
    process = TransformProcess(schema).keepWhere((col("country") == "no") & (col("amount") < 1e300)).removeMissing("n")
    text = process.toYAML()
    assert text.startswith(f"sparkKerasVersion: {spark_keras.__version__}\nversion: 1\nschema:\n  is: schema\n")
    copy = TransformProcess.fromYAML(text)
    assert str(copy) == str(process) and copy.schema == process.schema
    for wrong, message in (("a: [", "No YAML"), ("- 1", "No transform process"), ("", "No transform process")):
        with pytest.raises(ValueError, match=message):
            TransformProcess.fromYAML(wrong)
    with pytest.raises(ValueError, match="No schema"):
        Schema.fromYAML("- 1")


def test_yaml_says_what_it_needs(monkeypatch):
    real = builtins.__import__

    def without_yaml(name, *args, **options):
        if name == "yaml":
            raise ImportError(name)
        return real(name, *args, **options)

    monkeypatch.setattr(builtins, "__import__", without_yaml)
    for form in (SCHEMA.toYAML, TransformProcess(SCHEMA).toYAML, lambda: Schema.fromYAML("")):
        with pytest.raises(ImportError, match='pip install "spark-keras\\[yaml\\]"'):
            form()


def test_registered_makes_a_frozen_dataclass_of_a_class_that_is_none():
    @registered("unit plain")
    class Plain:
        size: int = 3

    @registered("unit without repr")
    @dataclasses.dataclass(frozen=True, repr=False)
    class Own:
        size: int = 3

    assert Plain(4) == dataclasses.replace(Plain(), size=4) and repr(Plain()).endswith("Plain(size=3)")
    assert "size=" not in repr(Own())
    assert decode(encode(Plain(5))) == Plain(5)
    with pytest.raises(dataclasses.FrozenInstanceError):
        Plain().size = 4
