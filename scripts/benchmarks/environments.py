"""Where each competitor's packages come from: `.venv`, or what is made here below `.venvs`, pinned."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PINS = Path(__file__).resolve().parent / "requirements"

# Competitors with an environment of their own.
_PEERS = {"elephas_model": "elephas", "ydata": "ydata"}


def interpreter(module: str) -> str:
    """The Python that a competitor runs on."""
    return _own_environment(_PEERS[module]) if module in _PEERS else sys.executable


def variables(module: str, backend: str, spark_keras: bool) -> dict[str, str]:
    """A competitor's environment variables.

    Args:
        spark_keras: whether it may import spark_keras; peers may not.
    """
    python_path = [str(ROOT / "scripts")]
    if spark_keras:
        python_path.append(str(ROOT))
    python = interpreter(module)
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(python_path),
        "PYSPARK_PYTHON": python,
        "PYSPARK_DRIVER_PYTHON": python,
        "KERAS_BACKEND": backend,
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }


def _own_environment(name: str) -> str:
    """An environment of its own for a peer that needs other versions than this project."""
    folder = ROOT / ".venvs" / name
    python = folder / "bin" / "python"
    pins = PINS / f"{name}.txt"
    if not _is_made_from(folder, pins):
        print(f"Installing {pins.name} into .venvs/{folder.name} (takes minutes)", file=sys.stderr, flush=True)
        venv.create(folder, clear=True, with_pip=True)
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", "-r", str(pins)], check=True)
        _note(folder, pins)
    return str(python)


def _stamp(pins: Path) -> str:
    return f"{sys.version}\n{pins.read_text()}"


def _is_made_from(folder: Path, pins: Path) -> bool:
    stamp = folder / "made_from.txt"
    return stamp.is_file() and stamp.read_text() == _stamp(pins)


def _note(folder: Path, pins: Path) -> None:
    (folder / "made_from.txt").write_text(_stamp(pins))
