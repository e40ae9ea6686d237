"""dlt: load the order lines alone, from CSV through Arrow to Postgres over ADBC, its fastest documented way."""

import psycopg

from bench.context import FILES, BenchContext, Kpis

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


def prepare(context: BenchContext) -> None:
    """Make an empty database, and remove the state of an earlier run."""
    context.fresh_database(DATABASE)
    (context.scratch / "load_lines.py").write_text(SCRIPT)
    context.call(["rm", "-rf", context.scratch / "dlt"])


def run(context: BenchContext) -> None:
    """Load one file."""
    python = context.tools / "dlt" / "bin" / "python"
    file = context.files / FILES["order_products_prior"]
    context.call(
        [python, context.scratch / "load_lines.py", file, context.url(DATABASE)],
        DLT_DATA_DIR=str(context.scratch / "dlt"),
        RUNTIME__DLTHUB_TELEMETRY="false",
        NORMALIZE__WORKERS="2",
        LOAD__WORKERS="2",
    )


def kpis(context: BenchContext) -> Kpis:
    """Return the number of loaded lines, and sums of their columns."""
    query = (
        "select count(*), sum(order_id::bigint), sum(product_id::bigint), sum(reordered) from raw.order_products_prior"
    )
    with psycopg.connect(context.url(DATABASE)) as connection:
        return [[float(value) for value in row] for row in connection.execute(query)]
