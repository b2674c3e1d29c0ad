"""Stages as pickles: what they hold is rebuilt from their Params, and code of the user's travels by value."""

from __future__ import annotations

import pickle
from typing import Any

import cloudpickle
from pyspark.ml.param import Param
from typing_extensions import Self

# What the stage keeps beside its Params, and does not give away.
_OF_THIS_PROCESS = {"_params", "_paramMap", "_defaultParamMap", "_input_kwargs", "_kept_rows", "_sent_archive"}


class Picklable:
    """A stage that `pickle`, `cloudpickle`, `joblib` and `copy.deepcopy` take, with functions and callbacks in it.

    Whoever unpickles it runs code, as with any pickle.
    """

    # Of Spark's Params.
    _paramMap: dict[Param[Any], Any]
    _defaultParamMap: dict[Param[Any], Any]

    def __reduce__(self) -> tuple[Any, ...]:
        kept = {
            name: value
            for name, value in vars(self).items()
            if name not in _OF_THIS_PROCESS and not isinstance(value, Param)
        }
        return _restored, (type(self), kept, _dumped(self, self._paramMap), _dumped(self, self._defaultParamMap))

    def __copy__(self) -> Self:
        # As copies are made without pickles: Spark copies a stage before it sets Params.
        made = type(self).__new__(type(self))
        vars(made).update(vars(self))
        return made


def _dumped(stage: Any, values: dict[Any, Any]) -> bytes:
    named = {param.name: value for param, value in values.items()}
    try:
        return cloudpickle.dumps(named)
    except Exception:  # whatever the objects in it raise
        for name, value in named.items():
            try:
                cloudpickle.dumps(value)
            except Exception as error:
                raise pickle.PicklingError(
                    f"Param `{name}` of {type(stage).__name__} cannot be pickled. Received: {value!r}: {error}."
                ) from error
        raise


def _restored(cls: type, kept: dict[str, Any], values: bytes, defaults: bytes) -> Any:
    stage = cls()
    vars(stage).update({name: value for name, value in kept.items() if name != "uid"})
    stage._resetUid(kept["uid"])
    stage._setDefault(**pickle.loads(defaults))
    return stage._set(**pickle.loads(values))
