"""The user's own code inside a live model: functions and classes that Keras cannot find again by itself.

Keras writes a lambda as its bytecode, without the modules and functions that it uses; another function, and a class
that is not registered, as a name. Plain Keras never needs to find them again. A model that travels to executors does:
so its structure names each of them apart, and the things themselves travel beside it, pickled with all they refer to.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import threading
import types
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

import cloudpickle
import keras
from keras.src.saving import object_registration, serialization_lib

from spark_keras.executor import pickling
from spark_keras.keras_model.origin import of_keras

# Names in a structure begin so.
PREFIX = "spark_keras>"

# Names are given in Keras' table of registered names, which belongs to the process.
_naming = threading.RLock()

_PLAIN = (str, bytes, int, float, complex, bool, type(None))
_LEAVES = (*_PLAIN, types.ModuleType, keras.Variable, keras.KerasTensor)


@contextlib.contextmanager
def named(model: keras.Model) -> Iterator[dict[str, Any]]:
    """Makes Keras serialise the model's own functions and classes under names that no two of them share.

    Yields:
        the objects by these names, in an order that is the same for the same model in each process.
    """
    with _naming, contextlib.ExitStack() as undo:
        objects: dict[str, Any] = {}
        for found, place in list(_own(model)):
            plain = getattr(found, "__name__", type(found).__name__)
            name = f"{PREFIX}{plain}#{len(objects)}{_fingerprint(found)}"
            objects[name] = found
            if not isinstance(found, (type, types.FunctionType)):
                # Keras names functions and classes only.
                container, key = place
                stand_in = _stand_in(found)
                _put(container, key, stand_in)
                undo.callback(_put, container, key, found)
                found = stand_in
            registered = object_registration.GLOBAL_CUSTOM_NAMES
            if found in registered:
                undo.callback(registered.__setitem__, found, registered[found])
            else:
                undo.callback(registered.pop, found)
            registered[found] = name
            if plain == "<lambda>":
                # Else its bytecode is written.
                found.__name__ = "function"
                undo.callback(setattr, found, "__name__", plain)
        yield objects


def pickled(model: keras.Model, structure: str) -> tuple[tuple[str, bytes], ...]:
    """The model's own code, by the names that it has in a structure, which was serialised inside `named`."""
    with named(model) as objects:
        used = {name: found for name, found in objects.items() if json.dumps(name) in structure}
    return tuple((name, _pickled(found)) for name, found in used.items())


def saved(model: keras.Model, save: Callable[[], None]) -> None:
    """Saves a model as Keras does by itself, or by name where it has code that Keras cannot write."""
    try:
        save()
    except (TypeError, ValueError, OSError, AttributeError, NotImplementedError):
        with named(model) as objects:
            if not objects:
                raise
            save()


def packed(model: keras.Model) -> bytes | None:
    """Content of an archive beside what Keras writes: the model's structure with own code by name, and that code;
    None: there is none.
    """
    with named(model) as objects:
        if not objects:
            return None
        with serialization_lib.ObjectSharingScope():
            structure = json.dumps(keras.saving.serialize_keras_object(model))
    code = {name: base64.b64encode(data).decode() for name, data in pickled(model, structure)}
    return json.dumps({"structure": structure, "code": code}).encode() if code else None


def structure_of(code: bytes) -> str:
    """The model's structure, for `config.json`."""
    return json.loads(code)["structure"]


def unpacked(code: bytes, custom_objects: dict[str, Any]) -> dict[str, Any]:
    """Custom objects, and own code by its names in the structure. What the user gives by its plain name goes first."""
    objects = dict(custom_objects)
    for name, data in json.loads(code)["code"].items():
        plain = name.removeprefix(PREFIX).partition("#")[0]
        objects[name] = custom_objects[plain] if plain in custom_objects else cloudpickle.loads(base64.b64decode(data))
    return objects


def _own(model: keras.Model) -> Iterator[tuple[Any, Any]]:
    """(function, class or other callable, where it is held) of the user's in whatever the model holds, each once."""
    for value, place in held(model):
        if isinstance(value, (type, types.FunctionType)):
            if not _keras_finds(value):
                yield value, place
        elif (
            not _is_object_of_model(value)
            and callable(value)
            and place
            and isinstance(place[0], (dict, list))
            and not _is_bound_to_keras(value)
        ):
            yield value, place


def held(model: keras.Model) -> Iterator[tuple[Any, Any]]:
    """(part of the model, class, function or value, where it is held) in whatever the model holds, each once."""
    seen: dict[int, Any] = {}
    waiting: deque[tuple[Any, Any]] = deque([(model, None)])
    while waiting:
        value, place = waiting.popleft()
        if isinstance(value, _LEAVES) or id(value) in seen:
            continue
        seen[id(value)] = value
        if isinstance(value, dict):
            waiting.extend((each, (value, key)) for key, each in list(value.items()))
        elif isinstance(value, (list, tuple, set, frozenset)):
            waiting.extend((each, (value, index)) for index, each in enumerate(value))
        else:
            yield value, place
            if not isinstance(value, type) and _is_object_of_model(value):
                waiting.append((type(value), None))
                waiting.extend((each, (vars(value), key)) for key, each in list(vars(value).items()))


def _is_object_of_model(value: Any) -> bool:
    """Tells whether it is a part of the model, or of a part, with a configuration of its own."""
    if not hasattr(value, "__dict__") or isinstance(value, types.MethodType):
        return False
    return hasattr(type(value), "get_config") or type(value).__name__ == "SerializableDict"


def _is_bound_to_keras(value: Any) -> bool:
    """Tells whether a callable belongs to a part of the model: a copy of it would compute with other variables."""
    root = (getattr(value, "__module__", None) or type(value).__module__).partition(".")[0]
    return root == "keras" or hasattr(getattr(value, "__self__", None), "get_config")


def _keras_finds(value: Any) -> bool:
    """Tells whether Keras finds the function or class again by the name that it writes."""
    if isinstance(value, type):
        if value.__module__.partition(".")[0] in ("keras", "builtins"):
            return True
        return keras.saving.get_registered_object(keras.saving.get_registered_name(value)) is value
    if value.__name__ == "<lambda>":
        return False
    if of_keras(value) and "<locals>" in value.__qualname__:
        # What Keras wraps around each layer's methods, which is in no configuration.
        return True
    try:
        return keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(value)) is value
    except (TypeError, ValueError):
        return False


def _stand_in(found: Any) -> Any:
    def function(*arguments: Any, **named_arguments: Any) -> Any:
        return found(*arguments, **named_arguments)

    return function


def _put(container: Any, key: Any, value: Any) -> None:
    # Past what Keras and TensorFlow do when an attribute is set.
    (list if isinstance(container, list) else dict).__setitem__(container, key, value)


def _fingerprint(found: Any) -> str:
    """A digest of a function's code and of the plain values that it uses, so that other code has another name."""
    if not isinstance(found, types.FunctionType):
        return ""
    digest = hashlib.sha256()
    codes = [found.__code__]
    while codes:
        code = codes.pop()
        codes += [each for each in code.co_consts if isinstance(each, types.CodeType)]
        digest.update(code.co_code)
        digest.update(repr([code.co_names, *map(_plain, code.co_consts)]).encode())
        digest.update(repr([_plain(found.__globals__.get(name)) for name in code.co_names]).encode())
    cells = [cell.cell_contents for cell in found.__closure__ or () if cell != types.CellType()]
    used = [*(found.__defaults__ or ()), *(found.__kwdefaults__ or {}).values(), *cells]
    digest.update(repr([_plain(value) for value in used]).encode())
    return f":{digest.hexdigest()[:12]}"


def _plain(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return [_plain(each) for each in value]
    if isinstance(value, (set, frozenset)):
        return sorted(repr(_plain(each)) for each in value)
    return value if isinstance(value, _PLAIN) else None


def _pickled(found: Any) -> bytes:
    try:
        return pickling.pickled_with_modules(found)
    except Exception as error:  # whatever the object's parts raise
        raise ValueError(
            f"The model uses {found!r}, which cannot be sent to the executors. Received: {type(error).__name__}: "
            f"{error}. Expected: code that refers to nothing of this process alone, such as a session, a lock or an "
            "open file."
        ) from error
