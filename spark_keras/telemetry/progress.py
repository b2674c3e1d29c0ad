"""The progress of a fit: a tqdm bar for people, lines for logs, silence in jobs."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Mapping
from typing import Any

from tqdm.auto import tqdm

_STARTING = "{desc} |{bar}| {n_fmt}/{total_fmt} workers ready{postfix} [{elapsed}]"
_REFRESH_SECONDS = 0.2


class Starting:
    """Shows how far the workers are before the first round, where somebody can watch it.

    Args:
        verbose: of the fit.
        workers: how many it has.
        shown: as of `Progress`.
    """

    def __init__(self, verbose: int, workers: int, shown: bool = True):
        self._workers = workers
        self._refreshed = 0.0
        self._bar: Any = None
        if _watched(verbose, shown):
            self._bar = _bar(total=workers, bar_format=_STARTING, leave=False, desc="starting workers")

    def show(self, started: int, ready: int, rows: int) -> None:
        """Called again and again.

        Args:
            started: workers that there are.
            ready: of them, those that have loaded rows and Keras.
            rows: that these have.
        """
        # The time that has gone by is shown, too.
        if self._bar is None or (ready == self._bar.n and time.monotonic() - self._refreshed < _REFRESH_SECONDS):
            return
        self._refreshed = time.monotonic()
        doing = "importing Keras, loading rows" if started == self._workers else f"starting workers ({started} there)"
        self._bar.set_description_str(doing, refresh=False)
        self._bar.set_postfix_str(f"{rows:,} rows" if rows else "", refresh=False)
        self._bar.n = ready
        self._bar.refresh()

    def close(self) -> None:
        """Takes it away: the epochs have bars of their own."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None


class Progress:
    """Shows loss, metrics, rows/s and the time left.

    Args:
        verbose: 0 silent; 1 a bar for each epoch, where somebody can watch it (a terminal or a notebook), and silent
            elsewhere; 2 one line per epoch.
        epochs: epochs that will be trained at most.
        rows: rows per epoch.
        shown: False where a callback shows progress instead, as Keras' ProgbarLogger does.
    """

    def __init__(self, verbose: int, epochs: int, rows: int, shown: bool = True):
        self.verbose = verbose
        self._bar_wanted = _watched(verbose, shown)
        self._lines_wanted = shown and verbose == 2
        self._epochs, self._rows = epochs, rows
        self._bar: Any = None

    def epoch_begins(self, epoch: int) -> None:
        if self._bar_wanted:
            what = f"Epoch {epoch + 1}/{self._epochs}"
            self._bar = _bar(total=self._rows, unit=" rows", unit_scale=True, desc=what)

    def round_ends(self, rows: int) -> None:
        if self._bar is not None:
            self._bar.update(rows)

    def show(self, results: Mapping[str, Any]) -> None:
        if self._bar is not None:
            self._bar.set_postfix_str(_line(results), refresh=False)

    def epoch_ends(self, epoch: int, results: Mapping[str, Any], seconds: float) -> None:
        if self._bar is not None:
            self._bar.set_postfix_str(_line(results))
            self.close()
        if self._lines_wanted:
            rate = self._rows / max(seconds, 1e-9)
            print(
                f"Epoch {epoch + 1}/{self._epochs} - {seconds:.1f} s - {rate:,.0f} rows/s - {_line(results)}",
                flush=True,
            )

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None


def _watched(verbose: int, shown: bool) -> bool:
    return shown and verbose == 1 and (_in_notebook() or sys.stderr.isatty())


def _bar(**options: Any) -> Any:
    if not _in_notebook():
        # A terminal that does not know its size says 0, for which tqdm would draw nothing.
        options["ncols"], options["nrows"] = shutil.get_terminal_size()
    return tqdm(file=sys.stderr, **options)


def _line(results: Mapping[str, Any]) -> str:
    return " - ".join(f"{k}: {v:.4f}" if isinstance(v, float) else f"{k}: {v}" for k, v in results.items())


def _in_notebook() -> bool:
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    return type(shell).__name__ == "ZMQInteractiveShell"
