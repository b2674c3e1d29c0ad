"""A Keras model as the bytes of its `.keras` archive: what a Param holds and what is written to disk."""

from __future__ import annotations

import contextlib
import hashlib
import os
import random
import tempfile
import threading
import warnings
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

# Python's own random state is what Keras draws default initializer seeds from, and it belongs to the
# whole process, so only one thread at a time may borrow it.
_SEEDING = threading.Lock()


class KerasArchive:
    """The bytes of a `.keras` archive.

    Bytes rather than a live model, because an estimator is copied and fitted from several threads at once
    (CrossValidator), and a Keras model is neither thread-safe nor cheap to copy.

    Args:
        data: the content of a `.keras` file.
        trusted: whether the model was handed over as a live object in this process. Only then is Keras' safe
            mode off, so that a model with `Lambda` layers can be trained; what comes from a file is never
            trusted on its own word.
        description: one line for `explainParams`.
    """

    def __init__(self, data: bytes, trusted: bool = False, description: str = "Keras model"):
        self.data = bytes(data)
        self.trusted = trusted
        self.description = description
        self.digest = hashlib.sha256(self.data).hexdigest()

    @classmethod
    def of(cls, model: Any) -> KerasArchive:
        """Takes a `keras.Model`, the path or bytes of a `.keras` archive, or another `KerasArchive`."""
        if isinstance(model, KerasArchive):
            return model
        if isinstance(model, keras.Model):
            with _archive_path() as path, warnings.catch_warnings():
                # That a model is not built yet is fine: the columns tell its shapes when it is fitted.
                warnings.filterwarnings("ignore", ".*has not yet been built", UserWarning)
                model.save(path)
                with open(path, "rb") as archive:
                    data = archive.read()
            size = f"{model.count_params():,} parameters" if model.built else "not built yet"
            return cls(data, trusted=True, description=f"{type(model).__name__} '{model.name}', {size}")
        if isinstance(model, (bytes, bytearray)):
            return cls(bytes(model))
        if isinstance(model, (str, os.PathLike)):
            if not os.path.isfile(model):
                raise ValueError(
                    f"Invalid value for Param `model`. Received: {str(model)!r}, which is no file on the driver. "
                    "Expected: a compiled keras.Model, or the path or bytes of a .keras archive."
                )
            with open(model, "rb") as archive:
                return cls(archive.read(), description=f"archive {os.path.basename(model)}")
        raise TypeError(
            "Invalid value for Param `model`. "
            f"Received: {model!r} (of type {type(model)}). "
            "Expected: a compiled keras.Model, or the path or bytes of a .keras archive."
        )

    def load(self, custom_objects: dict[str, Any] | None = None, compile: bool = True) -> keras.Model:
        """Returns a new Keras model; raises `ValueError` naming `customObjects` where a class is unknown."""
        with _archive_path() as path:
            with open(path, "wb") as archive:
                archive.write(self.data)
            try:
                with warnings.catch_warnings():
                    # One or two variables are those of an optimizer that was never used: there is nothing to skip.
                    warnings.filterwarnings("ignore", ".*saved optimizer has [12] variables", UserWarning)
                    return keras.saving.load_model(
                        path, custom_objects=custom_objects, compile=compile, safe_mode=not self.trusted
                    )
            except TypeError as error:
                raise ValueError(
                    f"The model ({self.description}) cannot be rebuilt from its archive. Received: {error}\n"
                    "Expected: every custom layer, loss and metric is registered with "
                    "@keras.saving.register_keras_serializable() or passed in Param `customObjects`, and its "
                    "get_config() returns what its constructor needs."
                ) from error

    def __repr__(self) -> str:
        return f"<{self.description}, {len(self.data):,} bytes>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, KerasArchive) and other.digest == self.digest

    def __hash__(self) -> int:
        return hash(self.digest)


@contextlib.contextmanager
def _archive_path() -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="spark_keras_") as folder:
        yield os.path.join(folder, "model.keras")


@contextlib.contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Makes the initial weights a function of `seed`, and leaves the caller's random state as it was.

    Keras draws the seed of an initializer that has none from Python's `random`.
    """
    with _SEEDING:
        python_state, numpy_state = random.getstate(), np.random.get_state()
        random.seed(seed)
        np.random.seed(seed % 2**32)
        try:
            yield
        finally:
            random.setstate(python_state)
            np.random.set_state(numpy_state)
