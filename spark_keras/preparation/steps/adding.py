"""The transform process as the methods that add steps see it."""

from __future__ import annotations

from typing_extensions import Self

from spark_keras.preparation.schema import Schema
from spark_keras.preparation.step import Step


class AddsSteps:
    """A transform process, to the methods named after steps; each of them returns a new process."""

    def add(self, step: Step) -> Self:
        """The process with one more step."""
        raise NotImplementedError

    @property
    def steps(self) -> dict[str, Step]:
        """The steps by their names, in their order."""
        raise NotImplementedError

    @property
    def schema(self) -> Schema:
        """Schema behind the last step."""
        raise NotImplementedError
