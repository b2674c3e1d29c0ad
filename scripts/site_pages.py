"""Pages of the site that are files elsewhere in the repository: README, examples, changelog, rules for contributors.

A hook of MkDocs: mkdocs.yml names it.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parent.parent
# File of the repository: page of the site.
PAGES = {
    "README.md": "index.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "examples/README.md": "examples/index.md",
}
COPIED = ["LICENSE", "examples/notebook.ipynb"]
LINK = re.compile(r"(?<=\]\()(?!\w+:)([^()#\s]+)")


def on_files(files: Files, config: Any) -> Files:
    """Adds the pages, and one with the code of each example."""
    for path, page in PAGES.items():
        files.append(File.generated(config, page, content=(ROOT / path).read_text(encoding="utf-8")))
    for example in sorted((ROOT / "examples").glob("*.py")):
        code = f"# {example.name}\n\n```python\n{example.read_text(encoding='utf-8')}```\n"
        files.append(File.generated(config, f"examples/{example.stem}.md", content=code))
    for path in COPIED:
        files.append(File.generated(config, path, abs_src_path=str(ROOT / path)))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Leads links between files of the repository to the pages that they have become."""
    here = page.file.src_uri
    file = next((path for path, of_path in PAGES.items() if of_path == here), f"docs/{here}")

    def led(match: re.Match[str]) -> str:
        target = page_of(posixpath.normpath(posixpath.join(posixpath.dirname(file), match[1])))
        return posixpath.relpath(target, posixpath.dirname(here) or ".") if target else match[1]

    return LINK.sub(led, markdown)


def page_of(path: str) -> str | None:
    """The page, or the file, of the site that a file of the repository has become; None where it has not become one."""
    if path in PAGES or path in COPIED:
        return PAGES.get(path, path)
    if path.startswith("docs/"):
        return path.removeprefix("docs/")
    return f"{path.removesuffix('.py')}.md" if re.fullmatch(r"examples/\w+\.py", path) else None
