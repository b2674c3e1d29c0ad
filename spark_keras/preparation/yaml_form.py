"""The YAML form of schemas and processes: what their JSON holds, as people like to read and write it."""

from __future__ import annotations

from typing import Any


def _yaml() -> Any:
    try:
        import yaml
    except ImportError as error:
        raise ImportError('The YAML form needs pyyaml: pip install "spark-keras[yaml]".') from error
    return yaml


def to_yaml(parts: Any) -> str:
    """YAML text of what JSON can hold; keys stay in their order."""
    return _yaml().safe_dump(parts, sort_keys=False, allow_unicode=True, width=100)


def from_yaml(text: str) -> Any:
    """What a YAML text holds; a `ValueError` where it is none."""
    yaml = _yaml()
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(f"No YAML. Received: {text[:80]!r}. Expected: what toYAML gives. {error}") from error
