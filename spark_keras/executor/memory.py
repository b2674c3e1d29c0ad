"""The memory that one of several Python workers may take."""

from __future__ import annotations

import contextlib
import os
import sys


def memory_share(tasks: int, threads: int) -> int:
    """Bytes for this process, where so many tasks run, each with so many threads, as far as this machine has cores.

    Its limit by `spark.executor.pyspark.memory`; where there is none, the machine's or container's memory, divided.
    """
    limit = int(os.environ.get("PYSPARK_EXECUTOR_MEMORY_MB", "-1"))
    if limit > 0:
        return limit * 2**20
    return _machine_memory() // max(1, min(tasks, (os.cpu_count() or 1) // threads))


def _machine_memory() -> int:
    try:
        sizes = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    except (AttributeError, ValueError, OSError):  # a system that does not tell
        return sys.maxsize
    for path in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        with contextlib.suppress(OSError, ValueError), open(path) as file:
            sizes.append(int(file.read()))
    return min(sizes)
