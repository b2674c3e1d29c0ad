"""A compiled model's structure as it travels to the workers, and the replicas that are built of it."""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Any

import keras

from spark_keras.keras_model import automatic_names, configurations, first_step, frozen, held, own_code
from spark_keras.keras_model.optimizers import excludes_from_weight_decay, innermost
from spark_keras.keras_model.state import all_variables

# What an architecture has beside what Keras writes.
_UNDECAYED, _STATE, _DRAWS, _LATE = "undecayed", "state", "draws globally", "created late"
_ASSIGNED = "assigned though frozen"


def _undecayed(model: keras.Model) -> list[int]:
    """Indices of the variables that `Optimizer.exclude_from_weight_decay` names; its configuration has none of them."""
    optimizer = innermost(getattr(model, "optimizer", None))
    if not excludes_from_weight_decay(optimizer):
        return []
    variables = model.trainable_variables
    # A part of a name excludes a variable, and TensorFlow's own names are longer: its optimizers ask for these.
    plain = type(optimizer)._apply_weight_decay is keras.optimizers.Optimizer._apply_weight_decay
    if plain and keras.backend.backend() == "tensorflow":
        variables = [variable.value for variable in variables]
    optimizer._exclude_from_weight_decay_cache = {}
    return [index for index, each in enumerate(variables) if not optimizer._use_weight_decay(each)]


def architecture(model: keras.Model, kept: Collection[str] = ()) -> str:
    """A compiled model's structure, and which of its frozen weights are in its state, because its own code assigns
    them: what the closure carries to the workers.
    """
    assigned = frozen.assigned_places(model)
    return json.dumps(_described(model, kept) | ({_ASSIGNED: assigned} if assigned else {}))


def rebuilt(model_json: str, custom_objects: dict[str, Any], safe_mode: bool) -> keras.Model:
    """Builds a functional model that is not compiled from its structure."""
    described = json.loads(model_json)
    described.pop(_UNDECAYED)
    return keras.saving.deserialize_keras_object(described, custom_objects=custom_objects, safe_mode=safe_mode)


def structure(model: keras.Model, kept: Collection[str] = ()) -> str:
    """A compiled model's structure as JSON, without its weights.

    Args:
        kept: names of layers that stay as they are; others that Keras has made are numbered anew.
    """
    return json.dumps(_described(model, kept))


def _described(model: keras.Model, kept: Collection[str]) -> dict[str, Any]:
    """A compiled model's structure, for JSON.

    Beside what Keras serialises it has the variables that the optimizer does not decay, by their index; and where
    training changes more than a model's weights, optimizer and metrics, the shapes of all that it changes. The model's
    own code is in it by name (`own_code.pickled`).
    """
    for layer in model._flatten_layers():
        if hasattr(layer, "save_assets") and not layer.get_config().get("vocabulary"):
            raise ValueError(
                f"Layer {layer.name!r} ({type(layer).__name__}) keeps a vocabulary outside its weights, and only "
                "weights travel to the workers. Apply it before training, with StringIndexer or the layer itself."
            )
    with configurations.complete(model), own_code.named(model):
        described: dict[str, Any] = automatic_names.settled(keras.saving.serialize_keras_object(model), kept)
    described |= {_UNDECAYED: _undecayed(model)}
    if not held.is_plain(model):
        drawing, late = model in held.drawing_globally, model in held.creating_late
        described |= {_STATE: _shapes(model), _DRAWS: drawing, _LATE: late}
    return described


def _shapes(model: keras.Model) -> list[list[Any]]:
    """Of each variable of the state the dtype and the dimensions."""
    return [[keras.backend.standardize_dtype(each.dtype), *map(int, each.shape)] for each in all_variables(model)]


def replica(model_json: str, custom_objects: dict[str, Any], safe_mode: bool, sample: Any) -> keras.Model:
    """Builds a compiled model from its architecture; its weights are set by `write`."""
    described = json.loads(model_json)
    names = _UNDECAYED, _STATE, _DRAWS, _LATE, _ASSIGNED
    excluded, shapes, draws, late, assigned = (described.pop(name, None) for name in names)
    # One that came with its optimizers built may have them built in its first step, too.
    for step in (False, True) if shapes is not None and not late else (bool(late),):
        model = keras.saving.deserialize_keras_object(described, custom_objects=custom_objects, safe_mode=safe_mode)
        first_step.build(model, sample, step)
        if shapes is None or _shapes(model) == shapes:
            break
    else:
        raise held.Untracked(
            f"variables {_shapes(model)} where the model is built from its configuration, {shapes} on the driver"
        )
    found = frozen.candidates(model)
    frozen.note(model, [found[index] for index in assigned or ()])
    if draws:
        held.drawing_globally.add(model)
    if excluded:
        # Keras takes variables only before the optimizer is built, which happens as soon as there are any.
        optimizer, variables = innermost(model.optimizer), model.trainable_variables
        optimizer._exclude_from_weight_decay = {optimizer._var_key(variables[index]) for index in excluded}
        optimizer._exclude_from_weight_decay_cache = {}
    return model
