"""Runs campaigns of faults; prints their figures and writes docs/reliability.json and the table of docs/reliability.md.

scripts/reliability                       all of them; about an hour on 2 cores
scripts/reliability --only driver soak    these; the others keep their figures
scripts/reliability --minutes 10          each campaign ends after the fit that passes this time
scripts/reliability --quick               each one small, to see that everything runs; writes nothing
"""

from __future__ import annotations

import argparse
import datetime
import json
import logging
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks.run import machine

from faults import campaigns, fits, page

DOCS = Path(fits.ROOT) / "docs"
FIGURES, PAGE = DOCS / "reliability.json", DOCS / "reliability.md"

# Name on the page, and the campaign at full size and small.
CAMPAIGNS: dict[str, tuple[str, Callable[[], Iterator[dict[str, Any]]], Callable[[], Iterator[dict[str, Any]]]]] = {
    "cluster": (
        "processes killed on `local-cluster[2,1]`",
        lambda: campaigns.kills(fits.session(fits.CLUSTER), 10, 4, 0.3),
        lambda: campaigns.kills(fits.session(fits.CLUSTER), 1, 2, 0.5),
    ),
    "local": (
        "processes killed on `local[2]`",
        lambda: campaigns.kills(fits.session(fits.LOCAL), 10, 1, 0.0),
        lambda: campaigns.kills(fits.session(fits.LOCAL), 1, 1, 0.0),
    ),
    "driver": (
        "driver killed, checkpoints by epochs",
        lambda: campaigns.driver_kills(5),
        lambda: campaigns.driver_kills(1),
    ),
    "driver-time": (
        "driver killed, checkpoints by time",
        lambda: campaigns.driver_kills(5, "0.2s"),
        lambda: campaigns.driver_kills(1, "0.2s"),
    ),
    "cancelled": (
        "fits interrupted on `local[2]`",
        lambda: campaigns.cancelled(fits.session(fits.LOCAL), 50, 20),
        lambda: campaigns.cancelled(fits.session(fits.LOCAL), 4, 2),
    ),
    "soak": (
        "soak on `local-cluster[2,1]`",
        lambda: campaigns.soak(fits.session(fits.CLUSTER), 600, 10),
        lambda: campaigns.soak(fits.session(fits.CLUSTER), 30, 10),
    ),
}


def save(title: str, part: dict[str, Any]) -> None:
    parts = json.loads(FIGURES.read_text(encoding="utf-8")) if FIGURES.exists() else {}
    parts[title] = part
    parts = {each: parts[each] for each, *_ in CAMPAIGNS.values() if each in parts}
    FIGURES.write_text(json.dumps(parts, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    PAGE.write_text(page.with_figures(PAGE.read_text(encoding="utf-8"), parts), encoding="utf-8")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=CAMPAIGNS, default=list(CAMPAIGNS))
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--minutes", type=float, default=1e9, help="after which a campaign begins no other fit")
    options = parser.parse_args()
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(message)s")
    for name in options.only:
        title, whole, small = CAMPAIGNS[name]
        print(f"== {title}", flush=True)
        started = time.monotonic()
        for part in (small if options.quick else whole)():
            part |= {"date": datetime.date.today().isoformat(), "machine": machine()}
            part["seconds taken"] = round(time.monotonic() - started)
            print(json.dumps(part), flush=True)
            if not options.quick:  # what has come so far, for the case that somebody ends it
                save(title, part)
            if part["seconds taken"] > 60 * options.minutes:
                break
        if part["same"] != part.get("finished", part["fits"]):
            print("A result differs.", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
