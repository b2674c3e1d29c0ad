"""The benchmark's page: it tells what the figures tell, and it is that of the figures that are kept."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from benchmarks import page, targets
from benchmarks.bench import Bench

ROOT = Path(__file__).resolve().parents[2]


def runs(*rates: float, **figures: float) -> list[dict[str, float]]:
    return [{"rate": rate, "loss": 0.5, **figures} for rate in rates]


def case(**competitors: list[dict[str, float]]) -> dict[str, object]:
    about = {"settings": {"rows": 1000}, "versions": {}, "machine": "2 cores", "date": "2026-01-01"}
    return {**about, "runs": {name.replace("_", " "): each for name, each in competitors.items()}}


def verdicts(cases: dict[str, object]) -> dict[tuple[str, str, str], bool | None]:
    return {(each.case, each.competitor, each.compared): each.reached for each in targets.outcomes(cases)}


def test_page_is_that_of_the_figures():
    cases = json.loads((ROOT / "docs" / "benchmarks.json").read_text(encoding="utf-8"))["cases"]
    assert (ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8") == page.write(cases)


def test_targets_are_judged_by_medians():
    cases = {"mlp": case(fit=runs(90, 100, 1000), every_10=runs(1, 1000, 1001), every_50=runs(2199))}
    found = verdicts(cases)
    assert found["mlp", "every 10", "fit"] is True  # 1000 / 100 = 10, the target
    assert found["mlp", "every 50", "fit"] is False  # 21.99 of 22
    assert found["mlp", "every 10", "elephas"] is None


def test_overhead_is_the_round_without_its_kernel():
    cases = {"mlp": case(every_10=runs(1, **{"milliseconds per round": 3.5}))}
    assert targets.overhead(cases, 10) is None
    cases["mlp"]["runs"]["kernel 10"] = runs(1, **{"milliseconds per round": 2.25})
    assert targets.overhead(cases, 10) == 1.25
    assert verdicts(cases)["mlp", "every 10", "overhead"] is False


def test_memory_grows_from_the_fifth_fit_on():
    memory = {"driver": [1, 1, 1, 1, 100, 300, 104], "workers": [100, 100, 100, 100, 100, 100, 106]}
    cases = {"fits_in_a_row": case(memory=[memory])}
    assert targets.growth(cases, "driver") == pytest.approx(4)
    found = verdicts(cases)
    assert found["fits_in_a_row", "driver", "growth"] is True
    assert found["fits_in_a_row", "workers", "growth"] is False


def test_collecting_the_report_is_judged_by_its_share_of_the_training():
    cost = {"driver": 20.0, "worker": 10.0, "round": 2000.0}
    cases = {"timeline": case(every_10=[{**cost, "share": 1.5}], every_50=[{**cost, "share": 2.5}])}
    found = verdicts(cases)
    assert found["timeline", "every 10", "training"] is True
    assert found["timeline", "every 50", "training"] is False
    assert "| 2,000 (2,000–2,000) | 20.0 (20.0–20.0) | 10.0 (10.0–10.0) | 1.50 (1.50–1.50) |" in page.write(cases)


def test_a_round_of_a_frozen_backbone_is_judged_by_its_computing():
    figures = {"computing, ms": 20.0, "state bytes": 491652, "kernel": "graph"}
    cases = {"frozen": case(every_10=runs(500, **figures, **{"milliseconds per round": 21.0}))}
    assert verdicts(cases)["frozen", "every 10", "computing"] is True
    assert "| 21.0 (21.0–21.0) | 491,652 (491,652–491,652) |" in page.write(cases)
    cases["frozen"]["runs"]["every 10"][0]["milliseconds per round"] = 22.5
    assert verdicts(cases)["frozen", "every 10", "computing"] is False


def test_page_says_what_is_reached_and_what_is_not():
    text = page.write({"mlp": case(fit=runs(100), every_10=runs(1000), every_50=runs(100))})
    assert "1 of 29 targets are reached, 1 are not, 27 are not measured." in text
    assert "| ≥ 10× | 10.00× | reached |" in text
    assert "| ≥ 22× | 1.00× | **not reached** |" in text


def test_page_says_which_targets_lie_beyond_the_kernel_alone():
    rates = {"every_10": runs(500), "kernel_10": runs(900), "every_50": runs(500), "kernel_50": runs(2300)}
    text = page.write({"mlp": case(fit=runs(100), **rates)})
    assert "| ≥ 10× | 5.00× | **not reached**; the kernel alone: 9.00× |" in text
    assert "| ≥ 22× | 5.00× | **not reached** |" in text
    assert "| ≥ 0.5× | 0.56× | reached |" in text


def test_the_driver_s_memory_for_a_large_model_is_judged_with_two_and_with_four_workers():
    about = {"parameters": 1000, "rounds": 1, "built": 1.0, "seconds": 1.0, "loss": 1.0}
    cases = {"large_model": case(**{"2": [{**about, "states": 2.6}], "4": [{**about, "states": 2.8}]})}
    found = verdicts(cases)
    assert found["large_model", "2", "states"] is False
    assert found["large_model", "4", "2"] is True  # 7.7 % more
    cases["large_model"]["runs"]["4"][0]["states"] = 2.3
    assert verdicts(cases)["large_model", "4", "2"] is False
    assert "| -11.5 % | **not reached** |" in page.write(cases)


def test_page_tells_where_the_time_of_a_round_goes():
    phases = {"computing": 1.5, "loading": 0.25, "wire": 0.125, "waiting": 0.625, "averaging": 0.5, "callbacks": 0.0}
    own = runs(500, **{f"{phase}, ms": value for phase, value in phases.items()}, **{"milliseconds per round": 2.5})
    text = page.write({"wide": case(every_10=own, kernel_10=runs(900, **{"milliseconds per round": 1.25}))})
    cells = ["spark_keras, averaging every 10", 2.5, 1.5, 1.25, 0.25, 0.125, 0.625, 0.5, 0.0]
    spreads = [each if isinstance(each, str) else f"{each:.2f} ({each:.2f}–{each:.2f})" for each in cells]
    assert f"| {' | '.join(spreads)} |" in text


def test_competitors_take_turns(tmp_path):
    order = []
    competitors = {name: (lambda turn, name=name: order.append((turn, name)) or {"rate": 1.0}) for name in "ABC"}
    Bench(tmp_path, repeats=2, quick=True).take_turns(competitors)
    assert order == [(0, "A"), (0, "B"), (0, "C"), (1, "A"), (1, "B"), (1, "C")]


def test_the_best_is_the_one_with_the_best_median(tmp_path):
    rates = {"A": iter([9.0, 1.0, 1.0]), "B": iter([2.0, 3.0, 2.0])}
    competitors = {name: (lambda each=each: {"rate": next(each)}) for name, each in rates.items()}
    best = Bench(tmp_path, repeats=3, quick=True).best(competitors)
    assert best == ("B", {"A": 1.0, "B": 2.0})
