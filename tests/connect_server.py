"""A server of Spark Connect on this machine: prints its port, and ends with its input."""

from __future__ import annotations

import sys

from conftest import LOCAL, session_for

spark = session_for(
    LOCAL,
    {
        "spark.plugins": "org.apache.spark.sql.connect.SparkConnectPlugin",
        "spark.connect.grpc.binding.address": "127.0.0.1",
        "spark.connect.grpc.binding.port": "0",
    },
)
service = getattr(spark._jvm, "org.apache.spark.sql.connect.service.SparkConnectService$")
print(getattr(service, "MODULE$").localPort(), flush=True)
sys.stdin.read()
spark.stop()
