"""The Python process of a Spark task: what must be settled before Keras starts in it.

This module and what it imports stay free of Keras, because thread counts and the backend are read when Keras is
imported.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import platform
import sys
import threading
import time
from typing import Any, NamedTuple

import cloudpickle

from spark_keras import quiet
from spark_keras.executor.pickling import pickled

logger = logging.getLogger(__name__)


# TensorFlow reads it when it is imported.
ONEDNN = "TF_ENABLE_ONEDNN_OPTS"


class ProcessSettings(NamedTuple):
    """Settings of the driver's Keras that the executors' must have, too.

    Args:
        threads: CPU threads for one task.
        backend: Keras backend.
        floatx: default float type of Keras.
        custom_objects: (name, cloudpickled class or function). Pickled apart from the closure, so that they are
            unpickled only when the process is ready to import Keras.
        onednn: the driver's TF_ENABLE_ONEDNN_OPTS; None: it has none.
        dtype_policy: the driver's global one, as JSON, for layers that a model makes while it is rebuilt; None: leave
            the process' own.
    """

    threads: int
    backend: str
    floatx: str
    custom_objects: tuple[tuple[str, bytes], ...]
    onednn: str | None = None
    dtype_policy: str | None = None

    @classmethod
    def of_driver(cls, threads: int, custom_objects: dict[str, Any]) -> ProcessSettings:
        import keras

        objects = {**keras.saving.get_custom_objects(), **custom_objects}
        custom = tuple((name, pickled(value)) for name, value in sorted(objects.items()))
        policy = json.dumps(keras.dtype_policies.serialize(keras.config.dtype_policy()), sort_keys=True)
        return cls(threads, keras.backend.backend(), keras.config.floatx(), custom, os.environ.get(ONEDNN), policy)


_threads_of_process: int | None = None
# Whether Keras was imported for processes that are forked, and nothing was computed yet.
_imported_for_forks = False


def import_for_forks() -> None:
    """Imports Keras in a process that computes nothing itself, for those that it will fork.

    The backend and what is settled by an import come from this process' environment (`spark.executorEnv`); how many
    threads a fork has, it settles itself.
    """
    global _imported_for_forks
    _settle_import(None)
    import_keras()
    _imported_for_forks = True


def prepare(settings: ProcessSettings) -> str | None:
    """Sets thread counts and backend for this process, before Keras is imported.

    Returns:
        A warning, where the process already runs with another number of threads, or with another choice of oneDNN.
    """
    global _threads_of_process, _imported_for_forks
    warning = None
    if "keras" not in sys.modules or _imported_for_forks:
        _let_the_driver_in()
        if _imported_for_forks:
            warning = _other_onednn(settings.onednn)
        else:
            os.environ["KERAS_BACKEND"] = settings.backend
            _settle_import(settings.onednn)
        os.environ["OMP_NUM_THREADS"] = str(settings.threads)
        os.environ["TF_NUM_INTRAOP_THREADS"] = str(settings.threads)
        os.environ["TF_NUM_INTEROP_THREADS"] = "1"
        if settings.backend == "jax":
            # XLA's thread pool. The flag --xla_cpu_multi_thread_eigen=false leaves it as wide as the machine.
            os.environ["NPROC"] = str(settings.threads)
        _threads_of_process = settings.threads
        _imported_for_forks = False
    elif _threads_of_process not in (None, settings.threads):
        warning = (
            f"A reused Python worker runs Keras with {_threads_of_process} threads, not with {settings.threads}: "
            "the number is fixed when the process first imports Keras. A new Spark session starts new processes."
        )
    return warning


def _other_onednn(wanted: str | None) -> str | None:
    found = os.environ.get(ONEDNN)
    if wanted in (None, found):
        return None
    return (
        f"Executors run TensorFlow with {ONEDNN}={found}, and the driver with {wanted}. Set "
        f"spark.executorEnv.{ONEDNN}: their Python daemon imports Keras before a fit can tell."
    )


def _settle_import(onednn: str | None) -> None:
    """Settles what TensorFlow reads when it is imported; what the process' environment says counts more.

    Args:
        onednn: the driver's choice.
    """
    if onednn is not None or platform.machine() in ("x86_64", "AMD64"):
        # By itself TensorFlow decides by the CPU's model, so that workers on different machines would compute with
        # different libraries, and older CPUs convolve at half of their speed.
        os.environ.setdefault(ONEDNN, onednn or "1")
    quiet.settle()


def _let_the_driver_in() -> None:
    """Lets this process, which computes all the time, give way to one that runs now and then: the driver of a round,
    on the same machine. A third of a short round's time is lost otherwise to waiting for a core.
    """
    if hasattr(os, "SCHED_BATCH"):
        # Sandboxes may forbid it.
        with contextlib.suppress(OSError):
            os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))


def import_keras() -> None:
    """Imports Keras without Matplotlib and scikit-learn, and without JAX beside TensorFlow or PyTorch.

    Keras and TensorFlow import them where they are installed, for pictures, wrappers and converters that no worker
    uses; that takes two fifths of the time.
    """
    if "keras" in sys.modules:
        return
    unneeded = {"matplotlib", "sklearn"}
    if os.environ.get("KERAS_BACKEND") in ("tensorflow", "torch"):
        unneeded.add("jax")
    left_out = unneeded - set(sys.modules)
    # None of them can be imported now.
    sys.modules.update(dict.fromkeys(left_out))  # type: ignore[arg-type]  # None is what Python documents for that
    try:
        with quiet.loading():
            import keras  # noqa: F401
    finally:
        for name in left_out:
            sys.modules.pop(name, None)


class KerasImport(threading.Thread):
    """Imports Keras while the process does something else, and tells how many seconds that took."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        # pyarrow imports pandas when it makes its first array, and so does Keras: of two threads that import one
        # package with many parts, one may find it half done, and then nobody can import it any more.
        with contextlib.suppress(ImportError):
            import pandas  # noqa: F401
        self.seconds = 0.0
        self.start()

    def run(self) -> None:
        started = time.perf_counter()
        import_keras()
        self.seconds = time.perf_counter() - started


def enter_keras(settings: ProcessSettings) -> dict[str, Any]:
    """Imports Keras, configures it as on the driver, and returns the custom objects.

    An object that cannot be unpickled here is left out with a log message: it may be one that the model does not use,
    and if it does, Keras names it.
    """
    import_keras()
    import keras

    if keras.backend.backend() != settings.backend:
        raise RuntimeError(
            f"Keras runs on backend {keras.backend.backend()!r} in this executor process and on {settings.backend!r} "
            "on the driver. Set KERAS_BACKEND before the Spark session starts, and spark.executorEnv.KERAS_BACKEND "
            "on a cluster."
        )
    keras.config.set_floatx(settings.floatx)
    if settings.dtype_policy is not None:
        keras.config.set_dtype_policy(keras.dtype_policies.deserialize(json.loads(settings.dtype_policy)))
    objects = {}
    for name, data in settings.custom_objects:
        try:
            objects[name] = cloudpickle.loads(data)
        except ImportError as error:
            logger.warning("The custom object %r cannot be imported on this executor: %s", name, error)
    return objects
