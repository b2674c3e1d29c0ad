"""Keras is loaded without the lines that TensorFlow, oneDNN, CUDA and absl print while they are loaded.

TensorFlow obeys TF_CPP_MIN_LOG_LEVEL as soon as it is loaded, but its libraries print lines before that. Here the same
level holds for these; where the environment says nothing it is 3: nothing but fatal errors.
"""

from __future__ import annotations

import contextlib
import os
import re
import sys
import tempfile
import threading
from collections.abc import Iterable, Iterator

LEVEL = "TF_CPP_MIN_LOG_LEVEL"

# A line of absl, "E0000 00:00:1795873088.762370   13300 cuda_platform.cc:52] …", or of an older TensorFlow,
# "2024-05-01 10:00:00.123456: E external/local_xla/…", with its severity.
_LINE = re.compile(
    rb"(?:(?P<absl>[IWEF])\d{4} [\d:.]+ +\d+ \S+:\d+\] |\d{4}-\d\d-\d\d [\d:.]+: (?P<old>[IWEF]) \S+:\d+\] )"
)
# It stands above the first of them.
_HEAD = b"WARNING: All log messages before absl::InitializeLog() is called are written to STDERR"
# The second line of a message that goes on.
_GOES_ON = b"To enable the following instructions:"
_SEVERITIES = b"IWEF"

_at_work = threading.Lock()


def settle() -> None:
    """Sets the level for what is loaded later, here and in processes that begin here; a level that is set stays."""
    os.environ.setdefault(LEVEL, "3")


@contextlib.contextmanager
def loading() -> Iterator[None]:
    """Holds standard error back while libraries are loaded; then writes there what is no line below the level."""
    settle()
    # Standard error belongs to the process: of several threads one is enough.
    if not _at_work.acquire(blocking=False):
        yield
        return
    try:
        with _held_back():
            yield
    finally:
        _at_work.release()


@contextlib.contextmanager
def _held_back() -> Iterator[None]:
    with contextlib.ExitStack() as stack:
        try:
            kept = os.dup(2)
            stack.callback(os.close, kept)
            held = stack.enter_context(tempfile.TemporaryFile())
        except OSError:  # no standard error, or no place for a file
            yield
            return
        _flush()
        os.dup2(held.fileno(), 2)
        try:
            yield
        finally:
            _flush()
            os.dup2(kept, 2)
            held.seek(0)
            for line in told(held, os.environ[LEVEL]):
                os.write(2, line)


def told(lines: Iterable[bytes], level: str) -> Iterator[bytes]:
    """Lines without those of libraries below the level, which is a digit: 0 tells all, 3 only fatal errors."""
    least = int(level) if level.isdigit() else 0
    head = None
    for line in lines:
        found = _LINE.match(line)
        if least and line.startswith(_HEAD):
            head = line
        elif found and _SEVERITIES.index(found["absl"] or found["old"]) < least:
            continue
        elif not (least and line.startswith(_GOES_ON)):
            if found and head:
                yield head
                head = None
            yield line


def _flush() -> None:
    if sys.stderr is not None:
        sys.stderr.flush()
