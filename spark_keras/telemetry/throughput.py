"""The throughput of workers for Keras' own loggers."""

from __future__ import annotations

from typing import Any

import keras


class WorkerThroughput(keras.callbacks.Callback):
    """Puts each worker's rows/s among the logs: "worker_0_rows_per_second", …

    Callbacks that come after it in the list see them: `keras.callbacks.TensorBoard` draws a curve for each,
    `CSVLogger` writes columns, and the history has them.

    Example:
        >>> KerasClassifier(model=model, callbacks=[WorkerThroughput(), keras.callbacks.TensorBoard("logs")])
    """

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        for worker, rate in enumerate(self.params["rows_per_second"]):
            logs[f"worker_{worker}_rows_per_second"] = rate
