"""The YAML form of schemas and processes: what their JSON holds, as people like to read and write it."""

from __future__ import annotations

from typing import Any

from typing_extensions import Self

from spark_keras import plain_json


class HasYAML:
    """An object that has a form in JSON, and so one in YAML."""

    def toJSON(self) -> str:
        """All of it as JSON."""
        raise NotImplementedError

    @classmethod
    def fromJSON(cls, text: str) -> Self:
        """The inverse of `toJSON`."""
        raise NotImplementedError

    def toYAML(self) -> str:
        """All of it as YAML, with what its JSON holds; needs pyyaml."""
        parts = plain_json.loads(self.toJSON())
        return _yaml().safe_dump(parts, sort_keys=False, allow_unicode=True, width=100)

    @classmethod
    def fromYAML(cls, text: str) -> Self:
        """The inverse of `toYAML`; needs pyyaml."""
        yaml = _yaml()
        try:
            parts = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise ValueError(f"No YAML. Received: {text[:80]!r}. Expected: what toYAML gives. {error}") from error
        return cls.fromJSON(plain_json.dumps(parts))


def _yaml() -> Any:
    try:
        import yaml
    except ImportError as error:
        raise ImportError('The YAML form needs pyyaml: pip install "spark-keras[yaml]".') from error
    return yaml
