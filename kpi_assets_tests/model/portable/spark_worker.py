"""A process with a Spark of its own, in ANSI mode: a statement comes as a line of JSON, and its rows go as a pickle.

It runs with the folder of pyspark on its path and imports nothing of this project. It ends when its input does.
"""

import base64
import json
import os
import pickle
import sys

from pyspark.sql import SparkSession

_SETTINGS = {
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.driver.host": "127.0.0.1",
    "spark.connect.grpc.binding.address": "127.0.0.1",
    "spark.ui.enabled": "false",
    "spark.sql.ansi.enabled": "true",
    "spark.sql.session.timeZone": "UTC",
    # Small tables: compiling a plan would take longer than running it.
    "spark.sql.shuffle.partitions": "1",
    "spark.sql.codegen.factoryMode": "NO_CODEGEN",
    "spark.sql.codegen.wholeStage": "false",
    "spark.sql.adaptive.enabled": "false",
    # What a later Spark may need of the tests: a catalog, for example.
    **json.loads(os.environ.get("KPI_TEST_SPARK_SETTINGS", "{}")),
}


def main() -> None:
    """Answer until the input ends."""
    by_connect = "KPI_TEST_SPARK_CONNECT" in os.environ  # a server of its own process, and this one its client
    builder = SparkSession.builder.remote("local[1]") if by_connect else SparkSession.builder.master("local[1]")
    for name, value in _SETTINGS.items():
        builder = builder.config(name, value)
    session = builder.getOrCreate()
    if not by_connect:
        session.sparkContext.setLogLevel("OFF")
    for line in sys.stdin:
        try:
            frame = session.sql(json.loads(line))
            types = [type_ for _, type_ in frame.dtypes]
            answer = ("", types, [tuple(row) for row in frame.collect()])
        except Exception as error:
            answer = (str(error)[:500], [], [])
        sys.stdout.write(f"answer {base64.b64encode(pickle.dumps(answer)).decode()}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
