"""docs/many-workers.md, made of the runs in docs/many-workers.csv alone."""

from __future__ import annotations

import math
import statistics
import textwrap
from collections.abc import Sequence
from typing import Any

from many_workers.ways import DEFAULT, OPTIMIZERS, PLAIN, TASKS, TIMES_THE_BEST, WAYS, Run

INTRODUCTION = """
    At equal epochs many workers take fewer steps one after the other than one does, and accuracy pays for it.
    These tables tell how much, for each way of making up for it: a learning rate that grows with the workers
    (`learningRateScaling`), a smaller batch (`batchSize`, `globalBatch`), an outer optimizer
    (`outerOptimizer`), averaging more often (`averagingFrequency`). Each number compares a training of many
    workers with one of a single worker from the same initial weights, with the same rows, epochs and learning
    rate before scaling. The workers are real but for Spark: they run in one process
    (`spark_keras.training.workers.in_process`). `scripts/accuracy` measures them.
"""
TASKS_TOLD = """
    The tasks: late flights by one-hot categories and weather (*flights*) and by embeddings (*embeddings*),
    minutes in the air (*air time*, a regression), handwritten digits (*digits*, convolutions), the next
    character of Python's help texts (*characters*, recurrent), a synthetic classification with
    BatchNormalization (*synthetic*). The learning rate is the best of six, half an order of magnitude apart,
    for one worker. "Plain": each worker has minibatches of as many rows as one worker alone
    (`globalBatch=False`). "Half batch": of half as many. Of a "batch of all workers" each has its share; "8
    or 16 rows at least", 16 with BatchNormalization, is `globalBatch="auto"`. Unless told otherwise, workers
    average every ten minibatches.
"""
COMPARED = "Validation loss compared with one worker: median over {} / worst."


def order(run: Run) -> tuple[Any, ...]:
    """Where a run stands in the file."""
    places = TASKS.index(run.task), OPTIMIZERS.index(run.optimizer), TIMES_THE_BEST.index(run.times)
    return (run.seed, *places, run.workers, list(WAYS).index(run.way))


def write(runs: Sequence[Run]) -> str:
    """The page."""
    lines = ["# Many workers", "", *_prose(INTRODUCTION), "", *_prose(TASKS_TOLD)]
    alone = {_base(run): run for run in runs if run.workers == 1}
    pairs = [(run, alone[_base(run)]) for run in runs if run.workers > 1 and _base(run) in alone]
    counts = sorted({run.workers for run, _ in pairs})
    seeds = len({run.seed for run in runs})
    lines += ["", f"{len(runs):,} runs; {seeds} {'seed' if seeds == 1 else 'seeds, not of every way'}."]
    titles = ("The best learning rate for one worker", "Three times that", "A third of that")
    for times, title in zip(TIMES_THE_BEST, titles, strict=True):
        part = [(run, one) for run, one in pairs if run.times == times]
        lines += _section(title, "tasks, optimizers and seeds", part, counts)
        told = [pair for pair in part if not math.isnan(pair[1].auc)]
        if told:
            lines += ["", "Area under the ROC curve, less that of one worker: median / worst.", ""]
            lines += _table(told, counts, _auc, min, "{:+.4f}")
    best = [(run, one) for run, one in pairs if run.times == 1]
    for names, field in ((OPTIMIZERS, "optimizer"), (TASKS, "task")):
        for name in names:
            part = [pair for pair in best if getattr(pair[0], field) == name]
            others = "tasks and seeds" if field == "optimizer" else "optimizers and seeds"
            lines += _section(name.capitalize() if field == "task" else name, others, part, counts)
    return "\n".join(lines) + "\n"


def _section(title: str, over: str, pairs: Sequence[tuple[Run, Run]], counts: Sequence[int]) -> list[str]:
    if not pairs:
        return []
    return ["", f"## {title}", "", COMPARED.format(over), "", *_table(pairs, counts, _loss, max, "{:+.1%}")]


def _base(run: Run) -> tuple[Any, ...]:
    return run.task, run.optimizer, run.seed, run.times


def _loss(run: Run, one: Run) -> float:
    """How much larger the loss is, as a share; infinite where it is no number any more."""
    return run.loss / one.loss - 1 if math.isfinite(run.loss) else math.inf


def _auc(run: Run, one: Run) -> float:
    return run.auc - one.auc if math.isfinite(run.loss) else -1.0


def _table(
    pairs: Sequence[tuple[Run, Run]], counts: Sequence[int], difference: Any, worst: Any, form: str
) -> list[str]:
    rows = [["way", *[f"{count} workers" for count in counts]], ["---", *["---:"] * len(counts)]]
    for way in WAYS:
        cells = []
        for count in counts:
            of_way, plain = (
                [pair for pair in pairs if (pair[0].way, pair[0].workers) == (name, count)] for name in (way, PLAIN)
            )
            # A median over a part of the cases would answer another question.
            found = [difference(*pair) for pair in of_way] if _cases(of_way) >= _cases(plain) else []
            cells.append(f"{_number(statistics.median(found), form)} / {_number(worst(found), form)}" if found else "")
        if any(cells):
            rows.append([f"{way} (the default)" if way == DEFAULT else way, *cells])
    return [f"| {' | '.join(row)} |" for row in rows]


def _cases(pairs: Sequence[tuple[Run, Run]]) -> set[tuple[str, str]]:
    return {(run.task, run.optimizer) for run, _ in pairs}


def _number(value: float, form: str) -> str:
    if value > 3:
        return f"{value + 1:,.0f} times" if math.isfinite(value) else "diverged"
    return form.format(value).replace("-", "−")


def _prose(text: str) -> list[str]:
    return textwrap.fill(textwrap.dedent(text).strip().replace("\n", " "), 120).splitlines()
