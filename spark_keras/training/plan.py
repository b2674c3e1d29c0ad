"""The plan of a fit: numbers in, what it will do out; nothing here changes a result.

What decides a result is decided by Params and by fixed rules elsewhere. The plan tells who decided, and what the model
costs. A layer's FLOPs for a row are two for each time that a number of its kernels is multiplied: once at
each position of a Dense layer's input, of a convolution's output (of a transposed one's input), and each time step of a
recurrent layer. An Embedding looks up and multiplies nothing. Any other layer counts as if each of its weights were
multiplied once. A dimension that the model leaves open counts as 1, and a layer that is used twice counts once.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any, NamedTuple

from spark_keras.keras_model.cost import ModelCost
from spark_keras.reports.cards import Shown, told
from spark_keras.reports.numbers import count, size
from spark_keras.reports.tables import html_table, text_table


class Decision(NamedTuple):
    """A value that was decided, and by which Param or rule."""

    value: Any
    reason: str


class Rows(NamedTuple):
    """Numbers of rows.

    Args:
        training: rows to train on, in all shards.
        largest: of them, in the largest shard.
        held: rows of the largest shard, those to validate on included.
        exact: whether they were counted.
    """

    training: int
    largest: int
    held: int
    exact: bool


def estimated_rows(rows: int, exact: bool, workers: int, validation_split: float) -> Rows:
    """Estimate of the shards that `rows` rows of a DataFrame make, before any of them was looked at."""
    training = round(rows * (1 - validation_split))
    return Rows(training, -(-training // workers), -(-rows // workers), exact)


def storage(rows: Rows | None, row_bytes: int, limit: int, limited_by: str) -> Decision:
    """Place of the largest shard: "memory" or "file".

    Args:
        limit: bytes that a shard may take in memory.
        limited_by: who says so.
    """
    if rows is None:
        return Decision("memory", f"rows unknown; shards above {size(limit)} ({limited_by}) go to a file")
    needed = rows.held * row_bytes
    name, relation = ("file", "above") if needed > limit else ("memory", "not above")
    return Decision(name, f"the largest shard, {size(needed)}, is {relation} {size(limit)} ({limited_by})")


# --- the plan ------------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True, repr=False)
class Plan(Shown):
    """A fit that is to come: what it will do, and who decided it.

    Args:
        numWorkers: number of workers.
        threads: CPU threads of each worker.
        mode: "synchronous" or "asynchronous".
        averagingFrequency: minibatches between two averagings, or "epoch".
        averaging: where states are averaged, "driver" or "workers".
        combine: what becomes of the workers' changes, their "mean" or "sum".
        overlap: whether workers train on while states are averaged.
        compression: how changes travel, "float16", "bfloat16" or "threshold"; "none": states travel.
        batchSize: rows per minibatch and worker.
        learningRateFactor: by which workers multiply the learning rate, once it is warmed up.
        kernel: how rounds are compiled.
        shardStorage: where the largest shard is, "memory" or "file".
        rows: rows to train on; None where unknown.
        rowsExact: whether the rows were counted; otherwise they are an estimate.
        bytesPerRow: of all tensors on a worker.
        parameters: of the model.
        stateBytes: weights and the optimizer's variables.
        roundBytes: that travel to a worker and back in a round; where `compression` is "threshold", about.
        flopsPerRow: to train a row, forward and backward.
        minibatches: per epoch, of the largest shard; None where unknown.
        rounds: per epoch; None where unknown.
        reasons: for each decision, the Param or the rule that made it.
    """

    numWorkers: int
    threads: int
    mode: str
    averagingFrequency: int | str
    averaging: str
    combine: str
    overlap: bool
    compression: str
    batchSize: int
    learningRateFactor: float
    kernel: str
    shardStorage: str
    rows: int | None
    rowsExact: bool
    bytesPerRow: int
    parameters: int
    stateBytes: int
    roundBytes: int
    flopsPerRow: int
    minibatches: int | None
    rounds: int | None
    reasons: dict[str, str]

    def __str__(self) -> str:
        return "\n".join(_described(self))

    def _facts(self) -> dict[str, Any]:
        names = ("rows", "rounds", "numWorkers", "threads", "averagingFrequency", "batchSize", "kernel", "parameters")
        about = "" if self.rowsExact or self.rows is None else "about "
        return {**{name: getattr(self, name) for name in names}, "rows": f"{about}{told(self.rows) or 'unknown'}"}

    def _parts(self) -> list[str]:
        rows = [(name, str(getattr(self, name)), reason) for name, reason in self.reasons.items()]
        return [html_table(("what", "decided", "by"), rows)]


def make(decisions: dict[str, Decision], model: ModelCost, row_bytes: int, rows: Rows | None, round_bytes: int) -> Plan:
    """The plan that follows from what was decided: one `Decision` for each of the fields that have a reason."""
    values = {name: decision.value for name, decision in decisions.items()}
    frequency = values["averagingFrequency"]
    minibatches = None if rows is None else -(-rows.largest // values["batchSize"])
    rounds = minibatches and (1 if frequency == "epoch" else -(-minibatches // frequency))
    return Plan(
        **values,
        rows=rows and rows.training,
        rowsExact=rows is not None and rows.exact,
        bytesPerRow=row_bytes,
        parameters=model.parameters,
        stateBytes=model.state_bytes,
        roundBytes=round_bytes,
        flopsPerRow=model.flops_per_row,
        minibatches=minibatches,
        rounds=rounds,
        reasons={name: decision.reason for name, decision in decisions.items()},
    )


# --- the plan as text ----------------------------------------------------------------------------------------------


def _described(plan: Plan) -> Iterator[str]:
    about = "" if plan.rowsExact else "about "
    workers = f"{count(plan.numWorkers, 'worker')} of {count(plan.threads, 'thread')}"
    rows = "unknown rows" if plan.rows is None else f"{about}{count(plan.rows, 'row')}"
    rounds = "" if plan.rounds is None else f" in {about}{count(plan.rounds, 'round')}"
    frequency = plan.averagingFrequency
    between = count(frequency, "minibatch") if isinstance(frequency, int) else "all minibatches"
    shard = f"{size(plan.bytesPerRow)} per row, in {'memory' if plan.shardStorage == 'memory' else 'a file'}"
    where = "on the driver" if plan.averaging == "driver" else "among the workers"
    what = "averaging" if plan.combine == "mean" else "the sum of their changes"
    where += ", while the next are trained" if plan.overlap else ""
    then = f"then {what} {where}" if plan.mode == "synchronous" else "then its update, without waiting for others"
    packed = "" if plan.compression == "none" else f", changes as {plan.compression}"
    yield "== Training plan =="
    yield f"Epoch: {rows}{rounds}"
    yield f"+- Round: {between} on each of {workers}, {then}"
    yield f"   :- Traffic: {size(plan.roundBytes)} to each worker and back{packed}"
    yield f"   +- Step: {count(plan.batchSize, 'row')}, kernel {plan.kernel}"
    yield (
        f"      :- Model: {count(plan.parameters, 'parameter')}, {size(plan.stateBytes)} of state, "
        f"{plan.flopsPerRow:,} FLOPs per row, forward and backward"
    )
    yield f"      +- Shard: {shard}"
    yield ""
    yield "== Decisions =="
    decisions = [(name, str(getattr(plan, name)), reason) for name, reason in plan.reasons.items()]
    yield text_table((), decisions, left=3)


def layer_table(model: ModelCost) -> str:
    """The layers and what each of them costs, for the extended explanation."""
    head = ("layer", "type", "parameters", "forward FLOPs per row")
    rows = [(layer.name, layer.type, f"{layer.parameters:,}", f"{layer.flops:,}") for layer in model.layers]
    return f"== Layers ==\n{text_table(head, rows, left=2)}"
