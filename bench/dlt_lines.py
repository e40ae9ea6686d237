"""dlt: the order lines alone, from CSV through Arrow to Postgres over ADBC, its fastest documented way."""

import psycopg

from bench.place import FILES, Kpis, Place

NAME = "dlt (order lines)"
DATABASE = "bench_dlt"
REQUIREMENTS = [
    "dlt[postgres]==1.31.0",
    "pyarrow==26.0.1",
    "adbc-driver-postgresql==1.13.0",
    "adbc-driver-manager==1.13.0",
]
SCRIPT = """
import sys
import dlt
import pyarrow.csv

@dlt.resource(name="order_products_prior", write_disposition="replace")
def lines():
    options = pyarrow.csv.ReadOptions(block_size=64 << 20)
    for batch in pyarrow.csv.open_csv(sys.argv[1], read_options=options):
        yield pyarrow.Table.from_batches([batch])

pipeline = dlt.pipeline("bench", destination=dlt.destinations.postgres(sys.argv[2]), dataset_name="raw")
pipeline.run(lines(), loader_file_format="parquet")
"""


def prepare(place: Place) -> None:
    """An empty database, and no state of an earlier run."""
    place.fresh_database(DATABASE)
    (place.scratch / "load_lines.py").write_text(SCRIPT)
    place.call(["rm", "-rf", place.scratch / "dlt"])


def run(place: Place) -> None:
    """The load of one file."""
    python = place.tools / "dlt" / "bin" / "python"
    place.call(
        [python, place.scratch / "load_lines.py", place.files / FILES["order_products_prior"], place.url(DATABASE)],
        DLT_DATA_DIR=str(place.scratch / "dlt"),
        RUNTIME__DLTHUB_TELEMETRY="false",
        NORMALIZE__WORKERS="2",
        LOAD__WORKERS="2",
    )


def kpis(place: Place) -> Kpis:
    """How many lines came in, and their sums."""
    query = (
        "select count(*), sum(order_id::bigint), sum(product_id::bigint), sum(reordered) from raw.order_products_prior"
    )
    with psycopg.connect(place.url(DATABASE)) as connection:
        return [[float(value) for value in row] for row in connection.execute(query)]
