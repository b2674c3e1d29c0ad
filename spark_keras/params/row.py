"""Rows of the table of Params: everything that the project knows of a Param, in one place."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Callable
from typing import Any

from pyspark.ml.param import Param, Params

# The default of a Param that has none.
UNSET: Any = object()


class Decides(enum.Flag):
    """Consequences of a Param's value.

    Attributes:
        NOTHING: nothing, or only what the identity of a checkpoint holds in another form: the model, its callbacks, the
            columns, the weights of classes, the number of workers and of their threads.
        ROWS: which rows a worker gets, so that rows that are kept for another fit can differ.
        BITS: the bits of a fit, so that a checkpoint of another value is that of another fit.
        BITS_IF_CHANGED: as BITS, but checkpoints know it only where it is not its default, as those of a release
            without this Param. Right for every Param that is added.
    """

    NOTHING = 0
    ROWS = enum.auto()
    BITS = enum.auto()
    BITS_IF_CHANGED = enum.auto()


@dataclasses.dataclass(frozen=True)
class Row:
    """A Param.

    Args:
        mixin: the class that has it.
        type: of its value, as source text.
        doc: one sentence, for `explainParams`, the reference and the constructors.
        converter: checks a value and gives it its type; None: the Param, and its own doc, are pyspark's.
        decides: what depends on it. Has no default, so that nobody forgets to say.
        default: a value that JSON can hold.
        accepts: the type that constructor and setter take, where it is another one.
        json: whether its value can be saved as JSON.
    """

    mixin: str
    name: str
    type: str
    doc: str
    converter: Callable[[Any], Any] | None
    _: dataclasses.KW_ONLY
    decides: Decides
    default: Any = UNSET
    accepts: str = ""
    json: bool = True


@dataclasses.dataclass(frozen=True)
class Mixin:
    """A class of Params that stages share.

    Args:
        bases: of the class, as source text: other mixins, pyspark's, or what the Params need beside.
    """

    doc: str
    bases: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Table:
    """Params, in the order of the constructors.

    Args:
        mixins: by name, each after its bases.
        constructors: for each stage that takes all of its Params by name, its mixins.
    """

    rows: tuple[Row, ...]
    mixins: dict[str, Mixin]
    constructors: dict[str, tuple[str, ...]]

    def param(self, mixin: str, name: str) -> Any:
        """The Param of a mixin, for its class."""
        (row,) = (row for row in self.rows if (row.mixin, row.name) == (mixin, name))
        return Param(Params._dummy(), name, row.doc, row.converter)

    def of(self, *mixins: str) -> list[Row]:
        """The Params of mixins, and of the mixins among their bases."""
        names = set(mixins)
        for name in reversed(self.mixins):
            if name in names:
                names.update(self.mixins[name].bases)
        return [row for row in self.rows if row.mixin in names]

    def deciding(self, what: Decides) -> list[Row]:
        """The Params that decide any of this."""
        return [row for row in self.rows if row.decides & what]
