"""Automatic names of layers, numbered anew, so that the same architecture is the same text.

Keras numbers them through a process: the model of a notebook cell that runs again has `dense_3` where the first one had
`dense`. The workers keep what they have compiled by the model's text, and would compile the same model again.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from typing import Any

from keras.src.utils.naming import to_snake_case


def settled(structure: Any, kept: Collection[str] = ()) -> Any:
    """A serialised Keras object with its automatic names numbered in the order in which they occur.

    Args:
        kept: names that stay, because somebody else uses them.
    """
    names, taken = {}, set(kept)
    automatic: dict[str, str] = {}
    for name, base in _names(structure):
        # A name without a number stays: it may also be the name of something else, such as an activation.
        if name not in kept and re.fullmatch(rf"{re.escape(base)}_[0-9]+", name):
            automatic[name] = base
        else:
            taken.add(name)
    for name, base in automatic.items():
        numbered = (f"{base}_{number}" if number else base for number in range(len(taken) + 1))
        names[name] = next(candidate for candidate in numbered if candidate not in taken)
        taken.add(names[name])
    return _renamed(structure, names, {})


def _names(node: Any) -> Iterator[tuple[str, str]]:
    """(name, the name that Keras would give without a number) of each object."""
    if isinstance(node, dict):
        config = node.get("config")
        name = config.get("name") if isinstance(config, dict) else None
        if isinstance(name, str):
            yield name, to_snake_case(str(node.get("class_name")))
    for child in node.values() if isinstance(node, dict) else node if isinstance(node, (list, tuple)) else ():
        yield from _names(child)


def _renamed(node: Any, names: dict[str, str], shared: dict[int, int]) -> Any:
    if isinstance(node, dict):
        renamed = {names.get(key, key): _renamed(value, names, shared) for key, value in node.items()}
        if "shared_object_id" in node:
            # An address in this process. Objects that are one stay one.
            renamed["shared_object_id"] = shared.setdefault(node["shared_object_id"], len(shared))
        return renamed
    if isinstance(node, (list, tuple)):
        return [_renamed(each, names, shared) for each in node]
    return names.get(node, node) if isinstance(node, str) else node
