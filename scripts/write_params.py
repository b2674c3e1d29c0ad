"""Writes what is made of the tables of Params: mixins and constructors below spark_keras, and docs/params.md.

With ``--check`` nothing is written, and the exit status is 1 where a file is out of date.
"""

from __future__ import annotations

import argparse
import difflib
import subprocess
import sys
from pathlib import Path

import params_page

from spark_keras.params.row import Row, Table
from spark_keras.params.table import TABLE

ROOT = Path(__file__).resolve().parent.parent
HEADER = '''"""{}

Written by scripts/write_params.py: change `spark_keras.params.table`, not this file.
"""

from __future__ import annotations'''


def mixins(table: Table) -> str:
    parts = [
        HEADER.format("Params with typed getters and setters."),
        """
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from pyspark.ml.param import Param, Params, shared
from typing_extensions import Self

from spark_keras.keras_model.archive import KerasArchive
from spark_keras.params.table import TABLE
from spark_keras.params.takes_model import TakesModel
""",
    ]
    for name, mixin in table.mixins.items():
        rows = [row for row in table.rows if row.mixin == name]
        parts.append(f'\n@TABLE.mixin\nclass {name}({", ".join(mixin.bases)}):\n    """{mixin.doc}"""\n')
        parts += [f"    {row.name}: Param[{row.value_type}]" for row in rows if row.converter]
        parts += ["\n    if TYPE_CHECKING:\n", *map(accessors, rows)]
    return "\n".join(parts)


def accessors(row: Row) -> str:
    suffix = row.name[0].upper() + row.name[1:]
    return f"""\
        def get{suffix}(self) -> {row.value_type}: ...
        def set{suffix}(self, value: {row.accepted_type}) -> Self: ..."""


def constructors(table: Table) -> str:
    parts = [
        HEADER.format("Constructors of the stages, which take their Params by name."),
        """
from collections.abc import Callable
from typing import Any

from spark_keras.params import mixins
from spark_keras.params.keyword_only import keyword_only
from spark_keras.params.table import TABLE
""",
    ]
    for stage, names in table.constructors.items():
        rows = table.of(*names)
        bases = ", ".join(f"mixins.{name}" for name in names)
        parts.append(f'''
class {stage}Params({bases}):
    """Params of a `{stage}`."""

    @TABLE.documented({stage!r})
    @keyword_only
    def __init__(self, *, {", ".join(map(argument, rows))}):
        """Takes each Param by its name."""
        super().__init__()
        self._set(**self._input_kwargs)
''')
    return "\n".join(parts)


def argument(row: Row) -> str:
    accepted = row.accepted_type
    if not row.default_told:
        return f"{row.name}: {accepted if accepted == 'Any' else f'{accepted} | None'} = None"
    return f"{row.name}: {accepted} = {row.default!r}"


def formatted(code: str) -> str:
    command = [sys.executable, "-m", "ruff", "format", "--config", str(ROOT / "pyproject.toml"), "-"]
    return subprocess.run(command, input=code, stdout=subprocess.PIPE, text=True, check=True).stdout


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="write nothing; fail where a file is out of date")
    check = parser.parse_args().check
    written = [
        made(ROOT / "spark_keras/params/mixins.py", formatted(mixins(TABLE)), check),
        made(ROOT / "spark_keras/params/constructors.py", formatted(constructors(TABLE)), check),
    ]
    # Of the classes as they are now: they are imported here.
    written.append(made(ROOT / "docs/params.md", params_page.page(), check))
    if check and not all(written):
        print("Run scripts/write_params.py.", file=sys.stderr)
    return int(check and not all(written))


def made(path: Path, new: str, check: bool) -> bool:
    """Writes the file, or only tells how it differs; whether it was so already."""
    old = path.read_text(encoding="utf-8") if path.exists() else ""
    if new != old and check:
        name = path.relative_to(ROOT).as_posix()
        lines = difflib.unified_diff(old.splitlines(), new.splitlines(), name, "as it would be", lineterm="")
        print(*lines, sep="\n")
    elif new != old:
        path.write_text(new, encoding="utf-8")
    return new == old


if __name__ == "__main__":
    sys.exit(main())
