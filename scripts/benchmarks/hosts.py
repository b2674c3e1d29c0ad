"""Rounds between hosts: ways of averaging, each through links of a stated rate.

    sudo env PYTHONPATH=scripts .venv/bin/python -m benchmarks.hosts --hosts 4 --workers 4 --megabytes 1 10

The hosts are network namespaces of this machine, with addresses, a /dev/shm and a /tmp of their own, on one bridge;
`tc` limits each link both ways. They share the machine's cores: where these are busy, a round takes longer than on a
network.
Needs root, `ip` and `tc`. Prints a table.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pyspark

BRIDGE, PREFIX, NETWORK = "sk-bridge", "sk-host", "10.77.0."
DRIVER = 1
# Of the epoch that is measured, and of the one before, in which programs are compiled.
ROUNDS, ROWS = 10, 8
UNITS_PER_MEGABYTE = 1_000_000 // 4 // 18  # of a hidden layer behind 16 columns and before one unit
RATES = {"1gbit": 125e6, "100mbit": 12.5e6}
SAME = {None: "", True: "yes", False: "NO"}
LOCAL = {"optimizerState": "local"}
WAYS = {
    "driver": {},
    "workers": {"averaging": "workers"},
    **{coding: {**LOCAL, "compression": coding} for coding in ("float16", "bfloat16", "threshold")},
    "overlap": {**LOCAL, "overlap": True},
}


def address(host: int) -> str:
    return f"{NETWORK}{host}"


def run(command: str) -> None:
    subprocess.run(shlex.split(command), check=True)


@contextlib.contextmanager
def network(hosts: int, rate: str) -> Iterator[None]:
    """Makes hosts 1 to `hosts` on one bridge, the first of which is the driver's; takes them away at the end."""
    with contextlib.ExitStack() as made:
        run(f"ip link add {BRIDGE} type bridge")
        made.callback(run, f"ip link del {BRIDGE}")
        run(f"ip link set {BRIDGE} up")
        for host in range(1, hosts + 1):
            name, outer = f"{PREFIX}{host}", f"sk-link{host}"
            run(f"ip netns add {name}")
            made.callback(run, f"ip netns del {name}")
            run(f"ip link add {outer} type veth peer name eth0 netns {name}")
            run(f"ip link set {outer} master {BRIDGE} up")
            run(f"ip -n {name} addr add {address(host)}/24 dev eth0")
            for device in ("lo", "eth0"):
                run(f"ip -n {name} link set {device} up")
            limit = f"root tbf rate {rate} burst 256kb latency 50ms"
            run(f"tc qdisc add dev {outer} {limit}")
            run(f"tc -n {name} qdisc add dev eth0 {limit}")
        yield


def on(host: int, *command: str) -> list[str]:
    """The command, on a host: with its network, shared memory and temporary folder."""
    mounts = "mount -t tmpfs tmpfs /dev/shm && mount -t tmpfs tmpfs /tmp && exec "
    return ["ip", "netns", "exec", f"{PREFIX}{host}", "unshare", "--mount", "sh", "-c", mounts + shlex.join(command)]


@contextlib.contextmanager
def cluster(hosts: int, cores: int, log: Path) -> Iterator[str]:
    """A standalone cluster of Spark, its master on the driver's host, and a worker on each other one."""
    spark_class = str(Path(pyspark.__file__).parent / "bin/spark-class")
    master = f"spark://{address(DRIVER)}:7077"
    roles = [(DRIVER, ["org.apache.spark.deploy.master.Master", "--host", address(DRIVER), "--port", "7077"])]
    for host in range(DRIVER + 1, DRIVER + 1 + hosts):
        options = ["--host", address(host), "--cores", str(cores), "--memory", "2g", "--work-dir", "/tmp/work", master]
        roles.append((host, ["org.apache.spark.deploy.worker.Worker", *options]))
    with contextlib.ExitStack() as started, log.open("w") as output:
        for host, role in roles:
            process = subprocess.Popen(
                on(host, spark_class, *role),
                env=os.environ | {"SPARK_LOCAL_IP": address(host), "PYSPARK_PYTHON": sys.executable},
                stdout=output,
                stderr=subprocess.STDOUT,
            )
            started.callback(process.wait)
            started.callback(process.terminate)
        yield master


def fits(master: str, workers: int, megabytes: list[float], ways: list[str], frequency: int) -> None:
    """On the driver's host: fits with each state, averaged in each way; prints a line of JSON for each."""
    import keras
    from pyspark.sql import SparkSession

    from spark_keras import KerasRegressor

    spark = (
        SparkSession.builder.master(master)
        .config("spark.driver.host", address(DRIVER))
        .config("spark.driver.bindAddress", address(DRIVER))
        .config("spark.executor.memory", "1g")
        .config("spark.ui.enabled", "false")
        .config("spark.ui.showConsoleProgress", "false")
        .config("spark.executorEnv.PYTHONPATH", os.environ["PYTHONPATH"])
        .getOrCreate()
    )
    spark.sparkContext.setLogLevel("OFF")
    columns = [f"rand({i}) AS c{i}" for i in range(16)]
    df = (
        spark.range(0, workers * ROUNDS * frequency * ROWS, 1, workers)
        .selectExpr(*columns, "rand(17) AS label")
        .cache()
    )
    for size in megabytes:
        weights = {}
        for way in ways:
            keras.utils.set_random_seed(1)
            hidden = keras.layers.Dense(round(size * UNITS_PER_MEGABYTE), "tanh")
            model = keras.Sequential([keras.Input((16,)), hidden, keras.layers.Dense(1)])
            model.compile(keras.optimizers.SGD(1e-4), "mse")
            fitted = KerasRegressor(
                model=model,
                featuresCols=[f"c{i}" for i in range(16)],
                epochs=2,
                batchSize=ROWS,
                globalBatch=False,
                averagingFrequency=frequency,
                numWorkers=workers,
                seed=1,
                verbose=0,
                **WAYS[way],
            ).fit(df)
            records = [r for r in fitted.summary.timeline["records"] if r["epoch"] == 2]
            seconds = sum(r["seconds"] for r in records) / sum(r["rounds"] for r in records)
            weights[way] = b"".join(array.tobytes() for array in fitted.toKeras().get_weights())
            told = {"bytes": fitted.summary.stateBytes, "way": way, "seconds": seconds}
            if way == "workers" and "driver" in weights:
                told["same"] = weights["driver"] == weights["workers"]
            print(json.dumps(told), flush=True)
    spark.stop()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", choices=RATES, default="1gbit", help="of each link, each way")
    parser.add_argument("--hosts", type=int, default=4, help="beside that of the driver")
    parser.add_argument("--workers", type=int, default=4, help="on each host")
    parser.add_argument("--megabytes", type=float, nargs="+", default=[1.0, 10.0], help="of a state")
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=["driver", "workers"])
    parser.add_argument("--frequency", type=int, default=1, help="minibatches of a round")
    parser.add_argument("--log", type=Path, default=Path("build/hosts.log"))
    parser.add_argument("--fits", metavar="MASTER", help=argparse.SUPPRESS)  # this script itself, on the driver's host
    arguments = parser.parse_args()
    workers = arguments.hosts * arguments.workers
    if arguments.fits:
        fits(arguments.fits, workers, arguments.megabytes, arguments.ways, arguments.frequency)
        return
    arguments.log.parent.mkdir(parents=True, exist_ok=True)
    with (
        network(arguments.hosts + 1, arguments.rate),
        cluster(arguments.hosts, arguments.workers, arguments.log) as url,
    ):
        wait_for(url)
        root = str(Path(__file__).resolve().parents[2])
        path = os.pathsep.join(filter(None, [root, f"{root}/scripts", os.environ.get("PYTHONPATH")]))
        driver = subprocess.run(
            on(DRIVER, sys.executable, "-m", "benchmarks.hosts", *sys.argv[1:], "--fits", url),
            env=os.environ | {"SPARK_LOCAL_IP": address(DRIVER), "PYTHONPATH": path, "PYSPARK_PYTHON": sys.executable},
            check=True,
            stdout=subprocess.PIPE,
            text=True,
        )
    print("| state | link | workers, on hosts | way | time of a round | 2 × state / bandwidth | same bits |")
    print("|---|---|---|---|---|---|---|")
    for line in driver.stdout.splitlines():
        told = json.loads(line)
        ideal = 2 * told["bytes"] / RATES[arguments.rate]
        print(
            f"| {told['bytes'] / 1e6:.3g} MB | {arguments.rate} | {workers} on {arguments.hosts} | {told['way']} "
            f"| {told['seconds']:.3g} s | {ideal:.3g} s | {SAME[told.get('same')]} |"
        )


def wait_for(url: str) -> None:
    """Waits until the master listens."""
    host, port = url.removeprefix("spark://").split(":")
    probe = f"import socket; socket.create_connection(({host!r}, {port}), 1)"
    for _ in range(60):
        if subprocess.run(on(DRIVER, sys.executable, "-c", probe), stderr=subprocess.DEVNULL).returncode == 0:
            return
        time.sleep(1)
    raise TimeoutError(f"No master listens at {url}; see the log.")


if __name__ == "__main__":
    main()
