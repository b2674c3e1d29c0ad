"""Param `model` of a stage, which may be given a fitted stage."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from spark_keras.keras_model import network, stages
from spark_keras.params.converters import NoneIsUnset
from spark_keras.params.pickling import Picklable
from spark_keras.params.shown import ShowsParams


class TakesModel(Picklable, NoneIsUnset, ShowsParams):
    """Takes the custom objects of a fitted stage with its model, and shows the model's layers."""

    _input_kwargs: dict[str, Any]

    def _set(self, **kwargs: Any) -> Any:
        stage = stages.with_model(kwargs.get("model"))
        if stage is not None and stage.isSet("customObjects") and "customObjects" not in kwargs:
            # What its model was made of, and this one is.
            kwargs["customObjects"] = {**stage.getCustomObjects(), **self.getOrDefault("customObjects")}
        return super()._set(**kwargs)

    def _parts(self) -> Iterator[str]:
        if self.isSet("model"):
            yield network.html(self.getOrDefault("model"), self.getOrDefault("customObjects"))
