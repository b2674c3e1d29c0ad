"""Writes the pictures of pages in docs/, from what the examples make.

scripts/screenshots
scripts/screenshots --only training-report
"""

from __future__ import annotations

import argparse
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


def take(name: str, folder: Path) -> Path:
    example, arguments, width, height = PAGES[name]
    page, picture = folder / f"{name}.html", ROOT / "docs" / f"{name}.png"
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    command = [sys.executable, str(ROOT / "examples" / example), *arguments, str(page)]
    subprocess.run(command, check=True, cwd=folder, env={**os.environ, "PYTHONPATH": path})
    browser = [os.environ.get("CHROMIUM", "chromium"), "--headless", "--no-sandbox", "--disable-gpu"]
    options = ["--hide-scrollbars", f"--user-data-dir={folder / 'profile'}", f"--window-size={width},{height}"]
    subprocess.run(
        [*browser, *options, f"--screenshot={picture}", page.as_uri()], check=True, timeout=120, capture_output=True
    )
    return picture


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=PAGES, default=list(PAGES), help=", ".join(PAGES))
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for name in arguments.only:
            picture = take(name, Path(folder))
            print(f"{picture.relative_to(ROOT)}: {picture.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
