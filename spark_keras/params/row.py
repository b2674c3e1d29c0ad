"""Rows of the table of Params: everything that the project knows of a Param, in one place."""

from __future__ import annotations

import copy
import dataclasses
import enum
import textwrap
from collections.abc import Callable
from typing import Any, TypeVar

from pyspark.ml.param import Params

from spark_keras.params.accessors import param, with_accessors

# The default of a Param that has none.
UNSET: Any = object()

F = TypeVar("F", bound=Callable[..., None])
P = TypeVar("P", bound=Params)


class Decides(enum.Flag):
    """Consequences of a Param's value.

    Attributes:
        NOTHING: nothing, or only what the identity of a checkpoint holds in another form: the model, its callbacks, the
            columns, the weights of classes, the number of workers and of their threads, the rows of a minibatch.
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
        doc: one sentence, for `explainParams`, the reference and the constructors.
        converter: checks a value and gives it its type; None: the Param, and its own doc, are pyspark's.
        decides: what depends on it. Has no default, so that nobody forgets to say.
        default: a value that JSON can hold.
        absent: what a saved stage means that was saved before there was this Param, where that is not the default.
        type: of its value, as source text, where the converter's annotation does not tell it; of pyspark's own "str".
        accepts: the type that constructor and setter take, where it is another one.
        json: whether its value can be saved as JSON.
    """

    mixin: str
    name: str
    doc: str
    converter: Callable[[Any], Any] | None = None
    _: dataclasses.KW_ONLY
    decides: Decides
    default: Any = UNSET
    absent: Any = UNSET
    type: str = ""
    accepts: str = ""
    json: bool = True

    @property
    def value_type(self) -> str:
        """The type of its value, as source text."""
        return self.type or getattr(self.converter, "__annotations__", {"return": "str"})["return"]

    @property
    def accepted_type(self) -> str:
        """The type that constructor and setter take, as source text."""
        return self.accepts or self.value_type

    @property
    def default_told(self) -> bool:
        """Tells whether constructors show the default: unset and empty are None there."""
        return self.default is not UNSET and self.default not in ([], {})

    @property
    def argument(self) -> str:
        """The Param among the arguments of a constructor's docstring."""
        default = f'"{self.default}"' if isinstance(self.default, str) else self.default
        told = f"{self.name}: {self.doc}.{f' Default {default}.' if self.default_told else ''}"
        return textwrap.fill(told, 120, initial_indent=" " * 12, subsequent_indent=" " * 16, break_long_words=False)


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

    def mixin(self, cls: type[P]) -> type[P]:
        """Class decorator: gives a mixin its Params, with getters and setters, and their defaults."""
        rows = [row for row in self.rows if row.mixin == cls.__name__]
        defaults = {row.name: row.default for row in rows if row.default is not UNSET}

        def init(stage: P) -> None:
            super(cls, stage).__init__()
            stage._setDefault(**copy.deepcopy(defaults))

        cls.__init__ = init  # type: ignore[method-assign, assignment]
        for row in rows:
            if row.converter is not None:
                setattr(cls, row.name, param(row.name, row.doc, row.converter))
        return with_accessors(cls, {row.name: (row.value_type, row.accepted_type) for row in rows})

    def of(self, *mixins: str) -> list[Row]:
        """The Params of mixins, and of the mixins among their bases."""
        names = set(mixins)
        for name in reversed(self.mixins):
            if name in names:
                names.update(self.mixins[name].bases)
        return [row for row in self.rows if row.mixin in names]

    def documented(self, stage: str) -> Callable[[F], F]:
        """A decorator for the constructor of a stage, whose docstring gets a sentence for each Param."""

        def decorate(init: F) -> F:
            arguments = "\n".join(row.argument for row in self.of(*self.constructors[stage]))
            init.__doc__ = f"{init.__doc__}\n\n        Args:\n{arguments}\n        "
            return init

        return decorate

    def deciding(self, what: Decides) -> list[Row]:
        """The Params that decide any of this."""
        return [row for row in self.rows if row.decides & what]
