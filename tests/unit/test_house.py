"""Circles of files, and who may look inside of Keras and Spark. Directions of imports are checked by `scripts/lint`."""

from __future__ import annotations

import ast
import functools
import graphlib
import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path

import grimp

import spark_keras

PACKAGE = Path(spark_keras.__file__).parent
OF_ATTRIBUTES = ("getattr", "hasattr", "setattr", "delattr")
PRIVATE_MODULES = re.compile(r"(keras\.src|tensorflow\.python|jax\._src)\b")
OF_SPARK = set("_jvm _jsc _jdf _jsparkSession _gateway _instantiatedSession sparkContext SparkContext".split())


@functools.cache
def parsed(path: Path) -> list[ast.AST]:
    """All nodes of the file."""
    return list(ast.walk(ast.parse(path.read_text())))


def attributes(nodes: list[ast.AST]) -> Iterator[tuple[ast.expr, str]]:
    """(what stands before the dot, name) of all attributes, those included that getattr and its kin are asked for."""
    for node in nodes:
        if isinstance(node, ast.Attribute):
            yield node.value, node.attr
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in OF_ATTRIBUTES:
            yield node.args[0], getattr(node.args[1], "value", "")


def imports(nodes: list[ast.AST]) -> Iterator[str]:
    for node in nodes:
        if isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def uses(path: Path, names: set[str]) -> list[str]:
    """The file's uses of such attributes of objects that are not its own."""
    return [
        f"{path.relative_to(PACKAGE)}: {owner}.{name}"
        for node, name in attributes(parsed(path))
        if name in names and (owner := ast.unparse(node)) not in ("self", "cls", "super()")
    ]


def files(*folders: str) -> list[Path]:
    """The package's files, but for those of the folders."""
    found = [path for path in PACKAGE.rglob("*.py") if path.relative_to(PACKAGE).parts[0] not in folders]
    assert len(found) > 100
    return found


def private_names_of_keras() -> set[str]:
    """What its source defines as a function or sets as an attribute, and starts with one underscore."""
    root = Path(importlib.util.find_spec("keras").origin).parent
    definition = re.compile(r"(?:def |\.)(_[a-z]\w*)(?=\(self|\(cls| = |: )")
    found = {name for path in root.rglob("*.py") for name in definition.findall(path.read_text())}
    assert {"_flatten_layers", "_compile_loss", "_keras_history", "_nodes_by_depth"} <= found
    return found


def test_no_file_imports_itself_by_way_of_others():
    graph = grimp.build_graph("spark_keras", cache_dir=None)
    imported = {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}
    # It raises a CycleError, which names the files.
    assert set(graphlib.TopologicalSorter(imported).static_order()) == graph.modules


def test_only_keras_model_and_backend_use_private_names_of_keras():
    names = private_names_of_keras()
    assert [use for path in files("keras_model", "backend") for use in uses(path, names)] == []


def test_only_keras_model_and_backend_import_private_modules_of_keras_and_what_is_below_it():
    assert [
        f"{path.relative_to(PACKAGE)}: {name}"
        for path in files("keras_model", "backend")
        for name in imports(parsed(path))
        if PRIVATE_MODULES.match(name)
    ] == []


def test_only_cluster_touches_the_jvm_and_the_context():
    assert [use for path in files("cluster") for use in uses(path, OF_SPARK)] == []
    assert [path for path in files("cluster") if "pyspark.SparkContext" in imports(parsed(path))] == []
