"""What prepares a Python worker."""

from __future__ import annotations

import subprocess
import sys

from conftest import ROOT

# pyarrow, which a worker uses while Keras is imported in another thread, imports pandas with its first array.
ARRAYS_WHILE_KERAS_IS_IMPORTED = """
import sys
import numpy, pyarrow
from spark_keras.executor import Import

assert not {"keras", "pandas"} & set(sys.modules)
importing = Import("keras")
assert "pandas" in sys.modules and sys.modules["pandas"].__spec__._initializing is False
pyarrow.array(numpy.ones(3))
importing.join()
assert importing.seconds > 0 and "keras" in sys.modules
"""


def test_no_package_is_imported_by_two_threads():
    command = [sys.executable, "-c", ARRAYS_WHILE_KERAS_IS_IMPORTED]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-4000:]
