"""The competitor's end of its pipe: imports once, then answers one command after the other. Standard library only."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import sys
import traceback
from collections.abc import Callable
from typing import Any

DISTRIBUTIONS = ["pyspark", "keras", "tensorflow", "jax", "elephas", "ydata-profiling", "numpy"]


def serve(**commands: Callable[..., dict[str, Any]]) -> None:
    """Reads {"command": …, arguments} from stdin, a line each, and writes what the command returns to stdout."""
    # Libraries print what they like; only answers go to the pipe.
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    print(json.dumps({"versions": _versions()}), file=answers)
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = commands[request.pop("command")](**request)
        except Exception:
            answer = {"error": traceback.format_exc()}
        print(json.dumps(answer), file=answers)


def _versions() -> dict[str, str]:
    versions = {"python": platform.python_version()}
    for name in DISTRIBUTIONS:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions
