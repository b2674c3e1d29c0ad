"""Address on which the driver listens for its workers."""

from __future__ import annotations

import re

from pyspark.sql import SparkSession

from spark_keras.cluster.session import master, setting


def listening_address(spark: SparkSession) -> tuple[str, str, range]:
    """(interface to listen on, name that workers use, ports to try; none: any free port).

    `spark.keras.driver.host`, `spark.keras.driver.bindAddress` and `spark.keras.driver.port` override what Spark itself
    uses for its driver.
    """
    host = setting(spark, "spark.keras.driver.host") or setting(spark, "spark.driver.host") or "localhost"
    bind = setting(spark, "spark.keras.driver.bindAddress") or setting(spark, "spark.driver.bindAddress") or host
    if master(spark).startswith("local["):
        host = bind = "127.0.0.1"
    return bind, host, ports(spark, "spark.keras.driver.port")


def ports(spark: SparkSession, name: str) -> range:
    """Reads a setting: ports to try; none: any free port."""
    value = setting(spark, name)
    if not value:
        return range(0)
    match = re.fullmatch(r"(\d+)(?:-(\d+))?", value)
    if not match or not 0 < int(match[1]) <= int(match[2] or match[1]) < 65536:
        raise ValueError(
            f"Invalid value for {name}. Received: {value!r}. "
            "Expected: a port such as 40000, or a range such as 40000-40100."
        )
    return range(int(match[1]), int(match[2] or match[1]) + 1)


def encrypted(spark: SparkSession) -> bool:
    return setting(spark, "spark.keras.encryption", "true").lower() == "true"
