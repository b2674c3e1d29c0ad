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
    # A name without a number stays: it may also be the name of something else, such as an activation.
    automatic = {name: base for name, base in _automatic_names(structure) if name not in kept}
    taken = {name for name in _strings(structure) if name not in automatic}
    names: dict[str, str] = {}
    for name, base in automatic.items():
        free = (f"{base}_{number}" if number else base for number in range(len(taken) + 1))
        names[name] = next(candidate for candidate in free if candidate not in taken)
        taken.add(names[name])
    return _renamed(structure, names)


def _automatic_names(node: Any) -> Iterator[tuple[str, str]]:
    """(name, name without its number) of each object that Keras has named and numbered."""
    if isinstance(node, dict):
        config = node.get("config")
        name = config.get("name") if isinstance(config, dict) else None
        base = to_snake_case(str(node.get("class_name")))
        if isinstance(name, str) and re.fullmatch(rf"{re.escape(base)}_[0-9]+", name):
            yield name, base
    for child in _children(node):
        yield from _automatic_names(child)


def _strings(node: Any) -> Iterator[str]:
    if isinstance(node, str):
        yield node
    for child in _children(node):
        yield from _strings(child)


def _children(node: Any) -> list[Any]:
    if isinstance(node, dict):
        return [*node, *node.values()]
    return list(node) if isinstance(node, (list, tuple)) else []


def _renamed(node: Any, names: dict[str, str]) -> Any:
    if isinstance(node, dict):
        return {names.get(key, key): _renamed(value, names) for key, value in node.items()}
    if isinstance(node, (list, tuple)):
        return [_renamed(each, names) for each in node]
    return names.get(node, node) if isinstance(node, str) else node
