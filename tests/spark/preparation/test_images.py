"""Images decoded and brought through Keras layers on the workers, against Pillow and Keras in this process."""

from __future__ import annotations

import io

import keras
import numpy as np
import pytest
from PIL import Image

from spark_keras.preparation import TransformProcess


def files():
    """Bytes of images of other sizes, modes and formats; two are equal, one is missing."""
    generator = np.random.default_rng(0)
    found = []
    for form, shape in (("PNG", (6, 8, 3)), ("PNG", (12, 9)), ("BMP", (6, 8, 3)), ("PNG", (5, 5, 4))):
        held = io.BytesIO()
        Image.fromarray(generator.integers(0, 256, shape, dtype="uint8")).save(held, form)
        found.append(held.getvalue())
    return [*found, found[0], None]


@pytest.mark.slow
def test_images_are_decoded_resized_cropped_and_scaled_on_the_workers(spark, tmp_path):
    rows = [(i, None if file is None else bytearray(file)) for i, file in enumerate(files())]
    df = spark.createDataFrame(rows, "id int, file binary").coalesce(1)
    layers = [keras.layers.Resizing(10, 10), keras.layers.CenterCrop(4, 6), keras.layers.Rescaling(1 / 255)]
    process = (
        TransformProcess(df)
        .decodeImages("file", "image", 6, 8)
        .decodeImages("file", "file", 5, 5, channels=1, interpolation="nearest", invalid="null")
        .applyLayers("image", "small", *layers)
    )
    assert process.schema["small"].shape == (4, 6, 3) and process.schema["file"].shape == (5, 5, 1)
    process.save(str(tmp_path / "process"))
    loaded = TransformProcess.load(str(tmp_path / "process"))
    assert str(loaded) == str(process) and "applyLayers('image', 'small', resizing" in str(process)
    made = loaded.transform(df)
    assert made.schema["small"].metadata == {"tensor_shape": [4, 6, 3]}
    for row, file in zip(sorted(made.collect(), key=lambda row: row.id), files()):
        if file is None:
            assert (row.image, row.small, row.file) == (None, None, None)
            continue
        with Image.open(io.BytesIO(file)) as opened:
            image = np.asarray(opened.convert("RGB").resize((8, 6), Image.Resampling.BILINEAR), "float32")
            if opened.size == (8, 6):
                np.testing.assert_array_equal(image, np.asarray(opened))
            grey = np.asarray(opened.convert("L").resize((5, 5), Image.Resampling.NEAREST), "float32")[..., None]
        np.testing.assert_array_equal(np.array(row.image), image)
        expected = image[None]
        for layer in layers:
            expected = layer(expected)
        np.testing.assert_allclose(np.array(row.small), keras.ops.convert_to_numpy(expected)[0], rtol=1e-6, atol=1e-6)
        np.testing.assert_array_equal(np.array(row.file), grey)


def test_bytes_that_are_no_image_follow_the_rule(spark):
    df = spark.createDataFrame([(bytearray(b"no image"),)], "file binary")
    process = TransformProcess(df)
    assert process.decodeImages("file", "image", 2, 2, invalid="null").transform(df).first().image is None
    with pytest.raises(
        Exception, match="Unusable value in column 'file', step decodeImages. Received: 8 bytes that are"
    ):
        process.decodeImages("file", "image", 2, 2).transform(df).collect()
