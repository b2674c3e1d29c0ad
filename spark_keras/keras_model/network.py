"""The layers of a model that is held as an archive, for people to look at."""

from __future__ import annotations

import math
from typing import Any

import keras

from spark_keras.executor.cache import RecentlyUsed
from spark_keras.keras_model.archive import MEMORY_BYTES, KerasArchive
from spark_keras.keras_model.seeding import Seeding
from spark_keras.reports.tables import html_table

HEAD = ("layer", "type", "output shape", "parameters")
_SHOWN = 40

_tables = RecentlyUsed(32)


def html(archive: KerasArchive, custom_objects: dict[str, Any]) -> str:
    """The layers as a table; where the model cannot be rebuilt, why. Of a model above 64 MiB its name alone."""
    key = (archive.digest, archive.trusted, *sorted((name, id(value)) for name, value in custom_objects.items()))
    # Loading draws weights before it sets them; looking at a model leaves the caller's random state as it was.
    with Seeding(0):
        return _tables.get(key, lambda: _table(archive, custom_objects))


def _table(archive: KerasArchive, custom_objects: dict[str, Any]) -> str:
    if archive.size > MEMORY_BYTES:
        return html_table(("network",), [(archive.description,)])
    try:
        model = archive.load(custom_objects, compile=False)
    except Exception as error:  # of the model's own code, too: shown, because a card must not fail
        return html_table(("network",), [(f"{archive.description}. {type(error).__name__}: {error}",)])
    rows = layers(model)
    more = [(f"… {len(rows) - _SHOWN} more", "", "", "")] if len(rows) > _SHOWN else []
    return html_table(HEAD, [*rows[:_SHOWN], *more], f"{model.name}: {model.count_params():,} parameters")


def layers(model: keras.Model) -> list[tuple[str, str, str, int]]:
    """(name, class, shape of the output with "?" for what is open, parameters) of each layer."""
    return [
        (layer.name, type(layer).__name__, _output_shape(layer), sum(math.prod(w.shape) for w in layer.weights))
        for layer in model.layers
    ]


def _output_shape(layer: keras.layers.Layer) -> str:
    try:
        outputs = keras.tree.flatten(layer.output)
    except (AttributeError, ValueError):  # of a model that is a class of its own, or of a layer in several places
        return "?"
    shapes = (", ".join("?" if length is None else str(length) for length in output.shape) for output in outputs)
    return "; ".join(f"({shape})" for shape in shapes)
