"""Params of what a fit does about what goes wrong, with getters and setters."""

from __future__ import annotations

from typing import Any

from pyspark.ml.param import Param, Params, TypeConverters

from spark_keras.params import converters


class HasFaultTolerance(Params):
    """What a fit does about what goes wrong."""

    maxFailures: Param[int] = Param(
        Params._dummy(),
        "maxFailures",
        "how often in a row, without an answer between, a worker may fail: with so many failures the fit fails, too; a "
        "worker that dies before is replaced, to the same result",
        converters.integer("maxFailures", 1),
    )  # type: ignore[arg-type]

    workerTimeout: Param[float] = Param(
        Params._dummy(),
        "workerTimeout",
        "seconds without a sign of life (up to 64 minibatches trained) after which a worker is replaced",
        converters.seconds("workerTimeout"),
    )  # type: ignore[arg-type]

    joinTimeout: Param[float] = Param(
        Params._dummy(),
        "joinTimeout",
        "seconds that a fit waits for a free slot for each of its workers, and for a sign of life from a worker that "
        "loads its rows",
        converters.seconds("joinTimeout"),
    )  # type: ignore[arg-type]

    nonFinite: Param[str] = Param(
        Params._dummy(),
        "nonFinite",
        'what happens when a worker\'s round makes a variable NaN or infinite: "error" ends the fit and names worker, '
        'round and variable; "skip" leaves this update out of the average and counts it in the summary. With '
        "keras.callbacks.TerminateOnNaN among the callbacks, that one decides",
        converters.one_of("nonFinite", "error", "skip"),
    )  # type: ignore[arg-type]

    checkpointDir: Param[str] = Param(
        Params._dummy(),
        "checkpointDir",
        "folder, on any file system that Spark can write, of this fit's checkpoints; a fit of the same rows, model and "
        "Params goes on from the last one, to the same result",
        TypeConverters.toString,
    )  # type: ignore[arg-type]

    checkpointInterval: Param[int | str] = Param(
        Params._dummy(),
        "checkpointInterval",
        'epochs between two checkpoints, or a time such as "30s", "5m" or "1h", which may end within an epoch',
        converters.checkpoint_interval,
    )  # type: ignore[arg-type]

    def getMaxFailures(self) -> int:
        """Value of `maxFailures` or its default."""
        return self.getOrDefault(self.maxFailures)

    def setMaxFailures(self, value: int) -> Any:
        """Sets `maxFailures`."""
        return self._set(maxFailures=value)

    def getWorkerTimeout(self) -> float:
        """Value of `workerTimeout` or its default."""
        return self.getOrDefault(self.workerTimeout)

    def setWorkerTimeout(self, value: float) -> Any:
        """Sets `workerTimeout`."""
        return self._set(workerTimeout=value)

    def getJoinTimeout(self) -> float:
        """Value of `joinTimeout` or its default."""
        return self.getOrDefault(self.joinTimeout)

    def setJoinTimeout(self, value: float) -> Any:
        """Sets `joinTimeout`."""
        return self._set(joinTimeout=value)

    def getNonFinite(self) -> str:
        """Value of `nonFinite` or its default."""
        return self.getOrDefault(self.nonFinite)

    def setNonFinite(self, value: str) -> Any:
        """Sets `nonFinite`."""
        return self._set(nonFinite=value)

    def getCheckpointDir(self) -> str:
        """Value of `checkpointDir` or its default."""
        return self.getOrDefault(self.checkpointDir)

    def setCheckpointDir(self, value: str) -> Any:
        """Sets `checkpointDir`."""
        return self._set(checkpointDir=value)

    def getCheckpointInterval(self) -> int | str:
        """Value of `checkpointInterval` or its default."""
        return self.getOrDefault(self.checkpointInterval)

    def setCheckpointInterval(self, value: int | str) -> Any:
        """Sets `checkpointInterval`."""
        return self._set(checkpointInterval=value)
