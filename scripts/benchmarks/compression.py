"""Compression of changes, and overlap: bytes of a round, and the loss on rows held out, beside rounds without them.

    PYTHONPATH=scripts .venv/bin/python -m benchmarks.compression --tasks flights digits --workers 8

The workers are simulated in this process. Learning rates are the best ones for one worker, of docs/many-workers.csv,
and `batchSize` is shared by all workers, as by default. Prints a table.
"""

from __future__ import annotations

import argparse
import csv
import os
import statistics
from pathlib import Path

from many_workers.ways import OPTIMIZERS, PLAIN, TASKS, Way

RATES = Path(__file__).resolve().parents[2] / "docs/many-workers.csv"


def best_rate(task: str, optimizer: str) -> float:
    """The best learning rate for one worker."""
    with RATES.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            if (row["task"], row["optimizer"], row["way"], float(row["times"])) == (task, optimizer, PLAIN, 1.0):
                return float(row["rate"])
    raise ValueError(f"{RATES} has no learning rate for {task!r} and {optimizer!r}.")


def ways(frequency: int) -> dict[str, Way]:
    """What is compared."""
    plain = Way(auto=True, frequency=frequency)
    local = plain._replace(optimizer_state="local")
    codings = {name: local._replace(compression=name) for name in ("float16", "bfloat16", "threshold")}
    shared = {"threshold, sum": codings["threshold"]._replace(combine="sum")} if frequency == 1 else {}
    overlapped = {"none, local, overlap": local._replace(overlap=True)}
    return {"none, average": plain, "none, local": local, **codings, **shared, **overlapped}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=["flights", "digits"])
    parser.add_argument("--optimizer", choices=OPTIMIZERS, default="Adam")
    parser.add_argument("--workers", type=int, default=8)
    parser.add_argument("--frequencies", type=int, nargs="+", default=[1, 10])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--ways", nargs="+", help="some of them only")
    arguments = parser.parse_args()
    os.environ |= {"TF_CPP_MIN_LOG_LEVEL": "3", "TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1"}
    from many_workers.measure import Laboratory

    print("| task | every | compression, optimizer's state | bytes to a worker and back | loss on rows held out |")
    print("|---|---|---|---|---|")
    for task in arguments.tasks:
        laboratory, rate = Laboratory(task, arguments.optimizer), best_rate(task, arguments.optimizer)
        values, integers = laboratory.layout.sizes
        for frequency in arguments.frequencies:
            for name, way in ways(frequency).items():
                if arguments.ways and name not in arguments.ways:
                    continue
                outcomes = [laboratory.train(way, arguments.workers, rate, seed) for seed in arguments.seeds]
                moved = (
                    statistics.median(outcome.compressed_bytes for outcome in outcomes) or 8 * values + 16 * integers
                )
                losses = [outcome.history["val_loss"][-1] for outcome in outcomes]
                told = f"{statistics.median(losses):.4g} ({min(losses):.4g} to {max(losses):.4g})"
                print(f"| {task} | {frequency} | {name} | {moved:,.0f} | {told} |", flush=True)


if __name__ == "__main__":
    main()
