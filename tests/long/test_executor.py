"""What prepares a Python worker."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import keras
import pytest
from conftest import ROOT

from spark_keras.executor import process

# pyarrow, which a worker uses while Keras is imported in another thread, imports pandas with its first array.
ARRAYS_WHILE_KERAS_IS_IMPORTED = """
import sys
import numpy, pyarrow
from spark_keras.executor.process import KerasImport

assert not {"keras", "pandas"} & set(sys.modules)
importing = KerasImport()
assert "pandas" in sys.modules and sys.modules["pandas"].__spec__._initializing is False
pyarrow.array(numpy.ones(3))
importing.join()
assert importing.seconds >= 0.05 and "keras" in sys.modules
# Left out, and still there for whom needs it.
assert not {"matplotlib", "sklearn", "jax"} & set(sys.modules)
import jax, matplotlib.pyplot, sklearn.base
"""


@pytest.mark.slow
def test_no_package_is_imported_by_two_threads():
    command = [sys.executable, "-c", ARRAYS_WHILE_KERAS_IS_IMPORTED]
    environment = {**os.environ, "KERAS_BACKEND": "tensorflow"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-4000:]


PREPARED = """
import os
import sys

from spark_keras.executor import process as executor

executor.prepare(executor.ProcessSettings(1, "tensorflow", "float32", (), eval(sys.argv[1])))
print(os.environ.get(executor.ONEDNN))
"""
BY_ITSELF = "1" if platform.machine() in ("x86_64", "AMD64") else "None"


@pytest.mark.parametrize(
    "of_driver, of_executor, expected",
    [(None, None, BY_ITSELF), ("0", None, "0"), ("1", "0", "0")],
)
def test_onednn_is_what_the_executor_or_else_the_driver_says(of_driver, of_executor, expected):
    environment = {name: value for name, value in os.environ.items() if name != "TF_ENABLE_ONEDNN_OPTS"}
    environment["KERAS_BACKEND"] = "tensorflow"
    if of_executor is not None:
        environment["TF_ENABLE_ONEDNN_OPTS"] = of_executor
    command = [sys.executable, "-c", PREPARED, repr(of_driver)]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.stdout.split() == [expected], done.stderr[-4000:]


FORKED = """
import os

from spark_keras.executor import process

process.import_for_forks()
for threads, onednn in [(1, None), (3, "0")]:
    if os.fork() == 0:
        warning = process.prepare(process.ProcessSettings(threads, "tensorflow", "float32", (), onednn))
        process.enter_keras(process.ProcessSettings(threads, "tensorflow", "float32", ()))
        import keras

        # Those that there are before TensorFlow makes its own are no concern of this test.
        before = len(os.listdir("/proc/self/task"))
        product = keras.ops.matmul(keras.ops.ones((512, 512)), keras.ops.ones((512, 512)))
        assert float(product[0, 0]) == 512
        print(len(os.listdir("/proc/self/task")) - before, warning is None, flush=True)
        # The number of threads is settled now, as in any process.
        assert "reused" in process.prepare(process.ProcessSettings(threads + 1, "tensorflow", "float32", ()))
        os._exit(0)
    os.wait()
"""


@pytest.mark.skipif(not os.path.exists("/proc/self/task"), reason="counts the threads of a process")
def test_forks_of_a_process_that_imported_keras_have_threads_of_their_own():
    environment = os.environ | {"KERAS_BACKEND": "tensorflow", "TF_ENABLE_ONEDNN_OPTS": "1"}
    done = subprocess.run([sys.executable, "-c", FORKED], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-4000:]
    (one, agrees), (three, agrees_not) = (line.split() for line in done.stdout.splitlines())
    assert int(three) - int(one) == 2
    assert (agrees, agrees_not) == ("True", "False")


ENTERED = """
import sys

from spark_keras.executor import process as executor
from spark_keras.evaluation import rows
from spark_keras.inference import forward
from spark_keras.preparation import block_program


class Prepared(Exception):
    pass


class Task:
    settings = "settings"


def prepare(settings):
    assert settings == "settings" and "keras" not in sys.modules
    raise Prepared


executor.prepare = prepare
entrances = {
    "model_of": lambda: rows.model_of(Task()),
    "evaluate_partition": lambda: next(rows.evaluate_partition(Task(), iter([]))),
    "predict": lambda: next(forward.predict(Task(), iter([]))),
    "_function": lambda: block_program._function(Task()),
}
for name, enter in entrances.items():
    try:
        enter()
    except Prepared:
        print(name)
"""


def test_a_process_is_prepared_before_it_imports_keras():
    done = subprocess.run([sys.executable, "-c", ENTERED], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.split() == ["model_of", "evaluate_partition", "predict", "_function"], done.stderr[-4000:]


def test_a_sandbox_that_forbids_scheduling_is_no_obstacle(monkeypatch):
    def forbidden(*arguments):
        raise PermissionError

    monkeypatch.setattr(os, "sched_setscheduler", forbidden, raising=False)
    monkeypatch.setattr(os, "SCHED_BATCH", 3, raising=False)
    process._let_the_driver_in()


def test_layers_made_on_an_executor_have_the_drivers_dtype_policy():
    before = keras.config.dtype_policy()
    try:
        keras.config.set_dtype_policy("mixed_bfloat16")
        settings = process.ProcessSettings.of_driver(1, {})
        keras.config.set_dtype_policy("float32")
        process.enter_keras(settings)
        assert keras.layers.Dense(1).compute_dtype == "bfloat16"
    finally:
        keras.config.set_dtype_policy(before)
