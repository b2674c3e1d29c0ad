"""The documentation: its code runs and its statements hold, its links lead somewhere, its reference is up to date."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]

BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def python_blocks(page: Path) -> list[str]:
    """The code of the page, each block behind so many empty lines that a traceback shows the line of the page."""
    text = page.read_text(encoding="utf-8")
    return ["\n" * text.count("\n", 0, match.start(1)) + match[1] for match in BLOCK.finditer(text)]


def anchors_of(page: Path) -> set[str]:
    """The anchors that the page's headings get."""
    text = FENCED.sub("", page.read_text(encoding="utf-8"))
    titles = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


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


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_to_files_and_headings_that_exist(page):
    broken = []
    for target in LINK.findall(FENCED.sub("", page.read_text(encoding="utf-8"))):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        linked = (page.parent / path).resolve() if path else page
        if not linked.exists() or (anchor and anchor not in anchors_of(linked)):
            broken.append(target)
    assert not broken


def test_every_page_is_linked_from_the_readme():
    links = set(LINK.findall((ROOT / "README.md").read_text(encoding="utf-8")))
    assert {name_of(page) for page in PAGES[1:]} <= links


def test_what_is_written_from_the_table_of_params_is_up_to_date(monkeypatch, capsys):
    script = ROOT / "scripts" / "write_params.py"
    monkeypatch.setattr("sys.argv", [str(script), "--check"])
    monkeypatch.syspath_prepend(script.parent)
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(script), run_name="__main__")
    assert ended.value.code == 0, capsys.readouterr().out
