"""Result of early stopping."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from markupsafe import escape

from spark_keras import plain_json
from spark_keras.reports import charts
from spark_keras.reports.cards import Shown

if TYPE_CHECKING:
    import pandas


@dataclasses.dataclass(frozen=True, repr=False)
class EarlyStoppingResult(Shown):
    """Reason and time of a stop; kept with the saved model. Epochs are numbered from 1.

    Args:
        reason: "patience", "maxEpochs", "maxSeconds", "targetScore", "worstScore", "nonFiniteScore", a condition's own
            name, "callback" (a Keras callback set `stop_training`) or "error".
        details: a sentence.
        monitor: what the scores are: a metric's name, an evaluator's metric or a function's name.
        scores: score of each evaluated epoch.
        bestEpoch: None where no finite score was found.
        bestScore: None where no finite score was found.
        totalEpochs: epochs that were trained; one that was cut short counts.
        seconds: of training, evaluations included.
    """

    reason: str
    details: str
    monitor: str
    scores: dict[int, float]
    bestEpoch: int | None
    bestScore: float | None
    totalEpochs: int
    seconds: float

    def toJSON(self) -> str:
        """Everything, for `fromJSON`."""
        return plain_json.dumps(dataclasses.asdict(self))

    @classmethod
    def fromJSON(cls, text: str) -> EarlyStoppingResult:
        """The result of `toJSON`."""
        fields: dict[str, Any] = plain_json.loads(text)
        # JSON has no numbers as names.
        return cls(**{**fields, "scores": {int(epoch): score for epoch, score in fields["scores"].items()}})

    # Their names up to 0.1.
    to_json, from_json = toJSON, fromJSON

    def toPandas(self) -> pandas.DataFrame:
        """A row for each evaluated epoch: "score", and whether it is the "best"."""
        import pandas

        table = pandas.DataFrame({"score": pandas.Series(self.scores, dtype="float64")})
        table.index.name = "epoch"
        return table.assign(best=table.index == self.bestEpoch)

    def _facts(self) -> dict[str, Any]:
        names = ("reason", "monitor", "bestScore", "bestEpoch", "totalEpochs")
        return {**{name: getattr(self, name) for name in names}, "seconds": round(self.seconds, 1)}

    def _parts(self) -> list[str]:
        series = {self.monitor: list(self.scores.items())}
        if self.bestEpoch is not None and self.bestScore is not None:
            series["best"] = [(self.bestEpoch, self.bestScore)]
        return [escape(self.details), charts.curves(series, f"{self.monitor} by epoch", "epoch")]

    def __str__(self) -> str:
        best = "no finite score" if self.bestEpoch is None else f"best {self.bestScore:.6g} in epoch {self.bestEpoch}"
        return f"stopped after {self.totalEpochs} epochs, {self.reason}: {self.details}; {self.monitor}: {best}"
