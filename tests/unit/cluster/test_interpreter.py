"""Executors whose Python cannot do the work: what is told of them."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest

from spark_keras.cluster import interpreter


def three_lines(error):
    lines = str(error.value).splitlines()
    assert len(lines) == 3 and max(map(len, lines)) < 500, lines
    return lines


def fake_session(master="yarn", **conf):
    context = SimpleNamespace(master=master)
    return SimpleNamespace(
        sparkContext=context, conf=SimpleNamespace(get=lambda name, default: conf.get(name, default))
    )


def answered(**found):
    everything = dict.fromkeys([*interpreter._MODULES, interpreter.backend_module()])
    versions = {name: interpreter._version(name) for name in interpreter._VERSIONS}
    kept = {name: version for name, version in {**everything, **versions, **found}.items() if version != "missing"}
    return {"python": "/usr/bin/python3", "version": list(sys.version_info[:3]), "found": kept}


@pytest.mark.parametrize(
    "found, told",
    [
        ({"spark_keras": "9.9.9"}, "with spark_keras 9.9.9"),
        ({"keras": "3.2.0"}, "with keras 3.2.0"),
        ({interpreter.backend_module(): "missing"}, f"without {interpreter.backend_module()}"),
        ({"zmq": "missing", "msgspec": "missing"}, "without zmq, msgspec"),
    ],
)
def test_other_versions_and_what_is_missing_are_told(found, told, monkeypatch):
    monkeypatch.setattr(interpreter, "_version", lambda name: {"spark_keras": "1.0.0", "keras": "3.15.1"}[name])
    with pytest.raises(interpreter.InterpreterError, match=told) as error:
        interpreter._compare(fake_session(), "python3", answered(**found))
    assert "PYSPARK_PYTHON (or spark.pyspark.python)" in three_lines(error)[2]
    # Releases that differ in the last number go together.
    interpreter._compare(fake_session(), "python3", answered(keras="3.15.9"))


def test_a_wheel_among_the_py_files_gets_the_right_hint():
    session = fake_session(**{"spark.submit.pyFiles": "/a/b.zip,/a/spark_keras-0.1.0-py3-none-any.whl"})
    with pytest.raises(interpreter.InterpreterError) as error:
        interpreter._compare(session, "python3", answered(spark_keras="missing"))
    assert "rename spark_keras-0.1.0-py3-none-any.whl to .zip" in three_lines(error)[2]
