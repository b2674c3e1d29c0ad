"""`model.fit` on numpy arrays."""

from __future__ import annotations

from typing import Any

from benchmarks import models
from benchmarks.data import read
from benchmarks.serving import serve


def fit(
    data: str, network: str, epochs: int, batch: int, seed: int = 0, rows: int | None = None, **options: Any
) -> dict[str, Any]:
    x, y = read(data, rows)
    model = models.compiled(network, seed, **options)
    times = models.EpochTimes()
    model.fit(x, y, batch_size=batch, epochs=epochs, callbacks=[times], verbose=0)
    return {"rate": len(x) / times.warm, "loss": models.loss_of(model.get_weights(), network, data)}


if __name__ == "__main__":
    serve(fit=fit)
