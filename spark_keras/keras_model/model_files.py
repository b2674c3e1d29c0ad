"""Files of models: found on the driver or any file system that Spark reaches, and checked before they are used."""

from __future__ import annotations

import contextlib
import os
import re
import zipfile
from collections.abc import Iterator

from spark_keras import temporary
from spark_keras.cluster import files, session

_HDF5 = b"\x89HDF\r\n\x1a\n"
_ZIP = b"PK\x03\x04"
_WEIGHTS = ("model.weights.h5", "model.weights.npz", "model.weights.json")

EXPECTED = (
    "a compiled keras.Model, a fitted stage, or the path or bytes of a .keras archive or of a .h5 file of a whole model"
)


class UnreadableModel(ValueError):
    """A file that holds no model which Keras can load; tells which, and what is wrong with it."""

    def __init__(self, told: str, wrong: str, expected: str = EXPECTED):
        super().__init__(f"Invalid value for Param `model`. Received: {told}, {wrong}. Expected: {expected}.")


def is_hdf5(content: bytes | str) -> bool:
    """Tells whether bytes, or the file at a path, are of Keras' format of before."""
    if isinstance(content, bytes):
        return content.startswith(_HDF5)
    with open(content, "rb") as file:
        return file.read(len(_HDF5)) == _HDF5


@contextlib.contextmanager
def located(path: str) -> Iterator[str]:
    """A local file or folder with what is at a path or URI: the driver's own, or a copy from Spark's file system."""
    scheme = re.match(r"([A-Za-z][A-Za-z0-9+.-]+):", path)
    if scheme is None and os.path.exists(path):
        yield path
        return
    spark = session.running()
    if spark is None:
        # A plain file needs no Spark to be read.
        local = re.sub(r"^file:(//[^/]*(?=/))?", "", path)
        if not os.path.exists(local):
            where = (
                "which is no file on the driver" if scheme is None or scheme[1] == "file" else "without a Spark session"
            )
            raise UnreadableModel(repr(path), where)
        yield local
        return
    with temporary.folder() as folder:
        local = os.path.join(folder, "model")
        try:
            found = files.fetch_file(spark, path, local)
        except Exception as error:  # of Java, such as an unknown scheme or a host that does not answer
            cause = str(getattr(error, "java_exception", error)).splitlines()[0]
            raise UnreadableModel(repr(path), f"which Spark's file system cannot read: {cause}") from error
        if not found:
            raise UnreadableModel(repr(path), "which is no file on the driver or on Spark's file system")
        yield local


def check(path: str, told: str) -> None:
    """Refuses a file that Keras cannot load as a whole model.

    Args:
        told: how the message calls it.
    """
    if os.path.isdir(path):
        _refuse_folder(path, told)
        return
    with open(path, "rb") as file:
        start = file.read(512)
    if not start:
        raise UnreadableModel(told, "which is empty")
    if start.startswith(_ZIP):
        _check_archive(path, told)
    elif start.startswith(_HDF5):
        _check_hdf5(path, told)
    else:
        raise UnreadableModel(told, f"which is neither: it begins with {start[:16]!r}")


def _refuse_folder(path: str, told: str) -> None:
    names = set(os.listdir(path))
    if {"config.json", "metadata.json"} <= names and names & set(_WEIGHTS):
        return  # a .keras archive that was not zipped
    if names & {"saved_model.pb", "keras_metadata.pb"}:
        raise UnreadableModel(
            told,
            "a folder in TensorFlow's SavedModel format, which Keras 3 does not load as a model",
            f"{EXPECTED}. Save the model as .keras where it was made; or, to apply it only, wrap it: "
            f"keras.layers.TFSMLayer({path!r}, call_endpoint=…), as model.export(…) names its endpoints",
        )
    if "metadata" in names:
        raise UnreadableModel(
            told,
            "a folder of a saved stage",
            f"{EXPECTED}. Load the stage with its class, such as KerasModel.load(path)",
        )
    raise UnreadableModel(told, f"a folder with {sorted(names)[:10]}")


def _check_archive(path: str, told: str) -> None:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            damaged = archive.testzip()
    except (zipfile.BadZipFile, OSError, EOFError, NotImplementedError) as error:
        raise UnreadableModel(told, f"which is damaged or incomplete: {error}") from error
    if damaged is not None:
        raise UnreadableModel(told, f"which is damaged: the checksum of {damaged!r} in it is wrong")
    if "config.json" not in names:
        raise UnreadableModel(told, f"a zip archive without a model's config.json: it has {names[:10]}")
    if not set(names) & set(_WEIGHTS):
        raise UnreadableModel(told, f"a Keras archive without weights: it has {names[:10]}")


def _check_hdf5(path: str, told: str) -> None:
    try:
        import h5py
    except ImportError as error:
        raise UnreadableModel(told, "an HDF5 file, and h5py is not installed to read it") from error
    try:
        with h5py.File(path, "r") as file:
            whole, names = "model_config" in file.attrs, sorted(file)[:10]
    except (OSError, RuntimeError) as error:
        raise UnreadableModel(told, f"which is damaged or incomplete: {error}") from error
    if not whole:
        raise UnreadableModel(
            told,
            f"which holds weights and no model: {names}",
            "the whole model, as model.save(path) writes it; or build the model, model.load_weights(path), and give it",
        )
