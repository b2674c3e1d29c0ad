"""Where the driver listens for its workers."""

from __future__ import annotations

import re
from typing import Any


def listening_address(spark: Any) -> tuple[str, str, range]:
    """(interface to listen on, name that workers use, ports to try; none: any free port).

    `spark.keras.driver.host`, `spark.keras.driver.bindAddress` and `spark.keras.driver.port` override what Spark itself
    uses for its driver.
    """
    conf = spark.conf
    host = conf.get("spark.keras.driver.host", "") or conf.get("spark.driver.host", "") or "localhost"
    bind = conf.get("spark.keras.driver.bindAddress", "") or conf.get("spark.driver.bindAddress", "") or host
    if spark.sparkContext.master.startswith("local["):
        host = bind = "127.0.0.1"
    ports = conf.get("spark.keras.driver.port", "")
    match = re.fullmatch(r"(\d+)(?:-(\d+))?", ports) if ports else None
    if ports and (not match or not 0 < int(match[1]) <= int(match[2] or match[1]) < 65536):
        raise ValueError(
            f"Invalid value for spark.keras.driver.port. Received: {ports!r}. "
            "Expected: a port such as 40000, or a range such as 40000-40100."
        )
    return bind, host, range(int(match[1]), int(match[2] or match[1]) + 1) if match else range(0)


def encrypted(spark: Any) -> bool:
    return spark.conf.get("spark.keras.encryption", "true").lower() == "true"
