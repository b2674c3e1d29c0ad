"""A Keras model as its `.keras` archive: what a Param holds and what is written to disk."""

from __future__ import annotations

import contextlib
import hashlib
import io
import math
import os
import shutil
import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
from keras.src.saving import serialization_lib

from spark_keras import temporary
from spark_keras.keras_model import configurations, left_out, model_files, own_code, stages
from spark_keras.keras_model.seeding import DRAWING

# Archives of more bytes live in a file: an estimator and its model each hold one through the whole fit.
MEMORY_BYTES = 64 * 2**20


class KerasArchive:
    """The content of a `.keras` archive, in memory or, if it is large, in a file that is gone when the object is.

    Its content rather than a live model, because an estimator is copied and fitted from several threads at once
    (CrossValidator), and a Keras model is neither thread-safe nor cheap to copy.

    Args:
        content: the bytes of a `.keras` file, or its path; the file is not needed afterwards.
        trusted: whether the model was handed over as a live object in this process. Only then is Keras' safe
            mode off, so that a model with `Lambda` layers can be trained; what comes from a file is never
            trusted on its own word.
        description: one line for `explainParams`.
        code: functions and classes of the user's that the model is made of, as `own_code.packed` gives them; they are
            unpickled only where code is trusted. None: there are none.

    Attributes:
        size: of the content, in bytes.
        suffix: of a file's name: ".keras", or ".h5" for Keras' format of before.
        digest: of content and code, as SHA-256.
    """

    def __init__(
        self,
        content: bytes | str,
        trusted: bool = False,
        description: str = "Keras model",
        code: bytes | None = None,
    ):
        # Keras knows what it was told in one thread; a fit may run in another one.
        self._trusted = trusted or serialization_lib.in_safe_mode() is False
        self.description = description
        self.code = code
        self.size = len(content) if isinstance(content, bytes) else os.path.getsize(content)
        self.suffix = ".h5" if model_files.is_hdf5(content) else ".keras"
        # Its bytes, or the path of a file with them.
        self._held: bytes | str
        if self.size > MEMORY_BYTES:
            self._held = _own_file(self, self.suffix)
            if isinstance(content, bytes):
                Path(self._held).write_bytes(content)
            else:
                shutil.copyfile(content, self._held)
        else:
            self._held = content if isinstance(content, bytes) else Path(content).read_bytes()
        self.digest = self._digest()

    @classmethod
    def of(cls, model: keras.Model) -> KerasArchive:
        """Takes a `keras.Model`, the path or bytes of a `.keras` archive or `.h5` file, a fitted stage, or another
        `KerasArchive`; raises `ValueError` for a file that holds no model.
        """
        if isinstance(model, KerasArchive):
            return model
        if isinstance(model, keras.Model):
            with _new_path() as path:
                with warnings.catch_warnings():
                    # That a model is not built yet is fine: the columns tell its shapes when it is fitted.
                    warnings.filterwarnings("ignore", ".*has not yet been built", UserWarning)
                    warnings.filterwarnings("ignore", ".*being serialized includes a `lambda`", UserWarning)
                    with configurations.complete(model):
                        code = own_code.packed(model)
                        # What Keras cannot write it may still write by name.
                        own_code.saved(model, lambda: _save(model, path))
                size = f"{model.count_params():,} parameters" if model.built else "not built yet"
                return cls(path, trusted=True, description=f"{type(model).__name__} '{model.name}', {size}", code=code)
        stage = stages.with_model(model)
        if stage is not None:
            return stage.getOrDefault("model")
        if isinstance(model, (bytes, bytearray)):
            with _new_path() as path:
                Path(path).write_bytes(model)
                model_files.check(path, f"{len(model):,} bytes")
            return cls(bytes(model))
        if isinstance(model, (str, os.PathLike)):
            with model_files.located(os.fspath(model)) as path:
                model_files.check(path, repr(os.fspath(model)))
                # Behind a question mark a URI may have a signature, which nobody shall read.
                description = f"archive {os.path.basename(os.path.normpath(model)).partition('?')[0]}"
                if not os.path.isdir(path):
                    return cls(path, description=description)
                with _new_path() as packed:
                    _pack(path, packed)
                    return cls(packed, description=description)
        raise TypeError(
            f"Invalid value for Param `model`. Received: {model!r} (of type {type(model)}). "
            f"Expected: {model_files.EXPECTED}."
        )

    @property
    def trusted(self) -> bool:
        """Tells whether code inside may run: it comes from this process, or Keras was told to load any."""
        return self._trusted or serialization_lib.in_safe_mode() is False

    @property
    def data(self) -> bytes:
        """The bytes of the archive; those of a large one are read anew each time."""
        return Path(self._held).read_bytes() if isinstance(self._held, str) else self._held

    @contextlib.contextmanager
    def file(self) -> Iterator[str]:
        """The path of a file with the archive, to be read inside this context."""
        if isinstance(self._held, str):
            yield self._held
            return
        with _new_path(self.suffix) as path:
            Path(path).write_bytes(self.data)
            yield path

    @contextlib.contextmanager
    def _for_keras(self) -> Iterator[str]:
        """A path to load from: of a large archive a folder with what is in it, because Keras unpacks in memory; the
        same of one whose structure is another one, which names its own code.
        """
        structure = own_code.structure_of(self.code) if self.code and self.trusted else None
        with self.file() as path:
            if (self.size <= MEMORY_BYTES and not structure) or not zipfile.is_zipfile(path):
                yield path
                return
            with temporary.folder() as folder:
                with zipfile.ZipFile(path) as archive:
                    archive.extractall(folder)
                if structure:
                    Path(folder, "config.json").write_text(structure, encoding="utf-8")
                yield folder

    def load(self, custom_objects: dict[str, Any] | None = None, compile: bool = True) -> keras.Model:
        """Returns a new Keras model; raises `ValueError` naming `customObjects` where a class is unknown."""
        if self.code and self.trusted:
            custom_objects = own_code.unpacked(self.code, custom_objects or {})
        content = self._held if isinstance(self._held, str) else io.BytesIO(self._held)
        with self._for_keras() as path:
            try:
                # Keras of before 3.12 reads HDF5 files without regard to the mode that it is given.
                with DRAWING, serialization_lib.SafeModeScope(not self.trusted), warnings.catch_warnings():
                    # One or two variables are those of an optimizer that was never used: there is nothing to skip.
                    warnings.filterwarnings("ignore", ".*saved optimizer has [12] variables", UserWarning)
                    if left_out.is_in(content):
                        warnings.filterwarnings("ignore", ".*Skipping variable loading for optimizer", UserWarning)
                    model = keras.saving.load_model(
                        path, custom_objects=custom_objects, compile=compile, safe_mode=not self.trusted
                    )
                    if compile and left_out.is_in(content):
                        with self.file() as whole:
                            left_out.restore(whole, model)
                    return model
            except (TypeError, ValueError) as error:
                trust = (
                    "the stage is loaded by .read().safeMode(False).load(path), or after "
                    "keras.config.enable_unsafe_deserialization(), where its source is trusted"
                )
                expected = (
                    "every custom layer, loss and metric is registered with "
                    "@keras.saving.register_keras_serializable() or passed in Param `customObjects`, and its "
                    "get_config() returns what its constructor needs"
                )
                held = bool(self.code) and not self.trusted
                if isinstance(error, ValueError) and not held:
                    raise
                raise ValueError(
                    f"The model ({self.description}) cannot be rebuilt from its archive. Received: {error}\n"
                    f"Expected: {expected}{f'; or, because it holds code of its own: {trust}' if held else ''}."
                ) from error

    def _digest(self) -> str:
        digest = hashlib.sha256()
        with open(self._held, "rb") if isinstance(self._held, str) else io.BytesIO(self._held) as content:
            while piece := content.read(2**20):
                digest.update(piece)
        digest.update(self.code or b"")
        return digest.hexdigest()

    def __reduce__(self) -> tuple[Any, ...]:
        return KerasArchive, (self.data, self._trusted, self.description, self.code)

    def __repr__(self) -> str:
        return f"<{self.description}, {self.size:,} bytes>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, KerasArchive) and other.digest == self.digest

    def __hash__(self) -> int:
        return hash(self.digest)


@contextlib.contextmanager
def _new_path(suffix: str = ".keras") -> Iterator[str]:
    with temporary.folder() as folder:
        yield os.path.join(folder, f"model{suffix}")


def _own_file(owner: object, suffix: str) -> str:
    return os.path.join(temporary.folder_of(owner), f"model{suffix}")


def _save(model: keras.Model, path: str) -> None:
    if sum(4 * math.prod(weight.shape) for weight in model.weights) <= MEMORY_BYTES:
        model.save(path)
    else:
        # Keras writes a folder to disk, but makes a `.keras` file in memory, as large as the model.
        model.save(f"{path}.folder", zipped=False)
        _pack(f"{path}.folder", path)
    left_out.add(path, model)


def _pack(folder: str, path: str) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for root, _, names in os.walk(folder):
            for name in sorted(names):
                archive.write(os.path.join(root, name), os.path.relpath(os.path.join(root, name), folder))
