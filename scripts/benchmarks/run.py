"""Measures side by side what the documentation claims; prints the tables and writes docs/benchmarks.md and .json.

scripts/benchmark                         everything but what --large adds; some 17 minutes on 2 cores
scripts/benchmark --only mlp transform    these cases; the others keep their figures
scripts/benchmark --large                 a large model and large tables, too; more than 16 GB of memory
scripts/benchmark --quick                 few rows, to see that everything runs; writes to build/benchmarks
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks import page
from benchmarks.bench import Bench
from benchmarks.cases import CASES, LARGE
from benchmarks.competitor import CompetitorError
from benchmarks.environments import ROOT


def machine() -> str:
    """Cores, processor, memory and system."""
    parts = [f"{os.cpu_count()} cores", platform.machine()]
    with_details = Path("/proc/cpuinfo")
    if with_details.exists():
        models = [line.partition(":")[2] for line in with_details.read_text().splitlines() if "model name" in line]
        parts += [" ".join(name.split()) for name in models[:1]]
        parts.append(f"{os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') / 2**30:.0f} GiB")
    return ", ".join([*parts, platform.system()])


def measure(name: str, bench: Bench) -> dict[str, Any] | None:
    """A case's result, or None where it cannot be measured."""
    bench.say(name)
    bench.versions = {}
    started = time.monotonic()
    result = (CASES | LARGE)[name](bench)
    if result is None:
        return None
    return {
        "date": datetime.date.today().isoformat(),
        "machine": machine(),
        "seconds": round(time.monotonic() - started),
        "versions": bench.versions,
        **result,
    }


def save(output: Path, results: dict[str, Any]) -> str:
    """Writes figures and page, and returns the page; cases without a new result keep theirs."""
    figures = output / "benchmarks.json"
    earlier = json.loads(figures.read_text(encoding="utf-8"))["cases"] if figures.exists() else {}
    together = earlier | results
    cases = {name: together[name] for name in CASES | LARGE if name in together}
    text = page.write(cases)
    output.mkdir(parents=True, exist_ok=True)
    figures.write_text(json.dumps({"cases": cases}, indent=1) + "\n", encoding="utf-8")
    (output / "benchmarks.md").write_text(text, encoding="utf-8")
    return text


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="scripts/benchmark", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="+", metavar="CASE", choices=[*CASES, *LARGE], help=", ".join(CASES | LARGE))
    parser.add_argument("--repeats", type=int, default=3, help="runs of each competitor (default: 3)")
    parser.add_argument("--quick", action="store_true", help="few rows")
    parser.add_argument("--large", action="store_true", help=f"also {', '.join(LARGE)}")
    parser.add_argument("--output", type=Path, help="folder for benchmarks.md and benchmarks.json")
    arguments = parser.parse_args()
    names = arguments.only or [*CASES, *(LARGE if arguments.large else [])]
    output = arguments.output or (ROOT / "build" / "benchmarks" if arguments.quick else ROOT / "docs")

    failed = []
    text = ""
    with tempfile.TemporaryDirectory(prefix="benchmarks_") as folder:
        bench = Bench(Path(folder), arguments.repeats, arguments.quick)
        try:
            for name in names:
                try:
                    result = measure(name, bench)
                except CompetitorError as error:
                    failed.append(name)
                    bench.say(f"{name} failed: {error}")
                    bench.close()  # a competitor may be in the middle of something
                    continue
                # After each case, so that what is measured is kept whatever comes later.
                text = save(output, {name: result} if result else {})
        finally:
            bench.close()
    print(f"\n{text}")
    if failed:
        sys.exit(f"Failed: {', '.join(failed)}; their earlier figures, if any, were kept.")


if __name__ == "__main__":
    main()
