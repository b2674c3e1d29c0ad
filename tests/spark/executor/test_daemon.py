"""The Python daemon that imports Keras once: what workers find, and what they train."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys

import keras
import numpy as np
import pytest
from conftest import ROOT, session_for

from spark_keras import KerasRegressor

# Words of the lines that TensorFlow, oneDNN, CUDA and absl print.
OF_LIBRARIES = r"(?i).*(?:onednn|cuda|absl|tensorflow binary|xla service|\b\w+\.cc:\d+\]|rebuild tensorflow).*"

SCRIPT = """
import json
import os
import sys

sys.path.insert(0, "tests/spark/executor")
from spark_keras import KerasRegressor
from pyspark.sql import SparkSession
from test_daemon import fitted_weights

settings = {"spark.ui.enabled": "false", "spark.python.daemon.module": "spark_keras.executor.daemon"}
spark = SparkSession.builder.master("local[2]").config(map=settings).getOrCreate()


def process(_):
    return "keras" in sys.modules, os.getppid(), os.getpid()


# The first Python workers of the session: nothing but the daemon has imported anything.
seen = spark.sparkContext.parallelize(range(2), 2).map(process).collect()
print("FOUND", json.dumps({"seen": seen, "weights": fitted_weights(spark)}), flush=True)
"""


def fitted_weights(spark):
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(4, "tanh"), keras.layers.Dense(1)])
    model.compile("adam", "mse")
    df = spark.range(200).selectExpr("array(id / 200, id % 7 / 7) AS features", "id % 3 / 3.0 AS label")
    fitted = KerasRegressor(model=model, numWorkers=2, epochs=2, verbose=0).fit(df)
    return [weights.tolist() for weights in fitted.toKeras().get_weights()]


@pytest.mark.slow
def test_workers_begin_with_keras_and_train_the_same_bits():
    expected = fitted_weights(session_for("local[2]"))
    path = os.pathsep.join([ROOT, os.path.join(ROOT, "tests"), os.environ.get("PYTHONPATH", "")])
    left_out = ("PYSPARK_GATEWAY", "TF_CPP_MIN_LOG_LEVEL")
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(left_out)}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], cwd=ROOT, env=inherited | {"PYTHONPATH": path}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-4000:]
    # Neither the driver nor a worker tells anything while it is loaded, imported or compiles.
    assert not re.findall(OF_LIBRARIES, done.stdout + done.stderr)
    found = json.loads(next(line for line in done.stdout.splitlines() if line.startswith("FOUND"))[6:])
    assert all(imported for imported, _, _ in found["seen"])
    assert len({parent for _, parent, _ in found["seen"]}) == 1
    for one, other in zip(found["weights"], expected, strict=True):
        np.testing.assert_array_equal(one, other)
