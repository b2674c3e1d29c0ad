"""The progress of a fit: a tqdm bar for people, lines for logs, silence in jobs."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping
from typing import Any

from tqdm.auto import tqdm


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
        self._bar_wanted = shown and verbose == 1 and (_in_notebook() or sys.stderr.isatty())
        self._lines_wanted = shown and verbose == 2
        self._epochs, self._rows = epochs, rows
        self._bar: Any = None

    def epoch_begins(self, epoch: int) -> None:
        if self._bar_wanted:
            # A terminal that does not know its width says 0, for which tqdm would draw nothing.
            width = shutil.get_terminal_size().columns
            self._bar = tqdm(
                ncols=None if _in_notebook() else width,
                total=self._rows,
                unit=" rows",
                unit_scale=True,
                desc=f"Epoch {epoch + 1}/{self._epochs}",
                file=sys.stderr,
            )

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


def _line(results: Mapping[str, Any]) -> str:
    return " - ".join(f"{k}: {v:.4f}" if isinstance(v, float) else f"{k}: {v}" for k, v in results.items())


def _in_notebook() -> bool:
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    return type(shell).__name__ == "ZMQInteractiveShell"
