"""Writes the pictures in docs/, of pages that the examples make and of what the demo prints.

scripts/screenshots
scripts/screenshots --only training-report
"""

from __future__ import annotations

import argparse
import html
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# Picture: the example that writes the page, its arguments before the page's path, width and height in pixels.
PAGES = {
    "analysis": ("iris_analysis.py", ["--page"], 1280, 860),
    "evaluation": ("evaluation_report.py", ["--rows", "30000", "--report"], 1640, 900),
    "training-report": ("training_report.py", ["--report"], 1280, 1720),
}


# What the demo prints, as a terminal shows it.
DEMO = ("flights_delay.py", 1140, 490)
TERMINAL = """<!DOCTYPE html><meta charset="utf-8">
<style>body {{margin: 0; background: #1e1e2e; color: #cdd6f4}}
pre {{margin: 14px 18px; font: 14px/1.32 monospace}}</style>
<pre><b>$ ./scripts/demo</b>
{}</pre>"""
PICTURES = ["demo", *PAGES]


def run(example: str, arguments: list[str], folder: Path) -> str:
    """What the example prints."""
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    command = [sys.executable, str(ROOT / "examples" / example), *arguments]
    environment = {**os.environ, "PYTHONPATH": path}
    return subprocess.run(command, check=True, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True).stdout


def take(name: str, folder: Path) -> Path:
    page, picture = folder / f"{name}.html", ROOT / "docs" / f"{name}.png"
    if name == "demo":
        example, width, height = DEMO
        page.write_text(TERMINAL.format(html.escape(run(example, [], folder).strip())), encoding="utf-8")
    else:
        example, arguments, width, height = PAGES[name]
        print(run(example, [*arguments, str(page)], folder), end="")
    browser = [os.environ.get("CHROMIUM", "chromium"), "--headless", "--no-sandbox", "--disable-gpu"]
    options = ["--hide-scrollbars", f"--user-data-dir={folder / 'profile'}", f"--window-size={width},{height}"]
    subprocess.run(
        [*browser, *options, f"--screenshot={picture}", page.as_uri()], check=True, timeout=120, capture_output=True
    )
    return picture


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=PICTURES, default=PICTURES, help=", ".join(PICTURES))
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for name in arguments.only:
            picture = take(name, Path(folder))
            print(f"{picture.relative_to(ROOT)}: {picture.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
