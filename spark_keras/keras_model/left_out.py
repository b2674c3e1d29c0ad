"""Storage for what Keras leaves out of a `.keras` archive, or cannot load from it: one more file in the archive.

Keras saves the variables of layers and of the optimizers that are attributes of a model. It does not save those of a
loss; it loads those of an optimizer only where `compile_from_config` builds the optimizer, and those of a layer only
where building the model reaches the layer. It saves a kernel with LoRA's factors merged into it, and loads factors that
are zero, which no step can change any more. Keras itself reads an archive that has this file as it reads any other.
"""

from __future__ import annotations

import io
import json
import zipfile
from typing import Any

import keras
import numpy as np

from spark_keras.keras_model import held, state

_FILE = "spark_keras.npz"


def add(path: str, model: keras.Model) -> None:
    """Adds it to an archive of a model that holds more than its weights, its optimizer and its metrics."""
    found, adapted = held.look(model), _adapted(model)
    if not (found.variables or found.of_optimizers or adapted):
        return
    place = {id(variable): index for index, variable in enumerate(model.variables)}
    arrays = {path: state.to_numpy(variable.value) for path, variable in found.variables.items()}
    arrays |= {name: _plain(state.to_numpy(weight.value)) for name, weight in adapted.items()}
    optimizers: dict[str, list[int]] = {}
    for name, optimizer in _optimizers(model).items():
        trained = [id(variable) for variable in getattr(optimizer, "_trainable_variables", [])]
        if optimizer.built and place.keys() >= set(trained):
            optimizers[name] = [place[each] for each in trained]
            arrays |= {f"{name} {index}": state.to_numpy(each.value) for index, each in enumerate(optimizer.variables)}
    layers = {name: layer.get_build_config() for name, layer in _layers(model) if layer.built}
    described = {"optimizers": optimizers, "layers": {name: each for name, each in layers.items() if each}}
    content = io.BytesIO()
    arrays = {"described": np.frombuffer(json.dumps(described).encode(), "uint8"), **arrays}
    np.savez(content, **arrays)  # type: ignore[arg-type]  # no array is named `allow_pickle`
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(_FILE, content.getvalue())


def is_in(content: Any) -> bool:
    """Tells whether a file, or its path, is an archive that has it."""
    if not zipfile.is_zipfile(content):
        return False
    with zipfile.ZipFile(content) as archive:
        return _FILE in archive.namelist()


def restore(path: str, model: keras.Model) -> None:
    """Gives it back to a compiled model that Keras has loaded from the archive."""
    with zipfile.ZipFile(path) as archive, np.load(io.BytesIO(archive.read(_FILE)), allow_pickle=False) as file:
        arrays = dict(file)
    described = json.loads(arrays.pop("described").tobytes())
    built = False
    for name, layer in list(_layers(model)):
        if not layer.built and name in described["layers"]:
            layer.build_from_config(described["layers"][name])
            built = True
    variables = model.variables
    for name, optimizer in _optimizers(model).items():
        trained = described["optimizers"].get(name)
        if trained is None or max(trained, default=-1) >= len(variables):
            continue
        if not optimizer.built:
            optimizer.build([variables[index] for index in trained])
        for index, variable in enumerate(optimizer.variables):
            _assign(variable, arrays.get(f"{name} {index}"))
    if built:
        model.load_weights(path)
    for name, variable in (held.look(model).variables | _adapted(model)).items():
        _assign(variable, arrays.get(name))


def _assign(variable: keras.Variable, value: np.ndarray | None) -> None:
    if value is not None and value.shape == tuple(variable.shape):
        variable.assign(value)


def _optimizers(model: keras.Model) -> dict[str, Any]:
    optimizer = getattr(model, "optimizer", None)
    main = {} if optimizer is None else {"model.optimizer": optimizer}
    return main | held.of(model).optimizers


def _layers(model: keras.Model) -> list[tuple[str, keras.Layer]]:
    return [(name, each) for name, each in held.walk(model) if isinstance(each, keras.Layer) and each is not model]


def _adapted(model: keras.Model) -> dict[str, keras.Variable]:
    """The weights of layers that train LoRA's factors."""
    layers = [(name, each) for name, each in _layers(model) if getattr(each, "lora_enabled", False)]
    return {f"{name}.weights[{index}]": weight for name, layer in layers for index, weight in enumerate(layer.weights)}


def _plain(array: np.ndarray) -> np.ndarray:
    """An array of a type that numpy's files have, which is not so of bfloat16."""
    return array.astype("float32") if array.dtype.kind == "V" else array
