"""Files that processes hold, as Linux tells them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


def open_files(pid, directory):
    """The files in a directory that a process holds, also those without a name."""
    held = []
    for link in Path(f"/proc/{pid}/fd").iterdir():
        try:
            target = os.readlink(link)
        except OSError:
            continue
        if target.startswith(f"{directory}/") and not target.startswith("/dev"):
            held.append(target)
    return held


only_linux = pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="reads /proc")
