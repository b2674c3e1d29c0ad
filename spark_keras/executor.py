"""The Python process of a Spark task: what must be settled before Keras starts in it.

This module and what it imports stay free of Keras, because thread counts and the backend are read when Keras is
imported.
"""

from __future__ import annotations

import os
import sys
from typing import Any, NamedTuple

import cloudpickle


class ProcessSettings(NamedTuple):
    """What the driver's Keras has that the executors' must have, too.

    Args:
        threads: CPU threads for one task.
        backend: Keras backend.
        floatx: default float type of Keras.
        custom_objects: cloudpickled {name: class or function}. Pickled apart from the closure, so that they are
            unpickled only when the process is ready to import Keras.
    """

    threads: int
    backend: str
    floatx: str
    custom_objects: bytes

    @classmethod
    def of_driver(cls, threads: int, custom_objects: dict[str, Any]) -> ProcessSettings:
        import keras

        objects = {**keras.saving.get_custom_objects(), **custom_objects}
        return cls(threads, keras.backend.backend(), keras.config.floatx(), cloudpickle.dumps(objects))


_threads_of_process: int | None = None


def prepare(settings: ProcessSettings) -> str | None:
    """Sets thread counts and backend for this process, before Keras is imported.

    Returns:
        A warning, where the process already runs with another number of threads.
    """
    global _threads_of_process
    if "keras" not in sys.modules:
        os.environ["KERAS_BACKEND"] = settings.backend
        os.environ["OMP_NUM_THREADS"] = str(settings.threads)
        os.environ["TF_NUM_INTRAOP_THREADS"] = str(settings.threads)
        os.environ["TF_NUM_INTEROP_THREADS"] = "1"
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
        _threads_of_process = settings.threads
    elif _threads_of_process not in (None, settings.threads):
        return (
            f"A reused Python worker runs Keras with {_threads_of_process} threads, not with {settings.threads}: "
            "the number is fixed when the process first imports Keras. A new Spark session starts new processes."
        )
    return None


def enter_keras(settings: ProcessSettings) -> dict[str, Any]:
    """Imports Keras, configures it as on the driver, and returns the custom objects."""
    import keras

    if keras.backend.backend() != settings.backend:
        raise RuntimeError(
            f"Keras runs on backend {keras.backend.backend()!r} in this executor process and on {settings.backend!r} "
            "on the driver. Set KERAS_BACKEND before the Spark session starts, and spark.executorEnv.KERAS_BACKEND "
            "on a cluster."
        )
    keras.config.set_floatx(settings.floatx)
    return cloudpickle.loads(settings.custom_objects)
