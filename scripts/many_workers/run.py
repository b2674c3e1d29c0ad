"""Measures what many workers do to accuracy, and writes docs/many-workers.md and docs/many-workers.csv.

scripts/accuracy                                      what is not measured yet; hours
scripts/accuracy --tasks digits --optimizers Adam     of these tasks and optimizers
scripts/accuracy --page                               the page alone
"""

from __future__ import annotations

import argparse
import csv
import itertools
import multiprocessing
import os
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

from many_workers import page
from many_workers.ways import OPTIMIZERS, PLAIN, TASKS, TIMES_THE_BEST, WAYS, WORKERS, Run

DOCS = Path(__file__).resolve().parents[2] / "docs"


def read(path: Path) -> list[Run]:
    """The runs that are kept."""
    if not path.exists():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return [Run.of(row) for row in csv.DictReader(file)]


def write(folder: Path, runs: Iterable[Run]) -> None:
    """Writes the runs in their order, and the page that they make."""
    in_order = sorted(runs, key=page.order)
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "many-workers.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(Run._fields)
        writer.writerows(run.written() for run in in_order)
    (folder / "many-workers.md").write_text(page.write(in_order), encoding="utf-8")


def series(
    task: str, optimizer: str, seed: int, kept: list[Run], times: list[float], wanted: list[tuple[int, str]]
) -> list[Run]:
    """In a process of its own: the runs of a task, an optimizer and a seed."""
    os.environ |= {"TF_CPP_MIN_LOG_LEVEL": "3", "TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1"}
    from many_workers import measure

    return list(measure.runs(task, optimizer, seed, kept, times, wanted))


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="scripts/accuracy", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=TASKS, metavar="TASK", help=", ".join(TASKS))
    parser.add_argument("--optimizers", nargs="+", choices=OPTIMIZERS, default=OPTIMIZERS)
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS), metavar="WAY", help=", ".join(WAYS))
    parser.add_argument("--workers", nargs="+", type=int, default=WORKERS)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument(
        "--times",
        nargs="+",
        type=float,
        choices=TIMES_THE_BEST,
        default=list(TIMES_THE_BEST),
        help="of the best rate for one worker",
    )
    parser.add_argument(
        "--jobs", type=int, default=os.cpu_count(), help="at the same time (default: one for each core)"
    )
    parser.add_argument("--output", type=Path, default=DOCS, help="folder for many-workers.md and many-workers.csv")
    parser.add_argument("--page", action="store_true", help="writes the page alone")
    arguments = parser.parse_args()
    path = arguments.output / "many-workers.csv"
    wanted = [(1, PLAIN), *itertools.product(arguments.workers, arguments.ways)]
    write(arguments.output, read(path))
    if arguments.page:
        return
    context = multiprocessing.get_context("spawn")
    kept = read(path)
    # A process for each series: what TensorFlow compiles is never given back.
    with ProcessPoolExecutor(arguments.jobs, mp_context=context, max_tasks_per_child=1) as pool:
        started = {}
        for names in itertools.product(arguments.seeds, arguments.optimizers, arguments.tasks):
            seed, optimizer, task = names
            of_series = [run for run in kept if (run.task, run.optimizer) == (task, optimizer)]
            started[pool.submit(series, task, optimizer, seed, of_series, arguments.times, wanted)] = names
        for done in as_completed(started):
            found = done.result()
            write(arguments.output, [*read(path), *found])
            print(*started[done], f"{len(found)} runs", sep=", ", flush=True)


if __name__ == "__main__":
    main()
