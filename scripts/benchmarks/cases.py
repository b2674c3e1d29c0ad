"""What is measured: each case, a function of the bench, returns {"settings": …, "runs": {competitor: [run, …]}}."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from benchmarks.bench import Bench, Run, told

Result = dict[str, Any]


def mlp(bench: Bench, backend: str = "tensorflow", rows: int = 200_000) -> Result:
    """Training the small MLP, where the cost of a step is not arithmetic."""
    fit = {"data": bench.data("mlp", bench.rows(rows)), "network": "mlp", "epochs": 2, "batch": 32}
    small = {**fit, "data": bench.data("mlp", bench.rows(2000))}
    keras_fit, estimator = bench.competitor("keras_fit", backend), bench.competitor("estimator", backend)
    options = bench.best_options(keras_fit, **{**fit, "rows": bench.rows(rows // 8)})
    competitors = {
        "fit": lambda turn: keras_fit.ask("fit", seed=turn, **fit),
        "best": lambda turn: keras_fit.ask("fit", seed=turn, **fit, **options["best"]),
    }
    if backend == "tensorflow":
        elephas = bench.competitor("elephas_model")
        competitors["elephas"] = _warmed(
            lambda: elephas.ask("fit", **small), lambda turn: elephas.ask("fit", seed=turn, **fit)
        )
    estimator.ask("fit", frequency=10, **small)
    for frequency in (10, 50):
        competitors[f"every {frequency}"] = lambda turn, frequency=frequency: estimator.ask(
            "fit", frequency=frequency, seed=turn, **fit
        )
        competitors[f"kernel {frequency}"] = lambda turn, frequency=frequency: _kernel_alone(
            bench, backend, frequency=frequency, seed=turn, **fit
        )
    runs = bench.take_turns(competitors)
    return {"settings": {**_settings(bench, fit, rows), **_told(options)}, "runs": runs}


def jax(bench: Bench) -> Result:
    """The same on JAX."""
    return mlp(bench, "jax", rows=100_000)


def _kernel_alone(bench: Bench, backend: str, **fit: Any) -> Run:
    """Two processes at the same time, each with half of the rows."""
    pair = [bench.competitor("kernel_alone", backend, f"part_{part}") for part in range(2)]
    for part, each in enumerate(pair):
        each.send("prepare", part=part, parts=2, **fit)
    for each in pair:
        each.receive()
    for each in pair:
        each.send("train")
    first, second = (each.receive() for each in pair)
    return {
        "rate": first["rate"] + second["rate"],
        "loss": (first["loss"] + second["loss"]) / 2,
        "milliseconds per round": (first["milliseconds per round"] + second["milliseconds per round"]) / 2,
        "kernel": first["kernel"],
    }


def whole_job(bench: Bench) -> Result:
    """From a DataFrame to a trained model, everything included."""
    rows = 200_000
    job = {"data": bench.data("mlp", bench.rows(rows)), "network": "mlp", "epochs": 2, "batch": 32}
    options = bench.best_options(bench.competitor("keras_fit"), **{**job, "rows": bench.rows(rows // 8)})
    estimator, to_pandas = bench.competitor("estimator"), bench.competitor("to_pandas")
    to_pandas.ask("whole_job", **{**job, "data": bench.data("mlp", bench.rows(2000))})
    runs = bench.take_turns(
        {
            "to pandas": lambda turn: to_pandas.ask("whole_job", seed=turn, **job),
            "to pandas, best": lambda turn: to_pandas.ask("whole_job", seed=turn, **job, **options["best"]),
            "every 10": _warmed(
                lambda: estimator.ask("whole_job", frequency=10, **job),
                lambda turn: estimator.ask("whole_job", frequency=10, seed=turn, **job),
            ),
        }
    )
    bench.stop("to_pandas")
    return {"settings": {**_settings(bench, job, rows), **_told(options)}, "runs": runs}


def _network(bench: Bench, network: str, rows: int, epochs: int, ceiling: bool = False, onednn: bool = False) -> Result:
    """Training a network whose steps are arithmetic, against the best that `model.fit` can do.

    Args:
        ceiling: whether to measure the kernel alone, too.
        onednn: whether to measure `model.fit` with oneDNN, too, which spark_keras switches on.
    """
    fit = {"data": bench.data(network, bench.rows(rows)), "network": network, "epochs": epochs, "batch": 64}
    estimator = bench.competitor("estimator")
    estimator.ask("fit", frequency=10, **{**fit, "data": bench.data(network, 640), "epochs": 2})
    peers = {"best": bench.competitor("keras_fit")}
    if onednn:
        peers["best, oneDNN"] = bench.competitor("keras_fit", name="onednn", TF_ENABLE_ONEDNN_OPTS="1")
    options = {name: bench.best_options(peer, **{**fit, "epochs": 2}) for name, peer in peers.items()}
    competitors = {
        name: lambda turn, name=name, peer=peer: peer.ask("fit", seed=turn, **fit, **options[name]["best"])
        for name, peer in peers.items()
    }
    competitors["every 10"] = lambda turn: estimator.ask("fit", frequency=10, seed=turn, **fit)
    if ceiling:
        competitors["kernel 10"] = lambda turn: _kernel_alone(bench, "tensorflow", frequency=10, seed=turn, **fit)
    runs = bench.take_turns(competitors)
    if onednn:
        bench.stop("keras_fit", name="onednn")
    return {"settings": {**_settings(bench, fit, rows), **_told(options["best"])}, "runs": runs}


def wide(bench: Bench) -> Result:
    # As many epochs as XLA needs to win back its compiling.
    return _network(bench, "wide", rows=5120, epochs=12, ceiling=True)


def frozen(bench: Bench) -> Result:
    """A small head on a frozen backbone of 17 million weights."""
    rows = 6400
    fit = {"data": bench.data("frozen", bench.rows(rows)), "network": "frozen", "epochs": 3, "batch": 32}
    estimator = bench.competitor("estimator")
    estimator.ask("fit", frequency=10, **{**fit, "data": bench.data("frozen", 640)})
    runs = bench.take_turns(
        {
            "every 10": lambda turn: estimator.ask("fit", frequency=10, seed=turn, **fit),
            "kernel 10": lambda turn: _kernel_alone(bench, "tensorflow", frequency=10, seed=turn, **fit),
        }
    )
    return {"settings": _settings(bench, fit, rows), "runs": runs}


def lenet(bench: Bench) -> Result:
    return _network(bench, "lenet", rows=3840, epochs=3, onednn=True)


def lstm(bench: Bench) -> Result:
    return _network(bench, "lstm", rows=2560, epochs=3)


def transform(bench: Bench) -> Result:
    """Inference on rows in Spark's memory."""
    rows = 200_000
    job = {"data": bench.data("mlp", bench.rows(rows)), "network": "mlp"}
    estimator, udfs = bench.competitor("estimator"), bench.competitor("spark_udfs")
    elephas = bench.competitor("elephas_model")
    small = {**job, "data": bench.data("mlp", bench.rows(2000))}
    documented = {"batch": 1024, "call": "predict"}
    sizes = (1024, 10_000)
    choices = {f"batch_size={size}, predict_on_batch": {"batch": size, "call": "predict_on_batch"} for size in sizes}
    udfs.ask("predict", **choices["batch_size=1024, predict_on_batch"], **job)
    best, tried = bench.best(
        {name: (lambda choice=choice: udfs.ask("predict", **choice, **job)) for name, choice in choices.items()}
    )
    # A quarter of the rows, where all of them would take long.
    quarter = {**job, "data": bench.data("mlp", bench.rows(rows // 4))}
    runs = bench.take_turns(
        {
            "transform": _warmed(
                lambda: estimator.ask("transform", **job), lambda _turn: estimator.ask("transform", **job)
            ),
            "predict_batch_udf": _warmed(
                lambda: udfs.ask("predict", **documented, **quarter),
                lambda _turn: udfs.ask("predict", **documented, **quarter),
            ),
            "predict_batch_udf, best": _warmed(
                lambda: udfs.ask("predict", **choices[best], **job),
                lambda _turn: udfs.ask("predict", **choices[best], **job),
            ),
            "elephas": _warmed(
                lambda: elephas.ask("transform", **small), lambda _turn: elephas.ask("transform", **quarter)
            ),
            "copy": _warmed(lambda: udfs.ask("copy", **job), lambda _turn: udfs.ask("copy", **job)),
        }
    )
    bench.stop("spark_udfs")
    return {"settings": {"rows": bench.rows(rows), "best options": best, "options tried": tried}, "runs": runs}


def analysis(bench: Bench) -> Result:
    """Statistics of the columns of a table; the page's peer takes a hundredth of the rows."""
    rows = bench.rows(10_000_000)
    path = str(bench.folder / "table.parquet")
    spark, analyzer, ydata = bench.competitor("summary"), bench.competitor("analyzer"), bench.competitor("ydata")
    spark.ask("write", path=path, rows=rows)
    runs = bench.take_turns(
        {
            "summary": lambda _turn: spark.ask("summary", path=path),
            "analyzer": lambda _turn: analyzer.ask("analyse", path=path),
            "ydata": lambda _turn: ydata.ask("profile", path=path, rows=max(640, rows // 100)),
        }
    )
    for module in ("summary", "analyzer", "ydata"):
        bench.stop(module)
    return {"settings": {"rows": rows, "repeats": bench.repeats}, "runs": runs}


def fits_in_a_row(bench: Bench) -> Result:
    """Memory over many fits in one session, in a process of its own."""
    fits = 8 if bench.quick else 30
    estimator = bench.competitor("estimator", name="fits")
    data = bench.data("mlp", bench.rows(2000))
    run = estimator.ask("fits_in_a_row", data=data, network="mlp", batch=32, fits=fits)
    bench.stop("estimator", name="fits")
    return {"settings": {"rows": bench.rows(2000), "fits": fits}, "runs": {"memory": [run]}}


def frequency(bench: Bench) -> Result:
    """What the averaging frequency costs and what it does to the result."""
    rows, epochs = bench.rows(20_000), 3
    estimator = bench.competitor("estimator")
    frequencies = [1, 5, 10, 50, "epoch"]
    fit = {"rows": rows, "epochs": epochs, "batch": 64}
    estimator.ask("flights", frequency="epoch", seed=0, **fit)
    runs = bench.take_turns(
        {
            str(each): lambda turn, each=each: estimator.ask("flights", frequency=each, seed=turn, **fit)
            for each in frequencies
        }
    )
    return {"settings": {"rows": rows, "epochs": epochs, "batch": 64, "repeats": bench.repeats}, "runs": runs}


def timeline(bench: Bench) -> Result:
    """What it costs to collect where the time goes."""
    rows = 200_000
    fit = {"data": bench.data("mlp", bench.rows(rows)), "network": "mlp", "epochs": 2, "batch": 32}
    estimator = bench.competitor("estimator")
    estimator.ask("timeline", frequency=10, **{**fit, "data": bench.data("mlp", bench.rows(2000))})
    runs = bench.take_turns(
        {
            f"every {frequency}": lambda turn, frequency=frequency: estimator.ask(
                "timeline", frequency=frequency, seed=turn, **fit
            )
            for frequency in (10, 50)
        }
    )
    return {"settings": _settings(bench, fit, rows), "runs": runs}


def large_model(bench: Bench) -> Result:
    """A round of VGG16: each number of workers in processes of its own, also where TensorFlow keeps no memory."""
    runs = {}
    for name, workers, variables in (
        ("2", 2, {}),
        ("4", 4, {}),
        ("2 without oneDNN", 2, {"TF_ENABLE_ONEDNN_OPTS": "0"}),
    ):
        large = bench.competitor("large", **variables)
        runs[name] = [
            large.ask("one_round", folder=str(bench.folder), workers=workers, side=64 if bench.quick else 224)
        ]
        bench.stop("large")
        bench.say(f"  {name} workers: {runs[name][0]}")
    return {"settings": {}, "runs": runs}


def file_shards(bench: Bench) -> Result:
    """Rows that do not fit into what a worker may hold, and the same where they do: each in processes of its own."""
    fit = {"gigabytes": 0.06 if bench.quick else 6.0, "epochs": 2, "batch": 32}
    limits = {"memory": 2**40, "file": 2**20 if bench.quick else 2**28}
    runs = {}
    for name, memory in limits.items():
        large = bench.competitor("large")
        runs[name] = [large.ask("large_shards", frequency=50, memory=memory, **fit)]
        bench.stop("large")
        bench.say(f"  {name}: {runs[name][0]}")
    return {"settings": {**fit, "maxShardMemory": limits["file"]}, "runs": runs}


def _warmed(warm_up: Callable[[], Run], run: Callable[[int], Run]) -> Callable[[int], Run]:
    """A run right after another one that does not count: Spark ends Python workers that were idle for a minute."""

    def both(turn: int) -> Run:
        warm_up()
        return run(turn)

    return both


def _settings(bench: Bench, fit: dict[str, Any], rows: int) -> dict[str, Any]:
    return {"rows": bench.rows(rows), "epochs": fit["epochs"], "batch": fit["batch"], "repeats": bench.repeats}


def _told(options: dict[str, Any]) -> dict[str, Any]:
    return {"best options": told(options["best"]), "options tried": options["tried"]}


CASES = {
    "mlp": mlp,
    "jax": jax,
    "whole_job": whole_job,
    "wide": wide,
    "frozen": frozen,
    "lenet": lenet,
    "lstm": lstm,
    "transform": transform,
    "fits_in_a_row": fits_in_a_row,
    "frequency": frequency,
    "timeline": timeline,
}
LARGE = {"large_model": large_model, "file_shards": file_shards, "analysis": analysis}
