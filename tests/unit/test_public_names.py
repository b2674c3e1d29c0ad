"""What `spark_keras` exports."""

from __future__ import annotations

import inspect
import subprocess
import sys

import pytest

import spark_keras

PUBLIC = [getattr(spark_keras, name) for name in spark_keras.__all__ if name != "__version__"]


def methods_of(public):
    """Its public methods, class methods and properties that spark_keras defines."""
    for name in dir(public) if inspect.isclass(public) else ():
        found = inspect.getattr_static(public, name)
        function = getattr(found, "__func__", None) or getattr(found, "fget", None) or found
        if not name.startswith("_") and getattr(function, "__module__", "").startswith("spark_keras"):
            yield name


@pytest.mark.parametrize("public", PUBLIC, ids=lambda public: public.__name__)
def test_each_public_name_and_method_has_a_docstring(public):
    assert inspect.getdoc(public)
    assert not [name for name in methods_of(public) if not inspect.getdoc(getattr(public, name))]


def test_analysis_and_preparation_do_without_keras():
    code = (
        "import sys; from spark_keras import DataFrameAnalyzer, TensorAnalyzer; import spark_keras.preparation; "
        "made = repr(DataFrameAnalyzer(inputCols=['a'])); "
        "assert 'inputCols=a' in made and not {'keras', 'tensorflow', 'jinja2'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
