"""The Keras model that a stage holds, for training that goes on from it."""

from __future__ import annotations

from typing import Any


def with_model(stage: Any) -> Any:
    """The stage whose Param `model` is meant by a fitted stage, a pipeline's or a search's; None for what is no stage.

    Raises:
        ValueError: for a stage that holds no Keras model, or several.
    """
    if not hasattr(stage, "hasParam"):
        return None
    found = list(_holders(stage))
    if len(found) != 1:
        held = [type(each).__name__ for each in found] or "no Keras model"
        raise ValueError(
            f"Invalid value for Param `model`. Received: {type(stage).__name__} with {held}. Expected: a stage with "
            "one Keras model, such as one of the stages of a fitted pipeline."
        )
    return found[0]


def _holders(stage: Any) -> Any:
    if stage.hasParam("model"):
        if stage.isSet("model"):
            yield stage
    elif hasattr(stage, "bestModel"):  # of a search, or of EarlyStopping
        yield from _holders(stage.bestModel)
    else:  # of a PipelineModel
        for each in getattr(stage, "stages", None) or ():
            if hasattr(each, "hasParam"):
                yield from _holders(each)
