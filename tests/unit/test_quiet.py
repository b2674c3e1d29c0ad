"""Lines that libraries print while they are loaded: which are told, and that all others are."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

from spark_keras import quiet

HEAD = b"WARNING: All log messages before absl::InitializeLog() is called are written to STDERR\n"
INFO = b"I0000 00:00:1795873077.365677   13300 port.cc:153] oneDNN custom operations are on.\n"
FEATURES = b"I0000 00:00:1795874698.948301   30923 cpu_feature_guard.cc:227] This TensorFlow binary is optimized\n"
MORE = b"To enable the following instructions: AVX2 FMA, in other operations, rebuild TensorFlow.\n"
OLD_ERROR = b"2024-05-01 10:00:00.123456: E external/local_xla/xla/stream_executor/cuda/cuda_fft.cc:477] Unable\n"
WARNING = b"W0000 00:00:1795874698.948301   30923 something.cc:1] Low memory.\n"
FATAL = b"F0000 00:00:1795874698.948301   30923 cuda.cc:2] No memory.\n"
OTHERS = [
    b"Traceback (most recent call last):\n",
    b"I am a line of a user's\n",
    b"\xff\xfe E0000 no line of absl\n",
    b"last",
]
LINES = [HEAD, INFO, FEATURES, MORE, OTHERS[0], OLD_ERROR, OTHERS[1], WARNING, OTHERS[2], FATAL, OTHERS[3]]


@pytest.mark.parametrize(
    "level, libraries",
    [
        ("0", [HEAD, INFO, FEATURES, MORE, OLD_ERROR, WARNING, FATAL]),
        ("1", [HEAD, OLD_ERROR, WARNING, FATAL]),
        ("2", [HEAD, OLD_ERROR, FATAL]),
        ("3", [HEAD, FATAL]),
        ("unknown", [HEAD, INFO, FEATURES, MORE, OLD_ERROR, WARNING, FATAL]),
    ],
)
def test_lines_of_libraries_below_the_level_are_left_out_and_no_other(level, libraries):
    told = list(quiet.told(LINES, level))
    assert sorted(told) == sorted([*libraries, *OTHERS])
    assert [line for line in told if line in OTHERS] == OTHERS


def test_what_others_write_meanwhile_arrives_and_standard_error_is_as_before(capfd, monkeypatch):
    monkeypatch.setenv(quiet.LEVEL, "3")

    def load():
        with quiet.loading():
            os.write(2, INFO)
            print("from Python", file=sys.stderr, flush=True)
            os.write(2, b"from below\n")
            # Whoever loads something inside needs nothing of its own.
            with quiet.loading():
                os.write(2, INFO)
            raise ImportError

    with pytest.raises(ImportError):
        load()
    os.write(2, INFO)
    out, err = capfd.readouterr()
    assert re.sub(r"from Python\n", "", err) == "from below\n" + INFO.decode() and not out


def run(code, **environment):
    """What a process of its own prints that imports spark_keras before Keras, and trains."""
    inherited = {name: value for name, value in os.environ.items() if name != quiet.LEVEL}
    inherited |= {"KERAS_BACKEND": "tensorflow", **environment}
    done = subprocess.run([sys.executable, "-c", code], env=inherited, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


FIT = """
import keras, numpy as np
model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
model.compile("sgd", "mse", jit_compile=True)
model.fit(np.ones((4, 2)), np.ones((4, 1)), verbose=0)
"""


@pytest.mark.parametrize(
    "begins",
    ["from spark_keras import KerasClassifier", "from spark_keras.executor import process; process.import_keras()"],
    ids=["driver", "executor"],
)
def test_first_fit_of_a_process_prints_nothing(begins):
    assert run(f"{begins}\n{FIT}") == ""


def test_a_level_that_is_set_stays():
    code = f"import os, spark_keras; from spark_keras.executor import process; print(os.environ[{quiet.LEVEL!r}])"
    assert run(code, **{quiet.LEVEL: "1"}).split() == ["1"]
    assert run(code).split() == ["3"]
