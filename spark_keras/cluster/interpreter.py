"""The Python that executors run: whether it can do the work, found out before a session's first job.

A worker that lacks the package, or has another one, fails after seconds with a traceback of Spark's; here the same is
said in three lines, with what to set. On `local[N]` the executors' Python is on this machine: nothing is asked where it
is this one, else it is started once. Elsewhere one task tells.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import sys
import threading
from typing import Any

import keras
from pyspark.sql import SparkSession

from spark_keras.cluster import jobs, session
from spark_keras.cluster.kinds import kind_of

# Names of modules, and of the distributions whose versions matter.
_MODULES = ("spark_keras", "keras", "numpy", "pyarrow", "zmq", "msgspec", "cloudpickle", "h5py")
_VERSIONS = {"spark_keras": "spark-keras", "keras": "keras"}

# Imports nothing but the standard library, whatever is missing.
_PROBE = """
def probe(modules, versions):
    import importlib.metadata
    import importlib.util
    import sys

    found = {}
    for name in modules:
        if importlib.util.find_spec(name) is not None:
            found[name] = None
    for name, distribution in versions.items():
        if name in found:
            try:
                found[name] = importlib.metadata.version(distribution)
            except importlib.metadata.PackageNotFoundError:
                pass
    return {"python": sys.executable, "version": list(sys.version_info[:3]), "found": found}
"""

# A cluster that does not answer may be about to start, or full; then the job itself tells.
_SECONDS = 20.0

_checked: set[str] = set()
_checking = threading.Lock()


class InterpreterError(RuntimeError):
    """The executors' Python is not one that can do the driver's work."""


def check(spark: SparkSession) -> None:
    """Finds out, once for each application, whether the executors' Python has what they need.

    Raises:
        InterpreterError: in three lines: what is wrong, what was found and expected, what to set.
    """
    kind = kind_of(spark)
    with _checking:
        if kind.application in _checked:
            return
        asked = {"modules": (*_MODULES, backend_module()), "versions": _VERSIONS}
        python = kind.python
        if kind.master.startswith("local["):
            if not _is_this(python):
                _compare(spark, python, _ask_process(spark, python, asked))
        else:
            answer = _ask_executor(spark, asked)
            if answer is None:
                return
            _compare(spark, python, answer)
        _checked.add(kind.application)


def backend_module() -> str:
    return {"tensorflow": "tensorflow", "jax": "jax", "torch": "torch"}.get(keras.backend.backend(), "numpy")


def _is_this(python: str) -> bool:
    """Tells whether a command starts this process' own interpreter, with the same packages."""
    found = shutil.which(python)
    if found is None:
        return False
    # A virtual environment's Python is a link to another one: the folder tells them apart.
    folders = {os.path.realpath(os.path.dirname(os.path.abspath(each))) for each in (found, sys.executable)}
    return len(folders) == 1 and os.path.realpath(found) == os.path.realpath(sys.executable)


def _ask_process(spark: SparkSession, python: str, asked: dict[str, Any]) -> Any:
    """Packages that an interpreter started here has, or why it does not answer."""
    from pyspark import SparkFiles

    environment = {**os.environ, **spark.sparkContext.environment}
    sent = [path for path in sys.path if path.startswith(SparkFiles.getRootDirectory())]
    paths = [spark.sparkContext.environment.get("PYTHONPATH", ""), os.environ.get("PYTHONPATH", ""), *sent]
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
    code = f"{_PROBE}\nimport json\nprint(json.dumps(probe(**{asked!r})))"
    try:
        done = subprocess.run([python, "-c", code], env=environment, capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    lines = done.stdout.strip().splitlines()
    return json.loads(lines[-1]) if done.returncode == 0 and lines else (done.stderr.strip() or "no answer")


def _ask_executor(spark: SparkSession, asked: dict[str, Any]) -> Any:
    """Packages that one executor's interpreter has, or why it does not answer; None: there is no word of it yet."""
    # Of no module, so that it travels with its code.
    namespace: dict[str, Any] = {"__name__": "__main__", "asked": asked}
    exec(f"{_PROBE}\ndef answer(_):\n    return probe(**asked)", namespace)
    answers: list[Any] = []

    def ask() -> None:
        answers.append(kind_of(spark).on_executor(namespace["answer"]))

    job = jobs.Job(spark, "interpreter", "spark_keras asks for the executors' Python", ask)
    job.join(_SECONDS)
    if job.running:
        job.cancel()
        return None
    return answers[0] if job.error is None else _cause(str(job.error))


def _cause(error: str) -> str | None:
    """Error of a failed job that concerns the interpreter; None where it says nothing of it."""
    told = re.search(r"Cannot run program [^\n]*|\[PYTHON_VERSION_MISMATCH\][^\n]*|ModuleNotFoundError: [^\n]*", error)
    return told and told[0]


def _compare(spark: SparkSession, python: str, answer: Any) -> None:
    here = {name: _version(name) for name in _VERSIONS}
    if isinstance(answer, str):
        raise InterpreterError(_told(spark, f"{python!r} does not run: {answer}", here))
    found, version = answer["found"], ".".join(map(str, answer["version"]))
    missing = [name for name in (*_MODULES, backend_module()) if name not in found]
    others = [
        name
        for name, version in here.items()
        if version and found.get(name) and _part(name, found[name]) != _part(name, version)
    ]
    wrong = [f"without {', '.join(missing)}"] * bool(missing) + [f"with {name} {found[name]}" for name in others]
    if answer["version"][:2] != list(sys.version_info[:2]):
        wrong.append("which is another Python than the driver's")
    if wrong:
        raise InterpreterError(_told(spark, f"{answer['python']} (Python {version}), {', '.join(wrong)}", here))


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(_VERSIONS[name])
    except importlib.metadata.PackageNotFoundError:  # run from its sources
        return None


def _part(name: str, version: str) -> str:
    """Of Keras, releases that differ in the last number go together."""
    return ".".join(version.split(".")[:2]) if name == "keras" else version


def _told(spark: SparkSession, received: str, here: dict[str, str | None]) -> str:
    packages = ", ".join(f"{name} {version or ''}".strip() for name, version in here.items())
    local = kind_of(spark).master.startswith("local")
    wheels = [path for path in _sent(spark) if path.endswith(".whl")]
    if wheels:
        remedy = (
            "Spark puts .zip and .egg files of --py-files on the path, and no wheel: rename "
            f"{os.path.basename(wheels[0])} to .zip, which it is. What it needs must be installed on the executors."
        )
    elif local:
        remedy = (
            f"Set PYSPARK_PYTHON={sys.executable} before the session starts, in the shell or by "
            'os.environ["PYSPARK_PYTHON"] = sys.executable.'
        )
    else:
        remedy = (
            "Set PYSPARK_PYTHON (or spark.pyspark.python) to a Python that has them on each executor, before the "
            "session starts; or install them there."
        )
    return (
        f"The executors' Python cannot do this session's work. Received: {received}.\n"
        f"Expected: Python {sys.version_info[0]}.{sys.version_info[1]} with {packages} and {backend_module()}, as in "
        f"{sys.executable} on the driver.\n"
        f"{remedy}"
    )


def _sent(spark: SparkSession) -> list[str]:
    named = [
        session.setting(spark, name) for name in ("spark.submit.pyFiles", "spark.yarn.dist.pyFiles", "spark.files")
    ]
    return [path for paths in named for path in paths.split(",") if path]
