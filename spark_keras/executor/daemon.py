"""Spark's Python daemon, with Keras imported once for all workers that it forks.

By itself each Python worker of an executor imports Keras, which takes seconds of a core and hundreds of megabytes. This
daemon runs where `spark.python.daemon.module` is "spark_keras.executor.daemon".
"""

from __future__ import annotations

import gc
import os
import sys

from pyspark import daemon

from spark_keras.executor import process


def main() -> None:
    """Imports Keras and does what Spark's own daemon does."""
    # Spark reads the daemon's port from here: nothing else may print to it.
    answers = os.dup(sys.stdout.fileno())
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    process.import_for_forks()
    os.dup2(answers, sys.stdout.fileno())
    os.close(answers)
    # A collection in a worker would copy the pages that all of them share.
    gc.collect()
    gc.freeze()
    daemon.manager()


if __name__ == "__main__":
    main()
