"""The rows of the cases: made once and handed to every competitor as files, numpy and the same as Parquet."""

from __future__ import annotations

from pathlib import Path

import numpy as np

# Shape of a row and number of classes, by network.
SHAPES = {"mlp": (100,), "wide": (784,), "lenet": (28, 28, 1), "lstm": (50, 4), "frozen": (100,)}
CLASSES = {"mlp": 10, "wide": 10, "lenet": 10, "lstm": 4, "frozen": 10}


def write(folder: Path, network: str, rows: int) -> None:
    """Writes x.npy, y.npy and rows.parquet (features: the row's numbers as a flat list; label)."""
    # Here, because Elephas' environment has no pyarrow.
    import pyarrow as pa
    import pyarrow.parquet as pq

    x, y = _made(network, rows)
    folder.mkdir(parents=True)
    np.save(folder / "x.npy", x)
    np.save(folder / "y.npy", y)
    width = int(np.prod(SHAPES[network]))
    features = pa.FixedSizeListArray.from_arrays(pa.array(x.ravel()), width).cast(pa.list_(pa.float32()))
    # Spark reads row groups in parallel.
    pq.write_table(pa.table({"features": features, "label": y}), folder / "rows.parquet", row_group_size=-(-rows // 8))


def read(data: str, rows: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """The features, shaped as the network takes them, and the labels."""
    return np.load(f"{data}/x.npy")[:rows], np.load(f"{data}/y.npy")[:rows]


def _made(network: str, rows: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    shape, classes = SHAPES[network], CLASSES[network]
    if network == "lenet":
        # A pattern for each class, behind noise.
        y = random.integers(0, classes, rows)
        patterns = random.standard_normal((classes, *shape), "float32")
        return patterns[y] + 2 * random.standard_normal((rows, *shape), "float32"), y
    x = random.standard_normal((rows, *shape), "float32")
    if network == "lstm":
        # The feature that is largest on average over the steps.
        return x, x.mean(1).argmax(1)
    return x, (x @ random.standard_normal((*shape, classes), "float32")).argmax(1)
