"""A driver to be killed: one fit, which says each round, and at the end writes the bits of its result.

python -m faults.driver RESULT [CHECKPOINTS INTERVAL]
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import keras

from faults import fits


class Rounds(keras.callbacks.Callback):
    """Says that a round has ended, and which one of its epoch was the first of this process."""

    first = None

    def on_train_batch_end(self, batch, logs=None):
        self.first = batch if self.first is None else self.first
        print("round", batch, flush=True)
        time.sleep(0.05)


def main(result: str, checkpoints: str | None = None, interval: str = "1") -> None:
    spark = fits.session(fits.LOCAL)
    rounds = Rounds()
    params = {"checkpointDir": checkpoints} if checkpoints else {}
    params["checkpointInterval"] = int(interval) if interval.isdigit() else interval
    early = keras.callbacks.EarlyStopping(monitor="val_loss", patience=50, restore_best_weights=True)
    fitted = fits.estimator(callbacks=[rounds, early], **params).fit(fits.rows(spark))
    outcome = {"bits": fits.bits(fitted), "resumedAt": rounds.first}
    Path(result).write_text(json.dumps(outcome), encoding="utf-8")
    spark.stop()


if __name__ == "__main__":
    main(*sys.argv[1:])
