"""Reports of storms: where they were and of which kind, as numbers.

Of nine columns the coordinates and the kind of storm are kept; a report of a kind that is not in the schema is counted
and left out.

    python examples/storm_reports.py
"""

import argparse
import os
import tempfile

from pyspark.sql import SparkSession

from spark_keras.preparation import DataQuality, Schema, TransformProcess, col, countRows

REPORTS = """\
161006-1655,UNK,2 SE BARTLETT,LABETTE,KS,37.03,-95.19,TRAINED SPOTTER REPORTS TORNADO ON THE GROUND. (ICT),TOR
161006-1820,60,1 N ADA,PONTOTOC,OK,34.79,-96.68,TREES AND POWER LINES DOWN. (OUN),WIND
161006-1841,175,3 W SALINA,SALINE,KS,38.84,-97.66,GOLF BALL SIZED HAIL. (ICT),HAIL
161006-1902,100,4 NE PRATT,PRATT,KS,37.68,-98.69,QUARTER SIZED HAIL. (ICT),HAIL
161006-1915,UNK,LYONS,RICE,KS,38.34,-98.20,STREETS UNDER WATER. (ICT),FLOOD
"""


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--master", default="local[2]")
    arguments = parser.parse_args(argv)
    spark = SparkSession.builder.master(arguments.master).appName("storm reports").getOrCreate()

    schema = (
        Schema()
        .string("datetime", "severity", "location", "county")
        .string("state", pattern="[A-Z]{2}")
        .double("lat", minimum=-90, maximum=90)
        .double("lon", minimum=-180, maximum=180)
        .string("comment")
        .categorical("type", ["TOR", "WIND", "HAIL"])
    )
    known = TransformProcess(schema).removeWhere(col("type").isInvalid())
    process = known.keep("lat", "lon", "type").categoricalToInteger("type")

    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "reports.csv")
        with open(path, "w") as file:
            file.write(REPORTS)
        reports = spark.read.csv(path, schema=schema.toDDL())
        print(DataQuality.of(reports, schema))
        print("\nKind of storm: 0 is TOR, 1 is WIND, 2 is HAIL")
        process.transform(reports).show()

        print("By state, where the storms were and how many were tornadoes:")
        by_state = known.groupBy("state").agg(
            reports=countRows(),
            tornadoes=countRows(where=col("type") == "TOR"),
            lat=col("lat").mean(),
            lon=col("lon").mean(),
        )
        by_state.transform(reports).orderBy("state").show()


if __name__ == "__main__":
    main()
