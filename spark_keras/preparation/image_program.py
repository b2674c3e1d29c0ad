"""Images on the executors: decoded, and through Keras layers. Free of Keras at import time."""

from __future__ import annotations

import functools
import io
import json
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from spark_keras.columns import arrow
from spark_keras.executor.invalid_data import InvalidData

# Grey, colours, colours with transparency.
CHANNELS = (1, 3, 4)


def decode(
    label: str, shape: tuple[int, int, int], interpolation: str, invalid: str, batches: Iterator[Sequence[pa.Array]]
) -> Iterator[pa.Array]:
    """Arrays (height, width, channels) of floats from 0 to 255, for each file of the first array; null for a null."""
    for batch in batches:
        images = [_image(label, file, shape, interpolation, invalid) for file in batch[0].to_pylist()]
        there = np.asarray([image is not None for image in images], bool)
        stacked = np.stack([image for image in images if image is not None]) if there.any() else np.zeros((0, *shape))
        # A null index takes a null.
        index = pa.array(np.cumsum(there) - 1, mask=~there)
        yield pc.take(arrow.to_arrow(stacked.astype("float32")), index)


def _image(label: str, file: bytes | None, shape: Any, interpolation: str, invalid: str) -> np.ndarray | None:
    if file is None:
        return None
    from PIL import Image, UnidentifiedImageError

    height, width, channels = shape
    try:
        with Image.open(io.BytesIO(file)) as opened:
            image = opened.convert({1: "L", 3: "RGB", 4: "RGBA"}[channels])
    except (UnidentifiedImageError, OSError) as error:
        if invalid == "null":
            return None
        raise InvalidData(
            f"Unusable value in {label}. Received: {len(file)} bytes that are no image: {error}. Expected: the bytes "
            'of a file such as PNG or JPEG; invalid="null" lets others pass.'
        ) from None
    if image.size != (width, height):
        image = image.resize((width, height), _RESAMPLING[interpolation])
    return np.asarray(image, "float32").reshape(shape)


# Names of Keras, numbers of Pillow.
_RESAMPLING = {"nearest": 0, "lanczos": 1, "bilinear": 2, "bicubic": 3}
INTERPOLATIONS = tuple(_RESAMPLING)


def through_layers(config: str, images: Any) -> Any:
    """Applies Keras layers, given as JSON, to a block of arrays, as at inference."""
    return _model(config)(images, training=False)


@functools.lru_cache(maxsize=8)
def _model(config: str) -> Any:
    import keras

    return keras.Sequential([keras.saving.deserialize_keras_object(layer) for layer in json.loads(config)])
