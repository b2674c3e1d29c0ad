"""Summary of a fit: history, rows, rounds and where the time went."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from spark_keras import plain_json
from spark_keras.reports import numbers
from spark_keras.reports.cards import Shown, side_by_side
from spark_keras.telemetry import tables

if TYPE_CHECKING:
    import pandas
    from matplotlib.figure import Figure


@dataclasses.dataclass(frozen=True, repr=False)
class KerasTrainingSummary(Shown):
    """Summary of a fit; kept with the saved model.

    Args:
        history: results per epoch, as in Keras' `History.history`: {"loss": […], "val_loss": […], …}, exact over all
            workers.
        epochs: epochs that were trained.
        initialEpoch: the epoch that training began with, from 0 on: that of Param `initialEpoch`, or of a callback such
            as Keras' BackupAndRestore.
        numWorkers: number of workers.
        averagingFrequency: minibatches between two averagings, or "epoch".
        batchSize: rows per minibatch and worker.
        rows: rows trained per epoch, for each worker.
        validationRows: rows held out, for each worker.
        skippedRows: rows left out for null or NaN (`handleInvalid`), by column.
        rounds: averagings in the whole fit.
        kernel: how rounds were compiled: "xla" or "graph" on TensorFlow, "scan" or "jit" on JAX, or "steps".
        seconds: wall-clock time by phase: "start" (job, rows, imports, model), "train", "evaluate", "callbacks",
            "checkpoint" where some were written, "total".
        shardStorage: where each worker kept its rows, "memory" or "file"; empty for a fit that did not tell.
        plan: what was decided beside what it took; empty for a fit that did not tell. "planned" has the fields of the
            plan that `explainPlan` prints, "measured" three figures: "stepMilliseconds" (a minibatch on the slowest
            worker), "roundMilliseconds" (both medians of the last epoch's rounds) and "epochSeconds" (all rounds of the
            last epoch).
        nonFiniteUpdates: updates left out because of NaN or infinite numbers (`nonFinite`), for each worker; empty for
            a fit that did not tell.
        stateBytes: bytes of the state, which travels to each worker and back in each round.
        compressedBytes: bytes that travelled to a worker and back in a round instead, where Param `compression` is set;
            the mean of all rounds; 0: states did.
        timeline: what happened when, as `toPandas` gives it in a table; empty for a fit that did not tell.
    """

    history: dict[str, list[float]]
    epochs: int
    numWorkers: int
    averagingFrequency: int | str
    batchSize: int
    rows: list[int]
    validationRows: list[int]
    skippedRows: dict[str, int]
    rounds: int
    kernel: str
    seconds: dict[str, float]
    shardStorage: list[str] = dataclasses.field(default_factory=list)
    plan: dict[str, dict[str, Any]] = dataclasses.field(default_factory=dict)
    nonFiniteUpdates: list[int] = dataclasses.field(default_factory=list)

    stateBytes: int = 0
    initialEpoch: int = 0
    timeline: dict[str, Any] = dataclasses.field(default_factory=dict)
    compressedBytes: int = 0

    @property
    def roundBytes(self) -> int:
        """Bytes that travel to a worker and back in a round, states or compressed changes."""
        return self.compressedBytes or 2 * self.stateBytes

    @property
    def totalIterations(self) -> int:
        """Epochs trained, under the name that Spark ML's summaries use."""
        return self.epochs

    @property
    def objectiveHistory(self) -> list[float]:
        """Training loss per epoch, under the name that Spark ML's summaries use."""
        return self.history.get("loss", [])

    @property
    def _last(self) -> dict[str, float]:
        """The results of the last epoch, by name: {"loss": …, "val_loss": …, …}."""
        return {name: values[-1] for name, values in self.history.items() if values}

    def toPandas(self) -> pandas.DataFrame:
        """Table of where the time went: a row for each worker and record, and one for the driver (worker −1).

        Each worker's first row, of round 0, is what it did before the first round.

        A record is a round; in long fits, several consecutive ones of an epoch or of some.

        Returns:
            Columns "epoch" and "round" (of the record's first round, from 1 on), "rounds", "began" (seconds since the
            first round began), "seconds" (how long), "worker", "rows", "rowsPerSecond", "bytes" (sent and received),
            and seconds by phase: of workers "loading", "importing" (Keras, after the rows were loaded), "building",
            "waiting" (for the driver and other workers), "wire", "compiling", "computing", "evaluating"; of the driver
            "waiting" (for workers), "averaging", "evaluating", "callbacks", "checkpoints".
        """
        return tables.table(self)

    def plot(self) -> Figure:
        """Learning curves, where the time of each worker went, and rows/s, as one matplotlib figure."""
        return tables.plot(self)

    def toHTML(self, path: str | None = None, title: str = "Training") -> str:
        """One self-contained page, which needs no network; returned, and written to `path` on this machine.

        Learning curves, a timeline with a lane for each worker, histograms of the phases, the slowest rounds, the
        magnitudes of each layer's parameters and updates, and the plan.
        """
        from spark_keras.reports.render import kept
        from spark_keras.telemetry.page import render

        return kept(render(self, title), path)

    def toJSON(self) -> str:
        """Everything, for `fromJSON`."""
        return plain_json.dumps(dataclasses.asdict(self))

    @classmethod
    def fromJSON(cls, text: str) -> KerasTrainingSummary:
        """The summary of `toJSON`, of this version or of an older one."""
        fields: dict[str, Any] = plain_json.loads(text)
        return cls(**fields)

    # Their names up to 0.1.
    to_json, from_json = toJSON, fromJSON

    def _facts(self) -> dict[str, Any]:
        return {
            "epochs": self.epochs,
            **self._last,
            "rows": sum(self.rows),
            "workers": self.numWorkers,
            "rounds": self.rounds,
            "kernel": self.kernel,
            "seconds": round(self.seconds["total"], 1),
            "skipped rows": sum(self.skippedRows.values()) or None,
            "non-finite updates": sum(self.nonFiniteUpdates) or None,
        }

    def _parts(self) -> list[str]:
        from spark_keras.telemetry.page import learning_curves

        return [side_by_side(learning_curves(self.history, self.initialEpoch))]

    def __str__(self) -> str:
        last = ", ".join(f"{name} {numbers.short(value)}" for name, value in self._last.items())
        skipped = f", {sum(self.skippedRows.values())} rows skipped" if self.skippedRows else ""
        skipped += f", {sum(self.nonFiniteUpdates)} non-finite updates left out" if any(self.nonFiniteUpdates) else ""
        return (
            f"{self.epochs} epochs of {sum(self.rows):,} rows on {numbers.count(self.numWorkers, 'worker')} in "
            f"{self.seconds['total']:.1f} s ({self.rounds} rounds, kernel {self.kernel}{skipped}): {last}"
        )
