"""One Spark session for all tests; the kind of session is a fixture, so that a test runs on each kind unchanged."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from pathlib import Path

# Until all tests are collected: what modules make stays, and looking for garbage in it takes a fifth of that time.
gc.disable()

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ["PYSPARK_PYTHON"] = sys.executable

# Nearly every query of the tests runs once, which Java's optimizing compiler and parallel collector slow down by a
# third. Sessions that tests start in other processes get this, too.
JAVA_OPTIONS = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"
if "SPARK_CLASSES" in os.environ:
    # Kept by noxfile.py. Java loads its own where these are not for it, and would tell of it among the output.
    JAVA_OPTIONS += f' "-XX:SharedArchiveFile={os.environ["SPARK_CLASSES"]}" -Xlog:disable'
os.environ.setdefault("SPARK_SUBMIT_OPTS", JAVA_OPTIONS)

import pytest  # noqa: E402

LOCAL = "local[2]"
CLUSTER = "local-cluster[2,1,1024]"
SESSIONS = [LOCAL, CLUSTER]
# A session of Spark Connect, whose server is another process.
CONNECT = "connect"
# Fixtures that take tens of seconds.
LONG_FIXTURES = {"connect_port", "flights_df"}
ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
UNIT = Path(ROOT, "tests", "unit")


def session_for(master: str, settings: dict[str, str] | None = None):
    """The session of this kind; the one of another kind is stopped, because a process has one Spark context."""
    from pyspark import SparkContext
    from pyspark.sql import SparkSession

    context = SparkContext._active_spark_context
    if context is not None and context.master != master:
        SparkSession.builder.getOrCreate().stop()
    # A worker's import of TensorFlow takes seconds of a core. On a cluster, with other backends and in processes of
    # their own, workers import theirs themselves, as they do by default.
    imports_once = master == LOCAL and os.environ.get("KERAS_BACKEND", "tensorflow") == "tensorflow"
    daemon = {"spark.python.daemon.module": "spark_keras.executor.daemon"} if imports_once else {}
    spark = (
        SparkSession.builder.master(master)
        .appName("spark_keras tests")
        .config("spark.ui.enabled", "false")
        .config("spark.ui.showConsoleProgress", "false")
        .config("spark.driver.memory", "2g")
        .config("spark.executor.extraJavaOptions", JAVA_OPTIONS)
        .config("spark.sql.shuffle.partitions", "4")
        .config("spark.executorEnv.PYTHONPATH", os.pathsep.join([ROOT, os.environ.get("PYTHONPATH", "")]))
        .config(map=daemon | (settings or {}))
        .getOrCreate()
    )
    spark.sparkContext.setLogLevel("OFF")
    return spark


def environment_with_jax() -> dict[str, str]:
    """For a process of its own with JAX, which is imported in half the time, and without TensorFlow."""
    # A session of this process has set the gateway, for itself.
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("PYSPARK_GATEWAY")}
    path = [os.path.join(ROOT, "tests", "without_tensorflow"), ROOT, os.environ.get("PYTHONPATH", "")]
    return inherited | {"KERAS_BACKEND": "jax", "PYTHONPATH": os.pathsep.join(filter(None, path))}


def run_on_jax(*tests: str) -> None:
    """Runs tests in a process of their own, with JAX and without TensorFlow; none of them may fail or be skipped."""
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *tests],
        cwd=ROOT,
        env=environment_with_jax(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    last = run.stdout.strip().splitlines()[-1]
    assert run.returncode == 0 and "skipped" not in last, run.stdout[-8000:]


@pytest.fixture(autouse=True)
def no_spark_in_unit_tests(request, monkeypatch):
    """Hides Spark from the tests of the folder `unit`, and makes it an error to start it there."""
    if UNIT not in request.path.parents:
        return
    from pyspark import SparkContext
    from pyspark.sql import SparkSession

    def refuse(*_args, **_options):
        pytest.fail("A test in tests/unit wants Spark; its place is tests/spark.")

    monkeypatch.setattr(SparkContext, "_ensure_initialized", refuse)
    monkeypatch.setattr(SparkSession.Builder, "getOrCreate", refuse)
    # What other tests of the same process have started.
    monkeypatch.setattr(SparkContext, "_active_spark_context", None)
    monkeypatch.setattr(SparkSession, "_instantiatedSession", None)
    monkeypatch.setattr(SparkSession, "getActiveSession", lambda: None)


@pytest.fixture
def spark(request, monkeypatch):
    """A Spark session, `local[2]` unless a test is parametrized with `every_session` or `on_connect`."""
    kind = getattr(request, "param", LOCAL)
    if kind != CONNECT:
        return session_for(kind)
    # Functions and stages of Spark go by it.
    monkeypatch.setenv("SPARK_CONNECT_MODE_ENABLED", "1")
    return request.getfixturevalue("connect_session")


@pytest.fixture(scope="session")
def connect_port():
    """The port of a server of Spark Connect, which has the settings and the slots of `local[2]`."""
    command = [sys.executable, os.path.join(ROOT, "tests", "connect_server.py")]
    of_this = ("PYSPARK_GATEWAY", "SPARK_CONNECT", "SPARK_REMOTE")
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(of_this)}
    inherited["PYTHONPATH"] = os.pathsep.join([ROOT, os.environ.get("PYTHONPATH", "")])
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, env=inherited, text=True, **pipes) as server:
        yield int(server.stdout.readline())
        server.stdin.close()


@pytest.fixture(scope="session")
def connect_session(connect_port):
    from pyspark.sql.connect.session import SparkSession

    session = SparkSession.builder.remote(f"sc://127.0.0.1:{connect_port}").getOrCreate()
    yield session
    session.stop()


@pytest.fixture
def same_on_connect(connect_session, monkeypatch):
    """A function that holds what is done on Spark Connect to what is done on `local[2]`.

    It takes a function of a session, which gives plain values, and gives these.
    """

    def run(action):
        expected = action(session_for(LOCAL))
        with monkeypatch.context() as patch:
            patch.setenv("SPARK_CONNECT_MODE_ENABLED", "1")
            found = action(connect_session)
        assert found == expected
        return found

    return run


def labelled_frame(features, labels):
    """Rows in one partition on `local[2]`: id, features as an array, label."""
    rows = [(i, row.tolist(), float(label)) for i, (row, label) in enumerate(zip(features, labels, strict=True))]
    frame = session_for(LOCAL).createDataFrame(rows, "id int, features array<float>, label double")
    return frame.coalesce(1).cache()


on_connect = pytest.mark.parametrize("spark", [CONNECT], indirect=True)
every_session = pytest.mark.parametrize("spark", SESSIONS, indirect=True)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    def session(item):
        parameters = item.callspec.params if hasattr(item, "callspec") else {}
        return parameters.get("spark", LOCAL)

    # Grouped by session, because each change starts new executors; the group that is not divided comes first.
    items.sort(key=lambda item: session(item) == LOCAL)
    for item in items:
        if session(item) != LOCAL or LONG_FIXTURES & set(item.fixturenames):
            item.add_marker(pytest.mark.slow)


def pytest_collection_finish():
    gc.freeze()
    gc.enable()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Where several processes run the tests, one of them gets all of a file, one all that want a cluster, and one all
    that want Spark Connect.
    """
    if config.getoption("dist") != "loadscope":
        return None
    from xdist.scheduler import LoadScopeScheduling

    class ByFileAndSession(LoadScopeScheduling):
        def _split_scope(self, nodeid):
            file = nodeid.partition("::")[0]
            if f"[{CONNECT}]" in nodeid or "test_connect" in file:
                return CONNECT
            return CLUSTER if CLUSTER in nodeid else file

    return ByFileAndSession(config, log)
