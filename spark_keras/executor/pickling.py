"""Objects and their code as pickles, for executors that lack the modules they come from."""

from __future__ import annotations

import os
import sys
import threading
from typing import Any

import cloudpickle

# cloudpickle's registry of modules belongs to the process, and fits run in threads.
_by_value = threading.Lock()


def pickled(value: Any) -> bytes:
    """An object with its code, unless it comes from an installed package, which executors have installed as well."""
    module = sys.modules.get(getattr(value, "__module__", None) or "")
    return _pickled_by_value(value, [] if module is None or _is_installed(module) else [module])


def pickled_with_modules(value: Any) -> bytes:
    """Likewise, and with what it uses of all modules that executors do not have: those of no installed package.

    Where one of these cannot be pickled, as one that holds a session, they are left to be imported on the executors.
    """
    modules = [module for module in list(sys.modules.values()) if not _is_installed(module)]
    try:
        return _pickled_by_value(value, modules)
    except Exception:  # whatever an object in such a module raises
        return pickled(value)


def _is_installed(module: Any) -> bool:
    # Not by attribute, which makes a lazy module load itself.
    own = getattr(module, "__dict__", {})
    path, root = own.get("__file__"), str(own.get("__name__")).partition(".")[0]
    if path is None or root in sys.stdlib_module_names or root in ("pyspark", "py4j", "spark_keras"):
        return True
    return any(part in path for part in ("site-packages", "dist-packages", sys.prefix + os.sep))


def _pickled_by_value(value: Any, modules: list[Any]) -> bytes:
    with _by_value:
        registered = cloudpickle.list_registry_pickle_by_value()
        added = [module for module in modules if module.__name__ not in registered | {"__main__"}]
        for module in added:
            cloudpickle.register_pickle_by_value(module)
        try:
            return cloudpickle.dumps(value)
        finally:
            for module in added:
                cloudpickle.unregister_pickle_by_value(module)
