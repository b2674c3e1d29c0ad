"""What a fit will do and what that will cost: numbers in, a plan out; nothing here changes a result.

What decides a result is decided by Params and by fixed rules elsewhere. The plan tells who decided, and adds a small
model of the cost. A layer's FLOPs for a row are two for each time that a number of its kernels is multiplied: once at
each position of a Dense layer's input, of a convolution's output (of a transposed one's input), and each time step of a
recurrent layer. An Embedding looks up and multiplies nothing. Any other layer counts as if each of its weights were
multiplied once. A dimension that the model leaves open counts as 1, and a layer that is used twice counts once.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any, NamedTuple

from spark_keras.backend.kernels import KERNELS
from spark_keras.keras_model.cost import ModelCost
from spark_keras.reports.numbers import count, size
from spark_keras.reports.tables import text_table
from spark_keras.training.worker.stacks import STACK_COUNT

# --- constants of the cost -----------------------------------------------------------------------------------------


# A round trip of a state between driver and worker, without encryption: 0.3 ms with 64,000 parameters, 180 ms with 30
# million. States up to 64 MiB on the driver's own machine are shared in memory, which is faster.
ROUND_MILLISECONDS = 0.3
ROUND_MILLISECONDS_PER_MEGABYTE = 1.5


# --- the model -----------------------------------------------------------------------------------------------------


# --- the decisions -------------------------------------------------------------------------------------------------


class Decision(NamedTuple):
    """What was decided, and by which Param or rule."""

    value: Any
    reason: str


class Rows(NamedTuple):
    """How many rows there are.

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
    """What `rows` rows of a DataFrame make, before any of them was looked at."""
    training = round(rows * (1 - validation_split))
    return Rows(training, -(-training // workers), -(-rows // workers), exact)


def storage(rows: Rows | None, row_bytes: int, limit: int, limited_by: str) -> Decision:
    """Where the largest shard will be: "memory" or "file".

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


@dataclasses.dataclass(frozen=True)
class Plan:
    """What a fit will do, who decided it, and the cost that is expected of it.

    Args:
        numWorkers: number of workers.
        threads: CPU threads of each worker.
        averagingFrequency: minibatches between two averagings, or "epoch".
        batchSize: rows per minibatch and worker.
        kernel: how rounds are compiled.
        shardStorage: where the largest shard is, "memory" or "file".
        rows: rows to train on; None where unknown.
        rowsExact: whether the rows were counted; otherwise they are an estimate.
        bytesPerRow: of all tensors on a worker.
        parameters: of the model.
        stateBytes: weights and the optimizer's variables, as they travel in each round.
        flopsPerRow: to train a row, forward and backward.
        minibatches: per epoch, of the largest shard; None where unknown.
        rounds: per epoch; None where unknown.
        stepMilliseconds: expected of a minibatch on a worker, its share of the kernel's call included.
        roundMilliseconds: expected of a round, averaging included; None where its minibatches are unknown.
        epochSeconds: expected of an epoch, compiling and validation not included; None where the rows are unknown.
        reasons: for each decision, the Param or the rule that made it.
    """

    numWorkers: int
    threads: int
    averagingFrequency: int | str
    batchSize: int
    kernel: str
    shardStorage: str
    rows: int | None
    rowsExact: bool
    bytesPerRow: int
    parameters: int
    stateBytes: int
    flopsPerRow: int
    minibatches: int | None
    rounds: int | None
    stepMilliseconds: float
    roundMilliseconds: float | None
    epochSeconds: float | None
    reasons: dict[str, str]

    def __str__(self) -> str:
        return "\n".join(_described(self))


def make(decisions: dict[str, Decision], model: ModelCost, row_bytes: int, rows: Rows | None) -> Plan:
    """The plan that follows from what was decided: one `Decision` for each of the fields that have a reason."""
    values = {name: decision.value for name, decision in decisions.items()}
    batch_size, frequency, workers = values["batchSize"], values["averagingFrequency"], values["numWorkers"]
    minibatches = None if rows is None else -(-rows.largest // batch_size)
    steps = minibatches if frequency == "epoch" else frequency
    if minibatches is not None:
        steps = min(steps, minibatches)
    step = step_milliseconds(values["kernel"], batch_size, values["threads"], steps or STACK_COUNT, model)
    overhead = averaging_milliseconds(workers, model.state_bytes)
    rounds = None if minibatches is None else -(-minibatches // steps) if steps else 0
    return Plan(
        **values,
        rows=rows and rows.training,
        rowsExact=rows is not None and rows.exact,
        bytesPerRow=row_bytes,
        parameters=model.parameters,
        stateBytes=model.state_bytes,
        flopsPerRow=model.flops_per_row,
        minibatches=minibatches,
        rounds=rounds,
        stepMilliseconds=step,
        roundMilliseconds=None if steps is None else steps * step + overhead,
        epochSeconds=None if rounds is None or minibatches is None else (minibatches * step + rounds * overhead) / 1e3,
        reasons={name: decision.reason for name, decision in decisions.items()},
    )


def step_milliseconds(kernel: str, batch_size: int, threads: int, steps: int, model: ModelCost) -> float:
    """Expected of one of `steps` minibatches that a worker trains between two averagings."""
    cost = KERNELS[kernel].cost
    arithmetic = batch_size * model.flops_per_row / (cost.gigaflops * 1e6 * threads)
    update = model.state_bytes / (cost.update * 1e6)
    calls = -(-steps // STACK_COUNT) / steps
    return cost.call * calls + cost.step + arithmetic + update


def averaging_milliseconds(workers: int, state_bytes: int) -> float:
    """Expected of a round beside its minibatches."""
    return ROUND_MILLISECONDS + workers * state_bytes / 1e6 * ROUND_MILLISECONDS_PER_MEGABYTE


# --- the plan as text ----------------------------------------------------------------------------------------------


def _described(plan: Plan) -> Iterator[str]:
    about = "" if plan.rowsExact else "about "
    workers = f"{count(plan.numWorkers, 'worker')} of {count(plan.threads, 'thread')}"
    rows = "unknown rows" if plan.rows is None else f"{about}{count(plan.rows, 'row')}"
    rounds = "" if plan.rounds is None else f" in {about}{count(plan.rounds, 'round')}"
    frequency = plan.averagingFrequency
    between = count(frequency, "minibatch") if isinstance(frequency, int) else "all minibatches"
    shard = f"{size(plan.bytesPerRow)} per row, in {'memory' if plan.shardStorage == 'memory' else 'a file'}"
    yield "== Training plan =="
    yield f"Epoch: {rows}{rounds}{_expected(plan.epochSeconds, 's')}"
    yield f"+- Round: {between} on each of {workers}, then averaging{_expected(plan.roundMilliseconds, 'ms')}"
    yield f"   +- Step: {count(plan.batchSize, 'row')}, kernel {plan.kernel}{_expected(plan.stepMilliseconds, 'ms')}"
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


def _expected(value: float | None, unit: str) -> str:
    return "" if value is None else f"; {value:.3g} {unit} expected"
