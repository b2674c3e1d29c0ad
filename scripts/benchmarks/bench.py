"""What the cases share: competitors that are started once, data that are written once, and taking turns."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks import data, environments
from benchmarks.competitor import Competitor

Run = dict[str, Any]

# spark_keras stays out of the peers' way.
OWN = {"analyzer", "estimator", "kernel_alone", "large"}

OPTIONS = [
    {},
    {"jit_compile": True},
    {"steps_per_execution": 50},
    {"jit_compile": True, "steps_per_execution": 50},
]


def told(options: dict[str, Any]) -> str:
    return ", ".join(f"{name}={value}" for name, value in options.items()) or "as it comes"


class Bench:
    """One call of the benchmark.

    Args:
        folder: for data and logs.
        repeats: how often each competitor runs.
        quick: whether rows are few, to see that everything runs; figures mean nothing then.

    Attributes:
        versions: those of the competitors that were asked for since this was last emptied.
    """

    def __init__(self, folder: Path, repeats: int, quick: bool):
        self.folder, self.repeats, self.quick = folder, repeats, quick
        self.versions: dict[str, dict[str, str]] = {}
        self._competitors: dict[tuple[str, str, str], Competitor] = {}
        self._best_options: dict[tuple[Competitor, str], dict[str, Any]] = {}
        self._started = time.monotonic()

    def rows(self, number: int) -> int:
        return max(640, number // 100) if self.quick else number

    def data(self, network: str, rows: int) -> str:
        """The folder with so many rows for a network."""
        folder = self.folder / f"{network}_{rows}"
        if not folder.exists():
            data.write(folder, network, rows)
        return str(folder)

    def competitor(self, module: str, backend: str = "tensorflow", name: str = "", **variables: str) -> Competitor:
        """The process of a competitor, started when it is first asked for.

        Args:
            name: tells several processes of one module apart.
            variables: more environment variables.
        """
        key = (module, backend, name)
        if key not in self._competitors:
            self._competitors[key] = Competitor(
                module,
                environments.interpreter(module),
                environments.variables(module, backend, spark_keras=module in OWN) | variables,
                self.folder / f"{'_'.join(filter(None, key))}.log",
            )
        self.versions[module] = self._competitors[key].versions
        return self._competitors[key]

    def stop(self, module: str, backend: str = "tensorflow", name: str = "") -> None:
        self._competitors.pop((module, backend, name)).stop()

    def close(self) -> None:
        for key in list(self._competitors):
            self.stop(*key)

    def say(self, text: str) -> None:
        print(f"[{time.monotonic() - self._started:5.0f} s] {text}", flush=True)

    def take_turns(self, competitors: dict[str, Callable[[int], Run]], repeats: int | None = None) -> dict[str, list]:
        """Runs the competitors one after the other, again and again: A B C A B C … Each gets the number of the turn."""
        runs: dict[str, list[Run]] = {name: [] for name in competitors}
        for turn in range(repeats or self.repeats):
            for name, competitor in competitors.items():
                run = competitor(turn)
                runs[name].append(run)
                self.say(f"  {name}: " + ", ".join(f"{key} {_short(value)}" for key, value in run.items()))
        return runs

    def best(self, competitors: dict[str, Callable[[], Run]]) -> tuple[str, dict[str, float]]:
        """Lets them take turns; the name of the one whose median is best, and the median rate of each."""
        by_turn = {f"tried {name}": lambda _turn, run=run: run() for name, run in competitors.items()}
        runs = self.take_turns(by_turn)
        rates = {name: statistics.median(run["rate"] for run in runs[f"tried {name}"]) for name in competitors}
        return max(rates, key=rates.get), rates

    def best_options(self, keras_fit: Competitor, **fit: Any) -> dict[str, Any]:
        """Which options of `Model.compile` make `model.fit` fastest here: {"best", "tried"}.

        Args:
            keras_fit: the process to try them in.
            fit: arguments of its command.
        """
        key = (keras_fit, json.dumps(fit, sort_keys=True))
        if key not in self._best_options:
            by_name = {told(options): options for options in OPTIONS}
            name, rates = self.best(
                {
                    name: (lambda options=options: keras_fit.ask("fit", **fit, **options))
                    for name, options in by_name.items()
                }
            )
            self._best_options[key] = {"best": by_name[name], "tried": rates}
        return self._best_options[key]


def _short(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:,.0f}" if value >= 1000 else f"{value:.4g}"
    return str(value) if not isinstance(value, list) else f"{len(value)} figures"
