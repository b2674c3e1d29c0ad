"""The examples run as they are, on little data, and their figures are better than chance or a baseline."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import environment_with_jax

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"
# Of sessions in other processes, for little data, as of the session that the tests share.
SETTINGS = ["spark.ui.enabled=false", "spark.sql.shuffle.partitions=4"]


@pytest.fixture
def run_example(spark, capsys):
    """Calls an example's main() in the session that the tests share, and gives what it printed."""

    def run(name, *arguments):
        specification = importlib.util.spec_from_file_location(f"examples_{name}", EXAMPLES / f"{name}.py")
        module = importlib.util.module_from_spec(specification)
        specification.loader.exec_module(module)
        module.main(list(arguments))
        return capsys.readouterr().out

    return run


def figure(text, pattern):
    """The number that follows the pattern."""
    found = re.search(pattern + r"\s*([-+\d.e]*\d)", text)
    assert found, f"{pattern!r} is not in:\n{text}"
    return float(found[1])


@pytest.mark.slow
def test_iris_pipeline(run_example):
    printed = run_example("iris_pipeline")
    assert "The network has 39 parameters." in printed
    # A third is chance; two thirds is what telling setosa from the others gives.
    assert figure(printed, "has not seen:") > 0.8
    # The names came back through the saved pipeline.
    assert re.search(r"\|setosa\s*\|setosa\s*\|", printed)


@pytest.mark.slow
def test_flights_delay(run_example):
    printed = run_example("flights_delay", "--rows", "20000", "--epochs", "2")
    assert printed.startswith("20,000 flights;")
    assert 22 < figure(printed, "the rest is left out.\n") < 26
    assert figure(printed, r"P\(late\)[\s\S]*AUC on flights that the network has not seen:") > 0.65
    assert figure(printed, r"has not seen:") < 0.9


@pytest.mark.slow
def test_gradient_sharing(run_example):
    printed = run_example("gradient_sharing", "--epochs", "4")
    assert "then the sum of their changes on the driver" in printed
    assert figure(printed, "shared changes: accuracy") > 0.8
    sent = [int(each.replace(",", "")) for each in re.findall(r"([\d,]+) bytes to each worker and back, in", printed)]
    assert sent[0] > 50 * sent[1]


@pytest.mark.slow
def test_digits_cnn(run_example):
    printed = run_example("digits_cnn", "--rows", "1000", "--epochs", "8")
    accuracy = figure(printed, "has not seen:")
    assert accuracy > 0.8
    # Keras' own metric over the workers and Spark's evaluator over the predictions count the same rows.
    assert figure(printed, "'accuracy':") == pytest.approx(accuracy, abs=1e-4)


@pytest.mark.slow
def test_two_inputs(run_example):
    printed = run_example("two_inputs", "--rows", "12000", "--epochs", "10")
    baseline, network = figure(printed, "guessing the mean:"), figure(printed, "the network:")
    # The noise alone is 0.5.
    assert 0.45 < network < 0.85 * baseline


@pytest.mark.slow
def test_two_outputs(run_example):
    printed = run_example("two_outputs", "--epochs", "40")
    assert figure(printed, "accuracy on unseen flowers:") > 0.6
    assert figure(printed, "the network:") < 0.5 * figure(printed, "guessing the mean:")


@pytest.mark.slow
def test_inner_features(run_example):
    printed = run_example("inner_features", "--epochs", "10")
    chance = figure(printed, "most frequent digit has")
    assert chance < 0.25
    assert figure(printed, r"learned from \d+ of them:") > 0.75
    # Without any label.
    assert figure(printed, "cluster is that of their digit:") > 1.5 * chance


@pytest.mark.slow
def test_early_stopping(run_example):
    printed = run_example("early_stopping", "--epochs", "20")
    assert re.search(r"stopped after \d+ epochs, (patience|overfitted|maxEpochs): ", printed)
    kept = [float(score) for score in re.findall(r"epoch +\d+: ([\d.]+)  <- kept", printed)]
    assert kept == [min(float(score) for score in re.findall(r"epoch +\d+: ([\d.]+)", printed))]
    assert "cost: best" in printed
    assert figure(printed, "Right about") > 0.9


@pytest.mark.slow
def test_evaluation_report(run_example, tmp_path):
    printed = run_example("evaluation_report", "--rows", "4000", "--epochs", "2", "--report", str(tmp_path / "r.html"))
    # Chance is a third; the most frequent class has less than a half.
    assert figure(printed, r"accuracy ") > 0.5
    assert figure(printed, "'top_2':") == pytest.approx(figure(printed, "top 2 by the report:"), abs=1e-4)
    assert figure(printed, "share of the loss:") > 0
    assert "arr_delay" in printed
    page = (tmp_path / "r.html").read_text()
    assert "<svg" in page and "Confusion matrix" in page


@pytest.mark.slow
def test_training_report(run_example, tmp_path):
    page = tmp_path / "report.html"
    printed = run_example("training_report", "--rows", "2000", "--epochs", "3", "--report", str(page))
    rows = [int(trained) for trained in re.findall(r"^[01] +(\d+) ", printed, re.MULTILINE)]
    assert len(rows) == 2 and 0.75 * 6000 < sum(rows) < 0.85 * 6000
    assert figure(printed, "Slowest round: number") >= 1
    assert figure(printed, "TensorBoard has") >= 1
    assert page.read_text().startswith("<!DOCTYPE html>")


@pytest.mark.slow
def test_mlflow_tracking(run_example, tmp_path):
    import mlflow

    printed = run_example("mlflow_tracking", "--epochs", "6", "--store", str(tmp_path))
    assert "among them epochs 6" in printed and "val_accuracy has 6 points." in printed
    # A third is chance.
    assert figure(printed, "loaded again, is right about") > 0.8
    assert "The network alone gives the same probabilities: True" in printed
    runs = mlflow.search_runs(experiment_names=["wines"], output_format="list")
    pages = [mlflow.artifacts.load_text(f"runs:/{run.info.run_id}/training.html") for run in runs]
    assert len(pages) == 1 and pages[0].startswith("<!DOCTYPE html>")


@pytest.mark.slow
def test_grid_search(run_example):
    printed = run_example("grid_search", "--epochs", "5")
    points = re.findall(r"'units': (\[.*?\]), 'learning_rate': ([\d.e-]+)}: validation AUC ([\d.]+)", printed)
    assert len(points) == 4
    assert len({auc for _, _, auc in points}) > 1
    # 30 inputs: 4 units are 30·4 + 4 + 4 + 1 parameters, 32 and 16 units are 30·32 + 32 + 32·16 + 16 + 16 + 1.
    units = max(points, key=lambda point: float(point[2]))[0]
    assert figure(printed, "best network has") == {"[4]": 129, "[32, 16]": 1537}[units]
    assert figure(printed, "AUC on unseen tumours:") > 0.95


@pytest.mark.slow
def test_iris_analysis(run_example, tmp_path):
    printed = run_example("iris_analysis", "--page", str(tmp_path / "iris.html"))
    # Figures of scikit-learn's copy.
    assert figure(printed, "mean") == pytest.approx(3.758)
    assert figure(printed, "±") == pytest.approx(1.7653)
    assert "{'setosa': 50, 'versicolor': 50, 'virginica': 50}" in printed
    assert (tmp_path / "iris.html").read_text(encoding="utf-8").count("<svg") == 5


@pytest.mark.slow
def test_drift_check(run_example):
    printed = run_example("drift_check", "--rows", "30000")
    assert "flights of June are like those of spring." in printed
    assert "Column 'origin', categories. Received:" in printed and "such as 'HPN'" in printed
    found = re.findall(r"^- (\w+): (\w+)$", printed, re.MULTILINE)
    assert {("origin", "categories"), ("hour", "nulls"), ("distance", "distribution")} <= set(found)
    assert "air_time" not in dict(found)
    assert "With onDrift='warn': 1 warning" in printed


@pytest.mark.slow
def test_transactions(run_example):
    printed = run_example("transactions")
    assert "6. remove 2: remove('time')" in printed
    assert re.search(r"amount +double ≥ 0 +6 +1 +0 +-0.9", printed)
    assert re.search(r"\| +2\| +6\| +0\| +1\| +0\| +0\| +26.33\| +0\|", printed)


@pytest.mark.slow
def test_storm_reports(run_example):
    printed = run_example("storm_reports")
    assert "FLOOD" in printed
    assert re.search(r"\|37.03\|-95.19\| +0\|", printed)
    assert re.search(r"\| +KS\| +3\| +1\|37.85", printed)


@pytest.mark.slow
def test_join_and_reduce(run_example):
    printed = run_example("join_and_reduce")
    assert "Joined, 5 rows" in printed
    assert re.search(r"\| +1239\| +Jane Citizen\| +2\| +2\| +52.5\|12.5\|kettle\| +1\|", printed)


@pytest.mark.slow
def test_flights_sequences(run_example):
    printed = run_example("flights_sequences", "--planes", "2500")
    assert "features: array of float (3, 6)" in printed
    simple, network = figure(printed, "the later the next:"), figure(printed, "the network:")
    assert 0.66 < simple < 0.71 and network > simple + 0.03


@pytest.mark.slow
def test_blocks(run_example):
    printed = run_example("blocks", "--rows", "300")
    assert "scaled:array<double>,length:double" in printed
    assert re.search(r"\| +2\| 100\|", printed)


@pytest.fixture
def environment():
    """For a process of its own; the project is imported from this checkout."""
    settings = " ".join(f"--conf {setting}" for setting in SETTINGS)
    python = {"PYSPARK_PYTHON": sys.executable, "PYSPARK_DRIVER_PYTHON": sys.executable}
    return environment_with_jax() | python | {"PYSPARK_SUBMIT_ARGS": f"{settings} pyspark-shell"}


@pytest.mark.slow
def test_resume_after_crash(environment, tmp_path):
    command = [sys.executable, str(EXAMPLES / "resume_after_crash.py"), "--epochs", "4"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=400)
    assert done.returncode == 0, done.stderr[-4000:]
    killed, rest = done.stdout.split("started again:")
    resumed, undisturbed = rest.split("undisturbed, from the first epoch on:")
    assert killed.count("epoch ") == 2 and "killed" in killed
    # What was trained before is not trained again.
    assert 1 <= resumed.count("epoch ") <= 3
    assert undisturbed.count("epoch ") == 4
    assert "the weights are the same, bit by bit: True" in undisturbed


@pytest.mark.slow
def test_spark_submit_job(spark, environment, tmp_path):
    import pyspark
    from pyspark.ml import PipelineModel
    from sklearn.datasets import load_iris

    bunch = load_iris(as_frame=True)
    flowers = bunch.data.set_axis(["sl", "sw", "pl", "pw"], axis="columns")
    flowers["species"] = bunch.target_names[bunch.target].astype(object)
    flowers.to_parquet(tmp_path / "flowers.parquet", index=False)

    submit = Path(pyspark.__file__).parent / "bin" / "spark-submit"
    command = [str(submit), "--master", "local[2]", "--driver-memory", "1g"]
    command += [part for setting in SETTINGS for part in ("--conf", setting)]
    command += [str(EXAMPLES / "spark_submit_job.py"), "--input", str(tmp_path / "flowers.parquet")]
    command += ["--output", str(tmp_path / "model"), "--label", "species", "--epochs", "10", "--batch-size", "8"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=400)
    assert done.returncode == 0, done.stderr[-4000:]
    assert figure(done.stdout, "were not trained:") > 0.8

    # What the job saved is loaded by another application.
    loaded = PipelineModel.load(str(tmp_path / "model"))
    applied = loaded.transform(spark.createDataFrame(flowers))
    assert applied.where("prediction = label_index").count() > 0.8 * len(flowers)
    assert loaded.stages[-1].summary.epochs == 10


@pytest.mark.slow
def test_notebook(environment, monkeypatch, tmp_path):
    import nbclient
    import nbformat

    # A kernel that is this Python for certain.
    folder = tmp_path / "kernels" / "spark_keras_tests"
    folder.mkdir(parents=True)
    command = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    (folder / "kernel.json").write_text(json.dumps({"argv": command, "display_name": "tests", "language": "python"}))

    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path))

    notebook = nbformat.read(EXAMPLES / "notebook.ipynb", as_version=4)
    assert all(not cell.get("outputs") for cell in notebook.cells), "The notebook is kept without outputs."
    nbclient.NotebookClient(
        notebook, timeout=400, kernel_name="spark_keras_tests", resources={"metadata": {"path": str(tmp_path)}}
    ).execute(env=environment)
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    printed = "".join(output.text for output in outputs if output.output_type == "stream")
    results = [output.data["text/plain"] for output in outputs if output.output_type == "execute_result"]
    curve, evaluated, centres = results
    assert len(curve.splitlines()) == 2 + 8 and "val_accuracy" in curve
    # A straight line through the two moons gets 0.88 right.
    assert figure(evaluated, "'accuracy':") > 0.9
    assert "(16, 2)" in centres
    # The progress bar reached its end.
    assert "Epoch 8/8: 100%" in printed or any("Epoch 8/8: 100%" in str(output) for output in outputs)
