"""The documentation: its code runs and its statements hold."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]

BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def python_blocks(page: Path) -> list[str]:
    """The code of the page, each block behind so many empty lines that a traceback shows the line of the page."""
    text = page.read_text(encoding="utf-8")
    return ["\n" * text.count("\n", 0, match.start(1)) + match[1] for match in BLOCK.finditer(text)]


CODE_PAGES = [
    pytest.param(page, id=name_of(page), marks=() if page.name == "README.md" else pytest.mark.slow)
    for page in PAGES
    if python_blocks(page)
]


@pytest.mark.parametrize("page", CODE_PAGES)
def test_code_of_the_page_runs_and_its_asserts_hold(page, spark, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    # As in a script: what a page defines belongs to __main__.
    namespace = {"__name__": "__main__"}
    blocks = python_blocks(page)
    assert any("assert " in block for block in blocks), "the page's code verifies nothing"
    for block in blocks:
        exec(compile(block, str(page), "exec"), namespace)
    assert namespace["spark"].range(1).count() == 1, "the page stopped the Spark session"
